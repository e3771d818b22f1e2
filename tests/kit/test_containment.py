"""Programs that do all they can to outlive their run, against each level of containment."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from agentvine.kit.ids import new_id
from agentvine.kit.process import (
    BY_GROUP,
    Containment,
    ContainmentLevel,
    ExitReason,
    PauseSwitch,
    Probe,
    ProcessExit,
    ProgramNotFound,
    ProgramNotStarted,
    probe_containment,
    run_process,
)
from agentvine.kit.process.kept import KEEPER, keeper_argv
from tests.support.processes import ENVIRONMENT, Output, python, run, shell, spec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

HELD = (ContainmentLevel.NAMESPACE, ContainmentLevel.CGROUP, ContainmentLevel.SUBREAPER)

PRELUDE = """
import os, signal, subprocess, sys, time
tag = sys.argv[1]
def linger(name):
    # An own name in the process table, so that the test can look for it.
    end = time.monotonic() + 60
    os.execve(sys.executable, [sys.executable, "-S", "-c",
        "import signal, time\\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\\n"
        "time.sleep(60)", tag, name], {})
def daemon(name):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for fd in range(64):
                try: os.close(fd)
                except OSError: pass
            linger(name)
        os._exit(0)
    os.wait()
"""

HOSTILE = {
    "a background child": "if os.fork() == 0: linger('child')\n",
    "a new session": "if os.fork() == 0:\n    os.setsid(); linger('session')\n",
    "a daemon without environment, descriptors or parents": "daemon('daemon')\n",
    "a daemon of a daemon": (
        "if os.fork() == 0:\n    os.setsid(); daemon('second'); os._exit(0)\ndaemon('first')\n"
    ),
    "a program that ignores every signal it can": (
        "for n in range(1, 65):\n"
        "    try: signal.signal(n, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\n"
        "if os.fork() == 0: linger('deaf')\n"
    ),
    "a modest fork bomb": ("for _ in range(5):\n    os.fork()\nlinger('bomb')\n"),
    "one that comes back when it is told to end": (
        "def again(*_):\n    if os.fork() == 0: linger('again')\n"
        "signal.signal(15, again)\nsignal.signal(1, again)\n"
    ),
}
"""What each does before it prints a line, and then ends or sleeps."""


@pytest.fixture
async def machine() -> Probe:
    return await probe_containment()


@pytest.fixture
async def tag() -> AsyncIterator[str]:
    tag = f"hostile-{new_id().hex}"
    yield tag
    for process in tagged(tag):
        process.kill()


def tagged(tag: str) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if tag in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def contained(machine: Probe, level: ContainmentLevel) -> Containment:
    """The level, or what the worker takes where this machine does not have it."""
    chosen = machine.choose(level)
    if chosen is None:
        assert machine.problems[level], "the probe says why"
        return machine.best
    return chosen


@pytest.mark.parametrize("level", HELD)
@pytest.mark.parametrize("ending", ["ends by itself", "is stopped"])
async def test_nothing_survives_its_run(
    machine: Probe, level: ContainmentLevel, ending: str, tag: str, tmp_path: Path
):
    last = "" if ending == "ends by itself" else "time.sleep(60)\n"
    # Each in a process of its own, side by side; the list in the end says which one is left.
    programs = "".join(
        f"exec_{number} = os.fork()\nif exec_{number} == 0:\n    exec({code!r})\n    os._exit(0)\n"
        for number, code in enumerate(HOSTILE.values())
    )
    script = PRELUDE + programs + "time.sleep(0.5)\nprint('ready', flush=True)\n" + last
    output, stop = Output(), asyncio.Event()
    task = asyncio.create_task(
        run_process(
            spec(
                [*python(script), tag],
                tmp_path,
                containment=contained(machine, level),
                grace_seconds=0.3,
            ),
            output.take,
            stop=stop,
        )
    )
    await output.wait_for()
    stop.set() if last else None
    ended = await task
    assert ended.survivor_pids == ()
    assert ended.reason in {ExitReason.EXITED, ExitReason.CANCELLED}
    assert [process.cmdline()[-1] for process in tagged(tag)] == []
    assert keepers_of(ended) == []


async def test_without_a_keeper_what_was_not_seen_in_time_escapes_and_the_probe_says_what_is_better(
    machine: Probe, tag: str, tmp_path: Path
):
    # The reason for all the rest: it cleared its environment and detached between two looks.
    script = PRELUDE + HOSTILE["a daemon without environment, descriptors or parents"]
    await run([*python(script), tag], tmp_path, containment=BY_GROUP)
    escaped = tagged(tag)
    if sys.platform == "linux":
        assert machine.best.level is not ContainmentLevel.GROUP
    assert len(escaped) <= 1
    await run([*python(script), tag + "b"], tmp_path, containment=machine.best)
    assert tagged(tag + "b") == []


async def test_the_strongest_level_that_works_is_taken(machine: Probe):
    assert machine.best.level not in machine.problems
    assert all(
        level in machine.problems
        for level in list(ContainmentLevel)[: list(ContainmentLevel).index(machine.best.level)]
    )
    for level, problem in machine.problems.items():
        assert machine.choose(level) is None
        assert problem


def ignored_here() -> int:
    """The signals that this process ignores, as the system writes them."""
    return int(Path("/proc/self/status").read_text().split("SigIgn:")[1].split()[0], 16)


@pytest.mark.parametrize("level", HELD)
async def test_a_kept_program_looks_as_if_nobody_kept_it(
    machine: Probe, level: ContainmentLevel, tmp_path: Path
):
    held = contained(machine, level)
    script = (
        "import os, signal, sys\n"
        "print(os.getsid(0) == os.getpid(), os.getcwd(), sys.stdin.read() == '')\n"
        "print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)\n"
        "print(sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:3],"
        " len(os.listdir('/proc/self/fd')))\n"
        "print(sorted(os.environ))\n"
        "print(open('/proc/self/status').read().split('SigIgn:')[1].split()[0])\n"
    )
    result, output = await run(
        [sys.executable, "-c", script], tmp_path, containment=held, environment={"A": "b"}
    )
    lines = output.stdout.decode().splitlines()
    assert lines[0] == f"True {tmp_path} True"
    assert lines[1] == "True"
    assert lines[2] == "[0, 1, 2] 4", "the fourth is the listing's own"
    assert lines[3] in {
        "['A', 'AGENTVINE_RUN_ID']",
        "['A', 'AGENTVINE_RUN_ID', 'LC_CTYPE']",
    }
    # Python ignores SIGPIPE and SIGXFSZ for itself. Beyond that a program ignores what we were
    # started to ignore (SIGQUIT, in the background of a shell), and nothing that its keeper does;
    # SIGINT and SIGHUP, which such a shell or nohup has us ignore too, it hears in any case.
    own = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)
    heard = 1 << (signal.SIGINT - 1) | 1 << (signal.SIGHUP - 1)
    assert int(lines[4], 16) == (ignored_here() | own) & ~heard
    assert result.is_success
    assert result.leftover_count == 0


@pytest.mark.parametrize("level", HELD)
async def test_ends_are_told_as_they_are(machine: Probe, level: ContainmentLevel, tmp_path: Path):
    held = contained(machine, level)
    result, output = await run(shell("echo out; exit 7"), tmp_path, containment=held)
    assert (result.exit_code, result.signal, result.reason) == (7, None, ExitReason.EXITED)
    assert output.stdout == b"out\n"
    result, _ = await run(shell("kill -11 $$"), tmp_path, containment=held)
    assert (result.exit_code, result.signal, result.reason) == (None, 11, ExitReason.KILLED)
    result, _ = await run(shell("sleep 60"), tmp_path, containment=held, timeout_seconds=0.3)
    assert (result.signal, result.reason) == (signal.SIGTERM, ExitReason.TIMEOUT)
    result, _ = await run(shell("sleep 60 & exit 0"), tmp_path, containment=held)
    assert (result.leftover_count, result.exit_code) == (1, 0)
    grow = "x = bytearray(80_000_000)"
    result, _ = await run([sys.executable, "-c", grow], tmp_path, containment=held)
    assert 80_000_000 < result.peak_memory_bytes < 200_000_000
    burn = f"{sys.executable} -c 'import time\nwhile time.process_time() < 0.4: pass'"
    result, _ = await run(shell(f"{burn}; true"), tmp_path, containment=held)
    assert 0.4 <= result.cpu_seconds < 20


@pytest.mark.parametrize("level", HELD)
async def test_what_cannot_be_started_says_why(
    machine: Probe, level: ContainmentLevel, tmp_path: Path
):
    held = contained(machine, level)
    with pytest.raises(ProgramNotFound):
        await run(["no-such-program"], tmp_path, containment=held)
    not_a_program = tmp_path / "not-a-program"
    not_a_program.write_bytes(b"\0\1\2")
    not_a_program.chmod(0o755)
    with pytest.raises(ProgramNotStarted, match="format"):
        await run([str(not_a_program)], tmp_path, containment=held)
    without = tmp_path / "without"
    without.write_text("#!/no/such/interpreter\n")
    without.chmod(0o755)
    with pytest.raises(ProgramNotStarted, match="interpreter"):
        await run([str(without)], tmp_path, containment=held)


@pytest.mark.parametrize("level", HELD)
async def test_a_run_dies_with_the_worker_that_is_killed(
    machine: Probe, level: ContainmentLevel, tag: str, tmp_path: Path
):
    held = contained(machine, level)
    ready = tmp_path / "ready"
    script = PRELUDE + f"daemon('daemon')\nopen({str(ready)!r}, 'w').close()\nlinger('main')\n"
    worker = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from agentvine.kit.process import Containment, ProcessSpec, run_process\n"
        "async def take(*_): pass\n"
        f"held = Containment(level={held.level.value!r},"
        f" cgroups={f'Path({str(held.cgroups)!r})' if held.cgroups else None})\n"
        f"spec = ProcessSpec(argv=[sys.executable, '-c', {script!r}, {tag!r}],"
        f" cwd=Path({str(tmp_path)!r}), run_id='r', environment={{}}, containment=held)\n"
        "asyncio.run(run_process(spec, take))\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", worker, env={"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    async with asyncio.timeout(30):
        while not ready.exists() or len(tagged(tag)) < 2:  # noqa: ASYNC110 - another process's doing
            await asyncio.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        while tagged(tag):  # noqa: ASYNC110 - ends when they are gone
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("level", [*HELD, ContainmentLevel.GROUP])
async def test_a_paused_run_stands_still_as_a_whole_and_goes_on(
    machine: Probe, level: ContainmentLevel, tmp_path: Path
):
    held = contained(machine, level)
    pause, output = PauseSwitch(), Output()
    script = (
        "import os, sys, time\n"
        "who = 'a' if os.fork() else 'b'\n"
        "while not os.path.exists('stop'):\n"
        "    with open(who, 'ab') as f: f.write(b'.')\n"
        "    time.sleep(0.005)\n"
        "if who == 'a': os.wait()\n"
    )
    task = asyncio.create_task(
        run_process(
            spec(python(script), tmp_path, containment=held, timeout_seconds=20),
            output.take,
            pause=pause,
        )
    )

    def written() -> list[int]:
        paths = [tmp_path / "a", tmp_path / "b"]
        return [path.stat().st_size if path.exists() else 0 for path in paths]

    async def moves(*, past: list[int]) -> None:
        while not all(now > then for now, then in zip(written(), past, strict=True)):  # noqa: ASYNC110 - another process's doing
            await asyncio.sleep(0.01)

    async with asyncio.timeout(60):
        await moves(past=[0, 0])
        pause.pause()
        while (before := written()) != await later(written):
            continue
        assert before == await later(written)
        pause.resume()
        await moves(past=before)
        (tmp_path / "stop").touch()
        assert (await task).is_success


TRAP = "trap 'echo told; exit 3' TERM; echo ready; while :; do sleep 0.02; done"


@pytest.mark.parametrize("level", [*HELD, ContainmentLevel.GROUP])
async def test_a_paused_run_can_be_stopped(machine: Probe, level: ContainmentLevel, tmp_path: Path):
    held = contained(machine, level)
    for has_settled in (True, False, False, False):
        pause, output, stop = PauseSwitch(), Output(), asyncio.Event()
        stands_still = asyncio.Event()
        pause.on_settled = stands_still.set
        task = asyncio.create_task(
            run_process(
                spec(shell(TRAP), tmp_path, containment=held, grace_seconds=60),
                output.take,
                stop=stop,
                pause=pause,
            )
        )
        await output.wait_for()
        pause.pause()
        if has_settled:
            async with asyncio.timeout(60):
                await stands_still.wait()
        stop.set()
        ended = await task
        assert (ended.reason, ended.exit_code) == (ExitReason.CANCELLED, 3)
        assert output.stdout == b"ready\ntold\n"


async def test_a_program_that_waits_for_what_it_spawned_can_be_paused(tmp_path: Path):
    # As with vfork, the parent waits out of reach of signals until the child is another program.
    script = (
        "import ctypes, os, platform, time\n"
        "clone = {'x86_64': 56, 'aarch64': 220}[platform.machine()]\n"
        "CLONE_VFORK, SIGCHLD = 0x4000, 17\n"
        "if ctypes.CDLL(None).syscall(clone, *map(ctypes.c_long, (CLONE_VFORK | SIGCHLD,"
        " 0, 0, 0, 0))) == 0:\n"
        "    print('ready', flush=True)\n"
        "    while not os.path.exists('go'): time.sleep(0.01)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    pause, output = PauseSwitch(), Output()
    settled = asyncio.Event()
    pause.on_settled = settled.set
    task = asyncio.create_task(
        run_process(spec(python(script), tmp_path), output.take, pause=pause)
    )
    await output.wait_for()
    pause.pause()
    async with asyncio.timeout(60):
        await settled.wait()
    assert pause.stands_still
    (tmp_path / "go").touch()
    assert not task.done()
    pause.resume()
    async with asyncio.timeout(60):
        assert (await task).is_success


async def test_a_run_that_is_being_ended_is_not_stopped_any_more(machine: Probe, tmp_path: Path):
    go = tmp_path / "go"
    script = f"trap 'echo told; while ! [ -e {go} ]; do sleep 0.01; done; exit 3' TERM; echo ready"
    for held in (machine.best, BY_GROUP):
        go.unlink(missing_ok=True)
        output, stop, pause = Output(), asyncio.Event(), PauseSwitch()
        task = asyncio.create_task(
            run_process(
                spec(
                    shell(f"{script}; while :; do sleep 0.02; done"),
                    tmp_path,
                    containment=held,
                    grace_seconds=60,
                ),
                output.take,
                stop=stop,
                pause=pause,
            )
        )
        await output.wait_for()
        stop.set()
        await output.wait_for(2)
        pause.pause()
        go.touch()
        ended = await task
        assert (ended.reason, ended.exit_code) == (ExitReason.CANCELLED, 3)
        assert not pause.stands_still


async def test_a_dismissed_keeper_still_tells_how_its_program_ended(tmp_path: Path):
    # The program's end is seen in the process table, maybe before its keeper came to look.
    status, status_end = os.pipe()
    lifeline_end, lifeline = os.pipe()
    go = tmp_path / "go"
    argv = keeper_argv(
        shell(f"while ! [ -e {go} ]; do sleep 0.01; done; exit 3"),
        program="/bin/sh",
        is_namespace=False,
        group=None,
        rlimits={},
        pipes=(status_end, lifeline_end),
    )
    keeper = await asyncio.create_subprocess_exec(
        *argv, pass_fds=(status_end, lifeline_end), env=ENVIRONMENT
    )
    os.close(status_end)
    os.close(lifeline_end)
    with os.fdopen(status) as told:
        assert "started" in await asyncio.to_thread(told.readline)
        (program,) = psutil.Process(keeper.pid).children()
        keeper.send_signal(signal.SIGSTOP)
        go.touch()
        async with asyncio.timeout(60):
            while program.status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110 - another process's doing
                await asyncio.sleep(0.01)
        os.close(lifeline)
        keeper.send_signal(signal.SIGCONT)
        ended = json.loads(await asyncio.to_thread(told.readline))
    assert os.waitstatus_to_exitcode(ended["ended"]) == 3
    assert await keeper.wait() == 0


async def later(look: Callable[[], list[int]]) -> list[int]:
    # Long beside the program's own steps of 5 ms.
    await asyncio.sleep(0.3)  # lint: allow AV019 (that nothing happens can only be seen in time)
    return look()


def keepers_of(ended: ProcessExit) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.pid == ended.process.pid and str(KEEPER) in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found
