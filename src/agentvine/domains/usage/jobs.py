"""Chores of the usage slice: calls whose process is gone are counted, never forgotten."""

import uuid
from dataclasses import dataclass

import structlog
from sqlalchemy import select

from agentvine.db.session import Database
from agentvine.domains.usage import books
from agentvine.domains.usage.models import BudgetReservation
from agentvine.kit.actor import SystemActor

_ACTOR = SystemActor("usage")
_BATCH = 100

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class UsageChores:
    """Level-triggered upkeep of the books."""

    database: Database

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
