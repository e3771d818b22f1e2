"""Chores of the gateway slice: what providers' keys waited for, and need not any more."""

from dataclasses import dataclass

from sqlalchemy import update

from agentvine.db.base import table_of
from agentvine.db.session import Database
from agentvine.domains.gateway.models import ProviderCredential
from agentvine.kit.actor import SystemActor

_ACTOR = SystemActor("gateway")


@dataclass(frozen=True, slots=True)
class GatewayChores:
    """Level-triggered upkeep of providers' keys."""

    database: Database

    async def clear_limits(self) -> int:
        """Forget the limits that are over. Returns how many."""
        keys = table_of(ProviderCredential)
        async with self.database.transaction(_ACTOR) as tx:
            over = await tx.execute(
                update(keys)
                .where(keys.c.limited_until <= tx.now)
                .values(limited_until=None, limit_reason=None)
                .returning(keys.c.id)
            )
            return len(over.all())
