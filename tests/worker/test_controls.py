"""A run stands still, goes on and hears what people say, while its worker beats on."""

import asyncio
import json
from pathlib import Path

import pytest

from agentvine.protocol.enums import FailureClass
from agentvine.protocol.runs import OrderedSandbox
from tests.support.repositories import Repo
from tests.worker.conftest import StartWorker
from tests.worker.support.wire_server import Order, WireServer, source_of
from tests.worker.test_runs import assert_nothing_is_left
from tests.worker.test_sandboxed_runs import has_sandbox

pytestmark = pytest.mark.timeout(120)

_STEPS_SECONDS = 0.3
"""Long beside the steps of 10 ms in which the programs here count."""


class Counters:
    """A parent and a child that each write to a file as long as they run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        count = "while [ ! -e {folder}/stop ]; do printf . >> {folder}/{who}; sleep 0.01; done"
        child = count.format(folder=folder, who="child")
        self.command = f"({child}) & {count.format(folder=folder, who='parent')}; wait"

    def sizes(self) -> list[int]:
        paths = [self.folder / "parent", self.folder / "child"]
        return [path.stat().st_size if path.exists() else 0 for path in paths]

    async def move(self, *, past: list[int]) -> None:
        async with asyncio.timeout(60):
            while not all(now > then for now, then in zip(self.sizes(), past, strict=True)):  # noqa: ASYNC110 - another process's doing
                await asyncio.sleep(0.01)

    async def stand_still(self) -> list[int]:
        """How far they are; neither has gone on meanwhile."""
        before = self.sizes()
        await asyncio.sleep(_STEPS_SECONDS)
        assert self.sizes() == before
        return before

    def let_end(self) -> None:
        (self.folder / "stop").touch()


@pytest.fixture
def counters(tmp_path: Path) -> Counters:
    return Counters(tmp_path)


async def pause(server: WireServer, order: Order) -> None:
    order.is_paused = True
    await server.until(lambda: order.stands_still)


async def test_a_paused_run_stands_still_with_its_children_and_goes_on(
    server: WireServer, start_worker: StartWorker, repo: Repo, counters: Counters, data_dir: Path
):
    order = server.add(repository=source_of(repo.path), command=counters.command)
    async with start_worker():
        await counters.move(past=[0, 0])
        await pause(server, order)
        beats = server.calls["heartbeat"]
        before = await counters.stand_still()
        await server.until(lambda: server.calls["heartbeat"] > beats + 1)

        order.is_paused = False
        await server.until(lambda: not order.stands_still)
        await counters.move(past=before)
        counters.let_end()
        await server.until(lambda: order.is_done)
    assert order.complete is not None
    said = order.said("system")
    assert said.index("stands still") < said.index("goes on")
    assert_nothing_is_left(data_dir)


async def test_a_pause_is_heard_of_without_waiting_for_the_next_beat(
    server: WireServer, start_worker: StartWorker, repo: Repo, counters: Counters
):
    server.heartbeat_seconds = 600
    server.lease_seconds = 6000
    order = server.add(repository=source_of(repo.path), command=counters.command)
    async with start_worker():
        await counters.move(past=[0, 0])
        await pause(server, order)
        order.is_paused = False
        await server.until(lambda: not order.stands_still)
        counters.let_end()
        await server.until(lambda: order.is_done)


async def test_cancelling_a_paused_run_leaves_nothing_running(
    server: WireServer, start_worker: StartWorker, repo: Repo, counters: Counters, data_dir: Path
):
    order = server.add(repository=source_of(repo.path), command=counters.command)
    async with start_worker():
        await counters.move(past=[0, 0])
        await pause(server, order)
        order.is_cancelled = True
        await server.until(lambda: order.is_done)
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.CANCELLED
    await counters.stand_still()
    assert_nothing_is_left(data_dir)


async def test_a_worker_that_stops_ends_a_paused_run(
    server: WireServer, start_worker: StartWorker, repo: Repo, counters: Counters, data_dir: Path
):
    order = server.add(repository=source_of(repo.path), command=counters.command)
    async with start_worker() as worker:
        await counters.move(past=[0, 0])
        await pause(server, order)
        worker.stop()
        await server.until(lambda: order.is_done)
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.WORKER_STOPPED
    assert_nothing_is_left(data_dir)


async def test_what_is_said_to_a_run_is_in_its_inbox_and_not_in_its_change(
    server: WireServer, start_worker: StartWorker, repo: Repo
):
    order = server.add(
        repository=source_of(repo.path),
        command='until [ "$(wc -l < "$AGENTVINE_INBOX")" -ge 2 ]; do sleep 0.01; done; '
        'cat "$AGENTVINE_INBOX"; echo 1 > one.txt',
    )
    async with start_worker():
        await server.until(lambda: "running" in order.phases)
        order.messages.append('use "the" cache\nand be quick')
        await server.until(lambda: order.handed_to == 1)
        order.messages.append("that is all")
        await server.until(lambda: order.is_done)
    lines = [json.loads(line) for line in order.logs["stdout"]]
    assert [(line["number"], line["text"]) for line in lines] == [
        (1, 'use "the" cache\nand be quick'),
        (2, "that is all"),
    ]
    assert lines[0]["author"] == "user:somebody"
    assert order.handed_to == 2
    assert [file.path for file in order.report.change.files] == ["one.txt"]
    assert "Message 2, from user:somebody, was handed over." in order.said("system")


async def test_a_message_whose_receipt_was_lost_is_not_handed_over_twice(
    server: WireServer, start_worker: StartWorker, repo: Repo
):
    server.refuse["control"] = (503, "unavailable")
    order = server.add(
        repository=source_of(repo.path),
        command='until grep -q last "$AGENTVINE_INBOX"; '
        'do sleep 0.01; done; cat "$AGENTVINE_INBOX"',
    )
    async with start_worker():
        await server.until(lambda: "running" in order.phases)
        order.messages.append("first")
        await server.until(lambda: "control" in server.refused_calls)
        beats = server.calls["heartbeat"]
        await server.until(lambda: server.calls["heartbeat"] > beats + 1)
        server.refuse.clear()
        order.messages.append("last")
        await server.until(lambda: order.is_done)
    assert [json.loads(line)["text"] for line in order.logs["stdout"]] == ["first", "last"]


async def test_in_a_sandbox_the_inbox_can_be_read_and_not_written(
    server: WireServer, start_worker: StartWorker, repo: Repo
):
    if not await has_sandbox():
        return
    order = server.add(
        repository=source_of(repo.path),
        command='until grep -q hello "$AGENTVINE_INBOX"; do sleep 0.01; done; '
        'rm -f "$AGENTVINE_INBOX"; echo x >> "$AGENTVINE_INBOX"; cat "$AGENTVINE_INBOX"',
        sandbox=OrderedSandbox(),
    )
    async with start_worker():
        await server.until(lambda: "running" in order.phases)
        order.messages.append("hello")
        await server.until(lambda: order.is_done)
    assert [json.loads(line)["text"] for line in order.logs["stdout"]] == ["hello"]


async def test_what_comes_too_late_is_not_said_to_have_been_handed_over(
    server: WireServer, start_worker: StartWorker, repo: Repo, tmp_path: Path
):
    gate = tmp_path / "gate"
    order = server.add(
        repository=source_of(repo.path),
        command="echo 1 > one.txt",
        test_command=f"until [ -e {gate} ]; do sleep 0.01; done",
    )
    async with start_worker():
        await server.until(lambda: "testing" in order.phases)
        order.messages.append("too late")
        calls = server.calls["heartbeat"]
        await server.until(lambda: server.calls["heartbeat"] > calls + 1)
        gate.touch()
        await server.until(lambda: order.is_done)
    assert order.handed_to == 0
    assert server.calls["control"] == 0
