"""API tokens: made, found again by their prefix, compared by hash, revoked."""

import json
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from sqlalchemy import bindparam, delete, select

from agentvine.db.direct import looking
from agentvine.db.session import Database, ReadSession, Transaction
from agentvine.domains.identity import history
from agentvine.domains.identity.enums import TokenKind, UserRole
from agentvine.domains.identity.errors import KeyMisplaced, TokenInvalid, TokenPrefixTaken
from agentvine.domains.identity.events import TokenRevoked
from agentvine.domains.identity.last_use import LastUses
from agentvine.domains.identity.models import ApiToken, User
from agentvine.kit.actor import Actor, UserActor, WorkerActor
from agentvine.kit.crypto import equal, hash_token
from agentvine.kit.ids import new_id, random_token

_LETTER = {TokenKind.USER: "u", TokenKind.WORKER: "w", TokenKind.GATEWAY: "g"}
RUN_KEY = "av_llm_"
"""How every key of a run for the gateway begins."""
TOOL_KEY = "av_mcp_"
"""How every key of a run for our own tools begins."""
_PREFIX_BYTES = 6
_RUN_PREFIX_BYTES = 12
_DUMMY_HASH = hash_token("no such token")
_TOKEN = (
    select(
        ApiToken.id,
        ApiToken.kind,
        ApiToken.name,
        ApiToken.prefix,
        ApiToken.token_hash,
        ApiToken.worker_id,
        ApiToken.scopes,
        ApiToken.expires_at,
        ApiToken.revoked_at,
        User.id.label("user_id"),
        User.username,
        User.role,
        User.is_active,
    )
    .outerjoin(User, User.id == ApiToken.user_id)
    .where(ApiToken.prefix == bindparam("prefix"))
)
_TOKEN_COLUMNS = tuple(_TOKEN.selected_columns.keys())
_FIND_TOKEN = looking(_TOKEN, "ittttitddittb")


async def issue_token(
    tx: Transaction,
    *,
    kind: TokenKind,
    name: str,
    user_id: uuid.UUID | None,
    scopes: list[str],
    lifetime: timedelta | None = None,
    not_after: datetime | None = None,
    is_sign_in: bool = False,
) -> tuple[ApiToken, str]:
    """Make a token; the second value is its text, which is kept nowhere.

    It ends after ``lifetime`` or at ``not_after``, whichever is first; with neither, never.
    """
    ends = [tx.now + lifetime] if lifetime else []
    ends += [not_after] if not_after else []
    prefix = f"av{_LETTER[kind]}_{random_token(_PREFIX_BYTES).replace('_', 'x').replace('-', 'y')}"
    text = f"{prefix}_{random_token()}"
    token = ApiToken(
        id=new_id(),
        kind=kind,
        name=name,
        user_id=user_id,
        prefix=prefix,
        token_hash=hash_token(text),
        scopes=scopes,
        is_sign_in=is_sign_in,
        expires_at=min(ends, default=None),
        created_at=tx.now,
    )
    tx.add(token)
    history.record(
        tx,
        "token.created",
        entity=("api_token", token.id),
        after={"name": name, "kind": kind.value, "prefix": prefix, "scopes": scopes},
    )
    await tx.flush()  # the caller shows the row's server defaults
    return token, text


async def last_end_for_made_by(read: ReadSession, actor: UserActor) -> datetime | None:
    """When every token ends that this one makes: no later than it does itself.

    One that was just given for a password may make any: so may whoever knows the password.
    """
    token = await read.get(ApiToken, actor.token_id) if actor.token_id else None
    return None if token is None or token.is_sign_in else token.expires_at


async def end_sign_ins(
    tx: Transaction, user_id: uuid.UUID, *, besides: uuid.UUID | None = None
) -> None:
    """End what the user's old password has opened, but for the token that changes it."""
    rows = await tx.scalars(
        select(ApiToken).where(
            ApiToken.user_id == user_id,
            ApiToken.is_sign_in.is_(True),
            ApiToken.revoked_at.is_(None),
        )
    )
    for row in rows.all():
        if row.id != besides:
            await revoke_token(tx, row)


async def register_worker_key(
    tx: Transaction,
    *,
    name: str,
    user_id: uuid.UUID | None,
    prefix: str,
    token_hash: str,
    scopes: list[str],
) -> ApiToken:
    """Let a worker in by a key that it made itself; only the hash of it is known here.

    Raises:
        TokenPrefixTaken: There is such a key already.
    """
    if await tx.scalar(select(ApiToken.id).where(ApiToken.prefix == prefix)) is not None:
        raise TokenPrefixTaken("Make another key; this one's prefix is taken.")
    token = ApiToken(
        id=new_id(),
        kind=TokenKind.WORKER,
        name=name,
        user_id=user_id,
        prefix=prefix,
        token_hash=token_hash,
        scopes=scopes,
        created_at=tx.now,
    )
    tx.add(token)
    history.record(
        tx,
        "token.created",
        entity=("api_token", token.id),
        after={"name": name, "kind": "worker", "prefix": prefix, "scopes": scopes},
    )
    await tx.flush()
    return token


