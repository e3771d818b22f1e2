import asyncio
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from agentvine.kit.guards import WaitingInsideTransaction, transaction_mark
from agentvine.kit.process import (
    ExitReason,
    ProgramNotFound,
    ProgramNotStarted,
    Stream,
    WorkingDirectoryMissing,
    run_process,
)
from tests.support.processes import Output, python, run, runs, shell, spec


async def test_a_program_that_ends_by_itself_tells_its_exit_code_and_output(tmp_path: Path) -> None:
    result, output = await run(shell("echo out; echo err >&2; exit 3"), tmp_path)
    assert (result.exit_code, result.signal, result.reason) == (3, None, ExitReason.EXITED)
    assert (output.stdout, output.stderr) == (b"out\n", b"err\n")
    assert not result.is_success
    assert result.is_output_complete
    assert 0 < result.duration_seconds < 10
    assert result.leftover_count == 0
    assert result.survivor_pids == ()


async def test_the_environment_is_exactly_what_was_given_and_the_marker(tmp_path: Path) -> None:
    result, output = await run(
        ["/usr/bin/env"], tmp_path, environment={"PATH": "/bin", "A": "b c"}, run_id="r-1"
    )
    assert result.is_success
    assert sorted(output.stdout.decode().splitlines()) == [
        "A=b c",
        "AGENTVINE_RUN_ID=r-1",
        "PATH=/bin",
    ]


async def test_a_program_runs_in_its_folder_and_session_without_input(tmp_path: Path) -> None:
    script = "import os, sys; print(os.getcwd(), os.getsid(0) == os.getpid(), sys.stdin.read())"
    _, output = await run(python(script), tmp_path)
    assert output.stdout.decode().split() == [str(tmp_path), "True"]


async def test_no_open_file_of_ours_is_inherited(tmp_path: Path) -> None:
    held = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(held, True)
    try:
        script = f"import os\ntry: os.fstat({held})\nexcept OSError: print('closed')"
        _, output = await run(python(script), tmp_path)
    finally:
        os.close(held)
    assert output.stdout == b"closed\n"


async def test_fifty_megabytes_on_both_pipes_arrive_whole(tmp_path: Path) -> None:
    script = (
        "import os, threading\n"
        "def write(fd, letter):\n"
        "    for _ in range(800): \n"
        "        left = memoryview(letter * 65536)\n"
        "        while left: left = left[os.write(fd, left):]\n"
        "threads = [threading.Thread(target=write, args=a) for a in ((1, b'o'), (2, b'e'))]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
    )
    result, output = await run(python(script), tmp_path)
    assert result.is_success
    assert len(output.stdout) == len(output.stderr) == 800 * 65536
    assert output.stdout.count(b"o") == 800 * 65536


async def test_binary_output_arrives_as_it_was_written(tmp_path: Path) -> None:
    script = "import os; os.write(1, bytes(range(256)) * 100)"
    _, output = await run(python(script), tmp_path)
    assert output.stdout == bytes(range(256)) * 100


async def test_a_slow_reader_slows_the_program_instead_of_filling_memory(tmp_path: Path) -> None:
    script = "import os\nfor _ in range(100): os.write(1, b'x' * 65536)\nos.write(2, b'written')"
    largest_chunk, taken = 0, 0
    has_written_all = False

    async def take_slowly(stream: Stream, chunk: bytes) -> None:
        nonlocal largest_chunk, taken, has_written_all
        if stream is Stream.STDERR:
            has_written_all = True
            return
        largest_chunk = max(largest_chunk, len(chunk))
        taken += len(chunk)
        await asyncio.sleep(0)
        if taken < 5_000_000:
            assert not has_written_all

    result = await run_process(spec(python(script), tmp_path), take_slowly)
    assert result.is_success
    assert taken == 100 * 65536
    assert largest_chunk <= 65536


async def test_a_program_that_outlives_its_time_is_ended(tmp_path: Path) -> None:
    result, output = await run(shell("echo $$; exec sleep 60"), tmp_path, timeout_seconds=0.3)
    assert result.reason is ExitReason.TIMEOUT
    assert (result.exit_code, result.signal) == (None, signal.SIGTERM)
    assert not runs(output.pids[0])


async def test_a_program_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    stop = asyncio.Event()
    output = Output()
    script = "trap '' TERM; echo $$; while :; do sleep 0.05; done"
    task = asyncio.create_task(
        run_process(spec(shell(script), tmp_path, grace_seconds=0.3), output.take, stop=stop)
    )
    await output.wait_for()
    stopped_at = time.monotonic()
    stop.set()
    result = await task
    assert result.reason is ExitReason.CANCELLED
    assert result.signal == signal.SIGKILL
    assert 0.3 <= time.monotonic() - stopped_at < 5
    assert not runs(output.pids[0])


async def test_a_program_may_use_its_grace_to_end_well(tmp_path: Path) -> None:
    stop = asyncio.Event()
    output = Output()
    script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.02; done"
    task = asyncio.create_task(
        run_process(spec(shell(script), tmp_path, grace_seconds=10), output.take, stop=stop)
    )
    await output.wait_for()
    stop.set()
    result = await task
    assert (result.reason, result.exit_code) == (ExitReason.CANCELLED, 7)
    assert output.stdout == b"ready\nbye\n"


async def test_cancelling_the_task_ends_the_program_before_it_is_left(tmp_path: Path) -> None:
    output = Output()
    task = asyncio.create_task(
        run_process(spec(shell("sleep 60 & echo $! $$; wait"), tmp_path), output.take)
    )
    await output.wait_for()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not any(runs(pid) for pid in output.pids)


