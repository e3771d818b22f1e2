"""Claims where there are limits: first among the orders without, then in the lines that are open.

An order under a limit stands in that limit's line, so that a hundred thousand of them cost a claim
nothing while the limit is reached. A claim compares the heads of the open lines with the best of
the other orders. What it takes from a line it takes under the lock of every limit of that order.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product

from sqlalchemy import Select, select, union_all, update

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.tasks.enums import TaskId
from agentvine.domains.tasks.models import Task
from agentvine.domains.work import limits, store
from agentvine.domains.work.enums import LimitId, OrderStatus, WorkOrderId
from agentvine.domains.work.limits import LimitBook, LimitState, OrderPlace
from agentvine.domains.work.models import WorkOrder

_SLACK = 8
"""Candidates beyond those wanted: some are taken by others while we wait for the limits."""
_MOST_ARMS = 50
"""Of one statement; more lines are asked in several."""
_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class _Candidate:
    id: WorkOrderId
    rank: int
    line_id: LimitId
    place: OrderPlace

    @property
    def order(self) -> tuple[int, uuid.UUID]:
        """Best first."""
        return self.rank, self.id


@dataclass(slots=True)
class _Choice:
    """What a claim takes from the lines, and what it found in its way there."""

    granted: dict[WorkOrderId, list[int]] = field(default_factory=dict[WorkOrderId, list[int]])
    """With the limits that each will hold."""
    refused: dict[LimitId, list[WorkOrderId]] = field(
        default_factory=lambda: defaultdict(list[WorkOrderId])
    )
    """Those that stand in an open line but have another limit that is reached: by that one."""


async def claim(
    tx: Transaction,
    holder: store.Holder,
    wanted: store.ClaimFilter,
    *,
    limit: int,
    lease_seconds: float,
) -> list[WorkOrder]:
    """Take up to ``limit`` orders, best first, and no more of any kind than its limits allow."""
    book = await limits.read_book(tx)
    if book.is_closed:
        return []
    taken: list[WorkOrder] = []
    if book.open_lines:
        taken = await _claim_from_lines(tx, holder, wanted, book, limit, lease_seconds)
    if len(taken) < limit:
        ready = store.ready_orders(tx, wanted, limit - len(taken), outside=book.outside)
        taken += await store.claim(tx, holder, ready, lease_seconds=lease_seconds)
    return sorted(taken, key=lambda order: (order.rank, order.id))


async def find_claimable(
    read: ReadSession, wanted: store.ClaimFilter, book: LimitBook, limit: int
) -> list[WorkOrderId]:
    """Which orders a claim would take now, best first; takes no lock."""
    if book.is_closed:
        return []
    ready = store.ready_orders(read, wanted, limit, outside=book.outside)
    if not book.open_lines:
        return list((await read.scalars(ready)).all())
    rivals = await _ranked(read, ready)
    candidates = await _candidates(read, wanted, book, limit)
    choice = _choose(candidates, rivals, book, limit)
    chosen = {c.order for c in candidates if c.id in choice.granted} | set(rivals)
    return [WorkOrderId(order_id) for _, order_id in sorted(chosen)[:limit]]


async def _claim_from_lines(
    tx: Transaction,
    holder: store.Holder,
    wanted: store.ClaimFilter,
    book: LimitBook,
    limit: int,
    lease_seconds: float,
) -> list[WorkOrder]:
    taken: list[WorkOrder] = []
    locked: dict[int, LimitState] = {}
    for _ in range(_ROUNDS):
        candidates = await _candidates(tx, wanted, book, limit - len(taken))
        if not candidates:
            break
        if not locked:
            # Once, and all: two claims that add locks one by one would wait for each other.
            locked = await limits.lock(tx, (s.id for c in candidates for s in book.of(c.place)))
        book = book.renewed(locked)
        free = await _lock_orders(tx, [c.id for c in candidates])
        sure = [
            c for c in candidates if c.id in free and all(s.id in locked for s in book.of(c.place))
        ]
        rivals = await _ranked(tx, store.ready_orders(tx, wanted, limit, outside=book.outside))
        choice = _choose(sure, rivals, book, limit - len(taken))
        await _move(tx, choice.refused)
        won = await _take(tx, holder, choice, lease_seconds)
        taken += won
        for order in won:
            for limit_id in order.held_limits or ():
                locked[limit_id].running += 1
        # Once more where some were taken by others while we waited, or have moved.
        if len(taken) >= limit or (len(free) == len(candidates) and not choice.refused):
            break
    return taken


async def _take(
    tx: Transaction, holder: store.Holder, choice: _Choice, lease_seconds: float
) -> list[WorkOrder]:
    if not choice.granted:
        return []
    these = (
        select(WorkOrder.id, WorkOrder.task_id)
        .where(WorkOrder.id.in_(list(choice.granted)), WorkOrder.status == OrderStatus.PENDING)
        .order_by(WorkOrder.rank, WorkOrder.id)
    )
    won = list(await store.claim(tx, holder, these, lease_seconds=lease_seconds))
    for order in won:
        order.held_limits = choice.granted[order.id]
    await tx.flush()
    await limits.take(tx, won)
    return won


def _choose(
    candidates: Sequence[_Candidate],
    rivals: Sequence[tuple[int, uuid.UUID]],
    book: LimitBook,
    limit: int,
) -> _Choice:
    """Which candidates to take, such that with the rivals the best ``limit`` are taken."""
    choice = _Choice()
    room = {state.id: state.room for state in book.states}
    for candidate in sorted(candidates, key=lambda c: c.order):
        better = sum(rival < candidate.order for rival in rivals)
        if len(choice.granted) + better >= limit:
            break
        its_limits = [s.id for s in book.of(candidate.place)]
        full = [limit_id for limit_id in its_limits if room[limit_id] <= 0]
        if not full:
            choice.granted[candidate.id] = [
                s.id for s in book.of(candidate.place) if s.capacity is not None
            ]
            for limit_id in its_limits:
                room[limit_id] -= 1
        elif candidate.line_id not in full:
            choice.refused[full[0]].append(candidate.id)
    return choice


async def _candidates(
    read: ReadSession, wanted: store.ClaimFilter, book: LimitBook, limit: int
) -> list[_Candidate]:
    """The first of every open line that this worker could take."""
    found: list[_Candidate] = []
    arms = [
        store.orders_in_line(
            read, wanted, min(limit, line.room) + _SLACK, line=line.id, queue=queue
        )
        for line, queue in product(book.open_lines, wanted.queues)
    ]
    for start in range(0, len(arms), _MOST_ARMS):
        found += await _read_candidates(read, arms[start : start + _MOST_ARMS])
    return found


async def _read_candidates(
    read: ReadSession, arms: Sequence[Select[WorkOrderId, TaskId]]
) -> list[_Candidate]:
    # SQLite takes an arm's own order and limit in a sub-select only.
    parts = [arm.subquery() for arm in arms]
    ids = union_all(*(select(part.c.id) for part in parts)).subquery()
    query = (
        select(WorkOrder.id, WorkOrder.rank, WorkOrder.line_id, WorkOrder.queue_name)
        .add_columns(WorkOrder.worker_type, Task)
        .join_from(WorkOrder, Task, Task.id == WorkOrder.task_id)
        .where(WorkOrder.id.in_(select(ids.c.id)))
    )
    return [
        _Candidate(order_id, rank, line_id, limits.place_of(queue, kind, task))
        for order_id, rank, line_id, queue, kind, task in (await read.execute(query)).all()
        if line_id is not None
    ]


async def _ranked(
    read: ReadSession, ready: Select[WorkOrderId, TaskId]
) -> list[tuple[int, uuid.UUID]]:
    query = ready.with_only_columns(WorkOrder.rank, WorkOrder.id)
    return [(rank, order_id) for rank, order_id in (await read.execute(query)).all()]


async def _lock_orders(tx: Transaction, ids: Sequence[WorkOrderId]) -> set[WorkOrderId]:
    """Those of the orders that still wait and that nobody else is at."""
    query = (
        select(WorkOrder.id)
        .where(WorkOrder.id.in_(ids), WorkOrder.status == OrderStatus.PENDING)
        .with_for_update(skip_locked=True, key_share=True)
    )
    return set((await tx.scalars(query)).all())


async def _move(tx: Transaction, refused: dict[LimitId, list[WorkOrderId]]) -> None:
    """Let orders wait where they were refused; the chore brings those behind them."""
    for line_id, ids in refused.items():
        await stand_in_line(tx, ids, line_id)
    if refused:
        tx.hint(limits.LINES)


async def stand_in_line(tx: Transaction, ids: Iterable[uuid.UUID], line_id: LimitId | None) -> None:
    """Let waiting orders, locked by the caller, wait at a limit, or at none."""
    await tx.execute(
        update(WorkOrder)
        .where(WorkOrder.id.in_(list(ids)), WorkOrder.status == OrderStatus.PENDING)
        .values(line_id=line_id)
        .execution_options(synchronize_session=False)
    )
