"""Chores of the usage slice.

Calls whose process is gone are counted, never forgotten; tasks that waited for their budget go on.
"""

import uuid
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import select

from agentvine.db.session import Database, ReadSession
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.tasks import service as task_service
from agentvine.domains.tasks.context import read_context
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.models import Task
from agentvine.domains.usage import books, waiting
from agentvine.domains.usage.models import BudgetReservation
from agentvine.domains.usage.periods import day_of
from agentvine.kit.actor import SystemActor
from agentvine.kit.errors import AppError

_ACTOR = SystemActor("usage")
_BATCH = 100
_WAITING = 500

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class UsageChores:
    """Level-triggered upkeep of the books."""

    database: Database
    zone: ZoneInfo
    """Where the periods of budgets begin."""

    async def expire(self) -> int:
        """Count calls that were never settled as what was reserved for them. Returns how many."""
        async with self.database.read() as read:
            query = (
                select(BudgetReservation.id)
                .where(BudgetReservation.expires_at < self.database.clock.now())
                .order_by(BudgetReservation.expires_at)
                .limit(_BATCH)
            )
            due = (await read.scalars(query)).all()
        return sum([await self._expire_one(reservation_id) for reservation_id in due])

    async def _expire_one(self, reservation_id: uuid.UUID) -> bool:
        async with self.database.transaction(_ACTOR) as tx:
            reservation = await tx.get(BudgetReservation, reservation_id)
            if reservation is None or reservation.expires_at >= tx.now:
                return False
            await books.expire(tx, reservation)
            log.warning("usage.call_expired", request_id=reservation.request_id)
        return True

    async def resume(self) -> int:
        """Let tasks go on of whose budgets more is left than when they were stopped."""
        async with self.database.read() as read:
            found = await tasks.list_waiting_for_budget(read, _WAITING)
            today = day_of(self.database.clock.now(), self.zone)
            due = [task.id for task in found if await self._is_due(read, task, today)]
        return sum([await self._resume(task_id) for task_id in due])

    async def _is_due(self, read: ReadSession, task: Task, today: date) -> bool:
        waits_for = read_context(task).budget_room
        return waits_for is not None and waiting.may_go_on(
            waits_for, await waiting.tightest(read, task, today)
        )

    async def _resume(self, task_id: uuid.UUID) -> bool:
        try:
            async with self.database.transaction(_ACTOR) as tx:
                task = await tasks.try_lock_task(tx, task_id)
                if task is None or task.status is not TaskStatus.BLOCKED:
                    return False
                if not await self._is_due(tx, task, day_of(tx.now, self.zone)):
                    return False
                await task_service.start_task(tx, task)
                return task.status is not TaskStatus.BLOCKED
        except AppError as error:
            # Its project is archived, or it lacks something: a person's `task resume` tells.
            log.info("task.not_resumed", task=str(task_id), error=error.detail)
            return False
