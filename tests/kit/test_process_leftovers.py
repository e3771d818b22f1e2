"""What a program leaves running when it ends, and how far it may go to hide."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from agentvine.kit.process import ExitReason, Stream, run_process
from agentvine.kit.process.table import RUN_MARKER, ProcessRow, carries_marker, read_process
from tests.support.processes import ENVIRONMENT, Output, python, run, runs, shell, spec, stranger

DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        if {clear_environment}:
            os.execve("/bin/sleep", ["sleep", "60"], {{}})
        null = os.open(os.devnull, os.O_RDWR)
        print(os.getpid(), flush=True)
        for fd in (0, 1, 2): os.dup2(null, fd)
        time.sleep(60)
    os._exit(0)
os.wait()
{then}
"""


async def test_a_background_child_is_ended_after_its_parent(tmp_path: Path) -> None:
    result, output = await run(shell("sleep 60 & echo $!; exit 5"), tmp_path)
    assert (result.reason, result.exit_code) == (ExitReason.EXITED, 5)
    assert result.leftover_count == 1
    assert not runs(output.pids[0])


async def test_a_daemon_with_its_own_session_is_found_by_the_marker(tmp_path: Path) -> None:
    script = DAEMON.format(clear_environment=False, then="time.sleep(0.1)")
    result, output = await run(python(script), tmp_path)
    assert result.exit_code == 0
    assert result.leftover_count == 1
    assert not runs(output.pids[0])


async def test_a_daemon_is_ended_on_cancellation_too(tmp_path: Path) -> None:
    stop = asyncio.Event()
    output = Output()
    script = DAEMON.format(clear_environment=False, then="time.sleep(60)")
    task = asyncio.create_task(run_process(spec(python(script), tmp_path), output.take, stop=stop))
    await output.wait_for()
    stop.set()
    assert (await task).reason is ExitReason.CANCELLED
    assert not runs(output.pids[0])


async def test_a_child_that_left_the_group_and_cleared_its_environment_is_ended(
    tmp_path: Path,
) -> None:
    stop = asyncio.Event()
    output = Output()
    script = "env -i setsid sh -c 'echo $$; exec sleep 60' & wait"
    task = asyncio.create_task(run_process(spec(shell(script), tmp_path), output.take, stop=stop))
    await output.wait_for()
    stop.set()
    await task
    assert not runs(output.pids[0])


async def test_a_descendant_once_seen_is_ended_even_when_it_detached(tmp_path: Path) -> None:
    # It clears its environment, leaves the session, and its parent goes: only the sampler saw it.
    script = "(env -i setsid sh -c 'echo $$; exec sleep 60' & sleep 1.5); exit 0"
    result, output = await run(shell(script), tmp_path)
    assert result.exit_code == 0
    assert not runs(output.pids[0])


async def test_a_leftover_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    script = "(trap '' TERM; while :; do sleep 0.05; done) & echo $!; exit 0"
    result, output = await run(shell(script), tmp_path)
    assert result.exit_code == 0
    assert not runs(output.pids[0])


async def test_a_tree_that_keeps_forking_is_ended(tmp_path: Path) -> None:
    script = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: os.fork())\n"
        "print(os.getpid(), flush=True)\n"
        "for _ in range(3): os.fork()\n"
        "end = time.monotonic() + 60\n"
        "while time.monotonic() < end: time.sleep(0.01)\n"
    )
    result, _ = await run(python(script), tmp_path, timeout_seconds=0.5, run_id="forking")
    assert result.reason is ExitReason.TIMEOUT
    assert result.survivor_pids == ()
    command_lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert not any(script in line for line in command_lines)


async def test_a_stranger_holding_the_pipe_open_does_not_hold_the_run(tmp_path: Path) -> None:
    path, go = tmp_path / "stdout", tmp_path / "go"
    with contextlib.ExitStack() as strangers:
        held: list[subprocess.Popen[bytes]] = []

        async def take(stream: Stream, _: bytes) -> None:
            if stream is Stream.STDOUT and not held:
                held.append(strangers.enter_context(stranger(stdout=path)))
                go.touch()

        script = f"ln -s /proc/$$/fd/1 {path}; echo; while ! [ -e {go} ]; do sleep 0.01; done"
        started = time.monotonic()
        result = await run_process(spec(shell(script), tmp_path, pipe_wait_seconds=0.2), take)
        assert result.exit_code == 0
        assert not result.is_output_complete
        assert time.monotonic() - started < 10
        assert runs(held[0].pid)


async def test_a_neighbour_of_another_run_is_left_alone(tmp_path: Path) -> None:
    with stranger(run_id="another") as neighbour:
        await run(shell("sleep 60"), tmp_path, timeout_seconds=0.05, run_id="mine")
        assert runs(neighbour.pid)


async def test_we_never_end_ourselves_though_we_carry_the_marker(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from agentvine.kit.process import ProcessSpec, run_process\n"
        "async def take(*_): pass\n"
        "spec = ProcessSpec(argv=['sleep', '60'], cwd=Path('/'), run_id='outer',"
        " environment={'PATH': '/bin:/usr/bin'}, timeout_seconds=0.05, grace_seconds=0.2)\n"
        "print(asyncio.run(run_process(spec, take)).reason)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        env=ENVIRONMENT | {"AGENTVINE_RUN_ID": "outer", "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
    )
    stdout, _ = await process.communicate()
    assert (process.returncode, stdout) == (0, b"timeout\n")


def test_who_becomes_another_program_time_and_again_is_known_by_the_marker_at_every_look(
    tmp_path: Path,
) -> None:
    script = tmp_path / "again"
    script.write_text('#!/bin/sh\nexec "$0"\n')
    script.chmod(0o755)
    process = subprocess.Popen(
        [script], env={**ENVIRONMENT, RUN_MARKER: "r-1"}, start_new_session=True
    )
    try:
        looks = [carries_marker(row, "r-1") for row in rows_of(process.pid, 3000)]
        assert len(looks) == 3000
        assert all(looks), f"{looks.count(False)} looks did not find it"
        (row,) = rows_of(process.pid, 1)
        assert not carries_marker(row, "r")
    finally:
        process.kill()
        process.wait()


def rows_of(pid: int, count: int) -> Iterator[ProcessRow]:
    for _ in range(count):
        row = read_process(pid)
        assert row is not None
        yield row
