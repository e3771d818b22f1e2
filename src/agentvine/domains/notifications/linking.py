"""Which Telegram chat is whose: proved by a code that goes the other way, and good once.

A number that somebody types is enough to be told something there. What is said in a chat counts
only where it was proved, and for as long as its owner's settings name it.
"""

import uuid
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.identity import history
from agentvine.domains.identity import queries as identity
from agentvine.domains.identity.errors import UserNotFound
from agentvine.domains.identity.models import ServerState, User
from agentvine.domains.identity.server_state import lock_state
from agentvine.kit.actor import UserActor
from agentvine.kit.crypto import hash_token
from agentvine.kit.ids import random_token
from agentvine.protocol.notifications import ChatCodeOut

LIFETIME = timedelta(minutes=15)
_CODE = "telegram.code."
_CHAT = "telegram.chat."
_CODE_BYTES = 12


async def make_code(tx: Transaction, actor: UserActor) -> ChatCodeOut:
    """A code by which a chat is proved to be the actor's; it is kept nowhere.

    Those that are over are forgotten.
    """
    gone = delete(ServerState).where(
        ServerState.key.startswith(_CODE, autoescape=True),
        ServerState.updated_at < tx.now - LIFETIME,
    )
    await tx.execute(gone.execution_options(synchronize_session=False))
    code, expires_at = random_token(_CODE_BYTES), tx.now + LIFETIME
    facts = {"user_id": str(actor.user_id), "expires_at": expires_at.isoformat()}
    tx.add(ServerState(key=_key_of(code), value=facts, updated_at=tx.now))
    history.record(tx, "telegram.code_made", entity=("user", actor.user_id))
    await tx.flush()
    return ChatCodeOut(code=code, expires_at=expires_at)


async def link_chat(tx: Transaction, code: str, chat_id: int) -> User | None:
    """Prove a chat by a code; None where that is wrong, over or was used: nobody is told which."""
    row = await tx.get(ServerState, _key_of(code), with_for_update=True)
    if row is None:
        return None
    await tx.delete(row)
    if datetime.fromisoformat(row.value["expires_at"]) <= tx.now:
        return None
    try:
        user = await identity.lock_user(tx, uuid.UUID(row.value["user_id"]))
    except UserNotFound:
        return None
    if not user.is_active:
        return None
    # Two who prove the same chat at once do so one after the other.
    chat = await lock_state(tx, f"{_CHAT}{chat_id}", {})
    before = await _named_in(tx, chat)
    if before is not None and before.id != user.id and before.telegram_chat_id == chat_id:
        before.telegram_chat_id = None
        history.record(tx, "telegram.unlinked", entity=("user", before.id))
    user.telegram_chat_id = chat_id
    chat.value = {"user_id": str(user.id)}
    history.record(tx, "telegram.linked", entity=("user", user.id), after={"chat": chat_id})
    await tx.flush()
    return user


async def find_owner(read: ReadSession, chat_id: int) -> User | None:
    """Whose chat this has been proved to be, and still is."""
    user = await _named_in(read, await read.get(ServerState, f"{_CHAT}{chat_id}"))
    is_theirs = user is not None and user.is_active and user.telegram_chat_id == chat_id
    return user if is_theirs else None


async def _named_in(read: ReadSession, chat: ServerState | None) -> User | None:
    facts: dict[str, Any] = {} if chat is None else chat.value
    return await read.get(User, uuid.UUID(facts["user_id"])) if facts else None


def _key_of(code: str) -> str:
    return f"{_CODE}{hash_token(code)[:40]}"
