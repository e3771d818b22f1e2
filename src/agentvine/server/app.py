"""The web application: routes of all slices, problems, health."""

import re
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache

from fastapi import APIRouter, FastAPI, Response
from starlette.routing import BaseRoute

from agentvine import __version__
from agentvine.config.settings import Settings
from agentvine.domains.agents import api as agents
from agentvine.domains.contexts import api as contexts
from agentvine.domains.conversations import api as conversations
from agentvine.domains.executions import api as executions
from agentvine.domains.gateway import api as gateway
from agentvine.domains.gateway.relay import Gateway
from agentvine.domains.identity import api as identity
from agentvine.domains.knowledge import api as knowledge
from agentvine.domains.modifications import api as modifications
from agentvine.domains.notifications import api as notifications
from agentvine.domains.planning import api as planning
from agentvine.domains.plans import api as plans
from agentvine.domains.projects import api as projects
from agentvine.domains.questions import api as questions
from agentvine.domains.tasks import api as tasks
from agentvine.domains.team import api as team
from agentvine.domains.templates import api as templates
from agentvine.domains.tracing import api as tracing
from agentvine.domains.usage import api as usage
from agentvine.domains.work import api as work
from agentvine.domains.workers import api as workers
from agentvine.http import problems
from agentvine.http.deps import Public, State
from agentvine.http.quick import QuickRoutes
from agentvine.http.routes import require_permissions
from agentvine.http.state import HttpState
from agentvine.kit.clock import Clock
from agentvine.mcp import api as tools
from agentvine.mcp.door import mcp_route
from agentvine.server.lifespan import Running, running
from agentvine.server.middleware import RequestContext
from agentvine.server.mounting import GatewayMount
from agentvine.server.openapi import DescribedApp, operation_id
from agentvine.server.readiness import NotReady, Readiness
from agentvine.web.routes import page_routes

API_PREFIX = "/api/v1"

_SLICES = (
    identity,
    projects,
    contexts,
    agents,
    plans,
    knowledge,
    templates,
    tasks,
    work,
    workers,
    executions,
    modifications,
    tracing,
    usage,
    questions,
    conversations,
    notifications,
    gateway,
    planning,
    team,
    tools,
)

_QUICK = (
    work.claim,
    work.heartbeat,
    work.complete,
    work.fail,
    work.release,
    work.report_many,
    executions.append_logs,
)

_DESCRIPTION = """A control plane for teams of coding agents.

Lists are `{items, next_cursor}`, with `limit` and `cursor`. A create takes `Idempotency-Key`, an
edit `If-Match`. Errors are RFC 9457 problems, with a stable `code`."""

_LARGE = re.compile(
    rf"{API_PREFIX}/(queue/(complete|fail)|executions/[^/]+/(logs|bundle)"
    r"|conversations/[^/]+/messages/[^/]+/attachments)",
    re.ASCII,
)
"""Workers' reports (with a diff), lines and bundles; files, whose route has a limit of its own."""

Opened = Callable[[Running], None]


def create_app(
    settings: Settings, *, opened: Opened | None = None, clock: Clock | None = None
) -> FastAPI:
    """Build the application; ``opened`` is told once everything behind it is open.

    Raises:
        PermissionUndeclared: A route says neither what it needs nor that it is public.
    """
    app = DescribedApp(
        title="AgentVine",
        description=_DESCRIPTION,
        version=__version__,
        generate_unique_id_function=operation_id,
        lifespan=_lifespan(settings, opened, clock),
        docs_url="/docs",
        redoc_url=None,
        redirect_slashes=False,  # to an address made from what the client calls us
        openapi_url="/openapi.json",
    )
    problems.install(app)
    app.add_middleware(QuickRoutes, calls=_QUICK, routes=app)  # inside of the others
    app.add_middleware(RequestContext, max_body_bytes=settings.max_request_bytes, large=_LARGE)
    app.add_middleware(GatewayMount, gateway_of=_gateway_of)  # outside of the other
    app.router.routes += [*_routes(), mcp_route(), *page_routes()]
    return app


@cache
def _routes() -> tuple[BaseRoute, ...]:
    """What every application answers, made once: it takes FastAPI half a second.

    Raises:
        PermissionUndeclared: A route says neither what it needs nor that it is public.
    """
    root = APIRouter(generate_unique_id_function=operation_id)
    for slice_api in _SLICES:
        root.include_router(slice_api.router, prefix=API_PREFIX)
    root.include_router(_health)
    require_permissions(root.routes)
    return tuple(root.routes)


def _lifespan(
    settings: Settings, opened: Opened | None, clock: Clock | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        async with running(settings, clock=clock) as inside:
            app.state.agentvine = inside.http
            if opened is not None:
                opened(inside)
            yield

    return lifespan


def _gateway_of(state: HttpState) -> Gateway:
    return state.effect(Gateway)


_health = APIRouter(tags=["health"], dependencies=[Public])


@_health.get("/health")
async def health() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok", "version": __version__}


@_health.get("/ready", responses=problems.responses(NotReady))
async def ready(state: State, response: Response) -> dict[str, str]:
    """The database answers, has the schema this server needs, and can be written."""
    response.headers["Cache-Control"] = "no-store"
    await state.effect(Readiness).check()
    return {"status": "ready"}
