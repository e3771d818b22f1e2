"""Chores of the queue: take back what dead workers held, end what is not to be run, amnesty.

Each order is handled in a transaction of its own, which looks again under lock: one that cannot be
handled does not hold up the others, and several servers may do the same chore at once.
"""

import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import structlog
from sqlalchemy import ColumnElement

from agentvine.config.settings import QueueSettings
from agentvine.db.session import Database, ReadSession, Transaction
from agentvine.domains.projects.models import Project
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.work import settling, store
from agentvine.domains.work.enums import OrderStatus
from agentvine.domains.work.models import WorkOrder
from agentvine.domains.workers import service as workers
from agentvine.kit.actor import SystemActor
from agentvine.protocol.enums import FailureClass

_ACTOR = SystemActor("queue")
_BATCH = 50
_OUTAGE_SECONDS = 5.0
_RUN_AHEAD_SECONDS = 1.0
"""More than any clock drifts between two looks, and less than what is left of a lease when a worker
that is not heard has ended its program: 3 s of 60, and 1 s of 20."""

log = structlog.get_logger(__name__)

Condition = Callable[[ReadSession], ColumnElement[bool]]
Handler = Callable[[Transaction, WorkOrder], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Clocks:
    """What the database's clock showed, between two looks at our own that nobody sets."""

    shown: datetime
    before: float
    after: float

    def ran_ahead_since(self, earlier: "_Clocks") -> float:
        """How many seconds the database's clock has moved more than ours, at the least.

        A database that is slow to answer is no clock that was set.
        """
        return (self.shown - earlier.shown).total_seconds() - (self.after - earlier.before)


@dataclass(slots=True)
class QueueChores:
    """Level-triggered upkeep of the queue; each call is one bounded step."""

    database: Database
    settings: QueueSettings
    # Spreads retries; nothing secret hangs on it.
    draw: random.Random = field(default_factory=random.Random)
    _served_at: float | None = None
    _clocks: _Clocks | None = None

    async def rescue(self) -> int:
        """Take back orders whose lease has run out. Returns how many.

        After a time in which this server could not look, and after one in which the database's
        clock was set forward, or went on while the machine slept, every holder gets one more lease
        first: most likely nobody could renew either.
        """
        clocks = await self._read_clocks()
        has_missed = self._has_missed_time(clocks)
        if has_missed:
            await self.grant_amnesty()
        # By the time that was looked at: a lease that runs out while this server or its database
        # is held up from here on is judged by the next look.
        count = await self._each(partial(store.is_lapsed, by=clocks.shown), self._take_back)
        self._clocks = clocks
        # What took long because there was much to do is no outage.
        is_busy = has_missed or count > 0
        self._served_at = self.database.clock.monotonic() if is_busy else clocks.after
        return count

    async def expire(self) -> int:
        """End waiting orders that are too late. Returns how many."""
        return await self._each(store.is_overdue, _expire)

    async def end_stranded(self) -> int:
        """End orders whose project or repository was deleted, stop those that run. How many."""
        ended = await self._each(lambda _: store.is_stranded_waiting(), _end_stranded)
        return ended + await self._each(lambda _: store.is_stranded_running(), _stop_stranded)

    async def mark_offline(self) -> int:
        """Show silent workers as offline. Returns how many changed."""
        async with self.database.transaction(_ACTOR) as tx:
            return await workers.mark_silent_workers_offline(
                tx, silent_seconds=self.settings.lease_seconds
            )

    async def grant_amnesty(self) -> int:
        """Extend every lease once, after a time in which nobody could renew. Returns how many."""
        # Read before: the next look notices a clock that is set while leases are extended.
        self._clocks = await self._read_clocks()
        async with self.database.transaction(_ACTOR) as tx:
            count = await store.extend_all_leases(tx, lease_seconds=self.settings.lease_seconds)
        self._served_at = self.database.clock.monotonic()
        return count

    async def _read_clocks(self) -> _Clocks:
        before = self.database.clock.monotonic()
        async with self.database.read() as read:
            shown = await store.read_clock(read)
        return _Clocks(shown, before, self.database.clock.monotonic())

    def _has_missed_time(self, clocks: _Clocks) -> bool:
        pause = clocks.after - self._served_at if self._served_at is not None else 0.0
        ahead = clocks.ran_ahead_since(self._clocks) if self._clocks is not None else 0.0
        if pause > self.settings.poll_interval_seconds + _OUTAGE_SECONDS:
            log.warning("queue.outage_noticed", seconds=round(pause, 1))
            return True
        if ahead > _RUN_AHEAD_SECONDS:
            log.warning("queue.clock_ran_ahead", seconds=round(ahead, 1))
            return True
        return False

    async def _each(self, condition: Condition, handle: Handler) -> int:
        async with self.database.read() as read:
            found = await store.find_orders(read, condition(read), _BATCH)
        return sum([await self._one(order_id, condition, handle) for order_id in found])

    async def _one(self, order_id: uuid.UUID, condition: Condition, handle: Handler) -> bool:
        try:
            async with self.database.transaction(_ACTOR) as tx:
                order = await store.lock_if(tx, order_id, condition(tx))
                if order is None:
                    return False
                await handle(tx, order)
        except Exception as error:  # the boundary of a job: the other orders are handled still
            log.exception("order.not_handled", order=str(order_id), error=repr(error))
            return False
        return True

    async def _take_back(self, tx: Transaction, order: WorkOrder) -> None:
        await settling.take_back_lost(
            tx,
            order,
            failure_class=FailureClass.LEASE_LOST,
            message="its worker was not heard of before the lease ended",
            settings=self.settings,
            draw=self.draw,
        )


async def _expire(tx: Transaction, order: WorkOrder) -> None:
    await settling.end_waiting_order(
        tx,
        order,
        status=OrderStatus.EXPIRED,
        failure_class=FailureClass.EXPIRED,
        reason="no worker claimed it in time",
    )


async def _stop_stranded(tx: Transaction, order: WorkOrder) -> None:
    order.cancel_requested_at = tx.now
    tx.hint(workers.NEWS, str(order.worker_id))


async def _end_stranded(tx: Transaction, order: WorkOrder) -> None:
    task = await tasks.lock_task(tx, order.task_id)
    project = await tx.get(Project, task.project_id)
    is_project_gone = project is None or project.deleted_at is not None
    await settling.end_waiting_order(
        tx,
        order,
        status=OrderStatus.FAILED,
        failure_class=FailureClass.CANCELLED if is_project_gone else FailureClass.ORDER_INVALID,
        reason=f"its {'project' if is_project_gone else 'repository'} was deleted",
    )
