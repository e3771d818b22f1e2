"""People's assistants show how agents are set up, and read and write what they remember."""

from pydantic import Field

from agentvine.db.session import ReadSession
from agentvine.domains.agents import memory, queries
from agentvine.domains.agents import recall as recalling
from agentvine.domains.agents.models import Agent, AgentRevision
from agentvine.domains.agents.recall import Asked, memory_text
from agentvine.mcp.calls import PersonCall
from agentvine.mcp.table import PersonTool
from agentvine.mcp.words import Paged, ToolInput, listed, read_id
from agentvine.protocol.memories import MemoryIn

_MAX_SHOWN = 4000
"""Tokens of what is recalled."""


class ListAgents(Paged):
    """List the agents of a project's team with their ids, those for all projects too.

    Use it to learn whom post_message can mention, or whose memory is meant.
    """

    project_id: str = Field(default="", max_length=40, description="Only this project's.")


class ShowAgent(ToolInput):
    """Show how an agent is set up: its type, model, limits, system prompt and rules file."""

    agent: str = Field(min_length=1, max_length=60, description="Its id; see list_agents.")
    revision: int = Field(
        default=0, ge=0, description="As it was then; see list_agent_revisions. 0: as it is now."
    )


class ListAgentRevisions(Paged):
    """List how an agent was set up before, newest first: who has changed it, when, and what.

    Use it when an agent works otherwise than it did.
    """

    agent: str = Field(min_length=1, max_length=60, description="Its id; see list_agents.")


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


async def _list_agents(call: PersonCall, given: ListAgents) -> str:
    project_id = read_id(given.project_id, "project") if given.project_id else None
    async with call.state.database.read() as read:
        found = await queries.list_agents(read, call.actor, given.page, project_id=project_id)
    lines = [_line(agent) for agent in found.items]
    return listed(lines, found.next_cursor, "There are none.")


async def _show(call: PersonCall, given: ShowAgent) -> str:
    async with call.state.database.read() as read:
        agent = await _agent(read, call, given.agent)
        shown: Agent | AgentRevision = agent
        if given.revision:
            shown = await queries.get_revision(read, agent, given.revision)
    lines = [_line(agent), f"revision {shown.revision} of {agent.revision}"]
    settings = queries.settings_of(shown).model_dump(mode="json", exclude_defaults=True)
    lines += [f"{name}: {value}" for name, value in settings.items()]
    if shown.rules_file_path:
        lines.append(f"rules file: {shown.rules_file_path}")
    if shown.system_prompt:
        lines.append(f"system prompt:\n{shown.system_prompt}")
    return "\n".join(lines)


async def _revisions(call: PersonCall, given: ListAgentRevisions) -> str:
    async with call.state.database.read() as read:
        agent = await _agent(read, call, given.agent)
        found = await queries.list_revisions(read, agent, given.page)
        lines: list[str] = []
        for row in found.items:
            before = await queries.find_revision(read, agent, row.revision - 1)
            changed = ", ".join(_changed(before, row)) if before else "set up"
            when = f"{row.created_at:%Y-%m-%d %H:%M}"
            lines.append(f"revision {row.revision}, {when}, by {row.changed_by}: {changed}")
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
    return await queries.get_agent(read, call.actor, read_id(named, "agent"))


def _line(agent: Agent) -> str:
    whose = "" if agent.project_id else ", for all projects"
    rests = "" if agent.is_active else ", inactive"
    return f"{agent.name} [{agent.type.value}{whose}{rests}] (id {agent.id})"


def _changed(before: AgentRevision, after: AgentRevision) -> list[str]:
    names = ("name", "model_config", "system_prompt", "rules_file_path", "is_active")
    told = {"model_config": "model settings", "is_active": "whether it is active"}
    differ = [name for name in names if getattr(before, name) != getattr(after, name)]
    return [told.get(name, name.replace("_", " ")) for name in differ]


TOOLS = (
    PersonTool(
        name="list_agents",
        takes=ListAgents,
        scope="agents:read",
        do=_list_agents,
        is_read_only=True,
    ),
    PersonTool(
        name="show_agent",
        takes=ShowAgent,
        scope="agents:read",
        do=_show,
        is_read_only=True,
    ),
    PersonTool(
        name="list_agent_revisions",
        takes=ListAgentRevisions,
        scope="agents:read",
        do=_revisions,
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
