"""Dependencies of routes: who calls, what they may, and the session they work in.

A route that writes takes ``Tx``; one that reads takes ``Read``; a stream takes neither. Both are
function-scoped: the commit happens before the response starts, so that a commit that fails is told
to the client. Finding the caller is a short read of its own, never inside the write transaction.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Query
from fastapi.dependencies.models import Dependant

from agentvine.db.session import ReadSession, Transaction
from agentvine.http.state import HttpState, state_of
from agentvine.kit.actor import Actor, UserActor, WorkerActor
from agentvine.kit.errors import Conflict, Forbidden, Invalid, Unauthenticated
from agentvine.kit.pagination import DEFAULT_LIMIT, MAX_LIMIT, PageRequest, decode_cursor

PUBLIC = "public"
WORK_SCOPE = "work"
SELF_SCOPE = "self:read"
"""Who one is: every person's token may ask that, whatever it is limited to."""

State = Annotated[HttpState, Depends(state_of)]


class ScopeMissing(Forbidden):
    """The token does not carry the scope this needs."""

    code = "scope_missing"


class RoleTooLow(Forbidden):
    """Your role does not allow this."""

    code = "role_too_low"


class StaleVersion(Conflict):
    """Somebody changed this since you read it."""

    code = "stale_version"


class MatchHeaderInvalid(Invalid):
    """The If-Match header is not a version of ours."""

    code = "if_match_invalid"


async def current_actor(
    state: State, authorization: Annotated[str | None, Header(include_in_schema=False)] = None
) -> Actor:
    """The caller, by bearer token.

    Raises:
        Unauthenticated: There is no valid token.
    """
    return await state.authenticator.authenticate(token_in(authorization))


def token_in(authorization: str | None) -> str:
    """The token of an Authorization header.

    Raises:
        Unauthenticated: There is none.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated(
            "Send a token in the header `Authorization: Bearer <token>`; "
            "`agentvine login` makes one."
        )
    return token.strip()


CurrentActor = Annotated[Actor, Depends(current_actor)]


def require(scope: str) -> Callable[[Actor], Awaitable[UserActor]]:
    """A dependency that lets a user through who holds ``<area>:read``, ``:write`` or ``:admin``.

    A token with no scopes of its own carries all that its user's role allows.
    """

    async def gate(actor: CurrentActor) -> UserActor:
        return check_permission(actor, scope)

    return _declare(gate, scope)


def check_permission(actor: Actor, scope: str) -> UserActor:
    """The user, who holds this scope; also for edges that are no routes.

    Raises:
        ScopeMissing: It is no user, or the token does not carry it.
        RoleTooLow: The user's role does not go with it.
    """
    if not isinstance(actor, UserActor):
        raise ScopeMissing("This is for people's tokens; a worker's token may only do work.")
    verb = scope.rpartition(":")[2]
    if verb == "admin" and not actor.is_admin:
        raise RoleTooLow("Only an admin may do this; ask one of yours.")
    if verb == "write" and not actor.may_write:
        raise RoleTooLow("Viewers may look but not change anything.")
    if actor.scopes and scope not in actor.scopes | {SELF_SCOPE}:
        raise ScopeMissing(f"Make a token with the scope {scope!r}.", scope=scope)
    return actor


async def require_worker(actor: CurrentActor) -> WorkerActor:
    """The caller, who must be a worker.

    Raises:
        ScopeMissing: It is none.
    """
    if not isinstance(actor, WorkerActor):
        raise ScopeMissing(
            "This is for workers; make a token with `agentvine token create --worker`."
        )
    return actor


@dataclass(frozen=True, slots=True)
class ClaimedWorker:
    """Somebody who says to be a worker: for a statement that looks at the token itself."""

    token: str
    _state: HttpState

    async def prove(self) -> WorkerActor:
        """The worker it is.

        Raises:
            Unauthenticated: The token is not good.
            ScopeMissing: It is not a worker's.
        """
        return await require_worker(await self._state.authenticator.authenticate(self.token))


async def claimed_worker(
    state: State, authorization: Annotated[str | None, Header(include_in_schema=False)] = None
) -> ClaimedWorker:
    """Whoever shows a token.

    Raises:
        Unauthenticated: There is none.
    """
    return ClaimedWorker(token_in(authorization), state)


async def public() -> None:
    """Says on purpose that anybody may call this route."""


def _declare(gate: Callable[..., Any], permission: str) -> Callable[..., Any]:
    gate.agentvine_permission = permission  # type: ignore[attr-defined]  # read back by permission_of
    return gate


Worker = Annotated[WorkerActor, Depends(_declare(require_worker, WORK_SCOPE))]
UnprovenWorker = Annotated[ClaimedWorker, Depends(_declare(claimed_worker, WORK_SCOPE))]
"""The route itself must refuse whoever is none."""
Public = Depends(_declare(public, PUBLIC))
AnyUser = Annotated[UserActor, Depends(require(SELF_SCOPE))]


def permission_of(dependant: Dependant) -> str | None:
    """What a route with these dependencies declares it needs; None when it declares nothing."""
    pending = [dependant]
    while pending:
        found = pending.pop()
        permission = getattr(found.call, "agentvine_permission", None)
        if permission is not None:
            return str(permission)
        pending.extend(found.dependencies)
    return None


async def open_transaction(state: State, actor: CurrentActor) -> AsyncIterator[Transaction]:
    """A write transaction in the caller's name; committed before the response starts."""
    async with state.database.transaction(actor) as tx:
        yield tx


async def open_read(state: State, _actor: CurrentActor) -> AsyncIterator[ReadSession]:
    """A read-only session on one snapshot; opened after the caller's own look-up has closed."""
    async with state.database.read() as read:
        yield read


Tx = Annotated[Transaction, Depends(open_transaction, scope="function")]
Read = Annotated[ReadSession, Depends(open_read, scope="function")]


async def page_request(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> PageRequest:
    """``limit`` and ``cursor`` of a list."""
    return PageRequest(limit=limit, after=decode_cursor(cursor) if cursor else None)


Paging = Annotated[PageRequest, Depends(page_request)]


async def expected_version(
    if_match: Annotated[str | None, Header(description='The row_version you saw, like "3"')] = None,
) -> int | None:
    """The version the client saw, from ``If-Match``; None when it does not say."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = re.fullmatch(r'\s*(?:W/)?"?(\d{1,18})"?\s*', if_match)
    if found is None:
        raise MatchHeaderInvalid('Send the row_version in quotes, like `If-Match: "3"`.')
    return int(found.group(1))


ExpectedVersion = Annotated[int | None, Depends(expected_version)]


def check_version(current: int, expected: int | None) -> None:
    """Refuse a write that was decided on an older version.

    Raises:
        StaleVersion: ``expected`` is given and is not ``current``.
    """
    if expected is not None and expected != current:
        raise StaleVersion(
            "Read it again and repeat your change on the newer version.",
            expected=expected,
            current=current,
        )
