"""The identity slice's chore: forgetting what is of no use any more."""

from dataclasses import dataclass

from agentvine.db.session import Database
from agentvine.domains.identity.idempotency import forget_old_keys
from agentvine.domains.identity.limiter import forget_old_attempts
from agentvine.domains.identity.sessions import forget_ended_sessions
from agentvine.kit.actor import SystemActor

_ACTOR = SystemActor("tidying")


@dataclass(frozen=True, slots=True)
class TidyingChore:
    """Keeps counts of sign-ins, answers to repeated requests and ended sessions from piling up."""

    database: Database

    async def run(self) -> int:
        """Forget what is old; returns 0, so that the next turn comes in its time."""
        async with self.database.transaction(_ACTOR) as tx:
            await forget_old_attempts(tx)
            await forget_old_keys(tx)
            await forget_ended_sessions(tx)
        return 0
