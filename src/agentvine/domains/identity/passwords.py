"""Password hashes: slow on purpose, so they are made aside, and not inside a transaction."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

from pydantic import SecretStr

from agentvine.domains.identity.errors import PasswordsBusy
from agentvine.kit.crypto import hash_password, verify_password
from agentvine.kit.guards import assert_no_transaction
from agentvine.kit.ids import random_token

T = TypeVar("T")

_GENERATED_BYTES = 15
DEFAULT_ROUNDS = 12
_THREADS = 2
_MAX_WAITING = 64
_BUSY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class NewPassword:
    """A password on its way into the database."""

    password_hash: str
    generated: str | None = None
    """Its text, where we made it: to be shown once."""


def make_password(wanted: SecretStr | None, *, rounds: int = DEFAULT_ROUNDS) -> NewPassword:
    """Hash the wanted password, or one made for the occasion."""
    if wanted is not None:
        return NewPassword(hash_password(wanted.get_secret_value(), rounds=rounds))
    generated = random_token(_GENERATED_BYTES)
    return NewPassword(hash_password(generated, rounds=rounds), generated)


async def make_password_aside(wanted: SecretStr | None, *, rounds: int) -> NewPassword:
    """The same on another thread, while other requests are served.

    Raises:
        PasswordsBusy: Too many passwords wait to be hashed or checked.
    """
    assert_no_transaction("hash a password")
    return await _HASHERS.run(lambda: make_password(wanted, rounds=rounds))


async def is_password(password: SecretStr, password_hash: str | None, *, rounds: int) -> bool:
    """Whether the password belongs to the hash. Without a hash it takes as long to say no.

    Raises:
        PasswordsBusy: Too many passwords wait to be hashed or checked.
    """
    assert_no_transaction("check a password")
    text = password.get_secret_value()
    return await _HASHERS.run(lambda: verify_password(text, password_hash or _nobodys_hash(rounds)))


@cache
def _nobodys_hash(rounds: int) -> str:
    return hash_password(random_token(_GENERATED_BYTES), rounds=rounds)


@dataclass(slots=True)
class _Hashers:
    """Few threads of their own: anybody may ask for a hash, and must not hold up all else."""

    pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_THREADS, thread_name_prefix="passwords")
    )
    waiting: int = 0

    async def run(self, work: Callable[[], T]) -> T:
        if self.waiting >= _MAX_WAITING:
            raise PasswordsBusy("Try again in a few seconds.", retry_after=_BUSY_SECONDS)
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.pool, work)
        finally:
            self.waiting -= 1


_HASHERS = _Hashers()
