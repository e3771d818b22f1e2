"""Routes of the agents slice."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import ValidationError

from agentvine.domains.agents import queries, service
from agentvine.domains.agents.enums import AgentType
from agentvine.domains.agents.errors import (
    AgentExists,
    AgentForbidden,
    AgentInUse,
    AgentNotFound,
    RevisionNotFound,
    RulesPathInvalid,
)
from agentvine.domains.agents.models import Agent, AgentRevision
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
    AgentModelConfig,
    AgentOut,
    AgentRestoreIn,
    AgentRevisionOut,
)
from agentvine.protocol.base import PageOut

router = APIRouter(tags=["agents"])

AgentReader = Annotated[UserActor, Depends(require("agents:read"))]
AgentWriter = Annotated[UserActor, Depends(require("agents:write"))]

_SETTINGS = frozenset(AgentModelConfig.model_fields)
_WRITE = (AgentNotFound, AgentForbidden, ProjectReadOnly, ProjectArchived)


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


def _agent_out(agent: Agent) -> AgentOut:
    names = set(AgentOut.model_fields) - {"model_settings"}
    return AgentOut(
        **{name: getattr(agent, name) for name in names}, model_settings=_settings(agent)
    )


def _revision_out(revision: AgentRevision) -> AgentRevisionOut:
    names = set(AgentRevisionOut.model_fields) - {"model_settings"}
    return AgentRevisionOut(
        **{name: getattr(revision, name) for name in names}, model_settings=_settings(revision)
    )


def _settings(row: Agent | AgentRevision) -> AgentModelConfig:
    """What can be read of it: raw SQL may have written more, or something else."""
    known = {name: value for name, value in row.model_config.items() if name in _SETTINGS}
    while True:
        try:
            return AgentModelConfig.model_validate(known)
        except ValidationError as error:
            wrong = {str(each["loc"][0]) for each in error.errors()}
            known = {name: value for name, value in known.items() if name not in wrong}
