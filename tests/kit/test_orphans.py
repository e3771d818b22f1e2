import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from agentvine.kit.orphans import EndedOrphan, OrphanJournal, RunIdInvalid
from agentvine.kit.process import (
    ProcessId,
    ProgramNotFound,
    find_process,
    run_process,
)
from tests.support.processes import (
    ENVIRONMENT,
    Output,
    runs,
    shell,
    spec,
    stranger,
    written,
)

WORKER = """
import asyncio, sys
from pathlib import Path
from agentvine.kit.orphans import OrphanJournal
from agentvine.kit.process import ProcessSpec, run_process

async def take(*_): pass

spec = ProcessSpec(
    argv=["/bin/sh", "-c", sys.argv[2]], cwd=Path(sys.argv[1]), run_id="r1",
    environment={"PATH": "/bin:/usr/bin"},
)
asyncio.run(run_process(spec, take, journal=OrphanJournal(Path(sys.argv[1], "journal"))))
"""


async def start_worker(folder: Path, script: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        WORKER,
        str(folder),
        script,
        env=ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


async def kill_worker(worker: asyncio.subprocess.Process) -> None:
    worker.send_signal(signal.SIGKILL)
    await worker.wait()


async def end_orphans(folder: Path) -> list[EndedOrphan]:
    return await OrphanJournal(folder / "journal").end_orphans(grace_seconds=0.2)


async def test_the_next_start_ends_what_a_killed_worker_left_running(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    worker = await start_worker(tmp_path, f"sleep 60 & setsid sleep 61 & echo $$ $! > {pids}; wait")
    left = [int(pid) for pid in (await written(pids)).split()]
    await kill_worker(worker)
    assert all(runs(pid) for pid in left)

    (ended,) = await end_orphans(tmp_path)
    assert ended == EndedOrphan("r1", ended_count=3, survivor_pids=())
    assert not any(runs(pid) for pid in left)
    assert await end_orphans(tmp_path) == []


async def test_a_daemon_whose_leader_is_gone_is_found_by_the_marker(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    worker = await start_worker(
        tmp_path, f"setsid sleep 61 > /dev/null 2>&1 & echo $$ $! > {pids}; kill -STOP $$"
    )
    leader, daemon = (int(pid) for pid in (await written(pids)).split())
    await kill_worker(worker)
    os.kill(leader, signal.SIGKILL)

    (ended,) = await end_orphans(tmp_path)
    assert ended.run_id == "r1"
    assert not runs(daemon)


async def test_an_orphan_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    worker = await start_worker(
        tmp_path, f"trap '' TERM; echo $$ > {pids}; while :; do sleep 0.05; done"
    )
    pid = int(await written(pids))
    await kill_worker(worker)
    await end_orphans(tmp_path)
    assert not runs(pid)


async def test_runs_of_a_living_worker_are_left_alone(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    worker = await start_worker(tmp_path, f"echo $$ > {pids}; exec sleep 60")
    pid = int(await written(pids))
    try:
        assert await end_orphans(tmp_path) == []
        assert runs(pid)
    finally:
        await kill_worker(worker)
    await end_orphans(tmp_path)
    assert not runs(pid)


async def test_a_stranger_with_the_number_of_a_dead_program_is_left_alone(tmp_path: Path) -> None:
    with stranger() as other:
        journal = OrphanJournal(tmp_path / "journal")
        journal.record("r1", ProcessId(other.pid, "another boot:12345"))
        disown(tmp_path / "journal" / "r1.json")
        assert await end_orphans(tmp_path) == [EndedOrphan("r1", 0, ())]
        assert runs(other.pid)
    assert journal.find_orphans() == []


async def test_a_program_announced_but_never_recorded_is_found_by_its_marker(
    tmp_path: Path,
) -> None:
    with stranger(run_id="r9") as other:
        journal = OrphanJournal(tmp_path / "journal")
        journal.announce("r9")
        disown(tmp_path / "journal" / "r9.json")
        assert await end_orphans(tmp_path) == [EndedOrphan("r9", 1, ())]
        assert not runs(other.pid)


async def test_an_unreadable_record_still_ends_its_run(tmp_path: Path) -> None:
    with stranger(run_id="r7") as other:
        journal = OrphanJournal(tmp_path / "journal")
        (tmp_path / "journal" / "r7.json").write_text('{"run_id": "r7", "proc')
        assert await end_orphans(tmp_path) == [EndedOrphan("r7", 1, ())]
        assert not runs(other.pid)
    assert journal.find_orphans() == []


async def test_the_record_is_there_before_the_first_output_and_gone_after_the_end(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal" / "r2.json"
    journal = OrphanJournal(path.parent)
    seen: list[object] = []

    async def look(*_: object) -> None:
        seen.append(json.loads(path.read_text())["process"])

    result = await run_process(
        spec(shell("echo ready"), tmp_path, run_id="r2"), look, journal=journal
    )
    assert seen == [{"pid": result.process.pid, "start": result.process.start}]
    assert not path.exists()


async def test_a_program_that_could_not_start_leaves_no_record(tmp_path: Path) -> None:
    journal = OrphanJournal(tmp_path / "journal")
    with pytest.raises(ProgramNotFound):
        await run_process(spec(["no-such-program"], tmp_path), Output().take, journal=journal)
    assert list((tmp_path / "journal").iterdir()) == []


@pytest.mark.parametrize("run_id", ["", "../r1", "a/b", ".hidden", "a\0b", "x" * 129])
def test_a_run_id_that_is_no_file_name_is_refused(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(RunIdInvalid):
        OrphanJournal(tmp_path).announce(run_id)


def disown(path: Path) -> None:
    """Make a record look as if the worker that wrote it had died."""
    record = json.loads(path.read_text())
    record["owner"] = {"pid": os.getpid(), "start": "another boot:1"}
    path.write_text(json.dumps(record))


def test_our_own_process_is_known_by_the_same_identity_every_time() -> None:
    assert find_process(os.getpid()) == find_process(os.getpid())
    assert find_process(2**22 + 1) is None
