"""What a run's agent remembers for later runs, and the documents that it may read.

A run remembers for its own agent and its own project alone, whatever else the agent works in. How
important a thing is it may say up to 8: what every run is told is for people to decide.
"""

from pydantic import Field

from agentvine.db.session import ReadSession
from agentvine.domains.agents import memory
from agentvine.domains.agents import recall as recalling
from agentvine.domains.agents.models import Agent
from agentvine.domains.agents.recall import Asked, memory_text
from agentvine.domains.knowledge import queries
from agentvine.domains.knowledge.queries import Wanted
from agentvine.domains.tasks.models import Task
from agentvine.kit.errors import Invalid
from agentvine.kit.redaction import mask_shapes
from agentvine.mcp.calls import RunCall
from agentvine.mcp.documents import document_part, found_lines
from agentvine.mcp.table import RunTool
from agentvine.mcp.words import ToolInput, read_id
from agentvine.protocol.memories import MemoryIn

_MOST_IMPORTANT = 8
_MAX_TEXT = 8000
_MAX_SHOWN = 4000
"""Tokens of what is recalled."""


class NobodyRemembers(Invalid):
    """This task is given to no agent, so nobody would remember it."""

    code = "nobody_remembers"


class Remember(ToolInput):
    """Keep something for your later runs in this project, by category and key.

    Use it for what you found out and would have to find out again: how something is built or
    tested, a decision and its reason, a trap. Do not use it for what the files say anyway, nor for
    secrets. What stood under the same category and key is replaced.
    """

    category: str = Field(min_length=1, max_length=50, description="Such as build, style, trap.")
    key: str = Field(min_length=1, max_length=200, description="What it is about, in a few words.")
    text: str = Field(min_length=1, max_length=_MAX_TEXT)
    importance: int = Field(default=5, ge=1, le=_MOST_IMPORTANT)


class Recall(ToolInput):
    """Ask what you remember of something, the most useful first.

    You were told at the beginning what has to do with your task; use it when the work leads you
    somewhere else.
    """

    about: str = Field(max_length=1000, description="Words; empty for what is most important.")


class Forget(ToolInput):
    """Forget what turned out to be wrong: one thing by category and key."""

    category: str = Field(min_length=1, max_length=50)
    key: str = Field(min_length=1, max_length=200)


class FindDocuments(ToolInput):
    """Find designs, plans, specifications, guides and references of this project by their words.

    All words must occur; a "phrase in quotes" must stand there as it is, and a -word must not. Use
    it before you decide how something is to be done that others may have decided already.
    """

    query: str = Field(min_length=1, max_length=1000)
    tag: str = Field(default="", max_length=50, description="Only documents with this tag.")
    limit: int = Field(default=10, ge=1, le=50)


class ReadDocument(ToolInput):
    """Read a document that find_documents has found, part by part where it is long."""

    document: str = Field(min_length=1, max_length=60, description="Its id.")
    start: int = Field(default=0, ge=0, description="From which character on.")


async def _remember(call: RunCall, given: Remember) -> str:
    async with call.holding_task() as (tx, task):
        agent = await _agent_of(tx, task)
        wanted = MemoryIn(
            project_id=task.project_id,
            category=mask_shapes(given.category),
            key=mask_shapes(given.key),
            value=mask_shapes(given.text),
            importance=given.importance,
        )
        kept = await memory.remember(tx, agent, wanted)
        return f"Remembered as {kept.category}/{kept.key}."


async def _recall(call: RunCall, given: Recall) -> str:
    async with call.state.database.read() as read:
        await call.check_held(read)
        task = await read.get_one(Task, call.run.task_id)
        agent = await _agent_of(read, task)
        asked = Asked(text=given.about, project_id=task.project_id, max_tokens=_MAX_SHOWN)
        found = await recalling.recall(read, call.run.worker, agent, asked)
    lines = [
        f"- {each.memory.category}/{each.memory.key}: {memory_text(each.memory)}"
        for each in found.items
    ]
    if found.left_out:
        lines.append(f"{found.left_out} more had no room; say more exactly what it is about.")
    return "\n".join(lines) or "You remember nothing of it."


async def _forget(call: RunCall, given: Forget) -> str:
    async with call.holding_task() as (tx, task):
        agent = await _agent_of(tx, task)
        count = await memory.forget(
            tx, agent, category=given.category, key=given.key, project_id=task.project_id
        )
    return "Forgotten." if count else "You remember nothing of this project under that name."


async def _find(call: RunCall, given: FindDocuments) -> str:
    tags = [given.tag.lower()] if given.tag else []
    wanted = Wanted(project_id=call.run.project_id, tags=tags)
    async with call.state.database.read() as read:
        actor = await call.person(read)
        found = await queries.search_documents(read, actor, given.query, wanted, limit=given.limit)
    return found_lines(found)


async def _read(call: RunCall, given: ReadDocument) -> str:
    document_id = read_id(given.document, "document")
    async with call.state.database.read() as read:
        document = await queries.get_document(read, await call.person(read), document_id)
    return document_part(document, given.start)


async def _agent_of(read: ReadSession, task: Task) -> Agent:
    agent = await read.get(Agent, task.assigned_to_agent_id) if task.assigned_to_agent_id else None
    if agent is None:
        raise NobodyRemembers("Write what matters into the files, or say it at the end.")
    return agent


TOOLS = (
    RunTool(name="remember", takes=Remember, do=_remember),
    RunTool(name="recall", takes=Recall, do=_recall, is_read_only=True),
    RunTool(name="forget", takes=Forget, do=_forget),
    RunTool(name="find_documents", takes=FindDocuments, do=_find, is_read_only=True),
    RunTool(name="read_document", takes=ReadDocument, do=_read, is_read_only=True),
)
