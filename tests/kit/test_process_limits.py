"""Programs that take more than they may."""

import sys
from pathlib import Path

import pytest

from agentvine.kit.process import (
    BY_GROUP,
    Containment,
    ExitReason,
    Limit,
    ProcessExit,
    ResourceLimits,
    probe_containment,
)
from agentvine.kit.process.limits import folder_bytes
from tests.support.processes import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

MIB = 2**20


@pytest.fixture(params=["the machine's best", "by group"])
async def held(request: pytest.FixtureRequest) -> Containment:
    return BY_GROUP if request.param == "by group" else (await probe_containment()).best


async def end_of(
    script: str, cwd: Path, held: Containment, limits: ResourceLimits
) -> tuple[ProcessExit, str]:
    ended, output = await run(
        [sys.executable, "-S", "-c", script],
        cwd,
        containment=held,
        limits=limits,
        timeout_seconds=60,
    )
    return ended, output.stdout.decode()


def assert_breach(ended: ProcessExit, limit: Limit, words: str) -> None:
    assert ended.reason is ExitReason.LIMIT
    assert ended.breach is not None
    assert ended.breach.limit is limit
    assert words in ended.breach.message
    assert ended.survivor_pids == ()


async def test_memory_is_added_up_over_all_processes(held: Containment, tmp_path: Path):
    script = "import os, time\nfor _ in range(4): os.fork()\nx = b'x' * 20_000_000\ntime.sleep(60)"
    limits = ResourceLimits(memory_bytes=100 * MIB)
    ended, _ = await end_of(script, tmp_path, held, limits)
    assert_breach(ended, Limit.MEMORY, "more than its 100 MiB of memory")


async def test_one_greedy_process_does_not_get_far_between_two_looks(tmp_path: Path):
    best = (await probe_containment()).best
    script = (
        "x = bytearray()\n"
        "try:\n"
        "    while True: x += b'x' * 10_000_000\n"
        "except MemoryError: print(len(x) // 2**20)\n"
        "raise SystemExit(3)"
    )
    ended, printed = await end_of(script, tmp_path, best, ResourceLimits(memory_bytes=100 * MIB))
    assert_breach(ended, Limit.MEMORY, "100 MiB")
    assert ended.peak_memory_bytes < 260 * MIB
    assert not printed or int(printed) <= 164


async def test_processes_are_counted(held: Containment, tmp_path: Path):
    script = "import os, time\nfor _ in range(5): os.fork()\ntime.sleep(60)"
    ended, _ = await end_of(script, tmp_path, held, ResourceLimits(processes=16))
    assert_breach(ended, Limit.PROCESSES, "more than its 16 processes")


async def test_processor_time_is_added_up_also_of_those_that_have_ended(
    held: Containment, tmp_path: Path
):
    # No single process comes near the limit.
    script = (
        "import os, time\n"
        "while True:\n"
        "    if os.fork() == 0:\n"
        "        while time.process_time() < 0.2: pass\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
    )
    ended, _ = await end_of(script, tmp_path, held, ResourceLimits(cpu_seconds=2))
    assert_breach(ended, Limit.CPU_TIME, "more than its 2 s of processor time")


async def test_a_file_ends_at_its_size(tmp_path: Path):
    best = (await probe_containment()).best
    script = (
        "import signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "with open('large', 'wb') as file:\n"
        "    while True: file.write(b'x' * 100_000)"
    )
    ended, _ = await end_of(script, tmp_path, best, ResourceLimits(file_bytes=MIB))
    assert_breach(ended, Limit.FILE_SIZE, "a file larger than 1024 KiB")
    assert (tmp_path / "large").stat().st_size == MIB


async def test_the_folder_may_not_grow_without_end(held: Containment, tmp_path: Path):
    script = (
        "import time\n"
        "for n in range(40):\n"
        "    with open(f'f{n}', 'wb') as file: file.write(b'x' * 1_000_000)\n"
        "time.sleep(60)"
    )
    ended, _ = await end_of(script, tmp_path, held, ResourceLimits(disk_bytes=20 * MIB))
    assert_breach(ended, Limit.DISK, "grow beyond 20 MiB")


async def test_within_its_limits_a_program_notices_nothing(held: Containment, tmp_path: Path):
    limits = ResourceLimits(
        memory_bytes=500 * MIB,
        processes=20,
        cpu_seconds=60,
        file_bytes=10 * MIB,
        disk_bytes=100 * MIB,
    )
    script = "open('a', 'w').write('x' * 1000); print(len(b'x' * 50_000_000))"
    ended, printed = await end_of(script, tmp_path, held, limits)
    assert (ended.reason, ended.exit_code, ended.breach) == (ExitReason.EXITED, 0, None)
    assert printed == "50000000\n"


def test_a_folder_is_measured_with_each_file_once(tmp_path: Path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "one").write_bytes(b"x" * MIB)
    before = folder_bytes(tmp_path)
    assert MIB <= before < 2 * MIB
    (tmp_path / "same").hardlink_to(tmp_path / "inner" / "one")
    (tmp_path / "elsewhere").symlink_to("/usr")
    assert folder_bytes(tmp_path) < before + MIB // 2
    assert folder_bytes(tmp_path / "gone") == 0
