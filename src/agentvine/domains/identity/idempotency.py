"""One Idempotency-Key, one effect: a repeated create returns the first answer.

The key's row is written first, in the command's own transaction. A second request with the same
key waits there for the first to commit, and then answers with what that one stored.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Request
from pydantic import BaseModel
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.identity.errors import IdempotencyKeyInvalid, IdempotencyKeyReused
from agentvine.domains.identity.models import IdempotencyKey
from agentvine.kit.actor import Actor

T = TypeVar("T", bound=BaseModel)

MAX_KEY_LENGTH = 200
KEPT_FOR = timedelta(days=3)
"""A client that repeats a request later than this makes a second thing."""


@dataclass(frozen=True, slots=True)
class Once:
    """Runs a create once per key; without a key, simply runs it."""

    key: str | None
    method_path: str

    async def run(
        self,
        tx: Transaction,
        body: BaseModel,
        answer: type[T],
        create: Callable[[], Awaitable[T]],
    ) -> T:
        """The answer of ``create``, or the one stored when the key was used before.

        Raises:
            IdempotencyKeyReused: The key belongs to a different request.
        """
        if self.key is None:
            return await create()
        request_hash = _hash_of(body)
        row = IdempotencyKey(
            key=self.key,
            actor_id=tx.actor.actor_id,
            method_path=self.method_path,
            request_hash=request_hash,
            created_at=tx.now,
        )
        try:
            async with tx.begin_nested():
                tx.add(row)
                await tx.flush()  # the unique key is the lock
        except IntegrityError:
            stored = await self._stored(tx, tx.actor, request_hash, answer)
            if stored is None:
                raise IdempotencyKeyReused("It was just forgotten; use a new key.") from None
            return stored
        made = await create()
        row.status_code = 201
        row.response = made.model_dump(mode="json")
        return made

    async def find_answer(
        self, read: ReadSession, actor: Actor, body: BaseModel, answer: type[T]
    ) -> T | None:
        """The stored answer, for a create that has slow work to do before its transaction.

        Raises:
            IdempotencyKeyReused: The key belongs to a different request.
        """
        if self.key is None:
            return None
        return await self._stored(read, actor, _hash_of(body), answer)

    async def without_replay(self, create: Callable[[], Awaitable[T]]) -> T:
        """For answers that hold a secret, which must not be stored to be given again.

        Raises:
            IdempotencyKeyInvalid: A key was sent.
        """
        if self.key is not None:
            raise IdempotencyKeyInvalid(
                "This answer holds a secret that is shown once; send no Idempotency-Key here."
            )
        return await create()

    async def _stored(
        self, read: ReadSession, actor: Actor, request_hash: str, answer: type[T]
    ) -> T | None:
        stored = await read.get(IdempotencyKey, (actor.actor_id, self.key))
        if stored is None:
            return None
        if (stored.request_hash, stored.method_path) != (request_hash, self.method_path):
            raise IdempotencyKeyReused("Use a new key for each new request.")
        return answer.model_validate(stored.response)


def _hash_of(body: BaseModel) -> str:
    return hashlib.sha256(body.model_dump_json().encode()).hexdigest()


async def once(
    request: Request,
    idempotency_key: Annotated[
        str | None, Header(description="Repeating a create with the same key makes one thing")
    ] = None,
) -> Once:
    """The request's Idempotency-Key, if it has one."""
    if idempotency_key is not None and not 1 <= len(idempotency_key) <= MAX_KEY_LENGTH:
        raise IdempotencyKeyInvalid(f"Use 1 to {MAX_KEY_LENGTH} characters, like a UUID.")
    return Once(idempotency_key, f"{request.method} {request.url.path}")


CreateOnce = Annotated[Once, Depends(once)]


async def forget_old_keys(tx: Transaction) -> None:
    """Forget the answers that nobody will ask for again."""
    await tx.execute(
        delete(IdempotencyKey)
        .where(IdempotencyKey.created_at < tx.now - KEPT_FOR)
        .execution_options(synchronize_session=False)
    )
