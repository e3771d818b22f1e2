"""A login that has reached its provider's limit: others go on, and who waits is told for what."""

from datetime import timedelta
from typing import Any

import pytest

from agentvine.config.settings import QueueSettings
from agentvine.db.session import Database
from agentvine.domains.identity import tokens
from agentvine.domains.work import why
from agentvine.domains.work.enums import OrderStatus
from agentvine.domains.workers.models import Worker
from agentvine.protocol.enums import FailureClass
from agentvine.protocol.queue import ClaimedOrder
from tests.support.builders.work import Crew, Hand, make_crew

pytestmark = pytest.mark.asyncio(loop_scope="module")

RUNTIMES: dict[str, Any] = {"runtimes": ["command", "claude-code"]}
HOUR = {"retry_after_seconds": 3600}


async def start(database: Database) -> tuple[Crew, Hand, ClaimedOrder]:
    # The long way alone: the short one remembers for some seconds what a worker can run.
    crew = await make_crew(database, QueueSettings(retry_base_seconds=0, retry_jitter=0))
    crew.takes_shortcuts = False
    await crew.enqueue(run_runtime="claude-code")
    worker = await crew.worker(**RUNTIMES)
    return crew, worker, await worker.claim_one()


async def usable(database: Database, worker: Hand) -> list[str]:
    async with database.read() as read:
        row = await read.get_one(Worker, worker.worker_id)
        return row.usable_runtimes(database.clock.now())


async def test_the_worker_takes_no_more_of_it_and_the_order_goes_to_another_login(
    shared_database: Database,
):
    crew, worker, claim = await start(shared_database)
    outcome = await worker.fail(claim, FailureClass.QUOTA_EXHAUSTED, "5-hour limit.", limit=HOUR)

    order = await crew.order(claim.order_id)
    assert (outcome.will_retry, order.retry_count) == (True, 0)
    soon = shared_database.clock.now() + timedelta(seconds=30)
    assert order.available_at < soon
    assert await usable(shared_database, worker) == ["command"]
    await crew.change_order(claim.order_id, available_at=order.enqueued_at)
    assert await worker.claim() == []
    async with shared_database.read() as read:
        task = await crew.task_of(claim.order_id)
        told = await why.explain(read, task, await why.newest_order(read, task.id))
    [reason] = told.reasons
    assert reason.code == "login_limited"
    assert "claude-code has reached its limit on" in reason.message
    assert "5-hour limit." in reason.message

    await worker.register()
    assert await usable(shared_database, worker) == ["command"], "a new start lifts no limit"
    other = await crew.worker(**RUNTIMES)
    assert (await other.claim_one()).order_id == claim.order_id


async def test_a_limit_that_is_over_limits_nothing(shared_database: Database):
    _, worker, claim = await start(shared_database)
    limit = {"retry_at": shared_database.clock.now() - timedelta(seconds=1)}
    await worker.fail(claim, FailureClass.RATE_LIMITED, "429", limit=limit)
    assert await usable(shared_database, worker) == ["command", "claude-code"]


async def test_a_limit_met_through_the_gateway_is_no_login_s(shared_database: Database):
    crew, worker, claim = await start(shared_database)
    async with shared_database.transaction() as tx:
        await tokens.issue_run_key(
            tx, work_order_id=claim.order_id, fence=claim.fence, worker_id=worker.worker_id
        )
    await worker.fail(claim, FailureClass.RATE_LIMITED, "429", limit=HOUR)

    order = await crew.order(claim.order_id)
    assert await usable(shared_database, worker) == ["command", "claude-code"]
    assert order.status is OrderStatus.PENDING
    assert order.available_at > shared_database.clock.now() + timedelta(minutes=50)
    async with shared_database.read() as read:
        task = await crew.task_of(claim.order_id)
        told = await why.explain(read, task, await why.newest_order(read, task.id))
    assert "provider_limited" in [reason.code for reason in told.reasons]
