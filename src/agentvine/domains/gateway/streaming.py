"""Passing an answer on while it is read, and ending it early without losing its account."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, TypeVar

import aiohttp

from agentvine.domains.gateway.answers import Answer
from agentvine.domains.gateway.metering import Meter
from agentvine.domains.gateway.wires.used import MAX_EVENT_BYTES, EventSplitter

T = TypeVar("T")
Message = MutableMapping[str, Any]

DRAIN_SECONDS = 2.0
"""How long an answer is read on after its caller has left: its end tells what it used."""


class Exchange:
    """One request and its answer, which either side may end early."""

    def __init__(
        self,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        """Nothing has been sent yet."""
        self.has_started = False
        self.cut_by: str | None = None
        self._drain_seconds = drain_seconds
        self._receive = receive
        self._send = send
        self._is_gone = False
        self._has_ended = False
        self._watching: asyncio.Task[None] | None = None
        self._limit: asyncio.Timeout | None = None

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._is_gone or self.cut_by is not None

    async def read_body(self, most: int) -> bytes | None:
        """The request's body; None where it is too large."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._is_gone = True
                return b""
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > most:
                return None
            parts.append(part)
            if not message.get("more_body", False):
                self._watching = asyncio.create_task(self._watch())
                return b"".join(parts)

    async def until_cut(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What comes of some work; None where the exchange is cut off before, and 2 s after."""
        try:
            async with asyncio.timeout(self._seconds_left()) as limit:
                self._limit = limit
                return await work
        except TimeoutError:
            if self.cut_by is None:
                raise
            return None
        finally:
            self._limit = None

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the head of an answer."""
        self.has_started = True
        if not self._is_gone:
            await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send(self, chunk: bytes) -> None:
        """Send a part of it; who has left is sent nothing more."""
        if chunk and not self._is_gone:
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def end(self) -> None:
        """Say that the answer is whole."""
        await self._stop_watching()
        if not self._has_ended and self.has_started and not self._is_gone:
            self._has_ended = True
            await self._send({"type": "http.response.body", "body": b""})

    async def leave(self) -> None:
        """Break off an answer: the server closes the connection."""
        await self._stop_watching()

    async def refuse(self, answer: Answer) -> None:
        """Send a whole answer, where none has begun."""
        await self._stop_watching()
        if self.has_started or self._is_gone:
            return
        self.has_started = self._has_ended = True
        await self._send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": answer.headers,
            }
        )
        await self._send({"type": "http.response.body", "body": answer.body})

    def cut(self, by: str) -> None:
        """End the answer now, whoever still listens."""
        self.cut_by = self.cut_by or by
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._is_gone = True
        if self._has_ended:
            return
        self.cut_by = self.cut_by or "caller"
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + self._drain_seconds)

    async def _stop_watching(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
            self._watching = None

    def _seconds_left(self) -> float | None:
        if self.cut_by is None:
            return None
        return self._drain_seconds if self.cut_by == "caller" else 0.0


async def pass_on(response: aiohttp.ClientResponse, exchange: Exchange, meter: Meter) -> None:
    """Send an answer on chunk by chunk, and read its usage beside it."""
    is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
    passing = _pass_events if is_stream else _pass_whole
    try:
        await exchange.until_cut(passing(response, exchange, meter))
    except (aiohttp.ClientError, OSError, TimeoutError):
        # The provider went away in the middle: what was seen is counted.
        exchange.cut_by = exchange.cut_by or "provider"


async def _pass_events(response: aiohttp.ClientResponse, exchange: Exchange, meter: Meter) -> None:
    splitter, scanner = EventSplitter(), meter.scanner
    hides = meter.asked.hides_usage
    async for chunk in response.content.iter_any():
        meter.record(chunk)
        if not hides:
            await exchange.send(chunk)
        for event in splitter.feed(chunk):
            data = scanner.take(event)
            if hides and not (data is not None and scanner.is_only_usage(data)):
                await exchange.send(event)
        meter.look()
    rest = splitter.flush()
    scanner.take(rest)
    if hides:
        await exchange.send(rest)


async def _pass_whole(response: aiohttp.ClientResponse, exchange: Exchange, meter: Meter) -> None:
    parts: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        meter.record(chunk)
        await exchange.send(chunk)
        size += len(chunk)
        if size <= MAX_EVENT_BYTES:
            parts.append(chunk)
        meter.scanner.text_bytes = size
    if size <= MAX_EVENT_BYTES:
        meter.scanner.text_bytes = 0
        meter.scanner.read_whole(b"".join(parts))
        if not meter.scanner.counts.is_final:
            meter.scanner.text_bytes = size
