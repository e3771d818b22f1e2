"""What ``agentvine login``, ``logout``, ``whoami``, ``user`` and ``token`` do."""

import sys
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pydantic import SecretStr

from agentvine.cli import asking, resolve
from agentvine.cli.connection import (
    Login,
    find_connection,
    read_credentials,
    write_credentials,
)
from agentvine.cli.formats import fmt_words
from agentvine.cli.options import GlobalOptions
from agentvine.cli.output import Column, dump
from agentvine.cli.session import Session
from agentvine.client import Client
from agentvine.kit.errors import AppError, Invalid, NotFound
from agentvine.protocol.enums import UserRole
from agentvine.protocol.identity import (
    LoginIn,
    PasswordChangeIn,
    TokenCreateIn,
    TokenOut,
    UserCreateIn,
    UserEditIn,
    UserOut,
)


class NotSignedIn(NotFound):
    """You are not signed in to this server."""

    code = "not_signed_in"


class NothingToChange(Invalid):
    """Nothing is to be changed."""

    code = "nothing_to_change"


async def login(
    session: Session, *, url: str | None, username: str | None, password_stdin: bool
) -> None:
    """Sign in, and keep the token for this user of this machine."""
    address = url.rstrip("/") if url else _address(session)
    given = session.options.token
    if given:
        async with Client(address, given) as client:
            me = await client.auth.whoami()
        kept = Login(token=given, username=me.user.username if me.user else me.label)
    else:
        name = username or asking.prompt("User")
        password = SecretStr(_read_password("Password", from_stdin=password_stdin))
        async with Client(address) as client:
            made = await client.auth.login(LoginIn(username=name, password=password))
        kept = Login(token=made.token, token_id=str(made.info.id), username=name)
    credentials = read_credentials()
    credentials.servers[address] = kept
    credentials.current = address
    path = write_credentials(credentials)
    session.out.done(
        f"Signed in to {address} as {kept.username}; kept in {path}",
        {"server": address, "username": kept.username},
    )


def _address(session: Session) -> str:
    # The place of an earlier sign-in is where one signs in again; a token is not needed yet.
    return find_connection(session.settings, GlobalOptions(server=session.options.server)).url


async def logout(session: Session, *, url: str | None) -> None:
    """Forget a server, and end the token made for it."""
    credentials = read_credentials()
    address = (url or session.options.server or credentials.current or "").rstrip("/")
    kept = credentials.servers.pop(address, None)
    if kept is None:
        raise NotSignedIn(f"No sign-in to {address or 'any server'} is kept here.")
    if credentials.current == address:
        credentials.current = next(iter(credentials.servers), None)
    write_credentials(credentials)
    if kept.token_id is not None:
        # The server may be gone for good; forgetting it must work all the same.
        with suppress(AppError):
            async with Client(address, kept.token) as client:
                await client.tokens.revoke(uuid.UUID(kept.token_id))
    session.out.done(f"Signed out of {address}", {"server": address})


async def whoami(session: Session) -> None:
    """The server and oneself."""
    connection = session.connection
    me = await session.client.auth.whoami()
    if session.out.as_json:
        session.out.data(dump(me, server=connection.url, found_by=connection.origin))
        return
    session.out.record(
        me,
        [
            ("server", f"{connection.url} ({_ORIGINS[connection.origin]})"),
            ("you are", me.label),
            ("role", me.user.role.value if me.user else None),
            ("address", me.user.email if me.user else None),
            ("scopes", fmt_words(me.scopes, nothing="all that the role allows")),
        ],
    )


_ORIGINS = {
    "option": "as told",
    "environment": "from the environment",
    "login": "signed in",
    "local": "runs on this data directory",
}


async def list_users(session: Session, *, limit: int | None) -> None:
    """Everybody."""
    columns = [
        Column[UserOut]("name", lambda row: row.username),
        Column[UserOut]("role", lambda row: row.role.value),
        Column[UserOut]("active", lambda row: row.is_active),
        Column[UserOut]("address", lambda row: row.email),
        Column[UserOut]("signed in", lambda row: row.last_login_at),
        Column[UserOut]("id", lambda row: row.id),
    ]
    rows = await resolve.collect(session.client.users.list(), limit)
    session.out.table(rows, columns, nothing="There is nobody.")


