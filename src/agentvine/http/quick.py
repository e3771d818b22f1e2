"""The addresses that workers call all day, answered before the router is asked.

FastAPI's part of a beat (routing, dependencies, JSON by way of Python's own objects) takes longer
than all the rest. Here the route's own function is called, with what its parameters ask for. Only
what is plain is answered: the right method and address, and JSON that fits. All else goes on to
the route, which says what is wrong, so that every refusal has one home.
"""

import re
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast, get_type_hints

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel, TypeAdapter
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentvine.http import deps
from agentvine.http.state import HttpState
from agentvine.kit.errors import Internal

_JSON = b"application/json"
_AUTHORIZATION = "authorization"


class RouteNotQuick(Internal):
    """A route asks for what is not to be had before the router."""

    code = "route_not_quick"


_Argument = Callable[[Request, HttpState], Awaitable[object]]
_Handler = Callable[[Request, Exception], Awaitable[Response]]


async def _state(_request: Request, state: HttpState) -> object:
    return state


async def _request(request: Request, _state: HttpState) -> object:
    return request


async def _worker(request: Request, state: HttpState) -> object:
    actor = await deps.current_actor(state, request.headers.get(_AUTHORIZATION))
    return await deps.require_worker(actor)


async def _unproven_worker(request: Request, state: HttpState) -> object:
    return await deps.claimed_worker(state, request.headers.get(_AUTHORIZATION))


_ARGUMENTS: Mapping[object, _Argument] = {
    deps.State: _state,
    Request: _request,
    deps.Worker: _worker,
    deps.UnprovenWorker: _unproven_worker,
}


@dataclass(frozen=True, slots=True)
class _Quick:
    """A route, taken apart."""

    call: Callable[..., Awaitable[object]]
    address: re.Pattern[str]
    ids: frozenset[str]
    """Which parameters are in the address."""
    body_name: str
    body: type[BaseModel]
    arguments: Mapping[str, _Argument]
    answer: TypeAdapter[Any] | None
    """What makes JSON of the answer; None where the function does."""
    status: int

    def read(self, path: str, content: bytes) -> dict[str, object] | None:
        """The parameters that a request has itself; None when they do not fit."""
        found = self.address.match(path)
        if found is None:
            return None
        try:
            ids = {name: uuid.UUID(found[name]) for name in self.ids}
            return {**ids, self.body_name: self.body.model_validate_json(content)}
        except ValueError:  # pydantic's, too
            return None

    async def respond(
        self, request: Request, state: HttpState, given: Mapping[str, object]
    ) -> Response:
        """Call it."""
        others = {name: await get(request, state) for name, get in self.arguments.items()}
        answer = await self.call(**given, **others)
        if self.answer is None:
            return cast("Response", answer)
        return Response(self.answer.dump_json(answer), self.status, media_type="application/json")


class QuickRoutes:
    """Raw ASGI, inside of what every request gets and outside of the router."""

    def __init__(
        self, app: ASGIApp, *, calls: Iterable[Callable[..., Any]], routes: FastAPI
    ) -> None:
        """Wrap an application.

        Args:
            app: What answers all else.
            calls: The functions whose routes are to be quick.
            routes: Whose routes they are.

        Raises:
            RouteNotQuick: One of them asks for more than a body, ids, its caller and the state.
        """
        self.app = app
        self._handlers = cast("Mapping[type, _Handler]", routes.exception_handlers)
        self._kinds = tuple(kind for kind in self._handlers if issubclass(kind, Exception))
        self._by_path: dict[str, _Quick] = {}
        self._others: list[_Quick] = []
        wanted = frozenset(calls)
        for context in iter_route_contexts(routes.routes):
            route = context.original_route
            if isinstance(route, APIRoute) and route.endpoint in wanted:
                path = str(context.path)
                quick = _take_apart(path, route)
                if quick.ids:
                    self._others.append(quick)
                else:
                    self._by_path[path] = quick

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        quick = self._find(scope)
        if quick is None:
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        answer = await self._try(quick, request)
        if isinstance(answer, bytes):
            await self.app(scope, _repeated(answer, receive), send)
        else:
            await answer(scope, receive, send)

    async def _try(self, quick: _Quick, request: Request) -> Response | bytes:
        """The answer; or, where the route is to give it, the body that was read."""
        try:
            content = await request.body()
            given = quick.read(request.scope["path"], content)
            if given is None:
                return content
            return await quick.respond(request, request.app.state.agentvine, given)
        except self._kinds as error:
            kind = next(kind for kind in type(error).__mro__ if kind in self._handlers)
            return await self._handlers[kind](request, error)

    def _find(self, scope: Scope) -> _Quick | None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        kinds = [value for name, value in scope["headers"] if name == b"content-type"]
        if kinds != [_JSON]:
            return None
        path = scope["path"]
        return self._by_path.get(path) or next(
            (quick for quick in self._others if quick.address.match(path)), None
        )


def _take_apart(path: str, route: APIRoute) -> _Quick:
    hints = get_type_hints(route.endpoint, include_extras=True)
    returned = hints.pop("return")
    arguments = {name: _ARGUMENTS[hint] for name, hint in hints.items() if hint in _ARGUMENTS}
    ids = frozenset(name for name, hint in hints.items() if hint is uuid.UUID)
    bodies = {name: hint for name, hint in hints.items() if _is_model(hint)}
    if len(bodies) != 1 or len(arguments) + len(ids) + 1 != len(hints):
        raise RouteNotQuick(f"{path} asks for {', '.join(hints)}.")
    address, _, _ = compile_path(path)
    ((body_name, body),) = bodies.items()
    return _Quick(
        call=route.endpoint,
        address=address,
        ids=ids,
        body_name=body_name,
        body=body,
        arguments=arguments,
        answer=None if returned is Response else TypeAdapter(returned),
        status=route.status_code or 200,
    )


def _is_model(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, BaseModel)


def _repeated(content: bytes, receive: Receive) -> Receive:
    """A body that was read, to be read again; then whatever comes."""
    waiting: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
