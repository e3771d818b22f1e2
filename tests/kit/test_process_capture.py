import asyncio
import random
import time
from pathlib import Path

import pytest

from agentvine.kit.guards import WaitingInsideTransaction, transaction_mark
from agentvine.kit.process import ProgramNotFound, capture
from tests.support.processes import ENVIRONMENT, gone, python, shell, written


async def test_a_short_command_gives_its_output_and_exit_code(tmp_path: Path) -> None:
    result = await capture(
        shell("echo out; echo err >&2; exit 2"), cwd=tmp_path, environment=ENVIRONMENT
    )
    assert (result.exit_code, result.stdout, result.stderr) == (2, b"out\n", b"err\n")
    assert not result.is_truncated
    assert not result.has_timed_out


async def test_a_command_can_read_much_input_and_write_it_back(tmp_path: Path) -> None:
    data = bytes(range(256)) * 8192
    result = await capture(["cat"], cwd=tmp_path, environment=ENVIRONMENT, stdin=data)
    assert result.stdout == data


async def test_a_command_need_not_read_its_input(tmp_path: Path) -> None:
    result = await capture(["true"], cwd=tmp_path, environment=ENVIRONMENT, stdin=b"x" * 1_000_000)
    assert result.exit_code == 0


async def test_too_much_output_ends_the_command_and_keeps_the_beginning(tmp_path: Path) -> None:
    result = await capture(
        shell("echo start; exec yes"), cwd=tmp_path, environment=ENVIRONMENT, max_stdout_bytes=1000
    )
    assert result.is_truncated
    assert len(result.stdout) == 1000
    assert result.stdout.startswith(b"start\ny\n")


async def test_the_end_of_a_long_error_output_is_kept(tmp_path: Path) -> None:
    script = "import sys; sys.stderr.write('x' * 500_000 + 'fatal: the reason')"
    result = await capture(
        python(script), cwd=tmp_path, environment=ENVIRONMENT, max_stderr_bytes=100
    )
    assert len(result.stderr) == 100
    assert result.stderr.endswith(b"fatal: the reason")


async def test_a_command_that_takes_too_long_is_killed_with_its_group(tmp_path: Path) -> None:
    result = await capture(
        shell("trap '' TERM; sleep 60 & echo $!; wait"),
        cwd=tmp_path,
        environment=ENVIRONMENT,
        timeout_seconds=0.2,
    )
    assert result.has_timed_out
    assert result.exit_code == -9
    assert await gone(int(result.stdout))


async def test_a_background_child_does_not_hold_the_command(tmp_path: Path) -> None:
    started = time.monotonic()
    result = await capture(shell("sleep 60 & echo $!"), cwd=tmp_path, environment=ENVIRONMENT)
    assert result.exit_code == 0
    assert time.monotonic() - started < 5
    assert await gone(int(result.stdout))


async def test_cancelling_kills_the_command(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    task = asyncio.create_task(
        capture(shell(f"echo $$ > {marker}; exec sleep 60"), cwd=tmp_path, environment=ENVIRONMENT)
    )
    pid = int(await written(marker))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone(pid)


async def test_a_missing_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProgramNotFound, match="no-such-program"):
        await capture(["no-such-program"], cwd=tmp_path, environment=ENVIRONMENT)


async def test_a_command_is_not_run_inside_a_transaction(tmp_path: Path) -> None:
    with transaction_mark("a transaction"), pytest.raises(WaitingInsideTransaction):
        await capture(["true"], cwd=tmp_path, environment=ENVIRONMENT)


async def test_a_cancellation_at_the_very_end_is_not_forgotten(tmp_path: Path) -> None:
    usual, forgotten, heard = 0.002, 0, 0
    for _ in range(200):
        began = time.monotonic()
        task = asyncio.create_task(capture(["true"], cwd=tmp_path, environment=ENVIRONMENT))
        asyncio.get_running_loop().call_later(usual * random.uniform(0.7, 1.0), task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            heard += 1
            usual *= 1.03  # nearer to the end
        else:
            forgotten += task.cancelling()
            usual = (usual + time.monotonic() - began) / 2
    assert forgotten == 0
    assert heard
