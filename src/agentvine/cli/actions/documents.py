"""What ``agentvine document`` does."""

import asyncio
import uuid
from collections.abc import Sequence
from pathlib import Path

from agentvine.cli import asking, resolve
from agentvine.cli.actions.tasks import NothingToChange
from agentvine.cli.folders import in_batches, read_folder
from agentvine.cli.output import Column, printable
from agentvine.cli.session import Session
from agentvine.kit.errors import Invalid, NotFound
from agentvine.protocol.documents import (
    DocumentCreateIn,
    DocumentEditIn,
    DocumentRuleIn,
    DocumentRuleOut,
    DocumentSummaryOut,
    DocumentVersionOut,
    ImportIn,
    ImportOut,
)
from agentvine.protocol.enums import DocumentType, TaskType


class DocumentUnknown(NotFound):
    """No document is called so."""

    code = "document_unknown"


class DocumentUnreadable(Invalid):
    """The document's text cannot be read."""

    code = "document_unreadable"


class DocumentsUnnamed(Invalid):
    """The rule must say which documents it is about."""

    code = "documents_unnamed"


async def list_documents(
    session: Session,
    *,
    project: str | None,
    repo: str | None,
    type_: DocumentType | None,
    tags: Sequence[str],
    limit: int | None,
) -> None:
    """All that one may see."""
    project_id, repository_id = await _places(session, project, repo)
    listed = session.client.documents.list(
        project_id=project_id, repository_id=repository_id, type_=type_, tags=tags
    )
    nothing = "There are no documents; `agentvine document add` writes one."
    session.out.table(await resolve.collect(listed, limit), _COLUMNS, nothing=nothing)


async def search(
    session: Session,
    *,
    words: Sequence[str],
    project: str | None,
    repo: str | None,
    type_: DocumentType | None,
    tags: Sequence[str],
    limit: int | None,
) -> None:
    """The best ones, each with the place where the words stand."""
    project_id, repository_id = await _places(session, project, repo)
    # A word with a blank in it was in quotes, which the shell has taken away.
    query = " ".join(f'"{word}"' if " " in word and '"' not in word else word for word in words)
    found = await session.client.documents.search(
        query,
        project_id=project_id,
        repository_id=repository_id,
        type_=type_,
        tags=tags,
        limit=limit,
    )
    if session.out.as_json:
        session.out.data(found)
        return
    if not found:
        session.out.note("No document has all these words.")
    for each in found:
        row = each.document
        session.out.line(f"{printable(row.title)} ({row.document_type.value}, {row.id})")
        session.out.line(f"    {printable(each.snippet)}")


async def show(
    session: Session, *, document: str, project: str | None, version: int | None
) -> None:
    """Its text, as it is or was."""
    row = await _find(session, document, project)
    if version is None:
        whole = await session.client.documents.get(row.id)
    else:
        whole = await session.client.documents.version(row.id, version)
    if session.out.as_json:
        session.out.data(whole)
        return
    tags = ", ".join(whole.tags) or "no tags"
    head = f"{whole.title} ({whole.document_type.value}, version {whole.version}; {tags})"
    session.out.line(printable(head))
    session.out.line()
    for line in whole.content.splitlines():
        session.out.line(printable(line))


async def add(
    session: Session,
    *,
    title: str,
    project: str | None,
    repo: str | None,
    type_: DocumentType | None,
    tags: Sequence[str],
    file: Path | None,
) -> None:
    """A new one.

    Raises:
        DocumentUnreadable: No text was given, or it cannot be read.
    """
    if file is None:
        raise DocumentUnreadable("Name the text by --file; --file - reads standard input.")
    project_id, repository_id = await _places(session, project, repo)
    body = DocumentCreateIn(
        title=title,
        document_type=type_ or DocumentType.GUIDE,
        content=await _read(file),
        project_id=project_id,
        repository_id=repository_id,
        tags=list(tags),
    )
    row = await session.client.documents.create(body)
    session.out.done(f"{row.title} is written ({row.id})", row)


