"""Agents: the roles of a team."""

import uuid
from typing import Any

from agentvine.client.pages import Listing
from agentvine.client.transport import Call, Transport, edit, get, post
from agentvine.protocol.agents import (
    AgentCreateIn,
    AgentEditIn,
    AgentOut,
    AgentRestoreIn,
    AgentRevisionOut,
)
from agentvine.protocol.base import PageOut
from agentvine.protocol.enums import AgentType


class AgentsApi:
    """``agents/``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    def list(
        self, *, project_id: uuid.UUID | None = None, type_: AgentType | None = None
    ) -> Listing[AgentOut]:
        """The agents one may see; of a project, those for all projects too."""
        params: dict[str, Any] = {}
        if project_id is not None:
            params["project_id"] = str(project_id)
        if type_ is not None:
            params["type"] = type_.value
        return Listing(self._transport, "agents", params, PageOut[AgentOut])

    async def create(self, body: AgentCreateIn, *, key: str | None = None) -> AgentOut:
        """A new agent."""
        return await self._transport.fetch(post("agents", body).with_key(key), AgentOut)

    async def get(self, agent_id: uuid.UUID) -> AgentOut:
        """One agent."""
        return await self._transport.fetch(get(f"agents/{agent_id}"), AgentOut)

    async def edit(
        self, agent_id: uuid.UUID, body: AgentEditIn, *, revision: int | None = None
    ) -> AgentOut:
        """Change what is set in the body; with a revision, only if it is still the newest."""
        return await self._transport.fetch(edit(f"agents/{agent_id}", body, revision), AgentOut)

    async def delete(self, agent_id: uuid.UUID) -> None:
        """Forget it and what it remembers."""
        await self._transport.send(Call("DELETE", f"agents/{agent_id}"))

    def revisions(self, agent_id: uuid.UUID) -> Listing[AgentRevisionOut]:
        """How it was set up, newest first."""
        path = f"agents/{agent_id}/revisions"
        return Listing(self._transport, path, {}, PageOut[AgentRevisionOut])

    async def restore(self, agent_id: uuid.UUID, revision: int) -> AgentOut:
        """Set it up as in an earlier revision."""
        call = post(f"agents/{agent_id}/restore", AgentRestoreIn(revision=revision))
        return await self._transport.fetch(call, AgentOut)
