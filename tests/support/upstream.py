"""A provider of models on a loopback socket: it says just what it is told to, byte by byte."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Heard:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What to say: parts are sent one by one, and then the connection is closed."""

    parts: Sequence[bytes] = ()
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    is_cut: bool = False
    """Whether the end is missing."""
    pause_after: int | None = None
    """After so many parts, wait until the upstream's ``go_on`` is set."""


Script = Callable[[Heard], Reply]


@dataclass
class Upstream:
    """A running provider."""

    url: str
    script: Script
    heard: list[Heard] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    paused: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: int = 0
    """How often the other side left before the end."""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (heard := await _read(reader)) is not None:
                self.heard.append(heard)
                await self._say(self.script(heard), writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.hung_up += 1
        finally:
            writer.close()

    async def _say(self, reply: Reply, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {reply.status} X", f"content-type: {reply.content_type}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        lines += ["transfer-encoding: chunked", "", ""]
        writer.write("\r\n".join(lines).encode())
        for number, part in enumerate(reply.parts):
            if reply.pause_after == number:
                await self._pause()
            if part:
                writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0)
        if reply.pause_after is not None and reply.pause_after >= len(reply.parts):
            await self._pause()
        if reply.is_cut:
            raise ConnectionError
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _pause(self) -> None:
        self.paused.set()
        await self.go_on.wait()


async def _read(reader: asyncio.StreamReader) -> Heard | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode().rstrip().split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Heard(method, path, headers, body)


@asynccontextmanager
async def running_upstream(script: Script) -> AsyncIterator[Upstream]:
    """A provider that answers as the script says."""
    upstream = Upstream("", script)
    server = await asyncio.start_server(upstream.answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    upstream.url = f"http://{host}:{port}"
    try:
        yield upstream
    finally:
        upstream.go_on.set()
        server.close()
        await asyncio.sleep(0)


def sse(*events: Any, ends: str = "\n\n") -> list[bytes]:
    """Events as a stream has them; with their names where they have a type."""
    parts = []
    for event in events:
        name = f"event: {event['type']}\n" if isinstance(event, dict) and "type" in event else ""
        text = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
        parts.append(f"{name}data: {text}{ends}".encode())
    return parts
