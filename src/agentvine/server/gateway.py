"""The gateway to language models as a process of its own, beside servers over the same database."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from agentvine import __version__
from agentvine.config.settings import Settings, SettingsError, with_secret_key
from agentvine.db.session import Database
from agentvine.domains.gateway.keys import BELIEVED_SECONDS
from agentvine.domains.gateway.relay import Gateway, KeyWatch
from agentvine.domains.gateway.vault import KeyVault
from agentvine.http import problems
from agentvine.kit.clock import SystemClock
from agentvine.kit.logs import configure_logging
from agentvine.reactions.routing import build_reactions
from agentvine.server.background import Chore, Supervisor
from agentvine.server.effects import open_gateway
from agentvine.server.listening import answer_at, listen
from agentvine.server.migrations import migration_runner
from agentvine.server.mounting import GatewayMount
from agentvine.server.readiness import Readiness

log = structlog.get_logger(__name__)

_PATIENCE_SECONDS = 300
"""A model's answer can take minutes, and is paid for."""

Ready = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class GatewayAlone:
    """What is open while the gateway serves; what its addresses reach."""

    gateway: Gateway
    readiness: Readiness


async def serve_gateway(
    settings: Settings,
    *,
    host: str,
    port: int,
    ready: Ready | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve what is below ``/gateway``, ``/health`` and ``/ready`` until told to stop.

    Args:
        settings: Everything the environment says: the database and the secret key of the servers.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        ready: Told the URL once requests are answered.
        stop: Set to end; without it signals do.

    Raises:
        AddressInUse: Something listens there already.
        SettingsError: There is no secret key: one made here would open nothing.
        Unavailable: A server has not brought the database up to date yet.
    """
    configure_logging(level=settings.log_level, as_json=settings.log_json)
    settings = _with_key_of_servers(settings)
    listener = listen(host, port)
    await migration_runner(settings.database).require_ready()
    opened: asyncio.Future[GatewayAlone] = asyncio.get_running_loop().create_future()

    async def tell(url: str, _: GatewayAlone) -> None:
        log.info("gateway.started", url=url)
        if ready is not None:
            await ready(url)

    await answer_at(
        listener,
        host,
        create_gateway_app(settings, opened=opened.set_result),
        opened,
        ready=tell,
        stopping=lambda _: None,
        stop=stop,
        patience_seconds=_PATIENCE_SECONDS,
    )


def create_gateway_app(
    settings: Settings, *, opened: Callable[[GatewayAlone], None] | None = None
) -> Starlette:
    """Build the application; ``opened`` is told once everything behind it is open."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None, None]:
        async with _running(settings) as inside:
            app.state.agentvine = inside
            if opened is not None:
                opened(inside)
            yield

    app = Starlette(routes=[Route("/health", _health), Route("/ready", _ready)], lifespan=lifespan)
    problems.install(app)
    app.add_middleware(GatewayMount, gateway_of=_gateway_of)
    return app


def _gateway_of(inside: GatewayAlone) -> Gateway:
    return inside.gateway


@asynccontextmanager
async def _running(settings: Settings) -> AsyncGenerator[GatewayAlone, None]:
    database = await Database.open(
        settings.database,
        SystemClock(),
        reactions=build_reactions(settings.queue, settings.zone),
    )
    try:
        vault = KeyVault.of(settings.secret_key, settings.providers)
        gateway = open_gateway(settings, database, vault)
        watch = Chore("keys", KeyWatch(gateway).look, every_seconds=BELIEVED_SECONDS)
        supervisor = Supervisor(database, database.clock, (watch,))
        supervisor.start()
        try:
            yield GatewayAlone(gateway, Readiness(database))
        finally:
            await supervisor.stop()
            await gateway.close()
    finally:
        await database.close()


async def _health(_: Request) -> JSONResponse:
    """The process lives."""
    return JSONResponse({"status": "ok", "version": __version__})


async def _ready(request: Request) -> JSONResponse:
    """The database answers, has the schema that is needed, and can be written."""
    inside: GatewayAlone = request.app.state.agentvine
    await inside.readiness.check()
    return JSONResponse({"status": "ready"}, headers={"Cache-Control": "no-store"})


def _with_key_of_servers(settings: Settings) -> Settings:
    has_key = bool(settings.secret_key.get_secret_value())
    if not has_key and not (settings.data_dir / "secret.key").exists():
        raise SettingsError(
            "AGENTVINE_SECRET_KEY is not set, and the data directory holds no secret.key: without "
            "the servers' key no provider's key can be opened. Give this process the same one."
        )
    return with_secret_key(settings)
