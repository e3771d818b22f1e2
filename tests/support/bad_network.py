"""A TCP proxy on loopback that can be told to misbehave.

Connections pass through unchanged until ``mode`` says otherwise:

- ``STALL``: nothing passes in either direction; connections stay open.
- ``HALF_OPEN``: what the client sends arrives, and the answers are thrown away.
- ``DOUBLE``: what the client sends arrives twice, over two connections; one answer is thrown away.

``cut`` resets all connections at once.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol, Self

_CHUNK = 65536


class Mode(Enum):
    """How the proxy treats bytes."""

    PASS = auto()
    STALL = auto()
    HALF_OPEN = auto()
    DOUBLE = auto()


class Listener(Protocol):
    """Who hears what goes over one connection."""

    def passed_on(self, chunk: bytes) -> None:
        """Bytes that go to the server now."""
        ...

    def answered(self, chunk: bytes) -> None:
        """Bytes that the server has given."""
        ...


class Proxy:
    """Listens on a port of its own, in the running event loop."""

    def __init__(self, target_port: int, tap: Callable[[], Listener] | None = None) -> None:
        self._target_port = target_port
        self._tap = tap
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Event()
        self._mode = Mode.PASS
        self.passed_count = 0
        """Connections that were made through here."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Where clients are to connect."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def mode(self) -> Mode:
        """How bytes are treated now."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            plain: socket.socket | None = writer.get_extra_info("socket")
            if plain is not None:
                # No farewell: the other side learns of a reset, as from a machine that is gone.
                linger = struct.pack("ii", 1, 0)
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.passed_count += 1
        opened = [writer]
        try:
            upstream, to_server = await self._connect()
            opened.append(to_server)
            targets = [to_server]
            if self._mode is Mode.DOUBLE:
                shadow, to_shadow = await self._connect()
                opened.append(to_shadow)
                targets.append(to_shadow)
                drain = asyncio.create_task(_throw_away(shadow))
                drain.add_done_callback(lambda _: None)
            self._writers.update(opened)
            tap = self._tap() if self._tap is not None else None
            await asyncio.wait(
                [
                    asyncio.create_task(self._pass_on(reader, targets, tap)),
                    asyncio.create_task(self._answer(upstream, writer, tap)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        except OSError:
            pass  # the server is not there: the client's connection ends, too
        finally:
            for each in opened:
                self._writers.discard(each)
                each.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._target_port)

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writers: list[asyncio.StreamWriter],
        tap: Listener | None,
    ) -> None:
        try:
            while chunk := await reader.read(_CHUNK):
                await self._wait_while_stalled()
                if tap is not None:
                    tap.passed_on(chunk)
                for writer in writers:
                    writer.write(chunk)
                    await writer.drain()
        except OSError:
            return

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tap: Listener | None
    ) -> None:
        try:
            while chunk := await reader.read(_CHUNK):
                if tap is not None:
                    tap.answered(chunk)
                await self._wait_while_stalled()
                if self._mode is not Mode.HALF_OPEN:
                    writer.write(chunk)
                    await writer.drain()
        except OSError:
            return

    async def _wait_while_stalled(self) -> None:
        while self._mode is Mode.STALL:
            await self._changed.wait()


async def _throw_away(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(_CHUNK):
            pass
    except OSError:
        return
