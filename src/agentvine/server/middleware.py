"""What every request gets: an id, a log line, a limit on its body, security headers, an answer."""

import logging
import re
import time
from collections.abc import Iterable, Mapping

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentvine.http.problems import render, render_bug, stop_reading, too_large
from agentvine.kit.errors import AppError, Invalid
from agentvine.kit.ids import new_id
from agentvine.protocol.base import (
    PROTOCOL_HEADER,
    PROTOCOL_VERSION,
    ProtocolUnsupported,
    check_version,
)

log = structlog.get_logger("agentvine.http")
_levels = logging.getLogger("agentvine.http")
"""Asked first: putting a line together that is not written costs more than all else here."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
_USUAL_BYTES = 8 * 1024 * 1024
_MAX_DIGITS = 18
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_BEAT = "/queue/heartbeat"
_FIRST_ERROR = 400
_CLIENT_LEFT = 499
"""For the log only: nobody is there to read a status."""
_PROTOCOL = PROTOCOL_HEADER.lower().encode()
_OUR_PROTOCOL = PROTOCOL_VERSION.encode()
_REQUEST_ID_HEADER = b"x-request-id"
_USUAL = ((b"cache-control", b"no-store"), (b"referrer-policy", b"no-referrer"))
"""Unless the answer says otherwise."""
_LABELS = (
    (_PROTOCOL, _OUR_PROTOCOL),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_LABELLED = frozenset((_REQUEST_ID_HEADER, *(name for name, _ in _LABELS)))

Headers = Iterable[tuple[bytes, bytes]]


class AddressInvalid(Invalid):
    """The address holds a character that no name of ours has."""

    code = "address_invalid"


class RequestContext:
    """Raw ASGI, so that streams pass through it untouched."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, large: re.Pattern[str]) -> None:
        """Wrap an application.

        Args:
            app: What answers.
            max_body_bytes: The limit for the addresses of ``large``.
            large: The addresses that take workers' reports, logs and files; all others take what
                people type, and a body is read before anybody knows who sends it.
        """
        self.app = app
        self.max_body_bytes = max_body_bytes
        self.large = large

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = _request_id(headers.get(_REQUEST_ID_HEADER))
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        exchange = _Exchange(receive, send, request_id, self._limit(scope))
        started = time.monotonic()
        try:
            await self._answer(scope, headers, exchange)
        finally:
            # Who only looks, or beats, is of interest when it fails; all else would drown in pages'
            # refreshes, and in fifty beats a second of a thousand workers.
            is_routine = scope["method"] in _SAFE or scope["path"].endswith(_BEAT)
            level = logging.DEBUG if is_routine and exchange.status < _FIRST_ERROR else logging.INFO
            if _levels.isEnabledFor(level):
                log.log(
                    level,
                    "request.served",
                    method=scope["method"],
                    path=scope["path"],
                    status=exchange.status,
                    milliseconds=round((time.monotonic() - started) * 1000, 1),
                )

    async def _answer(
        self, scope: Scope, headers: Mapping[bytes, bytes], exchange: "_Exchange"
    ) -> None:
        refusal = self._refusal(scope, headers, exchange.max_bytes)
        try:
            if refusal is None:
                await self.app(scope, exchange.receive, exchange.send)
            else:
                answer = render(Request(scope), refusal)
                await answer(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.status = _CLIENT_LEFT
        except Exception:  # lint: allow AV007 (the last resort of HTTP)
            log.exception("request.failed", path=scope["path"])
            if exchange.has_started:
                raise  # the server breaks the connection, so that half an answer is seen as one
            await render_bug(Request(scope))(scope, exchange.receive, exchange.send)

    def _refusal(self, scope: Scope, headers: Mapping[bytes, bytes], limit: int) -> AppError | None:
        # PostgreSQL cannot store a NUL and SQLite can: neither is asked.
        if "\0" in scope["path"] or b"%00" in scope.get("query_string", b""):
            return AddressInvalid("Leave out the NUL character (%00).")
        told = headers.get(_PROTOCOL, _OUR_PROTOCOL)
        if told != _OUR_PROTOCOL:
            try:
                check_version(told.decode("latin-1"), peer="client")
            except ProtocolUnsupported as error:
                return error
        length = headers.get(b"content-length", b"")
        if length.isdigit() and (len(length) > _MAX_DIGITS or int(length) > limit):
            return too_large(limit)
        return None

    def _limit(self, scope: Scope) -> int:
        is_large = self.large.fullmatch(scope["path"]) is not None
        return self.max_body_bytes if is_large else min(_USUAL_BYTES, self.max_body_bytes)


class _Exchange:
    """One request and its answer: counts what comes in, labels what goes out."""

    def __init__(self, receive: Receive, send: Send, request_id: str, max_bytes: int) -> None:
        self.status = 500
        self.has_started = False
        self._receive = receive
        self._send = send
        self._request_id = request_id
        self.max_bytes = max_bytes
        self._received_bytes = 0

    async def receive(self) -> Message:
        """Pass on a part of the body, up to the limit."""
        message = await self._receive()
        self._received_bytes += len(message.get("body", b""))
        if self._received_bytes > self.max_bytes:
            raise stop_reading(too_large(self.max_bytes))
        return message

    async def send(self, message: Message) -> None:
        """Pass on a part of the answer."""
        if message["type"] == "http.response.start":
            self.has_started = True
            self.status = message["status"]
            message["headers"] = _labelled(message.get("headers", ()), self._request_id)
        await self._send(message)


def _request_id(given: bytes | None) -> str:
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode()
    return new_id().hex


def _labelled(headers: Headers, request_id: str) -> Headers:
    kept = [header for header in headers if header[0] not in _LABELLED]
    said = {name for name, _ in kept}
    kept += [usual for usual in _USUAL if usual[0] not in said]
    return [*kept, (_REQUEST_ID_HEADER, request_id.encode()), *_LABELS]
