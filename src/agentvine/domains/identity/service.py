"""Commands of the identity slice: users, their passwords, the first admin."""

import uuid
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from agentvine.db.session import Transaction
from agentvine.domains.identity import history, queries, sessions, tokens
from agentvine.domains.identity.enums import UserRole
from agentvine.domains.identity.errors import (
    CredentialsWrong,
    LastAdmin,
    ScopeTooWide,
    UserExists,
    UserNotFound,
    WorkerTokensAreForAdmins,
)
from agentvine.domains.identity.models import User
from agentvine.domains.identity.passwords import DEFAULT_ROUNDS, NewPassword, make_password
from agentvine.kit.actor import UserActor
from agentvine.kit.ids import new_id
from agentvine.protocol.identity import UserCreateIn, UserEditIn

FIRST_ADMIN_NAME = "admin"


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user just made; ``password`` is set when we chose it, and is shown this once."""

    user: User
    password: str | None


async def create_user(
    tx: Transaction,
    wanted: UserCreateIn,
    *,
    bcrypt_rounds: int = DEFAULT_ROUNDS,
    password: NewPassword | None = None,
) -> NewUser:
    """Make a user.

    Args:
        tx: The transaction.
        wanted: Who; with the password, unless one is to be made.
        bcrypt_rounds: How slow its hash shall be.
        password: The same password, hashed before the transaction began.

    Raises:
        UserExists: The name or the address is taken, in any case of letters.
    """
    for name in (wanted.username, wanted.email):
        if await queries.find_user_by_name(tx, name) is not None:
            raise UserExists(f"{name} is taken; choose another.")
    password = password or make_password(wanted.password, rounds=bcrypt_rounds)
    user = User(
        id=new_id(),
        username=wanted.username,
        email=wanted.email,
        full_name=wanted.full_name,
        role=wanted.role,
        password_hash=password.password_hash,
    )
    await _keep(tx, user)
    history.record(
        tx,
        "user.created",
        entity=("user", user.id),
        after={"username": user.username, "role": wanted.role.value},
    )
    await tx.refresh(user)
    return NewUser(user, password.generated)


async def ensure_first_admin(
    tx: Transaction, *, bcrypt_rounds: int = DEFAULT_ROUNDS
) -> NewUser | None:
    """Make the first admin where there is no user at all; None where there is one."""
    if await tx.scalar(select(func.count()).select_from(User)):
        return None
    wanted = UserCreateIn(username=FIRST_ADMIN_NAME, email="admin@localhost", role=UserRole.ADMIN)
    return await create_user(tx, wanted, bcrypt_rounds=bcrypt_rounds)


async def edit_user(tx: Transaction, user: User, change: UserEditIn) -> User:
    """Change what is given.

    Raises:
        LastAdmin: Nobody could administer the installation any more.
        UserExists: The new address is taken.
    """
    fields = change.model_dump(exclude_unset=True)
    admins = 0
    if fields.keys() & {"role", "is_active"}:
        # All admins first, and everywhere in this order; then the user as it is by now.
        admins = await queries.lock_active_admins(tx)
        user = await queries.lock_user(tx, user.id)
    loses_admin = user.role == UserRole.ADMIN and (
        fields.get("role", user.role) != UserRole.ADMIN or fields.get("is_active") is False
    )
    if loses_admin and user.is_active and admins == 1:
        raise LastAdmin("Make somebody else an admin first.")
    if "email" in fields:
        other = await queries.find_user_by_name(tx, str(fields["email"]))
        if other is not None and other.id != user.id:
            raise UserExists(f"{fields['email']} is taken; choose another.")
    before = {name: getattr(user, name) for name in fields}
    for name, value in fields.items():
        setattr(user, name, value)
    await _keep(tx, user)
    history.record(tx, "user.edited", entity=("user", user.id), before=before, after=fields)
    await tx.refresh(user)
    return user


async def change_password(
    tx: Transaction,
    user_id: uuid.UUID,
    new: NewPassword,
    *,
    proved_by: str,
    token_id: uuid.UUID | None = None,
) -> None:
    """Set a new password, after the current one was proved. Other sign-ins end.

    Args:
        tx: The transaction.
        user_id: Whose.
        new: The new one.
        proved_by: The hash that the current password was compared with.
        token_id: The sign-in that goes on: the one that asks.

    Raises:
        CredentialsWrong: It is not the current password any more.
    """
    user = await queries.lock_user(tx, user_id)
    if user.password_hash != proved_by:
        raise CredentialsWrong("The password was changed meanwhile; nothing was changed now.")
    user.password_hash = new.password_hash
    history.record(tx, "user.password_changed", entity=("user", user.id))
    await tokens.end_sign_ins(tx, user.id, besides=token_id)
    await sessions.end_sessions(tx, user.id)


def check_may_enrol_workers(actor: UserActor) -> None:
    """Workers see every project's code, so only an admin lets one in.

    Raises:
        WorkerTokensAreForAdmins: The caller is not an admin.
        ScopeTooWide: The admin's token is limited to other things.
    """
    if not actor.is_admin:
        raise WorkerTokensAreForAdmins("Ask an admin to run `agentvine token create --worker`.")
    if actor.scopes and "workers:admin" not in actor.scopes:
        raise ScopeTooWide("Your token does not hold workers:admin.", scopes=["workers:admin"])


async def set_password(
    tx: Transaction, username: str, *, bcrypt_rounds: int = DEFAULT_ROUNDS
) -> str:
    """Give a user a new generated password, and end what the old one opened.

    For the operator's command line.

    Raises:
        UserNotFound: There is no such user.
    """
    user = await queries.find_user_by_name(tx, username)
    if user is None:
        raise UserNotFound(f"No user is called {username}.")
    made = make_password(None, rounds=bcrypt_rounds)
    assert made.generated is not None, "none was wanted, so one was made"
    user.password_hash = made.password_hash
    history.record(tx, "user.password_reset", entity=("user", user.id))
    await tokens.end_sign_ins(tx, user.id)
    await sessions.end_sessions(tx, user.id)
    return made.generated


async def _keep(tx: Transaction, user: User) -> None:
    try:
        async with tx.begin_nested():
            tx.add(user)
            await tx.flush()  # the unique keys decide between two who want one name at once
    except IntegrityError:
        raise UserExists("The name or the address was taken just now; choose another.") from None
