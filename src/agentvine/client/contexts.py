"""Snapshots of repositories."""

import uuid
from urllib.parse import quote

from agentvine.client.pages import Listing
from agentvine.client.transport import Call, Transport, get, post
from agentvine.protocol.base import PageOut
from agentvine.protocol.contexts import (
    ContextComparisonOut,
    ContextContentOut,
    ContextCreateIn,
    ContextFileOut,
    ContextOut,
    ContextSummaryOut,
    VariableIn,
)
from agentvine.protocol.enums import ContextStatus

_TAKING_SECONDS = 600.0
"""A mirror may have to be fetched first."""


class ContextsApi:
    """``contexts/``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    def list(
        self,
        *,
        project_id: uuid.UUID | None = None,
        repository_id: uuid.UUID | None = None,
        status: ContextStatus | None = None,
        variable: str | None = None,
        path: str | None = None,
    ) -> Listing[ContextSummaryOut]:
        """The snapshots one may see, newest first."""
        params = {
            "project_id": project_id,
            "repository_id": repository_id,
            "status": status,
            "variable": variable,
            "path": path,
        }
        return Listing(self._transport, "contexts", params, PageOut[ContextSummaryOut])

    async def create(self, body: ContextCreateIn, *, key: str | None = None) -> ContextOut:
        """Take a snapshot."""
        call = Call("POST", "contexts", body=body, read_timeout=_TAKING_SECONDS).with_key(key)
        return await self._transport.fetch(call, ContextOut)

    async def get(self, context_id: uuid.UUID) -> ContextOut:
        """One snapshot, without its files."""
        return await self._transport.fetch(get(f"contexts/{context_id}"), ContextOut)

    def files(self, context_id: uuid.UUID, *, under: str = "") -> Listing[ContextFileOut]:
        """Its files by path, those whose paths begin so."""
        path = f"contexts/{context_id}/files"
        return Listing(self._transport, path, {"under": under}, PageOut[ContextFileOut])

    async def content(self, context_id: uuid.UUID, path: str) -> ContextContentOut:
        """The text of a file as it was."""
        call = get(f"contexts/{context_id}/content", {"path": path})
        return await self._transport.fetch(call, ContextContentOut)

    async def compare(self, before: uuid.UUID, after: uuid.UUID) -> ContextComparisonOut:
        """What differs from one snapshot to another."""
        call = get(f"contexts/{before}/compare", {"to": str(after)})
        return await self._transport.fetch(call, ContextComparisonOut)

    async def archive(self, context_id: uuid.UUID) -> ContextSummaryOut:
        """Put it aside."""
        call = post(f"contexts/{context_id}/archive", is_repeatable=True)
        return await self._transport.fetch(call, ContextSummaryOut)

    async def activate(self, context_id: uuid.UUID) -> ContextSummaryOut:
        """Take it out again."""
        call = post(f"contexts/{context_id}/activate", is_repeatable=True)
        return await self._transport.fetch(call, ContextSummaryOut)

    async def delete(self, context_id: uuid.UUID) -> None:
        """Delete it with its variables."""
        await self._transport.send(Call("DELETE", f"contexts/{context_id}"))

    async def set_variable(self, context_id: uuid.UUID, name: str, body: VariableIn) -> None:
        """Give it an environment variable, or another value of it."""
        path = f"contexts/{context_id}/environment/{quote(name, safe='')}"
        await self._transport.send(Call("PUT", path, body=body, is_repeatable=True))

    async def unset_variable(self, context_id: uuid.UUID, name: str) -> None:
        """Take an environment variable from it."""
        path = f"contexts/{context_id}/environment/{quote(name, safe='')}"
        await self._transport.send(Call("DELETE", path))
