"""Handing out orders: claims, beats, registration, and what a dead worker left behind."""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from agentvine.config.settings import QueueSettings
from agentvine.db.base import table_of
from agentvine.db.engine import to_json
from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.work import controls, limits, lines, settling, store
from agentvine.domains.work.capabilities import satisfied_sets
from agentvine.domains.work.enums import AssignmentStatus, OrderStatus
from agentvine.domains.work.errors import ClaimStale
from agentvine.domains.work.events import AttemptAdvanced, OrderClaimed
from agentvine.domains.work.grants import Grant
from agentvine.domains.work.models import WorkerAssignment, WorkOrder
from agentvine.domains.workers import enrolment
from agentvine.domains.workers import queries as workers
from agentvine.domains.workers import service as worker_service
from agentvine.domains.workers.models import Worker
from agentvine.kit.actor import WorkerActor
from agentvine.kit.ids import new_id
from agentvine.protocol.enums import FailureClass
from agentvine.protocol.queue import ClaimIn, HeartbeatIn, LeaseOut, LeaseState


async def filter_for(
    read: ReadSession, worker: Worker, actor: WorkerActor, now: datetime
) -> store.ClaimFilter:
    """Which orders a worker could take, were it free."""
    satisfied, newest = await satisfied_sets(read, worker.id)
    return store.ClaimFilter(
        queues=tuple(worker.queues),
        worker_types=tuple(worker.accepts),
        runtimes=tuple(worker.usable_runtimes(now)),
        capability_sets=tuple(satisfied),
        projects=enrolment.allowed_projects(actor),
        newest_set=newest,
    )


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """What a claim brought, and what to wait for when it brought nothing."""

    granted: list[Grant]
    wanted: store.ClaimFilter | None = None
    """What the worker could take; None when it can take nothing now."""
    free_slots: int = 0


async def claim_orders(
    tx: Transaction, actor: WorkerActor, message: ClaimIn, settings: QueueSettings
) -> ClaimResult:
    """Hand out orders to a worker. The same claim token gets the same orders again.

    Raises:
        WorkerNotFound: It is not registered, or not by this token.
        WorkerSuperseded: A later process of the same worker has registered.
        ClaimStale: What this claim got has ended, or a later one was granted.
    """
    # Claims of one worker go one after the other, so that together they keep to its limit.
    worker = await workers.lock_calling_worker(tx, actor, message.worker_id, message.session_id)
    holder = store.Holder(worker.id, message.session_id, message.claim_token)
    held = await store.tokens_held(tx, worker.id)
    is_repeated = message.claim_token in held
    _check_number(worker, message, is_repeated=is_repeated)
    if is_repeated:
        _note_granted(worker, message)
        again = await store.claimed_with(tx, holder)
        # The worker counts its leases from this request on, so they must begin anew.
        claims = [(order.id, order.fence) for order in again]
        await store.renew(tx, worker.id, claims, lease_seconds=settings.lease_seconds)
        return ClaimResult([_granted(order, settings) for order in again])
    free = 0 if worker.is_draining else max(0, worker.max_concurrent_tasks - len(held))
    limit = min(message.slots, free)
    if limit == 0:
        return ClaimResult([])
    wanted = await filter_for(tx, worker, actor, tx.now)
    orders = await lines.claim(
        tx, holder, wanted, limit=limit, lease_seconds=settings.lease_seconds
    )
    if orders:
        _note_granted(worker, message)
    await _open_attempts(tx, worker, orders)
    return ClaimResult([_granted(order, settings) for order in orders], wanted, limit)


def _check_number(worker: Worker, message: ClaimIn, *, is_repeated: bool) -> None:
    """Refuse a request that the network has held back, for nobody waits for its answer."""
    if message.number is None or worker.claim_session_id != message.session_id:
        return
    last = worker.claim_number or 0
    if message.number < last or (message.number == last and not is_repeated):
        raise ClaimStale(
            f"Claim {message.number} of this session is over: claim {last} was granted. "
            "Claim with a new token and a greater number."
        )


def _note_granted(worker: Worker, message: ClaimIn) -> None:
    if message.number is not None:
        worker.claim_session_id, worker.claim_number = message.session_id, message.number


