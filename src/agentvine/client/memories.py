"""What agents remember."""

import uuid
from typing import Any

from agentvine.client.pages import Listing
from agentvine.client.transport import Call, Transport, get
from agentvine.protocol.base import PageOut
from agentvine.protocol.memories import ForgottenOut, MemoryIn, MemoryOut, RecallOut


class MemoriesApi:
    """``agents/{agent_id}/memories``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    async def remember(self, agent_id: uuid.UUID, body: MemoryIn) -> MemoryOut:
        """Keep something, instead of what stood under its category and key."""
        call = Call("PUT", _path(agent_id), body=body, is_repeatable=True)
        return await self._transport.fetch(call, MemoryOut)

    def list(
        self,
        agent_id: uuid.UUID,
        *,
        project_id: uuid.UUID | None = None,
        category: str | None = None,
    ) -> Listing[MemoryOut]:
        """All of it; of a project, what the agent knows in general too."""
        params = _params(project_id=project_id, category=category)
        return Listing(self._transport, _path(agent_id), params, PageOut[MemoryOut])

    async def recall(
        self,
        agent_id: uuid.UUID,
        query: str = "",
        *,
        project_id: uuid.UUID | None = None,
        category: str | None = None,
        max_tokens: int | None = None,
        limit: int | None = None,
    ) -> RecallOut:
        """What has to do with the query, the most useful first, as much as the tokens allow."""
        params = _params(
            query=query or None,
            project_id=project_id,
            category=category,
            max_tokens=max_tokens,
            limit=limit,
        )
        return await self._transport.fetch(get(f"{_path(agent_id)}/recall", params), RecallOut)

    async def forget(
        self,
        agent_id: uuid.UUID,
        category: str,
        *,
        key: str | None = None,
        project_id: uuid.UUID | None = None,
    ) -> ForgottenOut:
        """Forget one thing, or a whole category; in general, or of one project."""
        params = _params(category=category, key=key, project_id=project_id)
        call = Call("DELETE", _path(agent_id), params=params)
        return await self._transport.fetch(call, ForgottenOut)


def _path(agent_id: uuid.UUID) -> str:
    return f"agents/{agent_id}/memories"


def _params(**values: object) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, uuid.UUID) else value
        for name, value in values.items()
        if value is not None
    }
