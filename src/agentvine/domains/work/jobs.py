"""Chores of the queue: take back what dead workers held, end what is not to be run, amnesty.

Each order is handled in a transaction of its own, which looks again under lock: one that cannot be
handled does not hold up the others, and several servers may do the same chore at once.
"""

import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

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

log = structlog.get_logger(__name__)

Condition = Callable[[ReadSession], ColumnElement[bool]]
Handler = Callable[[Transaction, WorkOrder], Awaitable[None]]


@dataclass(slots=True)
class QueueChores:
    """Level-triggered upkeep of the queue; each call is one bounded step."""

    database: Database
    settings: QueueSettings
    # Spreads retries; nothing secret hangs on it.
    draw: random.Random = field(default_factory=random.Random)
    _served_at: float | None = None

    async def rescue(self) -> int:
        """Take back orders whose lease has run out. Returns how many.

        After a time in which this server could not look, every holder gets one more lease first:
        most likely nobody could renew either.
        """
        now = self.database.clock.monotonic()
        pause = self.settings.poll_interval_seconds + _OUTAGE_SECONDS
        if self._served_at is not None and now - self._served_at > pause:
            log.warning("queue.outage_noticed", seconds=round(now - self._served_at, 1))
            await self.grant_amnesty()
        count = await self._each(store.is_lapsed, self._take_back)
        self._served_at = self.database.clock.monotonic()
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
        async with self.database.transaction(_ACTOR) as tx:
            count = await store.extend_all_leases(tx, lease_seconds=self.settings.lease_seconds)
        self._served_at = self.database.clock.monotonic()
        return count

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
