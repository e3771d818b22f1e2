"""Routes of the knowledge slice: documents, their versions, and who is given them."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from agentvine.domains.identity.idempotency import CreateOnce
from agentvine.domains.knowledge import queries, rules, service
from agentvine.domains.knowledge.enums import DocumentType
from agentvine.domains.knowledge.errors import (
    DocumentForbidden,
    DocumentMisplaced,
    DocumentNotFound,
    DocumentRuleNotFound,
    DocumentVersionNotFound,
    NothingToLookFor,
    TooManyDocumentRules,
)
from agentvine.domains.knowledge.queries import Wanted
from agentvine.domains.projects.errors import (
    ProjectArchived,
    ProjectNotFound,
    ProjectReadOnly,
    RepositoryNotFound,
)
from agentvine.http.deps import (
    ExpectedVersion,
    Paging,
    Read,
    StaleVersion,
    Tx,
    check_version,
    require,
)
from agentvine.http.problems import responses
from agentvine.kit.actor import UserActor
from agentvine.protocol.base import PageOut
from agentvine.protocol.documents import (
    MAX_FOUND,
    MAX_TAGS,
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

router = APIRouter(tags=["documents"])

DocumentReader = Annotated[UserActor, Depends(require("knowledge:read"))]
DocumentWriter = Annotated[UserActor, Depends(require("knowledge:write"))]

_WRITE = (DocumentNotFound, DocumentForbidden, ProjectReadOnly, ProjectArchived)
_PLACE = (ProjectNotFound, ProjectReadOnly, ProjectArchived, RepositoryNotFound, DocumentMisplaced)


async def _wanted(
    project_id: uuid.UUID | None = None,
    repository_id: uuid.UUID | None = None,
    type: Annotated[DocumentType | None, Query()] = None,  # noqa: A002  # as clients call it
    tag: Annotated[list[str] | None, Query(max_length=MAX_TAGS)] = None,
) -> Wanted:
    return Wanted(
        project_id=project_id,
        repository_id=repository_id,
        document_type=type,
        tags=[each.strip().lower() for each in tag or []],
    )


Filter = Annotated[Wanted, Depends(_wanted)]


@router.get("/documents")
async def list_documents(
    actor: DocumentReader, read: Read, page: Paging, wanted: Filter
) -> PageOut[DocumentSummaryOut]:
    """The documents you may see, oldest first; of a project, those for all projects too."""
    found = await queries.list_documents(read, actor, page, wanted)
    items = [DocumentSummaryOut.model_validate(row) for row in found.items]
    return PageOut(items=items, next_cursor=found.next_cursor)


@router.get("/documents/search", responses=responses(NothingToLookFor))
async def search_documents(
    actor: DocumentReader,
    read: Read,
    wanted: Filter,
    query: Annotated[str, Query(min_length=1, max_length=1000)],
    limit: Annotated[int, Query(ge=1, le=MAX_FOUND)] = 20,
) -> PageOut[FoundDocumentOut]:
    """Documents in which all words occur, the best first; "a phrase", -without."""
    found = await queries.search_documents(read, actor, query, wanted, limit=limit)
    return PageOut(items=[FoundDocumentOut.model_validate(each) for each in found])


@router.post("/documents", status_code=201, responses=responses(*_PLACE, DocumentForbidden))
async def create_document(
    body: DocumentCreateIn, actor: DocumentWriter, tx: Tx, once: CreateOnce
) -> DocumentOut:
    """Write a document for people and agents."""

    async def create() -> DocumentOut:
        return DocumentOut.model_validate(await service.create_document(tx, actor, body))

    return await once.run(tx, body, DocumentOut, create)


@router.post("/documents/import", responses=responses(*_PLACE))
async def import_documents(body: ImportIn, actor: DocumentWriter, tx: Tx) -> ImportOut:
    """Take in files of a folder; one that came before becomes a new version, if it has changed."""
    return await service.import_files(tx, actor, body)


@router.get("/documents/{document_id}", responses=responses(DocumentNotFound))
async def get_document(document_id: uuid.UUID, actor: DocumentReader, read: Read) -> DocumentOut:
    """One document as it is now."""
    return DocumentOut.model_validate(await queries.get_document(read, actor, document_id))


@router.patch("/documents/{document_id}", responses=responses(*_WRITE, StaleVersion))
async def edit_document(
    document_id: uuid.UUID,
    body: DocumentEditIn,
    actor: DocumentWriter,
    tx: Tx,
    expected: ExpectedVersion,
) -> DocumentOut:
    """Write a new version; the old ones stay."""
    document = await queries.get_document(tx, actor, document_id)
    check_version(document.version, expected)
    return DocumentOut.model_validate(await service.edit_document(tx, actor, document, body))


@router.delete("/documents/{document_id}", status_code=204, responses=responses(*_WRITE))
async def delete_document(document_id: uuid.UUID, actor: DocumentWriter, tx: Tx) -> None:
    """Remove a document with all its versions."""
    document = await queries.get_document(tx, actor, document_id)
    await service.delete_document(tx, actor, document)


@router.get("/documents/{document_id}/versions", responses=responses(DocumentNotFound))
async def list_document_versions(
    document_id: uuid.UUID, actor: DocumentReader, read: Read, page: Paging
) -> PageOut[DocumentVersionOut]:
    """What a document was, newest first."""
    document = await queries.get_document(read, actor, document_id)
    found = await queries.list_versions(read, document, page)
    items = [DocumentVersionOut.model_validate(row) for row in found.items]
    return PageOut(items=items, next_cursor=found.next_cursor)


@router.get(
    "/documents/{document_id}/versions/{version}",
    responses=responses(DocumentNotFound, DocumentVersionNotFound),
)
async def get_document_version(
    document_id: uuid.UUID, version: int, actor: DocumentReader, read: Read
) -> DocumentVersionTextOut:
    """A document as it was."""
    document = await queries.get_document(read, actor, document_id)
    found = await queries.get_version(read, document, version)
    return DocumentVersionTextOut.model_validate(found)


@router.get(
    "/documents/{document_id}/compare",
    responses=responses(DocumentNotFound, DocumentVersionNotFound),
)
async def compare_document_versions(
    document_id: uuid.UUID, actor: DocumentReader, read: Read, old: int, new: int | None = None
) -> ComparisonOut:
    """What differs between two versions; without `new`, from the old one to what is now."""
    document = await queries.get_document(read, actor, document_id)
    earlier = await queries.get_version(read, document, old)
    later = await queries.get_version(read, document, new or document.version)
    return await queries.compare(earlier, later)


@router.post(
    "/documents/{document_id}/restore",
    responses=responses(*_WRITE, DocumentVersionNotFound, StaleVersion),
)
async def restore_document(
    document_id: uuid.UUID,
    body: DocumentRestoreIn,
    actor: DocumentWriter,
    tx: Tx,
    expected: ExpectedVersion,
) -> DocumentOut:
    """Make an earlier version the newest again."""
    document = await queries.get_document(tx, actor, document_id)
    check_version(document.version, expected)
    restored = await service.restore_document(tx, actor, document, body.version)
    return DocumentOut.model_validate(restored)


@router.get("/projects/{project_id}/document-rules", responses=responses(ProjectNotFound))
async def list_document_rules(
    project_id: uuid.UUID, actor: DocumentReader, read: Read
) -> list[DocumentRuleOut]:
    """Which documents the runs of a project are given, in the order of the rules."""
    found = await rules.list_rules(read, actor, project_id)
    return [DocumentRuleOut.model_validate(rule) for rule in found]


@router.post(
    "/projects/{project_id}/document-rules",
    status_code=201,
    responses=responses(*_PLACE, DocumentNotFound, TooManyDocumentRules),
)
async def add_document_rule(
    project_id: uuid.UUID, body: DocumentRuleIn, actor: DocumentWriter, tx: Tx, once: CreateOnce
) -> DocumentRuleOut:
    """Say which documents runs are given, from now on."""

    async def create() -> DocumentRuleOut:
        return DocumentRuleOut.model_validate(await rules.add_rule(tx, actor, project_id, body))

    return await once.run(tx, body, DocumentRuleOut, create)


@router.delete(
    "/document-rules/{document_rule_id}",
    status_code=204,
    responses=responses(DocumentRuleNotFound, ProjectReadOnly),
)
async def remove_document_rule(document_rule_id: uuid.UUID, actor: DocumentWriter, tx: Tx) -> None:
    """Take a rule back."""
    await rules.remove_rule(tx, actor, document_rule_id)
