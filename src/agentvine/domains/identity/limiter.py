"""Slows down password guessing: attempts are counted in the database, per user name.

The count is one guarded row, so that a hundred parallel guesses count exactly a hundred, on any
number of servers. It is kept by what was typed, whether or not anybody is called that: a count that
a user's name and address shared would tell that both belong to somebody.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete

from agentvine.db.session import Database, Transaction
from agentvine.domains.identity.errors import TooManyAttempts
from agentvine.domains.identity.models import ServerState
from agentvine.domains.identity.server_state import lock_state
from agentvine.kit.crypto import hash_token

MAX_FAILURES = 10
WINDOW = timedelta(minutes=5)
_PREFIX = "sign_in."


@dataclass(frozen=True, slots=True)
class SignInLimiter:
    """Counts attempts before the password is checked, and forgets them after a success."""

    database: Database

    async def attempt(self, username: str) -> None:
        """Count one attempt.

        Raises:
            TooManyAttempts: The window's attempts are used up.
        """
        # Whoever goes on guessing is sent away without making any writer wait.
        async with self.database.read() as read:
            known = await read.get(ServerState, _key(username))
        if known is not None:
            _count_so_far(known, self.database.clock.now())
        async with self.database.transaction() as tx:
            fresh = {"count": 0, "started_at": tx.now.isoformat()}
            row = await lock_state(tx, _key(username), fresh)
            count, started = _count_so_far(row, tx.now)
            row.value = {"count": count + 1, "started_at": started.isoformat()}


def _count_so_far(row: ServerState, now: datetime) -> tuple[int, datetime]:
    """The attempts of the window that is open, and when it began."""
    started = datetime.fromisoformat(row.value["started_at"])
    if now - started >= WINDOW:
        return 0, now
    count = int(row.value["count"])
    if count >= MAX_FAILURES:
        wait = (started + WINDOW - now).total_seconds()
        raise TooManyAttempts("Wait a few minutes and try again.", retry_after=max(1.0, wait))
    return count, started


async def forget_attempts(tx: Transaction, username: str) -> None:
    """Forget the attempts of somebody who knew the password."""
    await tx.execute(delete(ServerState).where(ServerState.key == _key(username)))


async def forget_old_attempts(tx: Transaction) -> int:
    """Forget counts that no window needs any more. Returns how many there were."""
    old = delete(ServerState).where(
        ServerState.key.startswith(_PREFIX, autoescape=True),
        ServerState.updated_at < tx.now - 2 * WINDOW,
    )
    gone = await tx.execute(
        old.returning(ServerState.key).execution_options(synchronize_session=False)
    )
    return len(gone.all())


def _key(username: str) -> str:
    # Hashed, so that what people type into the name field is not kept readable.
    return f"{_PREFIX}{hash_token(username.lower())[:40]}"
