"""A pause outlives the server, and a worker that dies with a paused run is no trouble."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentvine.client import Client
from agentvine.config.settings import DatabaseSettings
from agentvine.kit.errors import Unavailable
from agentvine.protocol.enums import OrderStatus, TaskStatus
from agentvine.protocol.projects import RepositoryCreateIn
from agentvine.protocol.queue import WorkOrderOut
from agentvine.protocol.tasks import TaskCreateIn, TaskOut, TaskRun
from tests.support.fleet import Fleet
from tests.support.repositories import make_repo

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

_STEPS_SECONDS = 0.3
"""Long beside the steps of 10 ms in which the command counts."""


@dataclass
class Paused:
    """A task whose run stands still, and which says how far its command has come."""

    fleet: Fleet
    client: Client
    task: TaskOut
    count: Path

    def steps(self) -> int:
        """How far it is."""
        return self.count.stat().st_size if self.count.exists() else 0

    async def order(self) -> WorkOrderOut:
        """Its newest order, from whichever server lives."""
        page = await self.client.queue.orders(task_id=self.task.id).page(limit=1)
        return page.items[0]

    async def until(self, is_true: Callable[[], Awaitable[bool]]) -> None:
        """Ask again until it holds; a server that is away is asked again, too."""
        async with asyncio.timeout(120):
            while True:
                try:
                    if await is_true():
                        return
                except Unavailable:
                    pass
                await asyncio.sleep(0.05)

    async def moves(self) -> None:
        """It goes on from where it is."""
        before = self.steps()

        async def has_moved() -> bool:
            return self.steps() > before

        await self.until(has_moved)

    async def stands_still(self) -> None:
        """It does not."""
        before = self.steps()
        await asyncio.sleep(_STEPS_SECONDS)
        assert self.steps() == before

    async def ends(self) -> None:
        """Let it end, and wait for the task to be completed."""
        self.count.with_name("stop").touch()

        async def is_completed() -> bool:
            return (await self.client.tasks.get(self.task.id)).status is TaskStatus.COMPLETED

        await self.until(is_completed)


@pytest.fixture
async def paused(database_settings: DatabaseSettings, tmp_path: Path) -> AsyncIterator[Paused]:
    # Longer than a server needs to start on a busy machine: it is not the lease that is tested.
    fleet = Fleet(tmp_path, database_settings, lease_seconds=60.0)
    await fleet.prepare()
    await fleet.start_server()
    fleet.start_worker()
    repo, count = make_repo(tmp_path / "repository"), tmp_path / "count"
    command = f"while [ ! -e {tmp_path}/stop ]; do printf . >> {count}; sleep 0.01; done"
    async with fleet.client() as client:
        registered = await client.repositories.create(RepositoryCreateIn(location=str(repo.path)))
        run = TaskRun(command=command, timeout_seconds=600)
        wanted = TaskCreateIn(title="Count", repository_id=registered.id, run=run)
        paused = Paused(fleet, client, await client.tasks.create(wanted), count)
        await paused.moves()
        order = await paused.order()
        await client.queue.pause(order.id)

        async def is_paused() -> bool:
            return (await paused.order()).paused_since is not None

        await paused.until(is_paused)
        await paused.stands_still()
        yield paused
    fleet.stop()
    assert fleet.leftovers() == []


async def test_a_pause_outlives_the_server(paused: Paused):
    paused.fleet.kill(paused.fleet.server)
    await paused.stands_still()
    await paused.fleet.start_server()

    async def is_renewed() -> bool:
        order = await paused.order()
        return order.lease_expires_at != before.lease_expires_at

    before = await paused.order()
    await paused.until(is_renewed)
    await paused.stands_still()
    order = await paused.order()
    assert (order.fence, order.status) == (1, OrderStatus.CLAIMED)
    assert order.paused_since is not None
    await paused.client.queue.resume(order.id)
    await paused.moves()
    await paused.ends()
    assert (await paused.order()).fence == 1


async def test_a_paused_run_whose_worker_dies_is_tried_again(paused: Paused):
    paused.fleet.kill(paused.fleet.workers["w1"])
    paused.fleet.start_worker()

    async def runs_again() -> bool:
        order = await paused.order()
        return order.fence > 1 and order.status is OrderStatus.CLAIMED

    await paused.until(runs_again)
    await paused.moves()
    order = await paused.order()
    assert (order.pausing_since, order.paused_since) == (None, None)
    await paused.ends()
