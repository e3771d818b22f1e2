"""Connections of a sandbox: taking them at a Unix socket, and carrying bytes on and back."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

_CHUNK = 64 * 1024


@asynccontextmanager
async def serving(
    path: Path,
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncGenerator[None]:
    """Answer each connection to a Unix socket for the length of the block, and no longer."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "asyncio runs this in a task"
        tasks.add(task)
        try:
            await answer(reader, writer)
        finally:
            tasks.discard(task)

    server = await asyncio.start_unix_server(serve, path, limit=_CHUNK)
    try:
        yield
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def relay_both(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
) -> None:
    """Carry both ways until the far side has ended."""
    up = asyncio.create_task(relay(reader, sink))
    try:
        await relay(source, writer)
    finally:
        up.cancel()
        sink.close()


async def relay(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Carry one way, and tell the end."""
    with contextlib.suppress(OSError):
        while chunk := await source.read(_CHUNK):
            sink.write(chunk)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()


async def relay_some(source: asyncio.StreamReader, sink: asyncio.StreamWriter, left: int) -> None:
    """Carry so many bytes and no more; the connection stays open."""
    with contextlib.suppress(OSError):
        while left and (chunk := await source.read(min(_CHUNK, left))):
            left -= len(chunk)
            sink.write(chunk)
            await sink.drain()
