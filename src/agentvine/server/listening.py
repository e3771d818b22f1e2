"""Listening at an address with an ASGI application until told to stop, by uvicorn."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import TYPE_CHECKING, TypeVar

import structlog
import uvicorn

from agentvine.kit.errors import Unavailable

if TYPE_CHECKING:
    from starlette.types import ASGIApp

T = TypeVar("T")

log = structlog.get_logger(__name__)

_BACKLOG = 512


class AddressInUse(Unavailable):
    """The address is taken."""

    code = "address_in_use"


async def answer_at(
    listener: socket.socket,
    host: str,
    app: "ASGIApp",
    opened: "asyncio.Future[T]",
    *,
    ready: Callable[[str, T], Awaitable[None]],
    stopping: Callable[[T], None],
    stop: asyncio.Event | None,
    patience_seconds: int = 15,
) -> None:
    """Answer requests until SIGTERM, SIGINT or ``stop``.

    Args:
        listener: From ``listen``.
        host: What was asked for, for the URL that is told.
        app: Answers them.
        opened: Set by the application's lifespan, once everything behind it is open.
        ready: Told the URL and what was opened, once requests are answered.
        stopping: Told at the beginning of the end, so that requests that wait end at once.
        stop: Set to end; without it signals do, as uvicorn handles them.
        patience_seconds: How long answers under way may take when it ends.

    Raises:
        Unavailable: The application did not open.
    """
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=patience_seconds,
            timeout_keep_alive=75,
            lifespan="on",
        ),
        handles_signals=stop is None,
        stopping=lambda: stopping(opened.result()) if opened.done() else None,
    )
    async with _told_to_stop(server, stop):
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await asyncio.wait({serving, opened}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if opened.done():
                await ready(_url(host, listener.getsockname()[1]), opened.result())
            await serving
        finally:
            server.should_exit = True
            await serving
    if not opened.done():
        raise Unavailable("The server could not start; its log says why.")


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound; port 0 takes a free one.

    Raises:
        AddressInUse: Something listens there already, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Handed on to every connection. Without it the second part of an answer waits for the other
    # side's delayed acknowledgement of the first: 40 ms, for each answer.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise AddressInUse(
            f"Cannot listen on {host}:{port} ({error.strerror}); choose another --port."
        ) from error
    return listener


class _Server(uvicorn.Server):
    """Uvicorn, told to end waiting requests first: a long poll must not hold up a shutdown."""

    def __init__(
        self, config: uvicorn.Config, *, handles_signals: bool, stopping: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._handles_signals = handles_signals
        self._stopping = stopping

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        if self._handles_signals:
            with super().capture_signals():
                yield
        else:
            yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping()
        await super().shutdown(sockets)


@contextlib.asynccontextmanager
async def _told_to_stop(
    server: uvicorn.Server, stop: asyncio.Event | None
) -> AsyncGenerator[None, None]:
    async def watch(event: asyncio.Event) -> None:
        await event.wait()
        server.should_exit = True

    if stop is None:
        yield
        return
    watcher = asyncio.create_task(watch(stop))
    try:
        yield
    finally:
        watcher.cancel()


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104  # shown, not bound
    return f"http://{f'[{shown}]' if ':' in shown and '[' not in shown else shown}:{port}"
