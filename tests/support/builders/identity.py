"""Users and tokens for tests."""

import itertools
from datetime import timedelta

from pydantic import SecretStr

from agentvine.db.session import Transaction
from agentvine.domains.identity import service, tokens
from agentvine.domains.identity.enums import TokenKind, UserRole
from agentvine.domains.identity.models import User
from agentvine.kit.actor import UserActor
from agentvine.protocol.identity import UserCreateIn

FEW_ROUNDS = 4  # bcrypt's least: tests hash many passwords
PASSWORD = "correct horse battery"  # whoever signs in with one

_numbers = itertools.count(1)


def unique(word: str = "name") -> str:
    """The word with a number that no other test gets: shared databases hold everybody's rows."""
    return f"{word}-{next(_numbers)}"


async def make_user(
    tx: Transaction,
    username: str | None = None,
    *,
    role: UserRole = UserRole.DEVELOPER,
    is_active: bool = True,
) -> User:
    """A user whose password is ``PASSWORD``."""
    name = username or unique("user")
    wanted = UserCreateIn(
        username=name, email=f"{name}@example.org", role=role, password=SecretStr(PASSWORD)
    )
    made = await service.create_user(tx, wanted, bcrypt_rounds=FEW_ROUNDS)
    made.user.is_active = is_active
    await tx.flush()
    return made.user


async def make_token(
    tx: Transaction, user: User, *scopes: str, lifetime: timedelta | None = None
) -> str:
    """The text of a new token; with no scopes it may do all that its user may."""
    _, text = await tokens.issue_token(
        tx,
        kind=TokenKind.USER,
        name=unique("token"),
        user_id=user.id,
        scopes=list(scopes),
        lifetime=lifetime,
    )
    return text


def acting(user: User, *scopes: str) -> UserActor:
    """The user as commands know them."""
    return UserActor(
        user_id=user.id, username=user.username, role=user.role.value, scopes=frozenset(scopes)
    )
