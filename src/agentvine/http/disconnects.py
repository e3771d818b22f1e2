"""Knowing when nobody waits for an answer any more: for long polls and streams."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request


@asynccontextmanager
async def until_over(
    request: Request, stopping: asyncio.Event
) -> AsyncGenerator[asyncio.Event, None]:
    """An event that is set when the client has gone, or the server stops.

    The request's body must have been read: what comes after it is listened to.
    """
    over = asyncio.Event()
    watchers: list[asyncio.Task[Any]] = [
        asyncio.create_task(_client_gone(request), name="client gone"),
        asyncio.create_task(stopping.wait(), name="server stopping"),
    ]
    for watcher in watchers:
        watcher.add_done_callback(lambda _: over.set())
    try:
        yield over
    finally:
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)


async def _client_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