async def show_user(session: Session, *, name: str) -> None:
    """Somebody."""
    row = await resolve.find_user(session, name)
    session.out.record(
        row,
        [
            ("user", row.username),
            ("id", row.id),
            ("name", row.full_name),
            ("address", row.email),
            ("role", row.role.value),
            ("active", row.is_active),
            ("created", row.created_at),
            ("signed in", row.last_login_at),
        ],
    )


async def create_user(
    session: Session,
    *,
    username: str,
    email: str,
    full_name: str | None,
    role: UserRole | None,
    password_stdin: bool,
) -> None:
    """A new user."""
    given: dict[str, Any] = {
        "full_name": full_name,
        "role": role,
        "password": _read_password("Password", from_stdin=True) if password_stdin else None,
    }
    body = UserCreateIn(
        username=username,
        email=email,
        **{field: value for field, value in given.items() if value is not None},
    )
    made = await session.client.users.create(body)
    text = f"{made.user.username} is created as {made.user.role.value}"
    if made.password:
        text += f"; password, shown this once: {made.password}"
    session.out.done(text, made)


async def edit_user(
    session: Session,
    *,
    name: str,
    email: str | None,
    full_name: str | None,
    role: UserRole | None,
    active: bool | None,
) -> None:
    """Some fields of a user."""
    given: dict[str, Any] = {
        "email": email,
        "full_name": full_name,
        "role": role,
        "is_active": active,
    }
    changes = {field: value for field, value in given.items() if value is not None}
    if not changes:
        raise NothingToChange("Name what is to change; see `agentvine user edit --help`.")
    row = await resolve.find_user(session, name)
    changed = await session.client.users.edit(row.id, UserEditIn(**changes))
    session.out.done(f"{changed.username} is changed: {', '.join(changes)}", changed)


async def change_password(session: Session) -> None:
    """One's own password. Without a terminal, two lines of stdin: the old one, the new one."""
    current = _read_password("Current password", from_stdin=False)
    new = _read_password("New password", from_stdin=False, confirm=True)
    await session.client.users.change_password(
        PasswordChangeIn(current_password=SecretStr(current), new_password=SecretStr(new))
    )
    session.out.done("Your password is changed", {"changed": True})


async def list_tokens(session: Session, *, every: bool, limit: int | None) -> None:
    """Tokens."""
    columns = [
        Column[TokenOut]("prefix", lambda row: row.prefix),
        Column[TokenOut]("name", lambda row: row.name),
        Column[TokenOut]("for", lambda row: row.kind),
        Column[TokenOut]("scopes", lambda row: row.scopes or "all"),
        Column[TokenOut]("made", lambda row: row.created_at),
        Column[TokenOut]("ends", lambda row: row.expires_at),
        Column[TokenOut]("used", lambda row: row.last_used_at),
        Column[TokenOut]("id", lambda row: row.id),
    ]
    if every:
        columns.insert(-1, Column[TokenOut]("revoked", lambda row: row.revoked_at))
    rows = [
        row
        async for row in resolve.every(session.client.tokens.list())
        if every or row.revoked_at is None
    ]
    session.out.table(rows[:limit], columns, nothing="There are no tokens.")


async def create_token(
    session: Session, *, name: str, worker: bool, scopes: Sequence[str], days: int | None
) -> None:
    """A new token."""
    given = {"scopes": list(scopes) or None, "expires_in_days": days}
    body = TokenCreateIn(
        name=name,
        kind="worker" if worker else "user",
        **{field: value for field, value in given.items() if value is not None},  # pyright: ignore[reportArgumentType]  # checked by the model
    )
    made = await session.client.tokens.create(body)
    session.out.note("Shown this once; keep it:")
    session.out.done(made.token, made)


async def revoke_token(session: Session, *, name: str) -> None:
    """End a token."""
    row = await resolve.find_token(session, name)
    await session.client.tokens.revoke(row.id)
    session.out.done(f"{row.name} ({row.prefix}...) is revoked", {"revoked": row.id})


def _read_password(prompt: str, *, from_stdin: bool, confirm: bool = False) -> str:
    if from_stdin or not sys.stdin.isatty():
        return asking.read_line().rstrip("\n")
    return asking.prompt(prompt, is_secret=True, twice=confirm)
