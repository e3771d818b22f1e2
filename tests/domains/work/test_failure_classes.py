"""What follows from each way in which an attempt can fail."""

import random
from datetime import timedelta
from typing import Any

import pytest

from agentvine.config.settings import QueueSettings
from agentvine.db.session import Database
from agentvine.domains.tasks import service as tasks
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.work.enums import OrderStatus
from agentvine.domains.work.retries import Attempted, Decision, decide
from agentvine.protocol.enums import FailureClass, FailureHandling
from tests.support.builders.work import Crew, make_crew

in_loop = pytest.mark.asyncio(loop_scope="module")

SETTINGS = QueueSettings(
    retry_base_seconds=10,
    retry_jitter=0,
    rate_limit_delay_seconds=60,
    quota_delay_seconds=3600,
)

RETRY, DELAY, STOP, WAIT, ANSWER = (
    FailureHandling.RETRY,
    FailureHandling.DELAY,
    FailureHandling.STOP,
    FailureHandling.WAIT,
    FailureHandling.ANSWER,
)

# The whole taxonomy, written down a second time: a change of what follows is a change of this.
EXPECTED = {
    "setup_failed": RETRY,
    "command_failed": STOP,
    "tests_failed": STOP,
    "tool_failed": RETRY,
    "context_overflow": STOP,
    "permission_denied": WAIT,
    "waiting_for_answer": ANSWER,
    "question_expired": WAIT,
    "auth_failed": WAIT,
    "model_invalid": WAIT,
    "quota_exhausted": DELAY,
    "rate_limited": DELAY,
    "budget_exhausted": WAIT,
    "resume_refused": RETRY,
    "network_failed": RETRY,
    "crashed": RETRY,
    "timeout": STOP,
    "start_up_timeout": RETRY,
    "first_event_timeout": RETRY,
    "silence_timeout": RETRY,
    "after_result_timeout": RETRY,
    "limit_exceeded": STOP,
    "lease_lost": RETRY,
    "worker_stopped": RETRY,
    "worker_error": RETRY,
    "runtime_unavailable": RETRY,
    "sandbox_unavailable": RETRY,
    "repository_unavailable": RETRY,
    "repository_unsupported": WAIT,
    "branch_not_found": STOP,
    "order_invalid": STOP,
    "cancelled": STOP,
    "expired": STOP,
}


def decision(failure_class: FailureClass, **facts: Any) -> Decision:
    known: dict[str, Any] = {
        "retry_count": 1,
        "max_retries": 3,
        "losses_in_a_row": 0,
        "was_stopped_before": True,
    }
    return decide(Attempted(failure_class, **(known | facts)), SETTINGS, random.Random(1))


def test_the_table_is_complete():
    assert {kind.value for kind in FailureClass} == set(EXPECTED)
    assert all(kind.meaning.endswith(".") for kind in FailureClass)


@pytest.mark.parametrize("failure_class", list(FailureClass))
def test_each_class_has_its_handling(failure_class: FailureClass):
    assert failure_class.handling is EXPECTED[failure_class.value]
    decided = decision(failure_class)
    used_up = decision(failure_class, retry_count=3)
    match failure_class.handling:
        case FailureHandling.RETRY:
            assert (decided.will_retry, decided.delay_seconds, decided.costs_retry) == (
                True,
                20,
                True,
            )
            assert not used_up.will_retry
            assert "retries are used up" in used_up.reason
        case FailureHandling.DELAY:
            usual = 3600 if failure_class is FailureClass.QUOTA_EXHAUSTED else 60
            assert (decided.delay_seconds, decided.costs_retry) == (usual, True)
            assert not used_up.will_retry
            told = decision(failure_class, retry_count=3, limit_lifted_in_seconds=7200.0)
            assert (told.will_retry, told.delay_seconds, told.costs_retry) == (True, 7200, False)
        case FailureHandling.ANSWER:
            assert decided == used_up
            assert (decided.will_retry, decided.costs_retry) == (True, False)
        case FailureHandling.STOP | FailureHandling.WAIT:
            assert decided == Decision(will_retry=False)


def test_a_worker_that_ended_is_not_held_against_the_order_the_first_time():
    first = decision(FailureClass.WORKER_STOPPED, was_stopped_before=False)
    assert (first.will_retry, first.delay_seconds, first.costs_retry) == (True, 0, True)
    used_up = decision(FailureClass.WORKER_STOPPED, was_stopped_before=False, retry_count=3)
    assert not used_up.will_retry
    assert decision(FailureClass.WORKER_ERROR, was_stopped_before=False).delay_seconds == 20


