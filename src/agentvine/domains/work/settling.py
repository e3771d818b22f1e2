"""What becomes of an order: it is completed, fails, is given back, is lost or comes too late.

Every change of a claimed order goes through a statement of ``store`` that checks the fence. What
follows from it elsewhere (executions, changes, tasks) is in ``reactions/``.
"""

import random
import uuid
from typing import Any

from sqlalchemy import select, update

from agentvine.config.settings import QueueSettings
from agentvine.db.session import Transaction
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.work import answers, logins, queries, store
from agentvine.domains.work.enums import AssignmentStatus, OrderStatus
from agentvine.domains.work.errors import LeaseLost
from agentvine.domains.work.events import AttemptEnded, OrderCompleted, PlacesFreed
from agentvine.domains.work.models import ClaimOutcome, WorkerAssignment, WorkOrder
from agentvine.domains.work.retries import Attempted, Decision, decide
from agentvine.domains.workers.enums import WorkerId
from agentvine.kit.actor import WorkerActor
from agentvine.protocol.enums import FailureClass
from agentvine.protocol.queue import (
    CompleteIn,
    ExecutionReport,
    FailIn,
    OrderOutcome,
    ReleaseIn,
)

CHANNEL = "orders"
STOPPED = "everything was stopped"
_UNNOTICED = 6.0
"""Seconds after which no server takes a worker for one whose login has no limit."""
_LOST = "Stop this run and discard it: the order was taken back, or has ended."


async def complete_order(tx: Transaction, actor: WorkerActor, message: CompleteIn) -> OrderOutcome:
    """Record that an attempt succeeded. Repeating it changes nothing and answers the same.

    Raises:
        LeaseLost: The claim is not the caller's any more.
    """
    task_id = await queries.task_of_claim(tx, actor, message.order_id, message.fence)
    await tasks.lock_task(tx, task_id)
    order = await store.settle(
        tx,
        message.order_id,
        message.fence,
        {
            "status": OrderStatus.COMPLETED,
            "completed_at": tx.now,
            "lease_expires_at": None,
            "result": _result(message.report),
            "error_message": None,
            "stop_requested_at": None,
        },
    )
    if order is None:
        return await _completed_before(tx, message.order_id, message.fence)
    await _end_assignment(tx, order, AssignmentStatus.COMPLETED)
    assert order.execution_id is not None, "a claimed order has an execution"
    tx.emit(OrderCompleted(order, order.execution_id, message.report))
    _free_places(tx, order)
    return _outcome(order)


async def fail_order(
    tx: Transaction,
    actor: WorkerActor,
    message: FailIn,
    settings: QueueSettings,
    draw: random.Random,
) -> OrderOutcome:
    """Record that an attempt failed; try again when its class and the retries left allow it.

    Raises:
        LeaseLost: The claim is not the caller's any more.
    """
    is_login_limited = await logins.note_login_limit(tx, actor, message)
    current = await _lock_claim(tx, actor, message.order_id, message.fence)
    if current is None:
        return await _answered_before(tx, actor, message.order_id, message.fence)
    if message.failure_class is FailureClass.CANCELLED and _is_only_stopped(current):
        return await _put_back(tx, current, STOPPED, report=message.report)
    return await _end_attempt(
        tx,
        current,
        failure_class=message.failure_class,
        message=message.message,
        report=message.report,
        settings=settings,
        draw=draw,
        limit_lifted_in=_UNNOTICED if is_login_limited else _seconds_until_lifted(tx, message),
    )


async def release_order(
    tx: Transaction,
    actor: WorkerActor,
    message: ReleaseIn,
    settings: QueueSettings,
    draw: random.Random,
) -> OrderOutcome:
    """Put an order back untouched; that costs it no retry.

    Raises:
        LeaseLost: The claim is not the caller's any more.
    """
    current = await _lock_claim(tx, actor, message.order_id, message.fence)
    if current is None:
        return await _answered_before(tx, actor, message.order_id, message.fence)
    reason = message.reason or "given back by the worker"
    if current.cancel_requested_at is not None:
        return await _end_attempt(
            tx,
            current,
            failure_class=FailureClass.CANCELLED,
            message=reason,
            report=None,
            settings=settings,
            draw=draw,
        )
    return await _put_back(tx, current, reason, report=None)


