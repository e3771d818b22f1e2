"""Documents that people and agents share, and the rules that give them to runs."""

import uuid
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from agentvine.client.pages import Listing
from agentvine.client.transport import Call, Transport, edit, get, post
from agentvine.protocol.base import PageOut
from agentvine.protocol.documents import (
    ComparisonOut,
    DocumentCreateIn,
    DocumentEditIn,
    DocumentOut,
    DocumentRestoreIn,
    DocumentRuleIn,
    DocumentRuleOut,
    DocumentSummaryOut,
    DocumentVersionOut,
    DocumentVersionTextOut,
    FoundDocumentOut,
    ImportIn,
    ImportOut,
)
from agentvine.protocol.enums import DocumentType

_RULES = TypeAdapter(list[DocumentRuleOut])


class DocumentsApi:
    """``documents/``, ``projects/{id}/document-rules``, ``document-rules/``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    def list(
        self,
        *,
        project_id: uuid.UUID | None = None,
        repository_id: uuid.UUID | None = None,
        type_: DocumentType | None = None,
        tags: Sequence[str] = (),
    ) -> Listing[DocumentSummaryOut]:
        """The documents one may see; of a project, those for all projects too."""
        params = _params(project_id, repository_id, type_, tags)
        return Listing(self._transport, "documents", params, PageOut[DocumentSummaryOut])

    async def search(
        self,
        query: str,
        *,
        project_id: uuid.UUID | None = None,
        repository_id: uuid.UUID | None = None,
        type_: DocumentType | None = None,
        tags: Sequence[str] = (),
        limit: int | None = None,
    ) -> Sequence[FoundDocumentOut]:
        """Those in which all words occur, the best first."""
        params = _params(project_id, repository_id, type_, tags) | {"query": query}
        if limit is not None:
            params["limit"] = limit
        call = get("documents/search", params)
        return (await self._transport.fetch(call, PageOut[FoundDocumentOut])).items

    async def create(self, body: DocumentCreateIn, *, key: str | None = None) -> DocumentOut:
        """A new document."""
        return await self._transport.fetch(post("documents", body).with_key(key), DocumentOut)

    async def import_files(self, body: ImportIn) -> ImportOut:
        """Take in files; one that came before becomes a new version, if it has changed."""
        call = post("documents/import", body, is_repeatable=True)
        return await self._transport.fetch(call, ImportOut)

    async def get(self, document_id: uuid.UUID) -> DocumentOut:
        """One document with its text."""
        return await self._transport.fetch(get(f"documents/{document_id}"), DocumentOut)

    async def edit(
        self, document_id: uuid.UUID, body: DocumentEditIn, *, version: int | None = None
    ) -> DocumentOut:
        """Write a new version; with a version, only if that is still the newest."""
        call = edit(f"documents/{document_id}", body, version)
        return await self._transport.fetch(call, DocumentOut)

    async def delete(self, document_id: uuid.UUID) -> None:
        """Remove it with all its versions."""
        await self._transport.send(Call("DELETE", f"documents/{document_id}"))

    def versions(self, document_id: uuid.UUID) -> Listing[DocumentVersionOut]:
        """What it was, newest first."""
        path = f"documents/{document_id}/versions"
        return Listing(self._transport, path, {}, PageOut[DocumentVersionOut])

    async def version(self, document_id: uuid.UUID, number: int) -> DocumentVersionTextOut:
        """A version with its text."""
        call = get(f"documents/{document_id}/versions/{number}")
        return await self._transport.fetch(call, DocumentVersionTextOut)

    async def compare(
        self, document_id: uuid.UUID, old: int, new: int | None = None
    ) -> ComparisonOut:
        """What differs between two versions, or an old one and what is now."""
        params = {"old": old} | ({"new": new} if new is not None else {})
        call = get(f"documents/{document_id}/compare", params)
        return await self._transport.fetch(call, ComparisonOut)

    async def restore(self, document_id: uuid.UUID, version: int) -> DocumentOut:
        """Make an earlier version the newest again."""
        call = post(f"documents/{document_id}/restore", DocumentRestoreIn(version=version))
        return await self._transport.fetch(call, DocumentOut)

    async def rules(self, project_id: uuid.UUID) -> Sequence[DocumentRuleOut]:
        """Which documents the runs of a project are given, in their order."""
        call = get(f"projects/{project_id}/document-rules")
        return await self._transport.fetch_as(call, _RULES)

    async def add_rule(
        self, project_id: uuid.UUID, body: DocumentRuleIn, *, key: str | None = None
    ) -> DocumentRuleOut:
        """Give runs documents from now on."""
        call = post(f"projects/{project_id}/document-rules", body).with_key(key)
        return await self._transport.fetch(call, DocumentRuleOut)

    async def remove_rule(self, rule_id: uuid.UUID) -> None:
        """Take a rule back."""
        await self._transport.send(Call("DELETE", f"document-rules/{rule_id}"))


def _params(
    project_id: uuid.UUID | None,
    repository_id: uuid.UUID | None,
    type_: DocumentType | None,
    tags: Sequence[str],
) -> dict[str, Any]:
    given = {
        "project_id": str(project_id) if project_id else None,
        "repository_id": str(repository_id) if repository_id else None,
        "type": type_.value if type_ else None,
        "tag": list(tags) or None,
    }
    return {name: value for name, value in given.items() if value is not None}
