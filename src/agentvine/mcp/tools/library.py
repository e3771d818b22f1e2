"""People's assistants find, read and write documents, and what agents remember."""

from typing import Literal

from pydantic import Field

from agentvine.db.session import ReadSession
from agentvine.domains.agents import memory
from agentvine.domains.agents import queries as agents
from agentvine.domains.agents import recall as recalling
from agentvine.domains.agents.models import Agent
from agentvine.domains.agents.recall import Asked, memory_text
from agentvine.domains.knowledge import queries, service
from agentvine.domains.knowledge.queries import Wanted
from agentvine.mcp.calls import PersonCall
from agentvine.mcp.documents import document_part, found_lines
from agentvine.mcp.table import PersonTool
from agentvine.mcp.words import Paged, ToolInput, listed, read_id
from agentvine.protocol.documents import DocumentCreateIn, DocumentEditIn
from agentvine.protocol.enums import DocumentType
from agentvine.protocol.memories import MemoryIn

_MAX_SHOWN = 4000
"""Tokens of what is recalled."""


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


class ListAgents(Paged):
    """List the agents of a project's team, with their ids, to read or write what they remember."""

    project_id: str = Field(default="", max_length=40, description="Only this project's.")


class RecallMemory(ToolInput):
    """Ask what an agent remembers of something, the most useful first."""

    agent: str = Field(min_length=1, max_length=60, description="Its id; see list_agents.")
    about: str = Field(
        default="", max_length=1000, description="Words; empty: what is most important."
    )


class WriteMemory(ToolInput):
    """Let an agent remember something, by category and key, instead of what stood there.

    Its later runs are told what has to do with their task; at importance 9 and 10, every run is.
    """

    agent: str = Field(min_length=1, max_length=60, description="Its id; see list_agents.")
    category: str = Field(min_length=1, max_length=50, description="Such as build, style, trap.")
    key: str = Field(min_length=1, max_length=200, description="What it is about, in a few words.")
    text: str = Field(min_length=1, max_length=8000)
    importance: int = Field(default=5, ge=1, le=10)


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


async def _list_agents(call: PersonCall, given: ListAgents) -> str:
    project_id = read_id(given.project_id, "project") if given.project_id else None
    async with call.state.database.read() as read:
        found = await agents.list_agents(read, call.actor, given.page, project_id=project_id)
    lines = [f"{agent.name} [{agent.type.value}] (id {agent.id})" for agent in found.items]
    return listed(lines, found.next_cursor, "There are none.")


async def _recall(call: PersonCall, given: RecallMemory) -> str:
    async with call.state.database.read() as read:
        agent = await _agent(read, call, given.agent)
        asked = Asked(text=given.about, project_id=agent.project_id, max_tokens=_MAX_SHOWN)
        found = await recalling.recall(read, call.actor, agent, asked)
    lines = [
        f"- {each.memory.category}/{each.memory.key} (importance {each.memory.importance}): "
        f"{memory_text(each.memory)}"
        for each in found.items
    ]
    if found.left_out:
        lines.append(f"{found.left_out} more had no room; say more exactly what it is about.")
    return "\n".join(lines) or f"{agent.name} remembers nothing of it."


async def _remember(call: PersonCall, given: WriteMemory) -> str:
    async with call.state.database.transaction(call.actor) as tx:
        agent = await _agent(tx, call, given.agent)
        wanted = MemoryIn(
            project_id=agent.project_id,
            category=given.category,
            key=given.key,
            value=given.text,
            importance=given.importance,
        )
        kept = await memory.remember_for_agent(tx, call.actor, agent, wanted)
        return f"{agent.name} remembers it as {kept.category}/{kept.key}."


async def _agent(read: ReadSession, call: PersonCall, named: str) -> Agent:
    return await agents.get_agent(read, call.actor, read_id(named, "agent"))


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
    PersonTool(
        name="list_agents",
        takes=ListAgents,
        scope="agents:read",
        do=_list_agents,
        is_read_only=True,
    ),
    PersonTool(
        name="recall_memory",
        takes=RecallMemory,
        scope="agents:read",
        do=_recall,
        is_read_only=True,
    ),
    PersonTool(name="write_memory", takes=WriteMemory, scope="agents:write", do=_remember),
)
