"""The address ``/mcp``: finds out who calls, and lets the protocol's own server answer."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from agentvine.domains.gateway.keys import find_keyed_run
from agentvine.domains.identity.tokens import TOOL_KEY
from agentvine.http.deps import ScopeMissing, token_in
from agentvine.http.state import HttpState
from agentvine.kit.actor import UserActor
from agentvine.mcp.calls import PersonCall, RunCall
from agentvine.mcp.table import Toolbox
from agentvine.protocol.tools import WAIT_HEADER

if TYPE_CHECKING:
    from agentvine.mcp.serving import McpServer

PATH = "/mcp"
USUAL_WAIT_SECONDS = 45.0
"""Clients give up a call after a minute, unless they say otherwise."""
MAX_WAIT_SECONDS = 3600.0


@dataclass(slots=True)
class McpDoor:
    """The tools' server of this process; it is made when somebody first comes."""

    toolbox: Toolbox
    _server: "asyncio.Future[McpServer] | None" = None
    _running: asyncio.Task[None] | None = None
    _closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, state: HttpState, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            Unauthenticated: The token or the run's key is not good.
            ScopeMissing: It is a worker's token.
        """
        call = await _caller(state, Request(scope))
        server = await self._ready()
        await server.serve(call, scope, receive, send)

    async def close(self) -> None:
        """End what is under way."""
        self._closing.set()
        if self._running is not None:
            await asyncio.wait([self._running])

    async def _ready(self) -> "McpServer":
        if self._server is None or (self._server.done() and self._server.exception()):
            self._server = asyncio.get_running_loop().create_future()
            self._running = asyncio.create_task(self._run(self._server), name="mcp")
        return await asyncio.shield(self._server)

    async def _run(self, made: "asyncio.Future[McpServer]") -> None:
        # A task of its own, since what holds the requests must be left where it was entered.
        try:
            server = await asyncio.to_thread(_make_server, self.toolbox)
        except BaseException as error:
            made.set_exception(error)
            raise
        async with server.running():
            made.set_result(server)
            await self._closing.wait()


class _Endpoint:
    """Raw ASGI, so that streams pass through it untouched."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state: HttpState = scope["app"].state.agentvine
        await state.effect(McpDoor).serve(state, scope, receive, send)


def mcp_route() -> Route:
    """Each message comes by POST; there are no sessions, and no streams of what nobody asked."""
    return Route(PATH, _Endpoint(), methods=["POST"])


async def _caller(state: HttpState, request: Request) -> RunCall | PersonCall:
    text = token_in(request.headers.get("authorization"))
    if text.startswith(TOOL_KEY):
        async with state.database.read() as read:
            run = await find_keyed_run(read, text)
        return RunCall(state, run, _wait_of(request))
    actor = await state.authenticator.authenticate(text)
    if not isinstance(actor, UserActor):
        raise ScopeMissing("This is for people's tokens and for runs; a worker's may only do work.")
    return PersonCall(state, actor)


def _wait_of(request: Request) -> float:
    with contextlib.suppress(ValueError):
        told = float(request.headers.get(WAIT_HEADER, ""))
        if 0 <= told <= MAX_WAIT_SECONDS:
            return told
    return USUAL_WAIT_SECONDS


def _make_server(toolbox: Toolbox) -> "McpServer":
    from agentvine.mcp.serving import McpServer  # noqa: PLC0415 - takes half a second

    return McpServer(toolbox)
