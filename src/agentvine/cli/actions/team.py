"""What ``agentvine team`` does."""

import asyncio
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from agentvine.cli import resolve
from agentvine.cli.actions.run import place_of
from agentvine.cli.actions.tasks import read_text
from agentvine.cli.output import Column
from agentvine.cli.session import Session
from agentvine.kit.errors import Invalid
from agentvine.protocol.enums import PermissionLevel
from agentvine.protocol.team import (
    TeamApproveIn,
    TeamCancelIn,
    TeamRole,
    TeamRunCreateIn,
    TeamRunDetailOut,
    TeamRunOut,
    TeamRunStatus,
    TeamStepOut,
    VerdictOut,
)

_LOOK_SECONDS = 1.0
_ROLES = (TeamRole.ARCHITECT, TeamRole.CODER, TeamRole.TESTER, TeamRole.REVIEWER)
_OVER_BADLY = {TeamRunStatus.FAILED, TeamRunStatus.CANCELLED, TeamRunStatus.WAITING}
_FOR_PEOPLE = {TeamRunStatus.AWAITING_APPROVAL, TeamRunStatus.COMPLETED}

_COLUMNS = [
    Column[TeamRunOut]("run", lambda row: row.id),
    Column[TeamRunOut]("status", lambda row: row.status.value),
    Column[TeamRunOut]("round", lambda row: row.round),
    Column[TeamRunOut]("goal", lambda row: row.goal.splitlines()[0]),
    Column[TeamRunOut]("since", lambda row: row.created_at),
]

_STEPS = [
    Column[TeamStepOut]("round", lambda row: row.round),
    Column[TeamStepOut]("role", lambda row: row.role.value),
    Column[TeamStepOut]("task", lambda row: row.ref or row.model),
    Column[TeamStepOut]("status", lambda row: row.status.value if row.status else row.answered_at),
    Column[TeamStepOut]("tokens", lambda row: row.tokens),
    Column[TeamStepOut]("cost", lambda row: f"${row.cost_usd}"),
    Column[TeamStepOut]("title", lambda row: row.problem or row.title),
]


_TEAM_FILE: TypeAdapter[dict[str, dict[str, Any]]] = TypeAdapter(dict[str, dict[str, Any]])


class TeamFileInvalid(Invalid):
    """The team's file cannot be read."""

    code = "team_file_invalid"


async def begin_run(
    session: Session,
    *,
    goal: str,
    repo: str,
    project: str | None,
    wait: bool,
    file: Path | None,
    **values: Any,
) -> int:
    """A new run, watched to its end where that is wanted."""
    repository = await place_of(session, repo, project)
    given: dict[str, Any] = {
        "repository_id": repository.id,
        "goal": read_text(goal),
        "target_branch": values["target"],
        "permission": values["permission"] or PermissionLevel.SUPERVISED,
        "max_rounds": values["rounds"],
        "budget_usd": values["budget"],
        "test_command": values["test"],
        **await _roles(session, project, values, _read(file) if file else {}),
    }
    body = TeamRunCreateIn(**{name: value for name, value in given.items() if value is not None})
    run = await session.client.team.begin(body)
    if not wait:
        session.out.done(f"team run {run.id}: `agentvine team show {run.id}` follows it", run)
        return 0
    session.out.note(f"team run {run.id}")
    return await _watch(session, run.id)


async def list_runs(
    session: Session, *, project: str | None, status: TeamRunStatus | None, limit: int | None
) -> None:
    """All runs one may see."""
    project_id = await resolve.project_id(session, project) if project else None
    listed = session.client.team.list(project_id=project_id, statuses=[status] if status else [])
    rows = await resolve.collect(listed, limit)
    session.out.table(rows, _COLUMNS, nothing='There are none: `agentvine team run "..." --repo .`')