def test_a_limit_is_never_tried_before_it_is_lifted_nor_by_all_at_once():
    spread = SETTINGS.model_copy(update={"retry_jitter": 0.5})
    attempted = Attempted(FailureClass.RATE_LIMITED, 0, 3, 0, 1000.0)
    delays = {decide(attempted, spread, random.Random(seed)).delay_seconds for seed in range(50)}
    assert len(delays) > 10
    assert all(1000 <= delay <= 1030 for delay in delays)


async def failed(
    database: Database, failure_class: FailureClass, **limit: Any
) -> tuple[Crew, Any, Any]:
    crew = await make_crew(database, SETTINGS)
    order_id = await crew.enqueue()
    worker = await crew.worker()
    outcome = await worker.fail(await worker.claim_one(), failure_class, "Told.", limit=limit)
    assert outcome.order_id == order_id
    return crew, await crew.order(order_id), await crew.task_of(order_id)


@in_loop
@pytest.mark.parametrize("failure_class", [kind for kind in FailureClass if kind.handling is WAIT])
async def test_what_a_person_must_put_right_blocks_the_task_until_somebody_says_go(
    shared_database: Database, failure_class: FailureClass
):
    crew, order, task = await failed(shared_database, failure_class)
    assert order.status is OrderStatus.FAILED
    assert task.status is TaskStatus.BLOCKED
    assert task.status_reason.startswith("Told; put it right")
    assert f"agentvine task start T-{task.number}" in task.status_reason
    async with shared_database.transaction() as tx:
        again = await tx.get_one(type(task), task.id)
        # What a change of its dependencies does: it must not set the task going.
        await tasks.settle(tx, again)
        assert again.status is TaskStatus.BLOCKED
    async with shared_database.transaction() as tx:
        again = await tx.get_one(type(task), task.id)
        await tasks.start_task(tx, again)
        assert again.status is TaskStatus.QUEUED
    claimed = await (await crew.worker()).claim_one()
    assert claimed.payload.task_id == task.id
    assert claimed.order_id != order.id


@in_loop
async def test_the_time_that_a_provider_told_is_honoured(shared_database: Database):
    crew = await make_crew(shared_database, SETTINGS)
    order_id = await crew.enqueue()
    worker = await crew.worker()
    claimed = await worker.claim_one()
    async with shared_database.transaction() as tx:
        lifted = tx.now + timedelta(hours=5)
    await worker.fail(
        claimed,
        FailureClass.QUOTA_EXHAUSTED,
        limit={"retry_at": lifted, "retry_after_seconds": 60},
    )
    order, task = await crew.order(order_id), await crew.task_of(order_id)
    assert order.status is OrderStatus.PENDING
    assert lifted <= order.available_at <= lifted + timedelta(minutes=1)
    assert (order.retry_count, task.status) == (0, TaskStatus.QUEUED)
    assert await worker.claim() == []
    await crew.change_order(order_id, available_at=order.enqueued_at)
    assert (await worker.claim_one()).attempt == 1


@in_loop
async def test_a_time_span_counts_from_the_report(shared_database: Database):
    _, order, _ = await failed(shared_database, FailureClass.RATE_LIMITED, retry_after_seconds=900)
    async with shared_database.transaction() as tx:
        left = (order.available_at - tx.now).total_seconds()
    assert 840 < left <= 901
    assert order.retry_count == 0


@in_loop
async def test_a_failure_that_stops_ends_the_task(shared_database: Database):
    _, order, task = await failed(shared_database, FailureClass.LIMIT_EXCEEDED)
    assert (order.status, task.status) == (OrderStatus.FAILED, TaskStatus.FAILED)


@in_loop
async def test_an_order_whose_worker_ended_is_free_at_once_but_not_time_after_time(
    shared_database: Database,
):
    crew = await make_crew(shared_database, SETTINGS)
    order_id = await crew.enqueue()
    worker = await crew.worker()
    await worker.fail(await worker.claim_one(), FailureClass.WORKER_STOPPED)
    again = await worker.claim_one()
    assert (again.order_id, (await crew.order(order_id)).retry_count) == (order_id, 1)
    await worker.fail(again, FailureClass.WORKER_STOPPED)
    assert await worker.claim() == []
    order = await crew.order(order_id)
    assert (order.status, order.retry_count) == (OrderStatus.PENDING, 2)