async def issue_run_key(
    tx: Transaction,
    *,
    work_order_id: uuid.UUID,
    fence: int,
    worker_id: uuid.UUID,
    begins: str = RUN_KEY,
) -> str:
    """The text of a new key of one use, in place of those of this use that the order had before."""
    await tx.execute(
        delete(ApiToken).where(
            ApiToken.kind == TokenKind.GATEWAY,
            ApiToken.work_order_id == work_order_id,
            ApiToken.prefix.startswith(begins, autoescape=True),
        )
    )
    prefix = f"{begins}{secrets.token_hex(_RUN_PREFIX_BYTES)}"
    text = f"{prefix}_{random_token()}"
    tx.add(
        ApiToken(
            id=new_id(),
            kind=TokenKind.GATEWAY,
            work_order_id=work_order_id,
            fence=fence,
            worker_id=worker_id,
            prefix=prefix,
            token_hash=hash_token(text),
            scopes=[],
            created_at=tx.now,
        )
    )
    await tx.flush()
    return text


def prefix_of_run_key(text: str, begins: str = RUN_KEY) -> str | None:
    """By which a run's key of one use is found; None for any other text."""
    if not text.startswith(begins):
        return None
    end = text.find("_", len(begins))
    return text[:end] if end > 0 else None


async def revoke_token(tx: Transaction, token: ApiToken) -> None:
    """End a token now; revoking twice is no error."""
    if token.revoked_at is None:
        token.revoked_at = tx.now
        tx.emit(TokenRevoked(token.id))
        history.record(
            tx, "token.revoked", entity=("api_token", token.id), after={"prefix": token.prefix}
        )


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a token is found by, and told apart by."""

    prefix: str
    token_hash: str

    @classmethod
    def of(cls, token: str) -> Self:
        """The credentials in a token's text, whatever it is."""
        prefix = token[: token.find("_", 4)] if token.count("_") >= 2 else ""
        return cls(prefix, hash_token(token))


@dataclass(frozen=True, slots=True)
class TokenAuthenticator:
    """Finds the actor behind a bearer token, in a short read of its own."""

    database: Database
    uses: LastUses

    async def authenticate(self, token: str) -> Actor:
        """The actor a token stands for.

        Raises:
            TokenInvalid: Unknown, expired, revoked, or its user is gone; all told alike.
            KeyMisplaced: It is a run's key, good for its own use alone.
        """
        if token.startswith((RUN_KEY, TOOL_KEY)):
            raise KeyMisplaced("A run's key is good at the gateway, or at /mcp, and nowhere else.")
        shown = Credentials.of(token)
        found = await self._find(shown.prefix)
        now = self.database.clock.now()
        # The comparison runs for unknown prefixes too, so that time tells nothing.
        is_same = equal(found["token_hash"] if found else _DUMMY_HASH, shown.token_hash)
        if found is None or not is_same or found["revoked_at"] is not None:
            raise TokenInvalid("Sign in again with `agentvine login`, or use another token.")
        if found["expires_at"] is not None and found["expires_at"] <= now:
            raise TokenInvalid(f"The token {found['name']!r} expired; make a new one.")
        actor = _actor(found)
        self.uses.note(found["id"], now)
        return actor

    async def _find(self, prefix: str) -> Mapping[str, Any] | None:
        """The token of a prefix, and its user; every request asks for one."""
        rows = await self.database.look(_FIND_TOKEN, prefix)
        if not rows:
            return None
        found = dict[str, Any](zip(_TOKEN_COLUMNS, rows[0], strict=True))
        return {**found, "scopes": json.loads(found["scopes"])}


def _actor(found: Mapping[str, Any]) -> Actor:
    scopes = frozenset[str](found["scopes"])
    if found["kind"] == TokenKind.WORKER:
        if found["is_active"] is False:
            raise TokenInvalid("The user who made this worker's token is not active.")
        return WorkerActor(
            token_id=found["id"],
            token_name=found["name"] or found["prefix"],
            worker_id=found["worker_id"],
            scopes=scopes,
        )
    if found["kind"] != TokenKind.USER or not found["is_active"]:
        raise TokenInvalid("This token cannot be used here.")
    return UserActor(
        user_id=found["user_id"],
        username=found["username"],
        role=UserRole(found["role"]).value,
        scopes=scopes,
        token_id=found["id"],
    )
