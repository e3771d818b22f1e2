"""The client itself: one server, its areas as attributes."""

from types import TracebackType
from typing import Any, Self

import httpx2
from pydantic import SecretStr, TypeAdapter

from agentvine.client.agents import AgentsApi
from agentvine.client.contexts import ContextsApi
from agentvine.client.conversations import ConversationsApi
from agentvine.client.documents import DocumentsApi
from agentvine.client.executions import ExecutionsApi
from agentvine.client.identity import AuthApi, TokensApi, UsersApi
from agentvine.client.limits import LimitsApi
from agentvine.client.memories import MemoriesApi
from agentvine.client.modifications import ModificationsApi
from agentvine.client.notifications import NotificationsApi
from agentvine.client.plan_chats import PlanChatsApi
from agentvine.client.plans import PlansApi
from agentvine.client.projects import ProjectsApi, RepositoriesApi
from agentvine.client.providers import ModelsApi, ProvidersApi
from agentvine.client.questions import QuestionsApi
from agentvine.client.queue import QueueApi
from agentvine.client.tasks import TasksApi
from agentvine.client.team import TeamApi
from agentvine.client.templates import TemplatesApi
from agentvine.client.transport import RetryPolicy, Transport, get_root
from agentvine.client.usage import BudgetsApi, PricesApi, UsageApi
from agentvine.client.workers import WorkersApi

_STATUS = TypeAdapter(dict[str, Any])


class Client:
    """A server's API, typed, grouped by area."""

    def __init__(
        self,
        base_url: str,
        token: str | SecretStr = "",
        *,
        timeout_seconds: float = 30.0,
        retry: RetryPolicy | None = None,
        max_connections: int = 20,
        network: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Prepare a client; no connection is made before the first call.

        Args:
            base_url: The server's address, like ``http://127.0.0.1:8420``.
            token: An API token; empty for sign-in and health.
            timeout_seconds: How long one answer may take (long polls have their own).
            retry: How repeatable calls are retried; see ``transport``.
            max_connections: Upper bound of the connection pool.
            network: What carries the requests; real connections when left out.
        """
        self._transport = Transport(
            base_url,
            token,
            timeout_seconds=timeout_seconds,
            retry=retry,
            max_connections=max_connections,
            network=network,
        )
        self.auth = AuthApi(self._transport)
        self.users = UsersApi(self._transport)
        self.tokens = TokensApi(self._transport)
        self.projects = ProjectsApi(self._transport)
        self.repositories = RepositoriesApi(self._transport)
        self.contexts = ContextsApi(self._transport)
        self.tasks = TasksApi(self._transport)
        self.queue = QueueApi(self._transport)
        self.limits = LimitsApi(self._transport)
        self.workers = WorkersApi(self._transport)
        self.executions = ExecutionsApi(self._transport)
        self.modifications = ModificationsApi(self._transport)
        self.questions = QuestionsApi(self._transport)
        self.conversations = ConversationsApi(self._transport)
        self.notifications = NotificationsApi(self._transport)
        self.budgets = BudgetsApi(self._transport)
        self.usage = UsageApi(self._transport)
        self.agents = AgentsApi(self._transport)
        self.memories = MemoriesApi(self._transport)
        self.plans = PlansApi(self._transport)
        self.plan_chats = PlanChatsApi(self._transport)
        self.team = TeamApi(self._transport)
        self.documents = DocumentsApi(self._transport)
        self.templates = TemplatesApi(self._transport)
        self.prices = PricesApi(self._transport)
        self.providers = ProvidersApi(self._transport)
        self.models = ModelsApi(self._transport)

    @property
    def base_url(self) -> str:
        """The server's address."""
        return self._transport.base_url

    @property
    def server_minor(self) -> int:
        """The minor version of the protocol that the server speaks; 0 before it has answered."""
        return self._transport.server_minor

    async def health(self) -> dict[str, Any]:
        """Whether the server lives."""
        return await self._transport.fetch_as(get_root("health"), _STATUS)

    async def ready(self) -> dict[str, Any]:
        """Whether the server can serve; raises ``Unavailable`` with the reason when it cannot."""
        return await self._transport.fetch_as(get_root("ready"), _STATUS)

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        """Hand out the client."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections."""
        await self.close()
