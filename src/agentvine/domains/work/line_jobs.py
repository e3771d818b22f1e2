"""Chores of the limits: every order stands in its line, every counter tells the truth."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import ColumnElement, Select, and_, or_, select

from agentvine.db.session import Database, Transaction
from agentvine.domains.tasks.models import Task
from agentvine.domains.work import limiting, limits, lines
from agentvine.domains.work.enums import LimitId, LimitScope, OrderStatus
from agentvine.domains.work.holds import HELD
from agentvine.domains.work.limits import LimitBook
from agentvine.domains.work.models import Limit, WorkOrder
from agentvine.domains.work.settling import CHANNEL
from agentvine.kit.actor import SystemActor

_ACTOR = SystemActor("limits")
_BATCH = 1000

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class LimitChores:
    """Level-triggered upkeep of the limits; each call is one bounded step."""

    database: Database

    async def straighten(self) -> int:
        """Let orders stand where they belong, some at a time. Returns how many had to move.

        They stand elsewhere when their limit was set or removed after they were enqueued, or when
        another of their limits was reached.
        """
        async with self.database.transaction(_ACTOR) as tx:
            book = await limits.read_book(tx)
            if book.is_closed and book.stops_runs:
                await limiting.stop_runs(tx)
            moved = 0
            for condition in _misplaced(book):
                moved += await _move(tx, book, condition, _BATCH - moved)
                if moved >= _BATCH:
                    break
            if moved:
                tx.hint(CHANNEL)
            elif book.states:
                await _remove_dormant(tx)
        return moved

    async def reconcile(self) -> int:
        """Compare the counters with what runs. Returns 0: there is nothing to repeat."""
        async with self.database.transaction(_ACTOR) as tx:
            drift = await limits.reconcile(tx)
            if drift:
                tx.hint(CHANNEL)
        for limit_id, by in drift.items():
            # Must not happen: somebody changed orders behind our back, or we have a bug.
            log.error("limit.drifted", limit=limit_id, by=by)
        return 0


def _misplaced(book: LimitBook) -> list[ColumnElement[bool]]:
    """The kinds of order that do not stand in their line."""
    in_force = [s for s in book.states if s.is_in_force and s.scope is not LimitScope.FLEET]
    found: list[ColumnElement[bool]] = []
    if in_force:
        under_some = [limits.is_under(s.scope, [s.key]) for s in in_force]
        found.append(and_(WorkOrder.line_id.is_(None), or_(*under_some)))
    known = [s.id for s in in_force]
    # Those that are held up stand in no limit's line, and are let go by who holds them.
    found.append(and_(WorkOrder.line_id.is_not(None), WorkOrder.line_id.not_in([*known, HELD])))
    open_lines = [s.id for s in in_force if s.room > 0]
    full = [limits.is_under(s.scope, [s.key]) for s in in_force if s.room <= 0]
    if open_lines and full:
        found.append(and_(WorkOrder.line_id.in_(open_lines), or_(*full)))
    return found


async def _move(
    tx: Transaction, book: LimitBook, condition: ColumnElement[bool], limit: int
) -> int:
    query: Select[WorkOrder, Task] = (
        select(WorkOrder, Task)
        .join(Task, Task.id == WorkOrder.task_id)
        .where(WorkOrder.status == OrderStatus.PENDING, condition)
        .limit(limit)
        .with_for_update(of=WorkOrder, skip_locked=True, key_share=True)
    )
    moves: dict[LimitId | None, list[WorkOrder]] = defaultdict(list)
    for order, task in (await tx.execute(query)).all():
        line = book.line_of(limits.place_of(order.queue_name, order.worker_type, task))
        if line != order.line_id:
            moves[line].append(order)
    for line, orders in moves.items():
        await lines.stand_in_line(tx, [order.id for order in orders], line)
    return sum(map(len, moves.values()))


async def _remove_dormant(tx: Transaction) -> None:
    """Remove limits that say nothing, once nobody stands in their line or is counted by them."""
    found: Sequence[Limit] = await limiting.lock_dormant(tx)
    for limit in found:
        if limit.running == 0 and await limiting.count_in_line(tx, limit.id) == 0:
            await tx.delete(limit)
