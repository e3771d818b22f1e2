"""Running a server: the schema is brought up to date, then uvicorn serves until told to stop."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from agentvine.config.settings import Settings
from agentvine.db.engine import dialect_of, sqlite_path
from agentvine.db.filelock import DatabaseFileLock
from agentvine.domains.identity.service import NewUser
from agentvine.kit.clock import Clock
from agentvine.kit.logs import configure_logging
from agentvine.server.app import create_app
from agentvine.server.lifespan import Running
from agentvine.server.listening import answer_at, listen
from agentvine.server.migrations import migration_runner

log = structlog.get_logger(__name__)


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
    clock: Clock | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT or ``stop``.

    Args:
        settings: Everything the environment says.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        ready: Told once requests are answered.
        stop: Set to end the server; without it signals do, as uvicorn handles them.
        migrate: Whether to bring the schema up to date first.
        clock: What it takes the time from; the machine's own when left out.

    Raises:
        AddressInUse: Something listens there already.
        DatabaseFileLocked: Another server uses the same SQLite file.
    """
    configure_logging(level=settings.log_level, as_json=settings.log_json)
    listener = listen(host, port)

    async def tell(url: str, inside: Running) -> None:
        log.info("server.started", url=url)
        if ready is not None:
            await ready(Serving(url, inside))

    with _sole_server(settings) as held_lock:
        runner = migration_runner(settings.database, held_lock=held_lock)
        await (runner.setup() if migrate else runner.require_ready())
        opened: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
        await answer_at(
            listener,
            host,
            create_app(settings, opened=opened.set_result, clock=clock),
            opened,
            ready=tell,
            stopping=lambda inside: inside.http.stopping.set(),
            stop=stop,
        )


def _sole_server(
    settings: Settings,
) -> "contextlib.AbstractContextManager[DatabaseFileLock | None]":
    if not dialect_of(settings.database).serialises_writers:
        return contextlib.nullcontext()
    path = sqlite_path(settings.database)
    path.parent.mkdir(parents=True, exist_ok=True)
    return DatabaseFileLock(path, "server")
