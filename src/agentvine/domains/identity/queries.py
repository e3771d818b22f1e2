"""Reads of the identity slice."""

import uuid

from sqlalchemy import func, or_, select

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.identity.enums import UserRole
from agentvine.domains.identity.errors import TokenNotFound, UserNotFound
from agentvine.domains.identity.models import ApiToken, User
from agentvine.kit.actor import UserActor
from agentvine.kit.pagination import Page, PageRequest

_NOBODY = uuid.UUID(int=0)


async def get_user(read: ReadSession, user_id: uuid.UUID) -> User:
    """A user by id.

    Raises:
        UserNotFound: There is none.
    """
    user = await read.get(User, user_id)
    if user is None:
        raise UserNotFound(f"No user has the id {user_id}.")
    return user


async def lock_user(tx: Transaction, user_id: uuid.UUID) -> User:
    """A user by id, as it is now; nobody else can change it meanwhile.

    Raises:
        UserNotFound: There is none.
    """
    user = await tx.scalar(
        select(User)
        .where(User.id == user_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    if user is None:
        raise UserNotFound(f"No user has the id {user_id}.")
    return user


async def find_user_by_name(read: ReadSession, name: str) -> User | None:
    """A user by user name or e-mail address, whatever its case."""
    wanted = name.lower()
    return await read.scalar(
        select(User)
        .where(or_(func.lower(User.username) == wanted, func.lower(User.email) == wanted))
        .order_by(User.id)
        .limit(1)
    )


def acting_as(user: User, *, through: str = "") -> UserActor:
    """A user with all that their role allows."""
    return UserActor(user_id=user.id, username=user.username, role=user.role.value, through=through)


async def find_person(
    read: ReadSession, user_id: uuid.UUID | None, *, only_project: uuid.UUID, through: str
) -> UserActor:
    """Somebody, as far as what they began may act for them: in one project alone.

    Who is gone or inactive is nobody, who may see and change nothing.
    """
    user = await read.get(User, user_id) if user_id else None
    if user is None or not user.is_active:
        return UserActor(
            user_id=_NOBODY,
            username="nobody",
            role="viewer",
            only_project=only_project,
            through=through,
        )
    return UserActor(
        user_id=user.id,
        username=user.username,
        role=user.role.value,
        only_project=only_project,
        through=through,
    )


async def list_users(read: ReadSession, page: PageRequest) -> Page[User]:
    """All users by name."""
    return await fetch_page(read, select(User), User.username, page)


async def lock_active_admins(tx: Transaction) -> int:
    """How many people can administer this installation; nobody else can change that meanwhile."""
    query = (
        select(User.id)
        .where(User.role == UserRole.ADMIN, User.is_active.is_(True))
        .order_by(User.id)
        .with_for_update(key_share=True)
    )
    return len((await tx.scalars(query)).all())


async def list_tokens(read: ReadSession, actor: UserActor, page: PageRequest) -> Page[ApiToken]:
    """The caller's tokens; an admin sees everybody's.

    Keys of runs are nobody's: they come and go with their claims.
    """
    query = select(ApiToken).where(ApiToken.work_order_id.is_(None))
    if not _sees_all_tokens(actor):
        query = query.where(ApiToken.user_id == actor.user_id)
    return await fetch_page(read, query, ApiToken.id, page)


async def get_token(read: ReadSession, actor: UserActor, token_id: uuid.UUID) -> ApiToken:
    """A token the caller may see.

    Raises:
        TokenNotFound: There is none, or it is somebody else's.
    """
    token = await read.get(ApiToken, token_id)
    if token is None or token.work_order_id is not None or not _may_see(actor, token):
        raise TokenNotFound(f"None of your tokens has the id {token_id}.")
    return token


def _may_see(actor: UserActor, token: ApiToken) -> bool:
    return token.user_id == actor.user_id or _sees_all_tokens(actor)


def _sees_all_tokens(actor: UserActor) -> bool:
    # A token limited to its owner's tokens must not reach into others' because of their role.
    return actor.is_admin and (not actor.scopes or "users:admin" in actor.scopes)
