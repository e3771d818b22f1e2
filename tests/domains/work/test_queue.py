"""What becomes of an order: tried again, given back, too late; and how fast a claim is answered."""

import asyncio
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentvine.config.settings import DatabaseSettings, QueueSettings
from agentvine.db.session import Database
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.work.enums import OrderStatus
from agentvine.domains.work.jobs import QueueChores
from agentvine.kit.ids import random_token
from agentvine.protocol.enums import FailureClass
from tests.support.api import Api, running_api
from tests.support.builders.tasks import make_task
from tests.support.builders.work import long_ago, make_crew
from tests.support.snapshots import all_rows, changed_tables
from tests.support.space import make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_what_was_not_committed_was_never_queued(shared_database: Database):
    crew = await make_crew(shared_database)
    before = await all_rows(shared_database)

    async def change_ones_mind() -> None:
        async with crew.ground.transaction() as tx:
            await make_task(tx, crew.ground.owner, crew.ground.repository)
            await tx.deliver_events(shared_database.reactions)
            raise KeyError("not after all")

    with pytest.raises(KeyError, match="not after all"):
        await change_ones_mind()
    assert changed_tables(before, await all_rows(shared_database)) == {}


async def test_a_failure_that_may_pass_is_tried_again_after_a_pause(shared_database: Database):
    crew = await make_crew(shared_database, QueueSettings(retry_base_seconds=100, retry_jitter=0.2))
    order_id = await crew.enqueue()
    worker = await crew.worker()
    outcome = await worker.fail(await worker.claim_one(), FailureClass.WORKER_ERROR, "disk full")
    assert (outcome.status, outcome.will_retry) == (OrderStatus.PENDING, True)
    assert outcome.available_at is not None
    pause = (outcome.available_at - datetime.now(UTC)).total_seconds()
    assert 60 < pause <= 120
    assert await worker.claim() == []
    task = await crew.task_of(order_id)
    assert (task.status, task.status_reason) == (TaskStatus.QUEUED, "is tried again: disk full")


async def test_retries_are_bounded_and_the_reason_is_told(shared_database: Database):
    crew = await make_crew(shared_database)
    order_id = await crew.enqueue(run_max_retries=2)
    worker = await crew.worker()
    attempts = []
    while claimed := await worker.claim():
        attempts.append(claimed[0].attempt)
        await worker.fail(claimed[0], FailureClass.REPOSITORY_UNAVAILABLE, "no route")
    assert attempts == [1, 2, 3]
    order, task = await crew.order(order_id), await crew.task_of(order_id)
    assert (order.status, task.status) == (OrderStatus.FAILED, TaskStatus.FAILED)
    assert task.status_reason == "no route; all 2 retries are used up"
    assert [row.attempt for row in await crew.executions_of(order_id)] == [1, 2, 3]


async def test_a_worker_lost_again_and_again_ends_the_order(shared_database: Database):
    crew = await make_crew(shared_database)
    order_id = await crew.enqueue(run_max_retries=50)
    worker, chores = await crew.worker(), QueueChores(shared_database, crew.settings)
    losses = 0
    while await worker.claim():
        losses += 1
        await crew.let_lease_lapse(order_id)
        await chores.rescue()
    assert losses == crew.settings.poison_after_losses
    reason = (await crew.task_of(order_id)).status_reason or ""
    assert reason.endswith(f"its worker was lost {losses} times in a row")


async def test_giving_back_costs_no_retry(shared_database: Database):
    crew = await make_crew(shared_database)
    order_id = await crew.enqueue(run_max_retries=0)
    worker = await crew.worker()
    for _ in range(5):
        outcome = await worker.release(await worker.claim_one())
        assert (outcome.status, outcome.will_retry) == (OrderStatus.PENDING, True)
    order, task = await crew.order(order_id), await crew.task_of(order_id)
    assert (order.retry_count, order.worker_id, task.status) == (0, None, TaskStatus.QUEUED)


async def test_an_order_that_nobody_took_in_time_fails_its_task(shared_database: Database):
    crew = await make_crew(shared_database)
    late, ready = await crew.enqueue_many(2)
    await crew.change_order(late, expires_at=long_ago())
    chores = QueueChores(shared_database, crew.settings)
    assert await chores.expire() == 1
    assert (await crew.order(late)).status is OrderStatus.EXPIRED
    task = await crew.task_of(late)
    assert (task.status, task.status_reason) == (
        TaskStatus.FAILED,
        "no worker claimed it in time",
    )
    assert (await crew.order(ready)).status is OrderStatus.PENDING
    assert await chores.expire() == 0


async def test_a_waiting_claim_is_answered_as_soon_as_there_is_work(
    database_settings: DatabaseSettings, tmp_path: Path
):
    """The truth is looked at every 30 s here: what is faster came by the hint."""
    queue = QueueSettings(poll_interval_seconds=30)
    async with running_api(database_settings, tmp_path / "data", queue=queue) as api:
        space = await make_space(api)
        worker = await space.worker()
        waits: list[float] = []
        for _ in range(5):
            waiting = asyncio.create_task(worker.claim(wait_seconds=25))
            await asyncio.wait([waiting], timeout=0.2)
            assert not waiting.done()
            await space.task()
            queued_at = time.monotonic()
            (order,) = await waiting
            waits.append(time.monotonic() - queued_at)
            await worker.complete(order)
        # A few milliseconds on an idle machine.
        assert statistics.median(waits) < 5.0, waits


async def test_a_claim_whose_answer_was_lost_is_found_by_its_token(shared_api: Api):
    space = await make_space(shared_api)
    worker = await space.worker(max_concurrent_tasks=1)
    token = random_token(24)
    waiting = asyncio.create_task(worker.claim(token=token, wait_seconds=25))
    await asyncio.wait([waiting], timeout=0.2)
    task = await space.task()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    # Whether the broken claim had got it or not: the token gets it, and nobody else could twice.
    (order,) = await worker.claim(token=token, wait_seconds=5)
    assert order["payload"]["task_id"] == task["id"]
    assert await worker.claim(token=token) == [order]
    assert await worker.claim() == []


async def test_the_queue_shows_what_waits_and_what_runs(shared_api: Api):
    space = await make_space(shared_api)
    assert await space.owner.get("/queue/status") == []
    for _ in range(3):
        await space.task()
    worker = await space.worker()
    order = await worker.claim_one()
    (status,) = await space.owner.get("/queue/status")
    assert (status["queue_name"], status["pending"], status["claimed"]) == (space.queue, 2, 1)
    assert status["oldest_pending_seconds"] >= 0
    await worker.complete(order)
    page = await space.owner.get("/queue/orders", params={"queue_name": space.queue, "limit": 2})
    assert (len(page["items"]), page["next_cursor"] is not None) == (2, True)
    done = await space.owner.get("/queue/orders", params={"status": "completed"})
    assert [row["id"] for row in done["items"]] == [order["order_id"]]
