"""Running a server: the schema is brought up to date, then uvicorn serves until told to stop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from dataclasses import dataclass

import structlog
import uvicorn

from agentvine.config.settings import Settings
from agentvine.db.engine import dialect_of, sqlite_path
from agentvine.db.filelock import DatabaseFileLock
from agentvine.domains.identity.service import NewUser
from agentvine.kit.errors import Unavailable
from agentvine.kit.logs import configure_logging
from agentvine.server.app import create_app
from agentvine.server.lifespan import Running
from agentvine.server.migrations import migration_runner

log = structlog.get_logger(__name__)

_BACKLOG = 512
_SHUTDOWN_SECONDS = 15


class AddressInUse(Unavailable):
    """The address is taken."""

    code = "address_in_use"


@dataclass(frozen=True, slots=True)
class Serving:
    """What the one who started a server wants to know once it serves."""

    url: str
    inside: Running

    @property
    def first_admin(self) -> NewUser | None:
        """The admin made at the very first start, whose password is to be shown once."""
        return self.inside.first_admin


Ready = Callable[[Serving], Awaitable[None]]


async def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    ready: Ready | None = None,
    stop: asyncio.Event | None = None,
    migrate: bool = True,
) -> None:
    """Serve until SIGTERM, SIGINT or ``stop``.

    Args:
        settings: Everything the environment says.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        ready: Told once requests are answered.
        stop: Set to end the server; without it signals do, as uvicorn handles them.
        migrate: Whether to bring the schema up to date first.

    Raises:
        AddressInUse: Something listens there already.
        DatabaseFileLocked: Another server uses the same SQLite file.
    """
    configure_logging(level=settings.log_level, as_json=settings.log_json)
    listener = _listen(host, port)
    address: tuple[str, int] = listener.getsockname()[:2]
    with _sole_server(settings) as held_lock:
        runner = migration_runner(settings.database, held_lock=held_lock)
        await (runner.setup() if migrate else runner.require_ready())
        opened: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
        server = _Server(
            uvicorn.Config(
                create_app(settings, opened=opened.set_result),
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=_BACKLOG,
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
                timeout_keep_alive=75,
                lifespan="on",
            ),
            handles_signals=stop is None,
            stopping=lambda: opened.result().http.stopping.set() if opened.done() else None,
        )
        await _run(server, listener, _url(host, address[1]), opened, ready, stop)


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


async def _run(  # one caller, above
    server: _Server,
    listener: socket.socket,
    url: str,
    opened: "asyncio.Future[Running]",
    ready: Ready | None,
    stop: asyncio.Event | None,
) -> None:
    async with _told_to_stop(server, stop):
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await asyncio.wait({serving, opened}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if opened.done():
                log.info("server.started", url=url)
                if ready is not None:
                    await ready(Serving(url, opened.result()))
            await serving
        finally:
            server.should_exit = True
            await serving
    if not opened.done():
        raise Unavailable("The server could not start; its log says why.")


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


def _sole_server(
    settings: Settings,
) -> "contextlib.AbstractContextManager[DatabaseFileLock | None]":
    if not dialect_of(settings.database).serialises_writers:
        return contextlib.nullcontext()
    path = sqlite_path(settings.database)
    path.parent.mkdir(parents=True, exist_ok=True)
    return DatabaseFileLock(path, "server")


def _listen(host: str, port: int) -> socket.socket:
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


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104  # shown, not bound
    return f"http://{f'[{shown}]' if ':' in shown and '[' not in shown else shown}:{port}"
