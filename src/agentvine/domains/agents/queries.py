"""Reads of the agents slice, and the one place that decides who may see an agent."""

import uuid

from pydantic import ValidationError
from sqlalchemy import Select, or_, select

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession
from agentvine.domains.agents.enums import AgentId, AgentType
from agentvine.domains.agents.errors import AgentNotFound, AgentUnusable, RevisionNotFound
from agentvine.domains.agents.models import Agent, AgentRevision
from agentvine.domains.projects import queries as projects
from agentvine.kit.actor import Actor
from agentvine.kit.pagination import Page, PageRequest
from agentvine.protocol.agents import AgentModelConfig

_SETTINGS = frozenset(AgentModelConfig.model_fields)


def visible_agents(actor: Actor) -> Select[AgentId]:
    """Ids of the agents an actor may see: those for all projects, and those of their own."""
    seen = projects.visible_projects(actor)
    return select(Agent.id).where(or_(Agent.project_id.is_(None), Agent.project_id.in_(seen)))


async def get_agent(read: ReadSession, actor: Actor, agent_id: uuid.UUID) -> Agent:
    """An agent the actor may see.

    Raises:
        AgentNotFound: There is none, or it is not theirs to see.
    """
    query = select(Agent).where(Agent.id == agent_id, Agent.id.in_(visible_agents(actor)))
    agent = await read.scalar(query)
    if agent is None:
        raise AgentNotFound(f"You can see no agent with the id {agent_id}.")
    return agent


async def get_agent_for_task(
    read: ReadSession, actor: Actor, agent_id: uuid.UUID, project_id: uuid.UUID
) -> Agent:
    """An agent that can take a task of a project.

    Raises:
        AgentNotFound: There is none, or it is not theirs to see.
        AgentUnusable: It is inactive, or another project's.
    """
    agent = await get_agent(read, actor, agent_id)
    if agent.project_id not in {None, project_id}:
        raise AgentUnusable(f"{agent.name} is an agent of another project.")
    if not agent.is_active:
        raise AgentUnusable(
            f"{agent.name} is inactive; `agentvine agent edit --active` lets it take tasks again."
        )
    return agent


async def list_agents(
    read: ReadSession,
    actor: Actor,
    page: PageRequest,
    *,
    project_id: uuid.UUID | None = None,
    type_: AgentType | None = None,
) -> Page[Agent]:
    """The agents the actor may see, oldest first; of a project, those for all projects too."""
    query = select(Agent).where(Agent.id.in_(visible_agents(actor)))
    if project_id is not None:
        query = query.where(or_(Agent.project_id.is_(None), Agent.project_id == project_id))
    if type_ is not None:
        query = query.where(Agent.type == type_)
    return await fetch_page(read, query, Agent.id, page)


async def list_revisions(read: ReadSession, agent: Agent, page: PageRequest) -> Page[AgentRevision]:
    """How an agent was set up, newest first."""
    query = select(AgentRevision).where(AgentRevision.agent_id == agent.id)
    return await fetch_page(read, query, AgentRevision.revision, page, newest_first=True)


async def get_revision(read: ReadSession, agent: Agent, number: int) -> AgentRevision:
    """One of an agent's revisions.

    Raises:
        RevisionNotFound: It has none of this number.
    """
    found = await find_revision(read, agent, number)
    if found is None:
        raise RevisionNotFound(f"{agent.name} has the revisions 1 to {agent.revision}.")
    return found


async def find_revision(read: ReadSession, agent: Agent, number: int) -> AgentRevision | None:
    """One of an agent's revisions, if it was kept."""
    query = select(AgentRevision).where(
        AgentRevision.agent_id == agent.id, AgentRevision.revision == number
    )
    return await read.scalar(query)


def settings_of(row: Agent | AgentRevision) -> AgentModelConfig:
    """What can be read of it: raw SQL may have written more, or something else."""
    known = {name: value for name, value in row.model_config.items() if name in _SETTINGS}
    while True:
        try:
            return AgentModelConfig.model_validate(known)
        except ValidationError as error:
            wrong = {str(each["loc"][0]) for each in error.errors()}
            known = {name: value for name, value in known.items() if name not in wrong}