async def edit(
    session: Session,
    *,
    document: str,
    project: str | None,
    title: str | None,
    type_: DocumentType | None,
    tags: Sequence[str],
    file: Path | None,
) -> None:
    """A new version of it, on the one just read.

    Raises:
        NothingToChange: Nothing was named.
    """
    row = await _find(session, document, project)
    given = {
        "title": title,
        "document_type": type_,
        "tags": list(tags) or None,
        "content": None if file is None else await _read(file),
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise NothingToChange(f"Name what is to change of {row.title}; see `document edit --help`.")
    body = DocumentEditIn.model_validate(changes)
    changed = await session.client.documents.edit(row.id, body, version=row.version)
    session.out.done(f"{changed.title} is now at version {changed.version}", changed)


async def import_folder(
    session: Session,
    *,
    folder: Path,
    project: str | None,
    repo: str | None,
    type_: DocumentType | None,
    tags: Sequence[str],
) -> None:
    """A folder's Markdown.

    Raises:
        DocumentUnreadable: It has none, or no project was named.
    """
    files, left_out = await asyncio.to_thread(read_folder, folder, type_, tags)
    project_id, repository_id = await _places(session, project, repo)
    if project_id is None:
        raise DocumentUnreadable("Say whose documents these are, by --project or --repo.")
    if not files:
        raise DocumentUnreadable(f"{folder} holds no Markdown that could be taken in.")
    result = ImportOut()
    for batch in in_batches(files):
        body = ImportIn(project_id=project_id, repository_id=repository_id, files=batch)
        part = await session.client.documents.import_files(body)
        result.created.extend(part.created)
        result.changed.extend(part.changed)
        result.unchanged.extend(part.unchanged)
    for path, why in left_out.items():
        session.out.note(f"{path} is left out: {why}.")
    numbers = (len(result.created), len(result.changed), len(result.unchanged))
    session.out.done("{} new, {} changed, {} as they were".format(*numbers), result)


async def history(
    session: Session, *, document: str, project: str | None, limit: int | None
) -> None:
    """Its versions."""
    row = await _find(session, document, project)
    rows = await resolve.collect(session.client.documents.versions(row.id), limit)
    session.out.table(rows, _HISTORY, nothing="Nothing was kept.")


async def diff(
    session: Session, *, document: str, old: int, new: int | None, project: str | None
) -> None:
    """What has changed."""
    row = await _find(session, document, project)
    found = await session.client.documents.compare(row.id, old, new)
    if session.out.as_json:
        session.out.data(found)
        return
    for name, (before, after) in found.changed.items():
        session.out.line(printable(f"{name}: {before} -> {after}"))
    for line in found.diff.splitlines():
        session.out.line(printable(line))
    if not found.diff and not found.changed:
        session.out.note("They are the same.")


async def restore(session: Session, *, document: str, version: int, project: str | None) -> None:
    """As it was."""
    row = await _find(session, document, project)
    restored = await session.client.documents.restore(row.id, version)
    text = f"{restored.title} is as in version {version}; that is {restored.version}"
    session.out.done(text, restored)


async def remove(session: Session, *, document: str, project: str | None, yes: bool) -> None:
    """Gone, with its versions."""
    row = await _find(session, document, project)
    session.confirm(f"Remove the document {row.title} with all its versions?", yes=yes)
    await session.client.documents.delete(row.id)
    session.out.done(f"{row.title} is removed", row)


async def list_rules(session: Session, *, project: str) -> None:
    """A project's."""
    project_id = await resolve.project_id(session, project)
    rows = await session.client.documents.rules(project_id)
    nothing = "Runs are given no documents; `agentvine document rule add` gives them some."
    session.out.table(rows, _RULES, nothing=nothing)


async def add_rule(
    session: Session,
    *,
    project: str,
    document: str | None,
    tag: str | None,
    type_: DocumentType | None,
    repo: str | None,
    task_type: TaskType | None,
    max_tokens: int,
    position: int,
) -> None:
    """One more.

    Raises:
        DocumentsUnnamed: It does not say which documents, or says it twice.
    """
    if (document is None) == (tag is None and type_ is None):
        raise DocumentsUnnamed("Name one --document, or a --tag or a --type of documents.")
    project_id = await resolve.project_id(session, project)
    named = await _find(session, document, project) if document else None
    repository = await resolve.find_repository(session, repo, project) if repo else None
    body = DocumentRuleIn(
        repository_id=repository.id if repository else None,
        task_type=task_type,
        document_id=named.id if named else None,
        document_type=type_,
        tag=tag,
        max_tokens=max_tokens,
        position=position,
    )
    row = await session.client.documents.add_rule(project_id, body)
    session.out.done(f"the rule is added ({row.id})", row)


async def remove_rule(session: Session, *, rule: str) -> None:
    """One less.

    Raises:
        DocumentUnknown: That is no id.
    """
    if (rule_id := resolve.as_uuid(rule)) is None:
        raise DocumentUnknown("A rule is called by its id; `document rule list` shows them.")
    await session.client.documents.remove_rule(rule_id)
    session.out.done("the rule is removed", {"id": str(rule_id)})


async def _places(
    session: Session, project: str | None, repo: str | None
) -> tuple[uuid.UUID | None, uuid.UUID | None]:
    project_id = await resolve.project_id(session, project) if project else None
    if repo is None:
        return project_id, None
    repository = await resolve.find_repository(session, repo, project)
    return project_id or repository.project_id, repository.id


async def _find(session: Session, name: str, project: str | None) -> DocumentSummaryOut:
    project_id = await resolve.project_id(session, project) if project else None
    return await find_document(session, name, project_id)


async def find_document(
    session: Session, name: str, project_id: uuid.UUID | None
) -> DocumentSummaryOut:
    """A document by its id, or its title among those of a project and those for all.

    Raises:
        DocumentUnknown: None is called so.
        NameAmbiguous: Several are.
    """
    if (given := resolve.as_uuid(name)) is not None:
        return await session.client.documents.get(given)
    listed = session.client.documents.list(project_id=project_id)
    found = [row async for row in resolve.every(listed) if row.title.casefold() == name.casefold()]
    own = [row for row in found if row.project_id is not None] or found
    if not own:
        raise DocumentUnknown(
            f"No document is called {name!r}; `agentvine document list` shows all."
        )
    if len(own) > 1:
        several = "; ".join(str(row.id) for row in own[:5])
        raise resolve.NameAmbiguous(f"{name!r} may be {several}. Use the id, or say --project.")
    return own[0]


async def _read(file: Path) -> str:
    if str(file) == "-":
        return asking.read_input()
    try:
        return await asyncio.to_thread(file.read_text, "utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentUnreadable(f"{file}: {error}") from None


_COLUMNS = [
    Column[DocumentSummaryOut]("title", lambda row: row.title),
    Column[DocumentSummaryOut]("type", lambda row: row.document_type.value),
    Column[DocumentSummaryOut]("tags", lambda row: ", ".join(row.tags)),
    Column[DocumentSummaryOut]("of", lambda row: row.project_id or "everything"),
    Column[DocumentSummaryOut]("version", lambda row: row.version),
    Column[DocumentSummaryOut]("id", lambda row: row.id),
]
_HISTORY = [
    Column[DocumentVersionOut]("version", lambda row: row.version),
    Column[DocumentVersionOut]("since", lambda row: row.created_at),
    Column[DocumentVersionOut]("by", lambda row: row.changed_by),
    Column[DocumentVersionOut]("title", lambda row: row.title),
]
_RULES = [
    Column[DocumentRuleOut]("position", lambda row: row.position),
    Column[DocumentRuleOut]("repository", lambda row: row.repository_id or "any"),
    Column[DocumentRuleOut]("tasks", lambda row: row.task_type or "any"),
    Column[DocumentRuleOut]("tag", lambda row: row.tag),
    Column[DocumentRuleOut]("type", lambda row: row.document_type),
    Column[DocumentRuleOut]("document", lambda row: row.document_id),
    Column[DocumentRuleOut]("tokens", lambda row: row.max_tokens),
    Column[DocumentRuleOut]("id", lambda row: row.id),
]