async def test_a_second_cancellation_does_not_wait_for_the_grace(tmp_path: Path) -> None:
    output = Output()
    script = "trap '' TERM; echo $$; while :; do sleep 0.05; done"
    task = asyncio.create_task(
        run_process(spec(shell(script), tmp_path, grace_seconds=60), output.take)
    )
    await output.wait_for()
    task.cancel()
    await asyncio.sleep(0.02)
    task.cancel()
    started = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 5
    assert not runs(output.pids[0])


async def test_a_failing_output_handler_ends_the_program_and_is_reported(tmp_path: Path) -> None:
    pids: list[int] = []

    async def fail(_: Stream, chunk: bytes) -> None:
        pids.extend(int(word) for word in chunk.split())
        raise OSError("the spool is full")

    with pytest.raises(OSError, match="spool is full"):
        await run_process(spec(shell("echo $$; exec sleep 60"), tmp_path), fail)
    assert pids
    assert not runs(pids[0])


async def test_a_crash_is_told_from_an_exit(tmp_path: Path) -> None:
    result, _ = await run(shell("kill -SEGV $$"), tmp_path)
    assert (result.reason, result.exit_code) == (ExitReason.KILLED, None)
    assert result.signal == signal.SIGSEGV


async def test_a_program_that_closes_its_output_and_works_on_is_waited_for(tmp_path: Path) -> None:
    result, output = await run(shell("echo last words; exec >&- 2>&-; sleep 0.3; exit 4"), tmp_path)
    assert result.exit_code == 4
    assert result.duration_seconds >= 0.3
    assert output.stdout == b"last words\n"


async def test_a_stopped_program_can_still_be_ended(tmp_path: Path) -> None:
    result, output = await run(shell("echo $$; kill -STOP $$"), tmp_path, timeout_seconds=0.3)
    assert (result.reason, result.signal) == (ExitReason.TIMEOUT, signal.SIGTERM)
    assert not runs(output.pids[0])


async def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProgramNotFound, match="no-such-program was not found"):
        await run(["no-such-program"], tmp_path)


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkingDirectoryMissing, match="gone"):
        await run(shell("true"), tmp_path / "gone")


async def test_a_file_that_is_no_program_is_refused_with_the_reason(tmp_path: Path) -> None:
    program = tmp_path / "data"
    program.write_bytes(b"\x00\x01")
    program.chmod(0o755)
    with pytest.raises(ProgramNotStarted, match="Exec format error"):
        await run([str(program)], tmp_path)


async def test_an_argument_with_nul_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProgramNotStarted, match="null byte"):
        await run(["echo", "a\0b"], tmp_path)


async def test_a_program_is_not_run_inside_a_transaction(tmp_path: Path) -> None:
    with transaction_mark("a transaction"), pytest.raises(WaitingInsideTransaction):
        await run(shell("true"), tmp_path)


async def test_peak_memory_counts_what_the_program_used(tmp_path: Path) -> None:
    # The pause lets a sample see it: our own peak may be higher, and then hides the system's word.
    script = "import time; x = b'x' * 150_000_000; time.sleep(0.4)"
    result, _ = await run(python(script), tmp_path)
    assert 150_000_000 < result.peak_memory_bytes < 600_000_000


async def test_peak_memory_of_a_small_program_is_not_ours(tmp_path: Path) -> None:
    result, _ = await run(shell("sleep 0.1"), tmp_path)
    assert 0 < result.peak_memory_bytes < 20_000_000


BURN = "import time\nwhile time.process_time() < 0.4: pass"


async def test_processor_time_is_that_of_all_processes(tmp_path: Path) -> None:
    script = f"import subprocess, sys\nrun = [sys.executable, '-c', {BURN!r}]\n"
    script += "two = [subprocess.Popen(run), subprocess.Popen(run)]\n[each.wait() for each in two]"
    result, _ = await run(python(script), tmp_path)
    assert 0.8 <= result.cpu_seconds < 20


async def test_who_only_waits_uses_no_processor_time(tmp_path: Path) -> None:
    result, _ = await run(shell("sleep 0.2"), tmp_path)
    assert result.cpu_seconds < 0.2


async def test_many_programs_run_side_by_side(tmp_path: Path) -> None:
    async def one(number: int) -> bytes:
        _, output = await run(shell(f"echo {number}"), tmp_path, run_id=f"side-{number}")
        return bytes(output.stdout)

    outputs = await asyncio.gather(*(one(number) for number in range(20)))
    assert outputs == [b"%d\n" % number for number in range(20)]


async def test_runs_leave_no_descriptor_and_no_zombie_behind(tmp_path: Path) -> None:
    await run(shell("true"), tmp_path)
    us = psutil.Process()
    before = us.num_fds()
    rounds = 5
    for _ in range(rounds):
        await run(shell("echo x; exit 1"), tmp_path)
        await run(shell("sleep 60"), tmp_path, timeout_seconds=0.01)
    deadline = asyncio.get_running_loop().time() + 5
    # The loop closes a pipe some rounds after it is told; on a busy machine that takes a moment.
    while us.num_fds() > before and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0.01)
    # What a run leaves is there once for each round; a thread of an earlier test may open one.
    assert us.num_fds() < before + rounds
    assert not [child for child in us.children() if child.status() == psutil.STATUS_ZOMBIE]
