"""Commands on what agents remember; people and runs are heard alike. All but expiry is audited."""

import uuid
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, delete, func, select

from agentvine.db.session import Transaction
from agentvine.domains.agents.enums import AgentMemoryId
from agentvine.domains.agents.errors import AgentForbidden, MemoryMisplaced, TooManyMemories
from agentvine.domains.agents.models import Agent, AgentMemory
from agentvine.domains.identity import history
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.enums import ProjectId
from agentvine.kit.actor import UserActor
from agentvine.kit.ids import new_id
from agentvine.protocol.memories import MemoryIn

MAX_MEMORIES = 100_000
"""Of one agent."""
_EXPIRED_AT_ONCE = 1000


async def remember_for_agent(
    tx: Transaction, actor: UserActor, agent: Agent, wanted: MemoryIn
) -> AgentMemory:
    """Let a person tell an agent something.

    Raises:
        ProjectReadOnly: They may only look.
        ProjectArchived: Nothing new begins there.
        AgentForbidden: Only an admin tells an agent of all projects something in general.
        MemoryMisplaced: It is about a project that the agent does not work in, or over already.
        TooManyMemories: The agent remembers so much already.
    """
    await check_may_change_memories(tx, actor, agent, wanted.project_id)
    return await remember(tx, agent, wanted)


async def remember(tx: Transaction, agent: Agent, wanted: MemoryIn) -> AgentMemory:
    """Keep something in an agent's memory, instead of what stood there.

    Raises:
        MemoryMisplaced: It is about a project that the agent does not work in, or over already.
        TooManyMemories: The agent remembers so much already.
    """
    check_place(agent, wanted.project_id)
    if wanted.expires_at is not None and wanted.expires_at <= tx.now:
        raise MemoryMisplaced("It would be forgotten at once: choose an end that is to come.")
    # One after the other: two may remember the same at once, and the number is limited.
    await tx.dialect.close_lock(tx, f"memory of {agent.id}")
    memory = await tx.scalar(
        select(AgentMemory).where(
            AgentMemory.agent_id == agent.id,
            AgentMemory.project_id.is_not_distinct_from(wanted.project_id),
            AgentMemory.category == wanted.category,
            AgentMemory.key == wanted.key,
        )
    )
    before = None if memory is None else _told(memory)
    if memory is None:
        await _check_room(tx, agent)
        memory = AgentMemory(
            id=AgentMemoryId(new_id()),
            agent_id=agent.id,
            project_id=None if wanted.project_id is None else ProjectId(wanted.project_id),
            category=wanted.category,
            key=wanted.key,
            created_at=tx.now,
        )
        tx.add(memory)
    memory.value = wanted.value
    memory.importance = wanted.importance
    memory.expires_at = wanted.expires_at
    memory.updated_at = tx.now
    await tx.flush()
    _record(tx, "memory.kept", agent, memory.project_id, before, _told(memory))
    return memory


async def forget(
    tx: Transaction,
    agent: Agent,
    *,
    category: str,
    key: str | None = None,
    project_id: uuid.UUID | None = None,
) -> int:
    """Forget what an agent remembers by category and key, or a whole category; says how much."""
    statement = delete(AgentMemory).where(
        AgentMemory.agent_id == agent.id,
        AgentMemory.project_id.is_not_distinct_from(project_id),
        AgentMemory.category == category,
    )
    if key is not None:
        statement = statement.where(AgentMemory.key == key)
    count = await _deleted(tx, statement)
    if count:
        before = {"category": category, "key": key, "count": count}
        _record(tx, "memory.forgotten", agent, project_id, before, None)
    return count


async def forget_expired(tx: Transaction, now: datetime) -> int:
    """Forget what has come to its end; a part of it, where it is much."""
    due = (
        select(AgentMemory.id)
        .where(AgentMemory.expires_at <= now)
        .order_by(AgentMemory.expires_at)
        .limit(_EXPIRED_AT_ONCE)
    )
    return await _deleted(tx, delete(AgentMemory).where(AgentMemory.id.in_(due)))


async def check_may_change_memories(
    tx: Transaction, actor: UserActor, agent: Agent, project_id: uuid.UUID | None
) -> None:
    """Whoever may work in the project may; what all projects share is for admins.

    Raises:
        ProjectReadOnly: They may only look.
        ProjectArchived: Nothing new begins there.
        AgentForbidden: Only an admin may.
    """
    of = project_id or agent.project_id
    refusal = AgentForbidden(f"Name a project, or ask an admin: {agent.name} is of all projects.")
    await projects.check_may_change_what_is_of(tx, actor, of, refusal)


def check_place(agent: Agent, project_id: uuid.UUID | None) -> None:
    """An agent remembers nothing of projects that it does not work in.

    Raises:
        MemoryMisplaced: It would.
    """
    if agent.project_id is not None and project_id not in {None, agent.project_id}:
        raise MemoryMisplaced(f"{agent.name} is an agent of another project.")


async def _check_room(tx: Transaction, agent: Agent) -> None:
    query = select(func.count()).select_from(AgentMemory).where(AgentMemory.agent_id == agent.id)
    if (await tx.scalar(query) or 0) >= MAX_MEMORIES:
        raise TooManyMemories(
            f"{agent.name} remembers {MAX_MEMORIES} things; `agentvine memory forget` makes room."
        )


async def _deleted(tx: Transaction, statement: Any) -> int:
    result = await tx.execute(statement.execution_options(synchronize_session=False))
    return cast("CursorResult[Any]", result).rowcount


def _told(memory: AgentMemory) -> dict[str, Any]:
    return {
        "category": memory.category,
        "key": memory.key,
        "importance": memory.importance,
        "expires_at": memory.expires_at.isoformat() if memory.expires_at else None,
    }


def _record(
    tx: Transaction,
    action: str,
    agent: Agent,
    project_id: uuid.UUID | None,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
) -> None:
    history.record(
        tx,
        action,
        entity=("agent", agent.id),
        project_id=project_id or agent.project_id,
        before=before,
        after=after,
    )
