"""Carrying bytes between two connections until both have said all."""

import asyncio
import contextlib

_CHUNK = 64 * 1024


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
