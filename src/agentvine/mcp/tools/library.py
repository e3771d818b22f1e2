"""People's assistants find, read, compare and write documents."""

from typing import Any, Literal, TypeAlias

from pydantic import Field

from agentvine.domains.knowledge import queries, service
from agentvine.domains.knowledge.queries import Wanted
from agentvine.http.deps import check_version
from agentvine.mcp.calls import PersonCall
from agentvine.mcp.documents import document_line, document_part, found_lines, text_part
from agentvine.mcp.table import PersonTool
from agentvine.mcp.words import Paged, ToolInput, listed, read_id
from agentvine.protocol.documents import (
    MAX_TAGS,
    DocumentCreateIn,
    DocumentEditIn,
    Tag,
)
from agentvine.protocol.enums import DocumentType

_Type: TypeAlias = Literal["design", "plan", "specification", "guide", "reference", ""]


class ListDocuments(Paged):
    """List documents, oldest first, all of them or those of some type with some tags.

    Use it to see what there is; find_documents looks for words in them.
    """

    project_id: str = Field(
        default="", max_length=40, description="This project's, and those for all."
    )
    type: _Type = Field(default="", description="Empty: all.")
    tags: list[Tag] = Field(
        default_factory=list[str], max_length=MAX_TAGS, description="All must be there."
    )


class FindDocuments(ToolInput):
    """Find designs, plans, specifications, guides and references by their words.

    All words must occur; a "phrase in quotes" must stand there as it is, and a -word must not.
    """

    query: str = Field(min_length=1, max_length=1000)
    project_id: str = Field(default="", max_length=40, description="Only this project's.")
    type: _Type = Field(default="", description="Empty: all.")
    tags: list[Tag] = Field(
        default_factory=list[str], max_length=MAX_TAGS, description="All must be there."
    )
    limit: int = Field(default=10, ge=1, le=50)


class ReadDocument(ToolInput):
    """Read a document, as it is or as it was, part by part where it is long."""

    document: str = Field(min_length=1, max_length=60, description="Its id; see find_documents.")
    start: int = Field(default=0, ge=0, description="From which character on.")
    version: int = Field(
        default=0, ge=0, description="See list_document_versions. 0: as it is now."
    )


class ListDocumentVersions(Paged):
    """List what a document was, newest first: who changed it, and when.

    Use it before read_document or compare_document_versions, to learn the numbers.
    """

    document: str = Field(min_length=1, max_length=60, description="Its id; see find_documents.")


class CompareDocumentVersions(ToolInput):
    """Tell what differs from one version of a document to another: its text, title, type and tags.

    Use it to tell a person what has changed since they last read it.
    """

    document: str = Field(min_length=1, max_length=60, description="Its id; see find_documents.")
    before: int = Field(ge=1, description="See list_document_versions.")
    after: int = Field(default=0, ge=0, description="0: as it is now.")


class WriteDocument(ToolInput):
    """Write a document that people and agents of a project go by, or a new version of one.

    Earlier versions stay readable. Give all of its text: what is left out is gone. Its type and its
    tags stay as they are where you give none.
    """

    title: str = Field(min_length=1, max_length=255)
    content: str = Field(min_length=1, max_length=200_000, description="Markdown.")
    document: str = Field(
        default="", max_length=60, description="The id of the one to write anew; empty: a new one."
    )
    version: int = Field(
        default=0, ge=0, description="That you have read: nothing is written over a newer one."
    )
    type: _Type = Field(default="", description="A new one without a type is a guide.")
    tags: list[Tag] = Field(default_factory=list[str], max_length=MAX_TAGS)
    project_id: str = Field(
        default="", max_length=40, description="Of a new one: whose it is; see list_repositories."
    )


async def _list(call: PersonCall, given: ListDocuments) -> str:
    async with call.state.database.read() as read:
        found = await queries.list_documents(read, call.actor, given.page, _wanted(given))
    lines = [document_line(document) for document in found.items]
    return listed(lines, found.next_cursor, "There are none.")


