"""Commands on documents: write, change, restore, import, remove. All are audited."""

import uuid
from typing import Any

from sqlalchemy import select

from agentvine.db.session import Transaction
from agentvine.domains.identity import history
from agentvine.domains.identity.enums import UserId
from agentvine.domains.knowledge import queries
from agentvine.domains.knowledge.enums import ContextDocumentId, DocumentVersionId
from agentvine.domains.knowledge.errors import DocumentForbidden, DocumentMisplaced
from agentvine.domains.knowledge.models import ContextDocument, DocumentVersion
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.models import Repository
from agentvine.kit.actor import UserActor
from agentvine.kit.ids import new_id
from agentvine.protocol.documents import (
    DocumentCreateIn,
    DocumentEditIn,
    ImportedFileIn,
    ImportIn,
    ImportOut,
)

_KEPT = ("title", "document_type", "content", "tags")
"""What a version keeps."""
_MAX_URL = 500


async def create_document(
    tx: Transaction, actor: UserActor, wanted: DocumentCreateIn, *, source_path: str | None = None
) -> ContextDocument:
    """Write a document for a project, or (an admin) for all of them.

    Raises:
        ProjectNotFound: The project is not theirs to see.
        ProjectReadOnly: They may only look.
        DocumentForbidden: Only an admin writes for all projects.
        DocumentMisplaced: The repository is not one of the project's.
    """
    await _check_may_change(tx, actor, wanted.project_id)
    repository = await _repository_of(tx, actor, wanted)
    document = ContextDocument(
        id=ContextDocumentId(new_id()),
        title=wanted.title,
        document_type=wanted.document_type,
        content=wanted.content,
        tags=wanted.tags,
        project_id=wanted.project_id,
        repository_id=repository.id if repository else None,
        repository_url=_address_of(repository) if repository else None,
        source_path=source_path,
        created_by=UserId(actor.user_id),
    )
    tx.add(document)
    await tx.flush()
    _keep_version(tx, document, tx.actor.label)
    _record(tx, "document.created", document, None, _told(document))
    await tx.flush()
    await tx.refresh(document)
    return document


async def edit_document(
    tx: Transaction, actor: UserActor, document: ContextDocument, change: DocumentEditIn
) -> ContextDocument:
    """Write a new version of a document; the old ones stay readable.

    Raises:
        DocumentForbidden: It is not theirs to change.
        ProjectReadOnly: They may only look at its project.
    """
    await _check_may_change(tx, actor, document.project_id)
    values = {name: getattr(change, name) for name in change.model_fields_set}
    return await _write(tx, document, values, "document.edited")


async def restore_document(
    tx: Transaction, actor: UserActor, document: ContextDocument, number: int
) -> ContextDocument:
    """Write an earlier version again, as the newest one.

    Raises:
        DocumentForbidden: It is not theirs to change.
        ProjectReadOnly: They may only look at its project.
        DocumentVersionNotFound: It never had this version.
    """
    await _check_may_change(tx, actor, document.project_id)
    earlier = await queries.get_version(tx, document, number)
    values = {name: getattr(earlier, name) for name in _KEPT}
    return await _write(tx, document, values, "document.restored")


async def delete_document(tx: Transaction, actor: UserActor, document: ContextDocument) -> None:
    """Remove a document with its versions, and the rules that name it.

    Raises:
        DocumentForbidden: It is not theirs to change.
        ProjectReadOnly: They may only look at its project.
    """
    await _check_may_change(tx, actor, document.project_id)
    _record(tx, "document.deleted", document, _told(document), None)
    await tx.delete(document)
    await tx.flush()


async def import_files(tx: Transaction, actor: UserActor, wanted: ImportIn) -> ImportOut:
    """Take in files: new ones become documents, changed ones new versions of theirs.

    Raises:
        ProjectNotFound: The project is not theirs to see.
        ProjectReadOnly: They may only look.
        DocumentMisplaced: The repository is not one of the project's.
    """
    await _check_may_change(tx, actor, wanted.project_id)
    # Two who import the same folder at once would make its documents twice.
    await tx.dialect.close_lock(tx, f"documents of {wanted.project_id}")
    result = ImportOut()
    for file in wanted.files:
        outcome = await _import(tx, actor, wanted, file)
        getattr(result, outcome).append(file.path)
    return result


async def _import(tx: Transaction, actor: UserActor, wanted: ImportIn, file: ImportedFileIn) -> str:
    known = await tx.scalar(
        select(ContextDocument)
        .where(
            ContextDocument.project_id == wanted.project_id,
            ContextDocument.repository_id.is_not_distinct_from(wanted.repository_id),
            ContextDocument.source_path == file.path,
        )
        .order_by(ContextDocument.id)
        .limit(1)
    )
    values = {name: getattr(file, name) for name in _KEPT}
    if known is None:
        new = DocumentCreateIn(
            project_id=wanted.project_id, repository_id=wanted.repository_id, **values
        )
        await create_document(tx, actor, new, source_path=file.path)
        return "created"
    before = known.version
    await _write(tx, known, values, "document.imported")
    return "unchanged" if known.version == before else "changed"


async def _write(
    tx: Transaction, document: ContextDocument, values: dict[str, Any], action: str
) -> ContextDocument:
    changed = {name: new for name, new in values.items() if getattr(document, name) != new}
    if not changed:
        return document
    if await queries.find_version(tx, document, document.version) is None:
        # Raw SQL wrote it: what it was is kept, too.
        _keep_version(tx, document, "unknown")
    before = _told(document)
    for name, value in changed.items():
        setattr(document, name, value)
    await tx.flush()
    _keep_version(tx, document, tx.actor.label)
    _record(tx, action, document, before, _told(document))
    await tx.flush()
    await tx.refresh(document)
    return document


async def _check_may_change(
    tx: Transaction, actor: UserActor, project_id: uuid.UUID | None
) -> None:
    refusal = DocumentForbidden("Name a project, or ask an admin: this is for all projects.")
    await projects.check_may_change_what_is_of(tx, actor, project_id, refusal)


async def _repository_of(
    tx: Transaction, actor: UserActor, wanted: DocumentCreateIn
) -> Repository | None:
    if wanted.repository_id is None:
        return None
    repository = await projects.get_repository(tx, actor, wanted.repository_id)
    if repository.project_id != wanted.project_id:
        raise DocumentMisplaced(f"{repository.name} is a repository of another project.")
    return repository


def _address_of(repository: Repository) -> str | None:
    address = repository.git_url or repository.path
    return address if len(address) <= _MAX_URL else None


def _keep_version(tx: Transaction, document: ContextDocument, changed_by: str) -> None:
    tx.add(
        DocumentVersion(
            id=DocumentVersionId(new_id()),
            document_id=document.id,
            version=document.version,
            changed_by=changed_by[:200],
            created_at=tx.now,
            **{name: getattr(document, name) for name in _KEPT},
        )
    )


def _told(document: ContextDocument) -> dict[str, Any]:
    """Without the text, which the versions keep."""
    return {
        "title": document.title,
        "document_type": document.document_type.value,
        "tags": document.tags,
        "version": document.version,
    }


def _record(
    tx: Transaction,
    action: str,
    document: ContextDocument,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
) -> None:
    history.record(
        tx,
        action,
        entity=("context_document", document.id),
        project_id=document.project_id,
        before=before,
        after=after,
    )
