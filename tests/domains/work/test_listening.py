"""A worker hears at once that its next beat would bring news."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agentvine.config.settings import DatabaseSettings, QueueSettings
from agentvine.protocol.enums import UserRole
from tests.support.api import Api, running_api
from tests.support.builders.identity import unique
from tests.support.space import Json, WireWorker, claim_of, make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = 30.0
SOON = 15.0  # well below LONG, far above what a busy machine needs


@asynccontextmanager
async def listening(
    worker: WireWorker, *orders: Json, seconds: float = LONG
) -> AsyncIterator["asyncio.Task[Any]"]:
    """A request that waits for news; it has been given time to sit down, or has its answer."""
    body = worker.who | {"held": [claim_of(order) for order in orders], "wait_seconds": seconds}
    task = asyncio.create_task(worker.caller.post("/queue/listen", body))
    await asyncio.wait([task], timeout=0.2)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def answer(task: "asyncio.Task[Any]") -> bool:
    async with asyncio.timeout(SOON):
        return (await task)["news"]


async def test_a_cancel_is_news_at_once(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task()
    worker = await space.worker()
    order = await worker.claim_one()
    async with listening(worker, order) as waiting:
        assert not waiting.done()
        await space.act(task, "cancel")
        assert await answer(waiting)
    assert (await worker.beat(order))["leases"][0]["state"] == "cancel"


async def test_what_happened_before_one_listens_is_not_missed(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task()
    worker = await space.worker()
    order = await worker.claim_one()
    await space.act(task, "cancel")
    async with listening(worker, order) as waiting:
        assert await answer(waiting)
    # What the worker knows to be over, it does not ask about: then there is no news.
    async with listening(worker, seconds=0.1) as waiting:
        assert not await answer(waiting)


async def test_a_claim_that_is_lost_is_news(shared_api: Api):
    space = await make_space(shared_api)
    await space.task()
    worker = await space.worker()
    order = await worker.claim_one()
    async with listening(worker, order | {"fence": 99}) as waiting:
        assert await answer(waiting)


async def test_other_workers_news_is_none(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task()
    worker, other = await space.worker(), await space.worker()
    await worker.claim_one()
    async with listening(other, seconds=0.3) as waiting:
        await space.act(task, "cancel")
        assert not await answer(waiting)


async def test_to_be_drained_is_news(shared_api: Api):
    space = await make_space(shared_api)
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    worker = await space.worker()
    async with listening(worker) as waiting:
        await admin.post(f"/workers/{worker.worker_id}/drain")
        assert await answer(waiting)
    assert (await worker.beat())["drain"]


async def test_who_is_not_the_registered_process_is_told_nothing(shared_api: Api):
    space = await make_space(shared_api)
    worker, other = await space.worker(), await space.worker()
    body = other.who | {"worker_id": worker.worker_id}
    problem = await other.caller.refused("POST", "/queue/listen", 404, json=body)
    assert problem["code"] == "worker_not_found"
    old = worker.who
    worker.session_id = other.worker_id
    await worker.register()
    problem = await worker.caller.refused("POST", "/queue/listen", 409, json=old)
    assert problem["code"] == "worker_superseded"


@pytest.mark.asyncio(loop_scope="function")
async def test_a_cancel_at_one_server_is_heard_at_another(
    postgres_settings: DatabaseSettings, tmp_path: Path
):
    queue = QueueSettings()
    async with (
        running_api(postgres_settings, tmp_path / "one", queue=queue) as one,
        running_api(postgres_settings, tmp_path / "two", queue=queue) as two,
    ):
        space = await make_space(one)
        task = await space.task()
        worker = await space.worker()
        order = await worker.claim_one()
        there = WireWorker(
            await two.with_token(worker.caller.http.headers["Authorization"].split()[1]),
            worker.queue,
            {},
            session_id=worker.session_id,
            worker_id=worker.worker_id,
        )
        async with listening(there, order) as waiting:
            await space.act(task, "cancel")
            assert await answer(waiting)
