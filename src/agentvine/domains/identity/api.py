"""Routes of the identity slice: sign-in, users, tokens."""

import uuid
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends

from agentvine.domains.identity import queries, service, tokens
from agentvine.domains.identity.enums import TokenKind
from agentvine.domains.identity.errors import (
    CredentialsWrong,
    LastAdmin,
    PasswordsBusy,
    ScopeTooWide,
    ScopeUnknown,
    TokenNotFound,
    TooManyAttempts,
    UserExists,
    UserNotFound,
)
from agentvine.domains.identity.idempotency import CreateOnce
from agentvine.domains.identity.limiter import SignInLimiter, forget_attempts
from agentvine.domains.identity.passwords import is_password, make_password_aside
from agentvine.domains.identity.scopes import check_scopes
from agentvine.domains.identity.signing_in import note_sign_in, prove_password
from agentvine.http.deps import AnyUser, Paging, Public, Read, State, Tx, require
from agentvine.http.problems import responses
from agentvine.kit.actor import UserActor
from agentvine.protocol.base import PageOut
from agentvine.protocol.identity import (
    LoginIn,
    PasswordChangeIn,
    TokenCreatedOut,
    TokenCreateIn,
    TokenOut,
    UserCreatedOut,
    UserCreateIn,
    UserEditIn,
    UserOut,
    WhoAmIOut,
)

router = APIRouter()

UserReader = Annotated[UserActor, Depends(require("users:read"))]
UserAdmin = Annotated[UserActor, Depends(require("users:admin"))]
TokenReader = Annotated[UserActor, Depends(require("tokens:read"))]
# Viewers too may make and revoke tokens of their own, which carry no more than their role.
TokenOwner = Annotated[UserActor, Depends(require("tokens:own"))]

SelfOwner = Annotated[UserActor, Depends(require("self:own"))]

SIGN_IN_LIFETIME = timedelta(days=30)


@router.post(
    "/auth/login",
    dependencies=[Public],
    tags=["auth"],
    responses=responses(CredentialsWrong, TooManyAttempts, PasswordsBusy),
)
async def login(body: LoginIn, state: State) -> TokenCreatedOut:
    """Exchange a password for a token. The only route that takes a password."""
    user = await prove_password(state.database, body, bcrypt_rounds=state.settings.bcrypt_rounds)
    async with state.database.transaction(queries.acting_as(user)) as tx:
        await note_sign_in(tx, user, body)
        row, text = await tokens.issue_token(
            tx,
            kind=TokenKind.USER,
            name="sign-in",
            user_id=user.id,
            scopes=[],
            lifetime=SIGN_IN_LIFETIME,
            is_sign_in=True,
        )
        return TokenCreatedOut(token=text, info=TokenOut.model_validate(row))


@router.get("/auth/whoami", tags=["auth"])
async def whoami(actor: AnyUser, read: Read) -> WhoAmIOut:
    """Who the server takes you for."""
    user = await queries.get_user(read, actor.user_id)
    return WhoAmIOut(
        kind="user",
        label=actor.label,
        user=UserOut.model_validate(user),
        scopes=sorted(actor.scopes),
    )


@router.get("/users", tags=["users"])
async def list_users(_: UserReader, read: Read, page: Paging) -> PageOut[UserOut]:
    """Everybody, by name."""
    found = await queries.list_users(read, page)
    return PageOut(
        items=[UserOut.model_validate(user) for user in found.items],
        next_cursor=found.next_cursor,
    )


@router.post(
    "/users", status_code=201, tags=["users"], responses=responses(UserExists, PasswordsBusy)
)
async def create_user(
    body: UserCreateIn, actor: UserAdmin, once: CreateOnce, state: State
) -> UserCreatedOut:
    """Make a user. A password made by the server is shown this once."""

    async def create() -> UserCreatedOut:
        password = await make_password_aside(body.password, rounds=state.settings.bcrypt_rounds)
        async with state.database.transaction(actor) as tx:
            made = await service.create_user(tx, body, password=password)
            return UserCreatedOut(user=UserOut.model_validate(made.user), password=made.password)

    # The stored answer of a repeated create must not hold a password, so keys are refused here.
    return await once.without_replay(create)


@router.get("/users/{user_id}", tags=["users"], responses=responses(UserNotFound))
async def get_user(user_id: uuid.UUID, _: UserReader, read: Read) -> UserOut:
    """One user."""
    return UserOut.model_validate(await queries.get_user(read, user_id))


@router.patch(
    "/users/{user_id}", tags=["users"], responses=responses(UserNotFound, LastAdmin, UserExists)
)
async def edit_user(user_id: uuid.UUID, body: UserEditIn, _: UserAdmin, tx: Tx) -> UserOut:
    """Change a user."""
    user = await queries.get_user(tx, user_id)
    return UserOut.model_validate(await service.edit_user(tx, user, body))


@router.post(
    "/users/me/password",
    status_code=204,
    tags=["users"],
    responses=responses(CredentialsWrong, TooManyAttempts, PasswordsBusy),
)
async def change_password(body: PasswordChangeIn, actor: SelfOwner, state: State) -> None:
    """Change your own password; whoever else has signed in as you must do it again."""
    rounds = state.settings.bcrypt_rounds
    # A token may be stolen: its thief must not guess the password either.
    await SignInLimiter(state.database).attempt(actor.username)
    async with state.database.read() as read:
        seen = (await queries.get_user(read, actor.user_id)).password_hash
    if not await is_password(body.current_password, seen, rounds=rounds):
        raise CredentialsWrong("The current password is not right; nothing was changed.")
    new = await make_password_aside(body.new_password, rounds=rounds)
    async with state.database.transaction(actor) as tx:
        await forget_attempts(tx, actor.username)
        await service.change_password(
            tx, actor.user_id, new, proved_by=seen, token_id=actor.token_id
        )


@router.get("/tokens", tags=["tokens"])
async def list_tokens(actor: TokenReader, read: Read, page: Paging) -> PageOut[TokenOut]:
    """Your tokens; an admin sees everybody's."""
    found = await queries.list_tokens(read, actor, page)
    return PageOut(
        items=[TokenOut.model_validate(token) for token in found.items],
        next_cursor=found.next_cursor,
    )


@router.post(
    "/tokens", status_code=201, tags=["tokens"], responses=responses(ScopeUnknown, ScopeTooWide)
)
async def create_token(
    body: TokenCreateIn, actor: TokenOwner, tx: Tx, once: CreateOnce
) -> TokenCreatedOut:
    """Make a token for yourself, or (as an admin) for workers. Its text is shown this once."""

    async def create() -> TokenCreatedOut:
        kind = TokenKind(body.kind)
        if kind is TokenKind.WORKER:
            service.check_may_enrol_workers(actor)
        row, text = await tokens.issue_token(
            tx,
            kind=kind,
            name=body.name,
            user_id=actor.user_id,
            scopes=[] if kind is TokenKind.WORKER else check_scopes(actor, body.scopes),
            lifetime=timedelta(days=body.expires_in_days) if body.expires_in_days else None,
            not_after=await tokens.last_end_for_made_by(tx, actor),
        )
        return TokenCreatedOut(token=text, info=TokenOut.model_validate(row))

    return await once.without_replay(create)


@router.delete(
    "/tokens/{token_id}", status_code=204, tags=["tokens"], responses=responses(TokenNotFound)
)
async def revoke_token(token_id: uuid.UUID, actor: TokenOwner, tx: Tx) -> None:
    """End a token now."""
    await tokens.revoke_token(tx, await queries.get_token(tx, actor, token_id))
