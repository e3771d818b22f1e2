"""Commands on agents: make them, set them up anew or as before, delete them. All are audited."""

import uuid
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from agentvine.db.session import Transaction
from agentvine.domains.agents import queries
from agentvine.domains.agents.enums import AgentId, AgentRevisionId
from agentvine.domains.agents.errors import (
    AgentExists,
    AgentForbidden,
    AgentInUse,
    RulesPathInvalid,
)
from agentvine.domains.agents.models import Agent, AgentRevision
from agentvine.domains.identity import history
from agentvine.domains.projects import queries as projects
from agentvine.kit.actor import UserActor
from agentvine.kit.ids import new_id
from agentvine.protocol.agents import AgentCreateIn, AgentEditIn

_NAMES = "names of agents"
_SET_UP = ("name", "model_config", "system_prompt", "rules_file_path", "is_active")
"""What a revision keeps."""
_COLUMNS = {"model_settings": "model_config"}


async def create_agent(tx: Transaction, actor: UserActor, wanted: AgentCreateIn) -> Agent:
    """Add an agent to a project's team, or (an admin) to all of them.

    Raises:
        ProjectNotFound: The project is not theirs to see.
        ProjectReadOnly: They may only look.
        AgentForbidden: Only an admin makes agents for all projects.
        AgentExists: There is one of this name in the project.
        RulesPathInvalid: The rules file is not inside the repository.
    """
    await _check_may_change(tx, actor, wanted.project_id)
    _check_rules_path(wanted.rules_file_path)
    await _check_name(tx, wanted.name, wanted.project_id)
    agent = Agent(
        id=AgentId(new_id()),
        name=wanted.name,
        type=wanted.type,
        model_config=wanted.model_settings.model_dump(mode="json", exclude_defaults=True),
        system_prompt=wanted.system_prompt,
        rules_file_path=wanted.rules_file_path,
        is_active=True,
        project_id=wanted.project_id,
    )
    tx.add(agent)
    await tx.flush()
    _keep_revision(tx, agent, tx.actor.label)
    _record(tx, "agent.created", agent, None, _set_up(agent) | {"type": agent.type.value})
    await tx.flush()
    await tx.refresh(agent)
    return agent


async def edit_agent(tx: Transaction, actor: UserActor, agent: Agent, change: AgentEditIn) -> Agent:
    """Set up an agent anew, from its next run on; how it was set up stays readable.

    Raises:
        AgentForbidden: It is not theirs to change.
        ProjectReadOnly: They may only look at its project.
        AgentExists: There is one of the new name in the project.
        RulesPathInvalid: The rules file is not inside the repository.
    """
    await _check_may_change(tx, actor, agent.project_id)
    _check_rules_path(change.rules_file_path)
    if change.name is not None:
        await _check_name(tx, change.name, agent.project_id, but=agent.id)
    fields = change.model_dump(mode="json", exclude_unset=True)
    if change.model_settings is not None:
        fields["model_settings"] = change.model_settings.model_dump(
            mode="json", exclude_defaults=True
        )
    values = {_COLUMNS.get(name, name): value for name, value in fields.items()}
    return await _set_up_anew(tx, agent, values, "agent.edited")


async def restore_agent(tx: Transaction, actor: UserActor, agent: Agent, number: int) -> Agent:
    """Set an agent up as in an earlier revision; that is a new one, and none is lost.

    Raises:
        AgentForbidden: It is not theirs to change.
        ProjectReadOnly: They may only look at its project.
        RevisionNotFound: It has none of this number.
        AgentExists: Another agent has the name by now.
    """
    await _check_may_change(tx, actor, agent.project_id)
    earlier = await queries.get_revision(tx, agent, number)
    await _check_name(tx, earlier.name, agent.project_id, but=agent.id)
    values = {name: getattr(earlier, name) for name in _SET_UP}
    return await _set_up_anew(tx, agent, values, "agent.restored")


async def delete_agent(tx: Transaction, actor: UserActor, agent: Agent) -> None:
    """Forget an agent and what it remembers; its tasks, runs and usage stay without it.

    Raises:
        AgentForbidden: It is not theirs to change.
        ProjectReadOnly: They may only look at its project.
        AgentInUse: Conversations that it began name it.
    """
    await _check_may_change(tx, actor, agent.project_id)
    _record(tx, "agent.deleted", agent, _set_up(agent), None)
    try:
        async with tx.begin_nested():
            await tx.delete(agent)
            await tx.flush()
    except IntegrityError:
        raise AgentInUse(
            f"{agent.name} began conversations; `agentvine agent edit --inactive` retires it."
        ) from None


async def _set_up_anew(tx: Transaction, agent: Agent, values: dict[str, Any], action: str) -> Agent:
    before = _set_up(agent)
    changed = {name: value for name, value in values.items() if before[name] != value}
    if not changed:
        return agent
    if await queries.find_revision(tx, agent, agent.revision) is None:
        # Raw SQL made it: what it was is kept, too.
        _keep_revision(tx, agent, "unknown")
    for name, value in changed.items():
        setattr(agent, name, value)
    await tx.flush()
    _keep_revision(tx, agent, tx.actor.label)
    _record(tx, action, agent, {name: before[name] for name in changed}, changed)
    await tx.flush()
    await tx.refresh(agent)
    return agent


async def _check_may_change(
    tx: Transaction, actor: UserActor, project_id: uuid.UUID | None
) -> None:
    refusal = AgentForbidden("Ask an admin: it is an agent of all projects.")
    await projects.check_may_change_what_is_of(tx, actor, project_id, refusal)


def _check_rules_path(path: str | None) -> None:
    if path is None:
        return
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\\" in path or "\0" in path:
        raise RulesPathInvalid(
            "Name a file inside the repository, like AGENTS.md or docs/rules/coder.md."
        )


async def _check_name(
    tx: Transaction,
    name: str,
    project_id: uuid.UUID | None,
    *,
    but: uuid.UUID | None = None,
) -> None:
    # Two of one name could both be made at once, since the table allows it.
    await tx.dialect.close_lock(tx, _NAMES)
    twin = select(Agent.id).where(
        func.lower(Agent.name) == name.lower(), Agent.project_id.is_not_distinct_from(project_id)
    )
    if but is not None:
        twin = twin.where(Agent.id != but)
    if await tx.scalar(twin.limit(1)) is not None:
        raise AgentExists(f"Choose another name than {name!r}, or edit that one.")


def _set_up(agent: Agent) -> dict[str, Any]:
    return {name: getattr(agent, name) for name in _SET_UP}


def _keep_revision(tx: Transaction, agent: Agent, changed_by: str) -> None:
    tx.add(
        AgentRevision(
            id=AgentRevisionId(new_id()),
            agent_id=agent.id,
            revision=agent.revision,
            changed_by=changed_by[:200],
            created_at=tx.now,
            **_set_up(agent),
        )
    )


def _record(
    tx: Transaction,
    action: str,
    agent: Agent,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
) -> None:
    history.record(
        tx,
        action,
        entity=("agent", agent.id),
        project_id=agent.project_id,
        before=before,
        after=after,
    )
