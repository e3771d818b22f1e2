"""Sends an answer over ASGI, as slowly and as incompletely as a script wants it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(slots=True)
class Sent:
    """What of an answer has gone out. It is noted before it goes: who has it can look here."""

    status: int = 0
    """0 before the answer begins."""
    bytes: int = 0
    events: int = 0
    is_whole: bool = False
    is_gone: bool = False
    """Whether the caller left before the end."""


class Sender:
    """Sends one answer."""

    def __init__(self, receive: Receive, send: Send, sent: Sent) -> None:
        """Send, note it, and listen for the caller's leaving."""
        self._receive = receive
        self._send = send
        self._sent = sent
        self._gone = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._listener = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listener is not None, "made on entering"
        self._listener.cancel()
        await asyncio.gather(self._listener, return_exceptions=True)

    async def wait(self, seconds: float) -> None:
        """Let so much time pass, unless the caller leaves."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._gone.wait()

    async def whole(
        self, status: int, headers: Mapping[str, str], body: bytes, *, cut_at: int | None = None
    ) -> None:
        """Send a body in one piece, or its first bytes and then nothing."""
        await self._begin(status, {**headers, "content-length": str(len(body))})
        part = body if cut_at is None else body[:cut_at]
        await self._piece(part, is_last=len(part) == len(body))

    async def stream(
        self,
        headers: Mapping[str, str],
        events: Iterable[bytes],
        *,
        pace: float = 0,
        cut_at: int | None = None,
        cut_after: int | None = None,
    ) -> None:
        """Send events one by one; end the connection after so many bytes or events."""
        await self._begin(200, headers)
        for event in events:
            if self._sent.events == cut_after:
                return
            room = None if cut_at is None else cut_at - self._sent.bytes
            if room is not None and len(event) > room:
                await self._piece(event[:room])
                return
            if self._sent.events:
                await self.wait(pace)
            if self._gone.is_set():
                return
            self._sent.events += 1
            await self._piece(event)
        await self._piece(b"", is_last=True)

    async def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        self._sent.status = status
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def _piece(self, body: bytes, *, is_last: bool = False) -> None:
        self._sent.bytes += len(body)
        self._sent.is_whole = is_last and not self._gone.is_set()
        await self._send({"type": "http.response.body", "body": body, "more_body": not is_last})

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone.set()
        self._sent.is_gone = not self._sent.is_whole
