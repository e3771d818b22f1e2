"""The agents slice's chore: what was to be remembered for a time only is forgotten."""

from dataclasses import dataclass

from agentvine.db.session import Database
from agentvine.domains.agents import memory
from agentvine.kit.actor import SystemActor

_ACTOR = SystemActor("memory")


@dataclass(frozen=True, slots=True)
class MemoryChore:
    """Forgets memories that have come to their end."""

    database: Database

    async def run(self) -> int:
        """Forget some; returns how many, so that the rest comes at once."""
        async with self.database.transaction(_ACTOR) as tx:
            return await memory.forget_expired(tx, tx.now)