async def _find(call: PersonCall, given: FindDocuments) -> str:
    async with call.state.database.read() as read:
        found = await queries.search_documents(
            read, call.actor, given.query, _wanted(given), limit=given.limit
        )
    return found_lines(found)


async def _read(call: PersonCall, given: ReadDocument) -> str:
    async with call.state.database.read() as read:
        document = await queries.get_document(read, call.actor, read_id(given.document, "document"))
        if not given.version:
            return document_part(document, given.start)
        return document_part(await queries.get_version(read, document, given.version), given.start)


async def _versions(call: PersonCall, given: ListDocumentVersions) -> str:
    async with call.state.database.read() as read:
        document = await queries.get_document(read, call.actor, read_id(given.document, "document"))
        found = await queries.list_versions(read, document, given.page)
    lines = [
        f"{each.version}: {each.title}, by {each.changed_by}, {each.created_at:%Y-%m-%d %H:%M}"
        for each in found.items
    ]
    return listed(lines, found.next_cursor, "None was kept.")


async def _compare(call: PersonCall, given: CompareDocumentVersions) -> str:
    async with call.state.database.read() as read:
        document = await queries.get_document(read, call.actor, read_id(given.document, "document"))
        before = await queries.get_version(read, document, given.before)
        after = await queries.get_version(read, document, given.after or document.version)
    found = await queries.compare(before, after)
    lines = [f"{name}: {was} -> {now}" for name, (was, now) in found.changed.items()]
    return "\n".join([*lines, text_part(found.diff, 0)] if found.diff else lines) or (
        "Nothing differs."
    )


async def _write(call: PersonCall, given: WriteDocument) -> str:
    # What a model does not say stays as it is: a new text makes no guide of a design.
    fields: dict[str, Any] = {"title": given.title, "content": given.content}
    fields |= {"document_type": DocumentType(given.type)} if given.type else {}
    fields |= {"tags": given.tags} if given.tags else {}
    async with call.state.database.transaction(call.actor) as tx:
        if given.document:
            document_id = read_id(given.document, "document")
            known = await queries.get_document(tx, call.actor, document_id)
            check_version(known.version, given.version or None)
            change = DocumentEditIn.model_validate(fields)
            document = await service.edit_document(tx, call.actor, known, change)
        else:
            project_id = read_id(given.project_id, "project") if given.project_id else None
            wanted = DocumentCreateIn.model_validate(
                {"document_type": DocumentType.GUIDE, "project_id": project_id} | fields
            )
            document = await service.create_document(tx, call.actor, wanted)
        return f"Written: {document.title}, version {document.version} (id {document.id})"


def _wanted(given: ListDocuments | FindDocuments) -> Wanted:
    return Wanted(
        project_id=read_id(given.project_id, "project") if given.project_id else None,
        document_type=DocumentType(given.type) if given.type else None,
        tags=given.tags,
    )


TOOLS = (
    PersonTool(
        name="list_documents",
        takes=ListDocuments,
        scope="knowledge:read",
        do=_list,
        is_read_only=True,
    ),
    PersonTool(
        name="find_documents",
        takes=FindDocuments,
        scope="knowledge:read",
        do=_find,
        is_read_only=True,
    ),
    PersonTool(
        name="read_document",
        takes=ReadDocument,
        scope="knowledge:read",
        do=_read,
        is_read_only=True,
    ),
    PersonTool(
        name="list_document_versions",
        takes=ListDocumentVersions,
        scope="knowledge:read",
        do=_versions,
        is_read_only=True,
    ),
    PersonTool(
        name="compare_document_versions",
        takes=CompareDocumentVersions,
        scope="knowledge:read",
        do=_compare,
        is_read_only=True,
    ),
    PersonTool(name="write_document", takes=WriteDocument, scope="knowledge:write", do=_write),
)