async def show_run(session: Session, *, run_id: str, talk: bool) -> None:
    """One run."""
    row = await session.client.team.get(await resolve.find_team_run(session, run_id))
    if session.out.as_json:
        session.out.data(row)
        return
    _record(session, row)
    session.out.line()
    session.out.table(row.steps, _STEPS, nothing="Nothing has begun yet.")
    for verdict in row.verdicts:
        session.out.line()
        session.out.line(_verdict(verdict))
    if talk and row.conversation_id is not None:
        for message in await resolve.collect(
            session.client.conversations.chat(row.conversation_id)
        ):
            session.out.line()
            session.out.line(f"[{session.out.age(message.created_at)}] {message.sender_name}:")
            session.out.line(message.text)


async def approve_run(
    session: Session, *, run_id: str, rounds: int, as_it_is: bool, budget: Decimal | None
) -> None:
    """Go on."""
    body = TeamApproveIn(rounds=rounds, as_it_is=as_it_is, budget_usd=budget)
    run = await session.client.team.approve(await resolve.find_team_run(session, run_id), body)
    session.out.done("the team goes on", run)


async def cancel_run(session: Session, *, run_id: str, reason: str) -> None:
    """No further."""
    body = TeamCancelIn(reason=reason)
    run = await session.client.team.cancel(await resolve.find_team_run(session, run_id), body)
    session.out.done(f"team run {run.id} is {run.status.value}", run)


async def _watch(session: Session, run_id: uuid.UUID) -> int:
    told: tuple[TeamRunStatus, str | None] | None = None
    while True:
        row = await session.client.team.get(run_id)
        if told != (row.status, row.status_reason):
            told = (row.status, row.status_reason)
            session.out.note(_stands(row))
        # A change that waits for approval is shown with a reason; one that is made is not.
        asks = row.status is TeamRunStatus.DELIVERING and row.status_reason is not None
        if asks or row.status in _OVER_BADLY | _FOR_PEOPLE:
            break
        await asyncio.sleep(_LOOK_SECONDS)
    session.out.done(f"{_stands(row)} (${row.total_cost_usd}, {row.total_tokens} tokens)", row)
    return 1 if row.status in _OVER_BADLY else 0


async def _roles(
    session: Session, project: str | None, values: dict[str, Any], file: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    if unknown := sorted(set(file) - {role.value for role in _ROLES}):
        raise TeamFileInvalid(f"{', '.join(unknown)}: a team has {', '.join(_ROLES)}.")
    roles: dict[str, Any] = {}
    for role in _ROLES:
        part = dict(file.get(role.value, {}))
        name = values[role.value] or part.pop("agent", None)
        part.pop("agent", None)
        if name:
            part["agent_id"] = (await resolve.find_agent(session, str(name), project)).id
        if part:
            roles[role.value] = part
    return roles


def _read(file: Path) -> dict[str, dict[str, Any]]:
    try:
        told: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TeamFileInvalid(f"{file}: {error}") from error
    try:
        return _TEAM_FILE.validate_python(told)
    except ValidationError as error:
        raise TeamFileInvalid(
            f"{file}: it has a role on each line, and below it `agent` or `run`."
        ) from error


def _record(session: Session, row: TeamRunDetailOut) -> None:
    session.out.record(
        row,
        [
            ("run", row.id),
            ("goal", row.goal),
            ("status", _stands(row)),
            ("permission", row.permission.value),
            ("round", f"{row.round} of {row.max_rounds}"),
            ("branch", f"{row.branch_name}, for {row.target_branch}"),
            ("plan", row.plan_id),
            ("budget", f"${row.budget_usd}" if row.budget_usd is not None else None),
            ("cost", f"${row.total_cost_usd}, {row.total_tokens} tokens"),
            ("begun", row.created_at),
        ],
    )


def _stands(row: TeamRunOut) -> str:
    status = row.status.value.replace("_", " ")
    return f"{status}: {row.status_reason}" if row.status_reason else status


def _verdict(verdict: VerdictOut) -> str:
    outcome = verdict.outcome.value.replace("_", " ")
    lines = [f"round {verdict.round}, {verdict.role.value}: {outcome}. {verdict.summary}".rstrip()]
    for each in verdict.findings:
        line = f":{each['line']}" if each.get("line") else ""
        place = f"{each['path']}{line}: " if each.get("path") else ""
        lines.append(f"  [{each['severity']}] {place}{each['text']}")
    return "\n".join(lines)