async def _put_back(
    tx: Transaction, current: WorkOrder, reason: str, *, report: ExecutionReport | None
) -> OrderOutcome:
    """Let an order wait again as if it had not been tried."""
    worker_id = current.worker_id
    values = _waiting(current) | {"available_at": tx.dialect.now_sql()}
    order = await store.settle(tx, current.id, current.fence, values)
    if order is None:
        raise LeaseLost(_LOST)
    await _end_assignment(tx, order, AssignmentStatus.FAILED)
    tx.emit(
        AttemptEnded(
            order,
            order.execution_id,
            failure_class=None,
            message=reason,
            will_retry=True,
            report=report,
        )
    )
    _free_places(tx, order)
    tx.hint(CHANNEL, order.queue_name)
    return _keep_outcome(tx, order, worker_id)


async def take_back_lost(
    tx: Transaction,
    order: WorkOrder,
    *,
    failure_class: FailureClass,
    message: str,
    settings: QueueSettings,
    draw: random.Random,
    is_free_at_once: bool = False,
) -> None:
    """End an attempt whose worker is gone; from now on its fence is stale.

    Args:
        tx: Holds the locks of the order and its task.
        order: As it is now.
        failure_class: Why.
        message: The same in words.
        settings: The rules of retries.
        draw: Spreads them.
        is_free_at_once: Without back-off: the worker is known to be gone, so nobody can be
            overloaded by trying again.
    """
    await _end_attempt(
        tx,
        order,
        failure_class=failure_class,
        message=message,
        report=None,
        settings=settings,
        draw=draw,
        is_lost=True,
        is_free_at_once=is_free_at_once,
    )


async def end_waiting_order(
    tx: Transaction,
    order: WorkOrder,
    *,
    status: OrderStatus,
    failure_class: FailureClass,
    reason: str,
) -> None:
    """End an order that nobody holds and that is not to be run any more."""
    values = ended(tx, reason) | {"status": status}
    after = await store.withdraw(tx, order.id, values)
    if after is not None:
        tx.emit(
            AttemptEnded(after, None, failure_class=failure_class, message=reason, will_retry=False)
        )


async def lock_order_after_task(tx: Transaction, order_id: uuid.UUID) -> WorkOrder | None:
    """An order as it is now, locked, its task before it: the one order of locks."""
    task_id = await tx.scalar(select(WorkOrder.task_id).where(WorkOrder.id == order_id))
    if task_id is None:
        return None
    await tasks.lock_task(tx, task_id)
    return await store.lock_order(tx, order_id)


def ended(tx: Transaction, reason: str) -> dict[str, Any]:
    """The columns of an order that is over without success."""
    return {
        "status": OrderStatus.FAILED,
        "completed_at": tx.now,
        "lease_expires_at": None,
        "line_id": None,
        "error_message": reason,
    }


async def _end_attempt(  # keyword-only facts of one ending
    tx: Transaction,
    order: WorkOrder,
    *,
    failure_class: FailureClass,
    message: str,
    report: ExecutionReport | None,
    settings: QueueSettings,
    draw: random.Random,
    is_lost: bool = False,
    is_free_at_once: bool = False,
    limit_lifted_in: float | None = None,
) -> OrderOutcome:
    losses = order.lost_count + 1 if is_lost else 0
    was_stopped = order.last_failure_class == FailureClass.WORKER_STOPPED
    retries = (order.retry_count, order.max_retries, losses)
    attempted = Attempted(failure_class, *retries, limit_lifted_in, was_stopped)
    decision = decide(attempted, settings, draw)
    if order.cancel_requested_at is not None:
        # Somebody wanted it stopped: however the attempt ended, there is no other.
        failure_class, decision = FailureClass.CANCELLED, Decision(will_retry=False)
    told = f"{message}; {decision.reason}" if decision.reason else message
    values: dict[str, Any] = {
        "lost_count": losses,
        "last_failure_class": failure_class.value,
        "error_message": told,
        "result": _result(report) if report else None,
    }
    if decision.will_retry:
        is_due = is_free_at_once or await answers.is_answered(tx, order, failure_class)
        values |= _waiting(order) | {
            "retry_count": order.retry_count + decision.costs_retry,
            "available_at": tx.dialect.seconds_from_now(0.0 if is_due else decision.delay_seconds),
        }
    else:
        values |= ended(tx, told)
    worker_id = order.worker_id
    change = store.take_back if is_lost else store.settle
    after = await change(tx, order.id, order.fence, values)
    if after is None:
        raise LeaseLost(_LOST)
    await _end_assignment(
        tx, after, AssignmentStatus.TIMEOUT if is_lost else AssignmentStatus.FAILED
    )
    tx.emit(
        AttemptEnded(
            after,
            after.execution_id,
            failure_class=failure_class,
            message=told,
            will_retry=decision.will_retry,
            report=report,
        )
    )
    _free_places(tx, after)
    if decision.will_retry:
        tx.hint(CHANNEL, after.queue_name)
    # Nothing more is taken of a claim that was lost, so nobody is answered.
    return _outcome(after) if is_lost else _keep_outcome(tx, after, worker_id)


