"""A worker whose disk is full: what runs waits, nothing is claimed, and with room it goes on."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentvine.protocol.enums import OrderStatus
from agentvine.worker.places import DataPlaces
from tests.support.repositories import Repo
from tests.support.small_disk import (
    ROOT,
    WEAKER,
    SmallDisk,
    allow_writing,
    forbid_writing,
    passes_in_a_namespace,
    small_disk,
)
from tests.worker.conftest import StartWorker
from tests.worker.support import worker_main
from tests.worker.support.wire_server import TOKEN, WireServer, source_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.promise("P22")]

PATIENCE_SECONDS = 240.0
LINES = 3000
FULL_BUFFERS = 1000
"""So many lines of a kilobyte fit into memory; of more the program itself has to wait."""


@dataclass
class Scene:
    """A worker process, and what makes its disk full."""

    fill: Callable[[], None]
    make_room: Callable[[], None]


@contextmanager
def worker_on(url: str, disk: SmallDisk | None, folder: Path) -> Iterator[Scene]:
    data_dir = disk.path / "data" if disk else folder / "data"
    given = {"server_url": url, "token": TOKEN, "data_dir": str(data_dir), "name": "w1"}
    command = [sys.executable, worker_main.__file__, json.dumps({**given, "concurrency": 2})]
    # Not into a file: without a mount none may grow.
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        if disk is not None:
            yield Scene(disk.fill, disk.make_room)
        else:
            yield Scene(lambda: forbid_writing(process.pid), lambda: allow_writing(process.pid))
    finally:
        process.kill()
        process.wait()


async def test_what_finds_no_room_waits_and_with_room_nothing_is_lost(
    server: WireServer,
    url: str,
    repo: Repo,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
):
    with small_disk(tmp_path / "disk", mebibytes=16) as disk:
        if disk is None and passes_in_a_namespace(request):
            return
        if disk is None:
            record_property(
                WEAKER, "nothing may be mounted: the worker's files may not grow instead"
            )
        with worker_on(url, disk, tmp_path) as scene:
            await fill_up(server, repo, scene, tmp_path)


async def test_lines_are_sent_though_nobody_can_note_how_far(
    server: WireServer, start_worker: StartWorker, data_dir: Path, tmp_path: Path
):
    go_on = tmp_path / "go on"
    order = server.add(
        command=f"echo begun; until test -e '{go_on}'; do sleep 0.05; done; echo ended",
        repository=None,
    )
    async with start_worker():
        await server.until(lambda: "begun" in order.said("stdout"), seconds=PATIENCE_SECONDS)
        mark = DataPlaces(data_dir).worker("w1").runs / str(order.executions[0]) / "log.sent"
        mark.unlink(missing_ok=True)
        mark.mkdir()
        go_on.touch()
        await server.until(lambda: order.is_done, seconds=PATIENCE_SECONDS)
    assert order.logs["stdout"] == ["begun", "ended"]
    assert order.complete is not None


async def fill_up(server: WireServer, repo: Repo, scene: Scene, folder: Path) -> None:
    speak, count = folder / "speak", folder / "count"
    words = "x" * 1000
    first = server.add(
        repository=source_of(repo.path),
        command=f"echo begun; until test -e '{speak}'; do sleep 0.05; done; i=0; "
        f"while test $i -lt {LINES}; do i=$((i+1)); echo $i > '{count}'; echo $i {words}; done; "
        "echo work > work.txt",
    )
    await server.until(lambda: "begun" in first.said("stdout"), seconds=PATIENCE_SECONDS)

    scene.fill()
    speak.touch()
    second = server.add(repository=source_of(repo.path), command="echo more > more.txt")
    await server.until(lambda: number_in(count) >= FULL_BUFFERS, seconds=PATIENCE_SECONDS)
    await server.until(lambda: bool(second.releases), seconds=PATIENCE_SECONDS)
    # No line is sent before it is on disk, and no order is kept from those who have room.
    assert first.logs["stdout"] == ["begun"]
    assert first.status is OrderStatus.CLAIMED
    assert "cannot keep it on its disk" in second.releases[0].reason

    scene.make_room()
    await server.until(lambda: first.is_done and second.is_done, seconds=PATIENCE_SECONDS)
    assert (first.fence, len(first.executions)) == (1, 1)
    assert first.logs["stdout"] == ["begun", *(f"{n} {words}" for n in range(1, LINES + 1))]
    for order, name in ((first, "work.txt"), (second, "more.txt")):
        assert order.complete is not None, order.fail
        assert order.complete.report.change is not None
        assert [file.path for file in order.complete.report.change.files] == [name]


def number_in(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # not begun, or just being written
        return 0
