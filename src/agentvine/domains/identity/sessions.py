"""Browsers that are signed in: a row for each, found by the hash of what its cookie holds."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, select, update

from agentvine.db.session import Database, Transaction
from agentvine.domains.identity import history
from agentvine.domains.identity.models import LoginSession, User
from agentvine.domains.identity.queries import acting_as
from agentvine.kit.actor import UserActor
from agentvine.kit.crypto import hash_token
from agentvine.kit.ids import new_id, random_token

LONGEST = timedelta(days=30)
"""However much it is used."""
UNUSED = timedelta(days=7)
"""How long one that nobody uses stays good."""
_SEEN_EVERY = timedelta(hours=1)
"""A look at a page is no reason to write."""
_MAX_AGENT = 255
_MAX_ADDRESS = 45


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A browser, and whose it is."""

    session_id: uuid.UUID
    actor: UserActor


async def open_session(
    tx: Transaction, user: User, *, user_agent: str | None, address: str | None
) -> str:
    """Let a browser in; the text for its cookie, which is kept nowhere."""
    text = random_token()
    row = LoginSession(
        id=new_id(),
        user_id=user.id,
        token_hash=hash_token(text),
        user_agent=user_agent[:_MAX_AGENT] if user_agent else None,
        ip_address=address[:_MAX_ADDRESS] if address else None,
        created_at=tx.now,
        last_seen_at=tx.now,
        expires_at=tx.now + UNUSED,
    )
    tx.add(row)
    history.record(tx, "session.opened", entity=("login_session", row.id))
    await tx.flush()
    return text


async def find_signed_in(database: Database, text: str) -> SignedIn | None:
    """Whose browser shows this; None where it is nobody's, or not any more."""
    query = (
        select(LoginSession, User)
        .join(User, User.id == LoginSession.user_id)
        .where(LoginSession.token_hash == hash_token(text))
    )
    async with database.read() as read:
        row = (await read.execute(query)).one_or_none()
    now = database.clock.now()
    if row is None or not _is_good(session := row[0], now) or not row[1].is_active:
        return None
    user = row[1]
    actor = acting_as(user)
    if session.last_seen_at is None or now - session.last_seen_at >= _SEEN_EVERY:
        async with database.transaction(actor) as tx:
            await _note_seen(tx, session)
    return SignedIn(session.id, actor)


async def end_session(tx: Transaction, session_id: uuid.UUID) -> None:
    """Let the browser out."""
    await _end(tx, LoginSession.id == session_id)


async def end_sessions(tx: Transaction, user_id: uuid.UUID) -> None:
    """Let all of somebody's browsers out."""
    await _end(tx, LoginSession.user_id == user_id)


async def forget_ended_sessions(tx: Transaction) -> None:
    """Remove what lets nobody in any more; who came when is in the audit."""
    await tx.execute(
        delete(LoginSession).where(
            (LoginSession.expires_at < tx.now) | LoginSession.revoked_at.is_not(None)
        )
    )


def _is_good(session: LoginSession, now: datetime) -> bool:
    return session.revoked_at is None and now < session.expires_at


async def _note_seen(tx: Transaction, session: LoginSession) -> None:
    ends = min(tx.now + UNUSED, session.created_at + LONGEST)
    await tx.execute(
        update(LoginSession)
        .where(LoginSession.id == session.id)
        .values(last_seen_at=tx.now, expires_at=ends)
    )


async def _end(tx: Transaction, which: ColumnElement[bool]) -> None:
    ended = await tx.scalars(
        update(LoginSession)
        .where(which, LoginSession.revoked_at.is_(None))
        .values(revoked_at=tx.now)
        .returning(LoginSession.id)
    )
    for session_id in ended.all():
        history.record(tx, "session.ended", entity=("login_session", session_id))
