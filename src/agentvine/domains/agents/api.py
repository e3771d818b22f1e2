"""Routes of the agents slice."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from agentvine.domains.agents import memory, queries, recall, service
from agentvine.domains.agents.enums import AgentType
from agentvine.domains.agents.errors import (
    AgentExists,
    AgentForbidden,
    AgentInUse,
    AgentNotFound,
    MemoryMisplaced,
    RevisionNotFound,
    RulesPathInvalid,
    TooManyMemories,
)
from agentvine.domains.agents.models import Agent, AgentRevision
from agentvine.domains.agents.recall import Asked
from agentvine.domains.identity.idempotency import CreateOnce
from agentvine.domains.projects.errors import ProjectArchived, ProjectNotFound, ProjectReadOnly
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
from agentvine.protocol.agents import (
    AgentCreateIn,
    AgentEditIn,
    AgentOut,
    AgentRestoreIn,
    AgentRevisionOut,
)
from agentvine.protocol.base import PageOut
from agentvine.protocol.memories import (
    MAX_RECALL_TOKENS,
    MAX_RECALLED,
    RECALL_TOKENS,
    ForgottenOut,
    MemoryIn,
    MemoryOut,
    RecalledOut,
    RecallOut,
)

router = APIRouter(tags=["agents"])

AgentReader = Annotated[UserActor, Depends(require("agents:read"))]
AgentWriter = Annotated[UserActor, Depends(require("agents:write"))]
Category = Annotated[str, Query(min_length=1, max_length=50)]

_WRITE = (AgentNotFound, AgentForbidden, ProjectReadOnly, ProjectArchived)
_REMEMBER = (*_WRITE, ProjectNotFound)


@router.get("/agents")
async def list_agents(
    actor: AgentReader,
    read: Read,
    page: Paging,
    project_id: uuid.UUID | None = None,
    type: Annotated[AgentType | None, Query()] = None,  # noqa: A002  # as clients call it
) -> PageOut[AgentOut]:
    """The agents you may see; of a project, those for all projects too."""
    found = await queries.list_agents(read, actor, page, project_id=project_id, type_=type)
    return PageOut(
        items=[_agent_out(agent) for agent in found.items], next_cursor=found.next_cursor
    )


@router.post(
    "/agents",
    status_code=201,
    responses=responses(
        AgentExists,
        AgentForbidden,
        RulesPathInvalid,
        ProjectNotFound,
        ProjectReadOnly,
        ProjectArchived,
    ),
)
async def create_agent(
    body: AgentCreateIn, actor: AgentWriter, tx: Tx, once: CreateOnce
) -> AgentOut:
    """Add an agent to a team."""

    async def create() -> AgentOut:
        return _agent_out(await service.create_agent(tx, actor, body))

    return await once.run(tx, body, AgentOut, create)


@router.get("/agents/{agent_id}", responses=responses(AgentNotFound))
async def get_agent(agent_id: uuid.UUID, actor: AgentReader, read: Read) -> AgentOut:
    """One agent as it is set up now."""
    return _agent_out(await queries.get_agent(read, actor, agent_id))


@router.patch(
    "/agents/{agent_id}",
    responses=responses(*_WRITE, AgentExists, RulesPathInvalid, StaleVersion),
)
async def edit_agent(
    agent_id: uuid.UUID,
    body: AgentEditIn,
    actor: AgentWriter,
    tx: Tx,
    expected: ExpectedVersion,
) -> AgentOut:
    """Set an agent up anew, from its next run on."""
    agent = await queries.get_agent(tx, actor, agent_id)
    check_version(agent.revision, expected)
    return _agent_out(await service.edit_agent(tx, actor, agent, body))


@router.delete("/agents/{agent_id}", status_code=204, responses=responses(*_WRITE, AgentInUse))
async def delete_agent(agent_id: uuid.UUID, actor: AgentWriter, tx: Tx) -> None:
    """Forget an agent and what it remembers."""
    agent = await queries.get_agent(tx, actor, agent_id)
    await service.delete_agent(tx, actor, agent)


@router.get("/agents/{agent_id}/revisions", responses=responses(AgentNotFound))
async def list_revisions(
    agent_id: uuid.UUID, actor: AgentReader, read: Read, page: Paging
) -> PageOut[AgentRevisionOut]:
    """How an agent was set up, newest first."""
    agent = await queries.get_agent(read, actor, agent_id)
    found = await queries.list_revisions(read, agent, page)
    items = [_revision_out(revision) for revision in found.items]
    return PageOut(items=items, next_cursor=found.next_cursor)


@router.post(
    "/agents/{agent_id}/restore",
    responses=responses(*_WRITE, AgentExists, RevisionNotFound, StaleVersion),
)
async def restore_agent(
    agent_id: uuid.UUID,
    body: AgentRestoreIn,
    actor: AgentWriter,
    tx: Tx,
    expected: ExpectedVersion,
) -> AgentOut:
    """Set an agent up as in an earlier revision."""
    agent = await queries.get_agent(tx, actor, agent_id)
    check_version(agent.revision, expected)
    return _agent_out(await service.restore_agent(tx, actor, agent, body.revision))


@router.put(
    "/agents/{agent_id}/memories", responses=responses(*_REMEMBER, MemoryMisplaced, TooManyMemories)
)
async def remember(agent_id: uuid.UUID, body: MemoryIn, actor: AgentWriter, tx: Tx) -> MemoryOut:
    """Keep something in an agent's memory, instead of what stood under this category and key."""
    agent = await queries.get_agent(tx, actor, agent_id)
    return MemoryOut.model_validate(await memory.remember_for_agent(tx, actor, agent, body))