def _seconds_until_lifted(tx: Transaction, message: FailIn) -> float | None:
    """When a provider's limit is lifted, by its own clock and ours, not the worker's."""
    until = logins.lifted_at(message, tx.now)
    return None if until is None else max(0.0, (until - tx.now).total_seconds())


def _free_places(tx: Transaction, order: WorkOrder) -> None:
    if order.held_limits:
        tx.emit(PlacesFreed(tuple(order.held_limits), order.queue_name))


def _is_only_stopped(order: WorkOrder) -> bool:
    """Whether its run was told to stop, but nobody gave up the order."""
    return order.stop_requested_at is not None and order.cancel_requested_at is None


async def _lock_claim(
    tx: Transaction, actor: WorkerActor, order_id: uuid.UUID, fence: int
) -> WorkOrder | None:
    """The order of a claim that is still held, locked after its task; None when it has ended."""
    task_id = await queries.find_task_of_claim(tx, actor, order_id, fence)
    if task_id is None:
        return None
    await tasks.lock_task(tx, task_id)
    order = await store.lock_order(tx, order_id)
    is_held = order is not None and order.fence == fence and order.status is OrderStatus.CLAIMED
    return order if is_held else None


async def _completed_before(tx: Transaction, order_id: uuid.UUID, fence: int) -> OrderOutcome:
    """The first answer again, when this claim has completed the order; else the claim is lost."""
    order = await tx.get(WorkOrder, order_id, populate_existing=True)
    if order is None or order.fence != fence or order.status is not OrderStatus.COMPLETED:
        raise LeaseLost(_LOST)
    return _outcome(order)


async def _answered_before(
    tx: Transaction, actor: WorkerActor, order_id: uuid.UUID, fence: int
) -> OrderOutcome:
    """The first answer again, whatever has become of the order since; else the claim is lost."""
    found = await queries.find_outcome(tx, actor, order_id, fence)
    if found is None:
        raise LeaseLost(_LOST)
    will_retry = found.available_at is not None
    return OrderOutcome(
        order_id=order_id,
        status=OrderStatus.PENDING if will_retry else OrderStatus.FAILED,
        will_retry=will_retry,
        available_at=found.available_at,
    )


def _keep_outcome(tx: Transaction, order: WorkOrder, worker_id: WorkerId | None) -> OrderOutcome:
    """Answer a report that ended a claim, and keep the answer: the report may come again."""
    outcome = _outcome(order)
    assert worker_id is not None, "a claimed order has a worker"
    tx.add(
        ClaimOutcome(
            work_order_id=order.id,
            fence=order.fence,
            worker_id=worker_id,
            available_at=outcome.available_at,
        )
    )
    return outcome


async def _end_assignment(tx: Transaction, order: WorkOrder, status: AssignmentStatus) -> None:
    await tx.execute(
        update(WorkerAssignment)
        .where(
            WorkerAssignment.work_order_id == order.id,
            WorkerAssignment.status == AssignmentStatus.ACTIVE,
        )
        .values(status=status, completed_at=tx.now)
        .execution_options(synchronize_session=False)
    )


def _waiting(order: WorkOrder) -> dict[str, Any]:
    """The columns of a claimed order that is to wait again, in the line it came from."""
    return {
        "line_id": order.held_limits[0] if order.held_limits else None,
        "stop_requested_at": None,
        "status": OrderStatus.PENDING,
        "worker_id": None,
        "worker_session_id": None,
        "claim_token": None,
        "lease_expires_at": None,
        "cancel_requested_at": None,
    }


def _result(report: ExecutionReport) -> dict[str, Any]:
    """The report without the diff, which the modification keeps."""
    return report.model_dump(mode="json", exclude={"change": {"diff"}})


def _outcome(order: WorkOrder) -> OrderOutcome:
    will_retry = order.status is OrderStatus.PENDING
    return OrderOutcome(
        order_id=order.id,
        status=order.status,
        will_retry=will_retry,
        available_at=order.available_at if will_retry else None,
    )