async def renew_leases(
    tx: Transaction, actor: WorkerActor, message: HeartbeatIn, settings: QueueSettings
) -> tuple[list[LeaseOut], bool]:
    """Answer a beat: which claims are kept, lost, or to be cancelled; and whether to drain.

    With each claim comes what people want of its run besides.

    Raises:
        WorkerNotFound: It is not registered, or not by this token.
        WorkerSuperseded: A later process of the same worker has registered.
    """
    worker = await workers.lock_calling_worker(tx, actor, message.worker_id, message.session_id)
    await worker_service.note_heartbeat(tx, worker, held=len(message.held))
    renewed = await store.renew(
        tx,
        worker.id,
        [(claim.order_id, claim.fence) for claim in message.held],
        lease_seconds=settings.lease_seconds,
    )
    wanted = await controls.wanted_of(tx, renewed)
    answers: list[LeaseOut] = []
    for claim in message.held:
        key = (claim.order_id, claim.fence)
        lease = renewed.get(key)
        state = LeaseState.LOST
        if lease is not None:
            state = LeaseState.CANCEL if lease.is_to_stop else LeaseState.KEPT
            if lease.execution_id is not None:
                tx.emit(AttemptAdvanced(lease.task_id, lease.execution_id, claim.phase))
        answers.append(
            LeaseOut(
                order_id=claim.order_id, fence=claim.fence, state=state, control=wanted.get(key)
            )
        )
    return answers, worker.is_draining


async def take_back_from_earlier_process(
    tx: Transaction,
    worker: Worker,
    *,
    still_held: Sequence[uuid.UUID],
    settings: QueueSettings,
    draw: random.Random,
) -> int:
    """Free what an earlier process of this worker held, but for what waits in its outbox."""
    count = 0
    for order in await _lock_held(tx, worker):
        if order.worker_session_id == worker.session_id:
            continue
        if order.execution_id in still_held:
            order.worker_session_id = worker.session_id
            continue
        count += 1
        await settling.take_back_lost(
            tx,
            order,
            failure_class=FailureClass.WORKER_STOPPED,
            message=f"{worker.name} was started anew without it",
            settings=settings,
            draw=draw,
            is_free_at_once=True,
        )
    return count


async def take_back_from_revoked(
    tx: Transaction, token_id: uuid.UUID, settings: QueueSettings, draw: random.Random
) -> None:
    """Free everything that workers held who came with a key that is not good any more."""
    for worker_id in await workers.ids_by_token(tx, token_id):
        worker = await workers.lock_worker(tx, worker_id)
        await take_back_from_retired(tx, worker, settings, draw, why="lost its key")
        await worker_service.shut_out(tx, worker)


async def take_back_from_retired(
    tx: Transaction,
    worker: Worker,
    settings: QueueSettings,
    draw: random.Random,
    *,
    why: str = "was deleted",
) -> None:
    """Free everything a worker held that does not come back."""
    for order in await _lock_held(tx, worker):
        await settling.take_back_lost(
            tx,
            order,
            failure_class=FailureClass.LEASE_LOST,
            message=f"{worker.name} {why}",
            settings=settings,
            draw=draw,
            is_free_at_once=True,
        )


async def _lock_held(tx: Transaction, worker: Worker) -> list[WorkOrder]:
    """What a worker holds, locked. Its own row must be locked: then nothing is added."""
    query = (
        select(WorkOrder.id)
        .where(WorkOrder.worker_id == worker.id, WorkOrder.status == OrderStatus.CLAIMED)
        # Two that lock several tasks do so in the same order.
        .order_by(WorkOrder.task_id)
    )
    locked = [
        await settling.lock_order_after_task(tx, order_id)
        for order_id in (await tx.scalars(query)).all()
    ]
    held = [
        order
        for order in locked
        if order is not None
        and order.status is OrderStatus.CLAIMED
        and order.worker_id == worker.id
    ]
    await limits.lock_held(tx, held)
    return held


async def _open_attempts(tx: Transaction, worker: Worker, orders: Sequence[WorkOrder]) -> None:
    if not orders:
        return
    worker.updated_at = tx.now  # whoever has looked at what it holds must look again
    for order in orders:
        order.execution_id = new_id()
    await tx.flush()  # the orders' new executions are read back by the reactions
    rows = [
        {
            "id": new_id(),
            "worker_id": worker.id,
            "work_order_id": order.id,
            "status": AssignmentStatus.ACTIVE,
            "fence": order.fence,
            "execution_id": order.execution_id,
            "assigned_at": tx.now,
            "completed_at": None,
        }
        for order in orders
    ]
    # One row per worker and order: a later claim by the same worker opens it again.
    await tx.execute(
        tx.dialect.upsert(
            table_of(WorkerAssignment),
            rows,
            keys=["worker_id", "work_order_id"],
            update=["status", "fence", "execution_id", "assigned_at", "completed_at"],
        )
    )
    for order in orders:
        assert order.execution_id is not None, "set above"
        tx.emit(OrderClaimed(order, worker.id, order.execution_id))


def _granted(order: WorkOrder, settings: QueueSettings) -> Grant:
    assert order.execution_id is not None, "set when the claim was made"
    return Grant(
        order_id=order.id,
        execution_id=order.execution_id,
        fence=order.fence,
        attempt=order.retry_count + 1,
        lease_seconds=settings.lease_seconds,
        payload=to_json(order.payload),
    )
