"""When each token was last used: kept in memory, and written in batches by a chore.

A write for each request would make every reader wait for SQLite's one writer. What is noted and not
yet written is lost with the process: the stamp is for people, nothing depends on it.
"""

import uuid
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import or_, update

from agentvine.db.session import Database
from agentvine.domains.identity.models import ApiToken
from agentvine.kit.actor import SystemActor

_ACTOR = SystemActor("tokens")


@dataclass(slots=True)
class LastUses:
    """Remembers who came since the last batch."""

    database: Database
    _seen: dict[uuid.UUID, datetime] = field(default_factory=dict[uuid.UUID, datetime])

    def note(self, token_id: uuid.UUID, at: datetime) -> None:
        """Remember that a token was used."""
        self._seen[token_id] = at

    async def write(self) -> int:
        """Write what was noted; returns 0, so that its chore waits for its next turn."""
        seen, self._seen = self._seen, {}
        if not seen:
            return 0
        try:
            async with self.database.transaction(_ACTOR) as tx:
                # In one order everywhere: two servers that know the same tokens do not deadlock.
                for token_id in sorted(seen):
                    at = seen[token_id]
                    await tx.execute(
                        update(ApiToken)
                        .where(
                            ApiToken.id == token_id,
                            or_(ApiToken.last_used_at.is_(None), ApiToken.last_used_at < at),
                        )
                        .values(last_used_at=at)
                        .execution_options(synchronize_session=False)
                    )
        except BaseException:
            self._seen = seen | self._seen  # to be written next time
            raise
        return 0
