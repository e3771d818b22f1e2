"""A whole server in the test's own process, and people of every kind who call it."""

import uuid
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import structlog
from fastapi import FastAPI

from agentvine.config.settings import DatabaseSettings, QueueSettings, Settings, load_settings
from agentvine.db.session import Database
from agentvine.domains.identity import service as identity
from agentvine.domains.identity import tokens
from agentvine.domains.identity.enums import TokenKind
from agentvine.domains.identity.models import User
from agentvine.http.state import HttpState
from agentvine.kit.actor import UserActor
from agentvine.protocol.enums import UserRole
from agentvine.protocol.identity import UserCreateIn
from agentvine.server.app import API_PREFIX, create_app

# What goes wrong inside is told with a plain traceback, captured by pytest. The default renders it
# with all local variables, which takes a minute.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.format_exc_info,
        structlog.processors.KeyValueRenderer(key_order=["event"]),
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
)

PASSWORD_ROUNDS = 4  # bcrypt's least: tests hash many passwords


@dataclass
class Caller:
    """Somebody with a token (or none), and a client that sends it."""

    http: httpx2.AsyncClient
    user: User | None = None

    @property
    def actor(self) -> UserActor:
        """The same person as commands know them."""
        assert self.user is not None
        return UserActor(
            user_id=self.user.id, username=self.user.username, role=self.user.role.value
        )

    async def call(self, method: str, path: str, **kwargs: Any) -> httpx2.Response:
        """One request below the API's prefix, whatever comes back."""
        return await self.http.request(method, path, **kwargs)

    async def get(self, path: str, **kwargs: Any) -> Any:
        """The JSON of a GET that must succeed."""
        return _good(await self.http.get(path, **kwargs))

    async def post(self, path: str, body: Any = None, **kwargs: Any) -> Any:
        """The JSON of a POST that must succeed."""
        return _good(await self.http.post(path, json=body, **kwargs))

    async def refused(self, method: str, path: str, status: int, **kwargs: Any) -> Any:
        """The problem document of a request that must fail with this status."""
        response = await self.http.request(method, path, **kwargs)
        assert response.status_code == status, f"{response.status_code}: {response.text}"
        assert response.headers["content-type"] == "application/problem+json"
        return response.json()


def _good(response: httpx2.Response) -> Any:
    assert response.is_success, f"{response.status_code}: {response.text}"
    return response.json() if response.content else None


@dataclass
class Api:
    """A running application over one database."""

    app: FastAPI
    settings: Settings
    state: HttpState
    _stack: AsyncExitStack = field(repr=False)

    @property
    def database(self) -> Database:
        """The application's own database."""
        return self.state.database

    async def anonymous(self) -> Caller:
        """A stranger: no token."""
        return Caller(await self._client(None))

    async def person(self, name: str, role: UserRole = UserRole.DEVELOPER) -> Caller:
        """A new user with a token of their own."""
        async with self.database.transaction() as tx:
            made = await identity.create_user(
                tx,
                UserCreateIn(username=name, email=f"{name}@example.org", role=role),
                bcrypt_rounds=PASSWORD_ROUNDS,
            )
            _, text = await tokens.issue_token(
                tx, kind=TokenKind.USER, name="test", user_id=made.user.id, scopes=[]
            )
        return Caller(await self._client(text), made.user)

    async def with_token(self, text: str, user: User | None = None) -> Caller:
        """A client that sends this token."""
        return Caller(await self._client(text), user)

    async def worker_token(self, name: str = "worker token") -> str:
        """The text of a new token for workers."""
        async with self.database.transaction() as tx:
            _, text = await tokens.issue_token(
                tx, kind=TokenKind.WORKER, name=name, user_id=None, scopes=[]
            )
        return text

    async def worker(self, name: str = "worker token") -> Caller:
        """A client with a worker's token; it has registered nothing yet."""
        return Caller(await self._client(await self.worker_token(name)))

    async def visitor(self, site: str) -> httpx2.AsyncClient:
        """A client for pages, which follows nothing by itself."""
        transport = httpx2.ASGITransport(app=self.app)
        return await self._stack.enter_async_context(
            httpx2.AsyncClient(transport=transport, base_url=site)
        )

    async def _client(self, token: str | None) -> httpx2.AsyncClient:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        transport = httpx2.ASGITransport(app=self.app)
        return await self._stack.enter_async_context(
            httpx2.AsyncClient(
                transport=transport, base_url=f"http://test{API_PREFIX}", headers=headers
            )
        )


@asynccontextmanager
async def running_api(
    database: DatabaseSettings,
    data_dir: Path,
    *,
    queue: QueueSettings | None = None,
    **settings_too: Any,
) -> AsyncGenerator[Api, None]:
    """Start the application in this process, without a socket; other settings may be given."""
    settings = load_settings(
        database_url=database.url,
        data_dir=data_dir,
        bcrypt_rounds=PASSWORD_ROUNDS,
        secret_key="test key " * 5,
        queue=queue or QueueSettings(poll_interval_seconds=1.0),
        **settings_too,
    )
    app = create_app(settings)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        yield Api(app, settings, app.state.agentvine, stack)


def unknown_id() -> str:
    """An id that nothing has."""
    return str(uuid.UUID(int=0))
