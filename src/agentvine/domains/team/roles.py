"""Who takes which role in a run, and how: what the run keeps in its ``roles`` document."""

import uuid

from pydantic import BaseModel, ConfigDict
from sqlalchemy import or_, select

from agentvine.db.session import ReadSession
from agentvine.domains.agents import queries as agents
from agentvine.domains.agents.enums import AgentType
from agentvine.domains.agents.models import Agent
from agentvine.domains.team.enums import TeamRole
from agentvine.domains.team.errors import TeamIncomplete
from agentvine.domains.team.models import TeamRun
from agentvine.kit.actor import UserActor
from agentvine.protocol.tasks import TaskRun
from agentvine.protocol.team import TeamRoleIn, TeamRunCreateIn

_BY_MODEL = frozenset({TeamRole.ARCHITECT, TeamRole.REVIEWER})
"""Whose work a language model can do without a work tree."""


class Part(BaseModel):
    """A role as it is taken."""

    model_config = ConfigDict(frozen=True)

    agent_id: uuid.UUID | None = None
    run: TaskRun | None = None
    """None: a language model is asked by the server."""


def part_of(run: TeamRun, role: TeamRole) -> Part:
    """How a role is taken in a run."""
    if role is TeamRole.DELIVERER:
        coder = part_of(run, TeamRole.CODER).run or TaskRun()
        return Part(run=TaskRun(test_command=run.test_command, queue_name=coder.queue_name))
    return Part.model_validate(run.roles[role.value])


async def cast_roles(
    read: ReadSession, actor: UserActor, project_id: uuid.UUID, wanted: TeamRunCreateIn
) -> dict[str, Part]:
    """Who takes which role.

    Raises:
        AgentNotFound: There is no such agent, or it is not theirs to see.
        AgentUnusable: It is inactive, or another project's.
        TeamIncomplete: Somebody is missing, or nobody knows how they work.
    """
    given = {
        TeamRole.ARCHITECT: wanted.architect,
        TeamRole.CODER: wanted.coder,
        TeamRole.TESTER: wanted.tester,
        TeamRole.REVIEWER: wanted.reviewer,
    }
    return {
        role.value: await _cast(read, actor, project_id, role, part) for role, part in given.items()
    }


async def _cast(
    read: ReadSession, actor: UserActor, project_id: uuid.UUID, role: TeamRole, given: TeamRoleIn
) -> Part:
    if given.agent_id is not None:
        agent = await agents.get_agent_for_task(read, actor, given.agent_id, project_id)
    else:
        agent = await _find_agent(read, project_id, AgentType(role.value))
    run = given.run
    runtime = agent.model_config.get("runtime") if agent else None
    if run is None and runtime:
        run = TaskRun(runtime=str(runtime))
    if run is None and role not in _BY_MODEL:
        raise TeamIncomplete(
            f"Nobody knows how the {role.value} works: make an agent of this type that has a "
            f"runtime (`agentvine agent create NAME --type {role.value} --runtime ...`), or name "
            "a runtime here.",
            role=role.value,
        )
    return Part(agent_id=agent.id if agent else None, run=run)


async def _find_agent(read: ReadSession, project_id: uuid.UUID, type_: AgentType) -> Agent | None:
    """The project's active agent of a type, the oldest; else one for all projects."""
    query = (
        select(Agent)
        .where(
            Agent.type == type_,
            Agent.is_active.is_(True),
            or_(Agent.project_id == project_id, Agent.project_id.is_(None)),
        )
        .order_by(Agent.project_id.is_(None), Agent.id)
        .limit(1)
    )
    return await read.scalar(query)
