"""What ``agentvine agent`` does."""

from collections.abc import Sequence
from typing import Any

from agentvine.cli import resolve
from agentvine.cli.actions.tasks import NothingToChange, read_text
from agentvine.cli.output import Column
from agentvine.cli.session import Session
from agentvine.protocol.agents import (
    AgentCreateIn,
    AgentEditIn,
    AgentModelConfig,
    AgentOut,
    AgentRevisionOut,
    Effort,
)
from agentvine.protocol.enums import AgentType


def _works_with(settings: AgentModelConfig) -> str:
    return " ".join(part for part in (settings.runtime, settings.model) if part) or "as tasks say"


_COLUMNS = [
    Column[AgentOut]("name", lambda row: row.name),
    Column[AgentOut]("role", lambda row: row.type.value),
    Column[AgentOut]("of", lambda row: row.project_id or "everything"),
    Column[AgentOut]("works with", lambda row: _works_with(row.model_settings)),
    Column[AgentOut]("revision", lambda row: row.revision),
    Column[AgentOut]("active", lambda row: row.is_active),
]

_HISTORY = [
    Column[AgentRevisionOut]("revision", lambda row: row.revision),
    Column[AgentRevisionOut]("since", lambda row: row.created_at),
    Column[AgentRevisionOut]("by", lambda row: row.changed_by),
    Column[AgentRevisionOut]("name", lambda row: row.name),
    Column[AgentRevisionOut]("works with", lambda row: _works_with(row.model_settings)),
    Column[AgentRevisionOut]("active", lambda row: row.is_active),
]


async def list_agents(
    session: Session, *, project: str | None, type_: AgentType | None, limit: int | None
) -> None:
    """All agents one may see."""
    project_id = await resolve.project_id(session, project) if project else None
    listed = session.client.agents.list(project_id=project_id, type_=type_)
    rows = await resolve.collect(listed, limit)
    nothing = "There are no agents; `agentvine agent create` makes one."
    session.out.table(rows, _COLUMNS, nothing=nothing)


async def show_agent(session: Session, *, name: str, project: str | None) -> None:
    """One agent."""
    row = await resolve.find_agent(session, name, project)
    settings = row.model_settings
    session.out.record(
        row,
        [
            ("agent", row.name),
            ("id", row.id),
            ("role", row.type.value),
            ("of", row.project_id or "everything"),
            ("active", row.is_active),
            ("runtime", settings.runtime),
            ("model", settings.model),
            ("may use", settings.allowed_models or "any model"),
            ("effort", settings.effort),
            ("temperature", settings.temperature),
            ("output", settings.max_output_tokens),
            ("turns", settings.max_turns),
            ("rules", row.rules_file_path),
            ("prompt", row.system_prompt),
            ("revision", row.revision),
        ],
    )


async def create_agent(
    session: Session, *, name: str, type_: AgentType, project: str | None, **values: Any
) -> None:
    """A new agent."""
    body = AgentCreateIn(
        name=name,
        type=type_,
        project_id=await resolve.project_id(session, project) if project else None,
        model_settings=_settings(AgentModelConfig(), values),
        system_prompt=read_text(values["prompt"]),
        rules_file_path=values["rules"],
    )
    row = await session.client.agents.create(body)
    session.out.done(f"{row.name}, {row.type.value}, is in the team", row)


async def edit_agent(
    session: Session,
    *,
    name: str,
    project: str | None,
    new_name: str | None,
    active: bool | None,
    **values: Any,
) -> None:
    """Some fields of an agent, on the revision just read.

    Raises:
        NothingToChange: None was named.
    """
    row = await resolve.find_agent(session, name, project)
    settings = _settings(row.model_settings, values)
    given: dict[str, Any] = {
        "name": new_name,
        "model_settings": settings if settings != row.model_settings else None,
        "system_prompt": read_text(values["prompt"]),
        "rules_file_path": values["rules"],
        "is_active": active,
    }
    changes = {field: value for field, value in given.items() if value is not None}
    if not changes:
        raise NothingToChange(f"Name what is to change of {row.name}; see `agent edit --help`.")
    body = AgentEditIn(**changes)
    changed = await session.client.agents.edit(row.id, body, revision=row.revision)
    session.out.done(f"{changed.name} is now at revision {changed.revision}", changed)


async def list_history(
    session: Session, *, name: str, project: str | None, limit: int | None
) -> None:
    """How it was set up."""
    row = await resolve.find_agent(session, name, project)
    rows = await resolve.collect(session.client.agents.revisions(row.id), limit)
    session.out.table(rows, _HISTORY, nothing="Nothing was kept.")


async def restore_agent(session: Session, *, name: str, revision: int, project: str | None) -> None:
    """As it was."""
    row = await resolve.find_agent(session, name, project)
    restored = await session.client.agents.restore(row.id, revision)
    text = f"{restored.name} is set up as in revision {revision}; that is {restored.revision}"
    session.out.done(text, restored)


async def remove_agent(session: Session, *, name: str, project: str | None, yes: bool) -> None:
    """Forget it."""
    row = await resolve.find_agent(session, name, project)
    session.confirm(f"Remove the agent {row.name} and what it remembers?", yes=yes)
    await session.client.agents.delete(row.id)
    session.out.done(f"{row.name} is removed", row)


def _settings(current: AgentModelConfig, values: dict[str, Any]) -> AgentModelConfig:
    allowed: Sequence[str] = values["allowed_models"]
    effort: Effort | None = values["effort"]
    given: dict[str, Any] = {
        "runtime": values["runtime"],
        "model": values["model"],
        "allowed_models": list(allowed) or None,
        "effort": effort,
        "temperature": values["temperature"],
        "max_output_tokens": values["max_output"],
        "max_turns": values["max_turns"],
    }
    changes = {name: value for name, value in given.items() if value is not None}
    return AgentModelConfig(**{**current.model_dump(exclude_defaults=True), **changes})
