"""People's assistants find, read and write documents."""

from typing import Literal

from pydantic import Field

from agentvine.domains.knowledge import queries, service
from agentvine.domains.knowledge.queries import Wanted
from agentvine.mcp.calls import PersonCall
from agentvine.mcp.documents import document_part, found_lines
from agentvine.mcp.table import PersonTool
from agentvine.mcp.words import ToolInput, read_id
from agentvine.protocol.documents import DocumentCreateIn, DocumentEditIn
from agentvine.protocol.enums import DocumentType


class FindDocuments(ToolInput):
    """Find designs, plans, specifications, guides and references by their words.

    All words must occur; a "phrase in quotes" must stand there as it is, and a -word must not.
    """

    query: str = Field(min_length=1, max_length=1000)
    project_id: str = Field(default="", max_length=40, description="Only this project's.")
    limit: int = Field(default=10, ge=1, le=50)


class ReadDocument(ToolInput):
    """Read a document, part by part where it is long."""

    document: str = Field(min_length=1, max_length=60, description="Its id; see find_documents.")
    start: int = Field(default=0, ge=0, description="From which character on.")


class WriteDocument(ToolInput):
    """Write a document that people and agents of a project go by, or a new version of one.

    Earlier versions stay readable. Give all of its text: what is left out is gone.
    """

    title: str = Field(min_length=1, max_length=255)
    content: str = Field(min_length=1, max_length=200_000, description="Markdown.")
    document: str = Field(
        default="", max_length=60, description="The id of the one to write anew; empty: a new one."
    )
    type: Literal["design", "plan", "specification", "guide", "reference"] = "guide"
    project_id: str = Field(
        default="", max_length=40, description="Of a new one: whose it is; see list_repositories."
    )


async def _find(call: PersonCall, given: FindDocuments) -> str:
    project_id = read_id(given.project_id, "project") if given.project_id else None
    wanted = Wanted(project_id=project_id)
    async with call.state.database.read() as read:
        found = await queries.search_documents(
            read, call.actor, given.query, wanted, limit=given.limit
        )
    return found_lines(found)


async def _read(call: PersonCall, given: ReadDocument) -> str:
    document_id = read_id(given.document, "document")
    async with call.state.database.read() as read:
        document = await queries.get_document(read, call.actor, document_id)
    return document_part(document, given.start)


async def _write(call: PersonCall, given: WriteDocument) -> str:
    kind = DocumentType(given.type)
    async with call.state.database.transaction(call.actor) as tx:
        if given.document:
            document_id = read_id(given.document, "document")
            known = await queries.get_document(tx, call.actor, document_id)
            change = DocumentEditIn(title=given.title, content=given.content, document_type=kind)
            document = await service.edit_document(tx, call.actor, known, change)
        else:
            wanted = DocumentCreateIn(
                title=given.title,
                content=given.content,
                document_type=kind,
                project_id=read_id(given.project_id, "project") if given.project_id else None,
            )
            document = await service.create_document(tx, call.actor, wanted)
        return f"Written: {document.title}, version {document.version} (id {document.id})"


TOOLS = (
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
    PersonTool(name="write_document", takes=WriteDocument, scope="knowledge:write", do=_write),
)