@router.get("/agents/{agent_id}/memories", responses=responses(AgentNotFound))
async def list_memories(
    agent_id: uuid.UUID,
    actor: AgentReader,
    read: Read,
    page: Paging,
    *,
    project_id: uuid.UUID | None = None,
    category: Category | None = None,
) -> PageOut[MemoryOut]:
    """What an agent remembers, oldest first; of a project, what it knows in general too."""
    agent = await queries.get_agent(read, actor, agent_id)
    asked = Asked(project_id=project_id, category=category)
    found = await recall.list_memories(read, actor, agent, page, asked)
    items = [MemoryOut.model_validate(row) for row in found.items]
    return PageOut(items=items, next_cursor=found.next_cursor)


@router.get("/agents/{agent_id}/memories/recall", responses=responses(AgentNotFound))
async def recall_memories(
    agent_id: uuid.UUID,
    actor: AgentReader,
    read: Read,
    *,
    query: Annotated[str, Query(max_length=4000)] = "",
    project_id: uuid.UUID | None = None,
    category: Category | None = None,
    max_tokens: Annotated[int, Query(ge=1, le=MAX_RECALL_TOKENS)] = RECALL_TOKENS,
    limit: Annotated[int, Query(ge=1, le=MAX_RECALLED)] = MAX_RECALLED,
) -> RecallOut:
    """What an agent remembers of something, the most useful first; without a query, of anything."""
    agent = await queries.get_agent(read, actor, agent_id)
    asked = Asked(
        text=query,
        project_id=project_id,
        category=category,
        max_tokens=max_tokens,
        limit=limit,
    )
    found = await recall.recall(read, actor, agent, asked)
    items = [RecalledOut.model_validate(each) for each in found.items]
    return RecallOut(items=items, tokens=found.tokens, left_out=found.left_out)


@router.delete("/agents/{agent_id}/memories", responses=responses(*_REMEMBER))
async def forget(
    agent_id: uuid.UUID,
    actor: AgentWriter,
    tx: Tx,
    *,
    category: Category,
    key: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    project_id: uuid.UUID | None = None,
) -> ForgottenOut:
    """Forget by category and key, or a whole category; in general, or of one project."""
    agent = await queries.get_agent(tx, actor, agent_id)
    await memory.check_may_change_memories(tx, actor, agent, project_id)
    count = await memory.forget(tx, agent, category=category, key=key, project_id=project_id)
    return ForgottenOut(count=count)


def _agent_out(agent: Agent) -> AgentOut:
    names = set(AgentOut.model_fields) - {"model_settings"}
    return AgentOut(
        **{name: getattr(agent, name) for name in names}, model_settings=queries.settings_of(agent)
    )


def _revision_out(revision: AgentRevision) -> AgentRevisionOut:
    names = set(AgentRevisionOut.model_fields) - {"model_settings"}
    return AgentRevisionOut(
        **{name: getattr(revision, name) for name in names},
        model_settings=queries.settings_of(revision),
    )
