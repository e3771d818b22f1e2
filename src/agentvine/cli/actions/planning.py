"""What ``agentvine plan`` does with tasks and branches."""

from typing import Any

from agentvine.cli import resolve
from agentvine.cli.output import Column
from agentvine.cli.session import Session
from agentvine.protocol.enums import TaskPriority
from agentvine.protocol.planning import (
    ChangesApplyIn,
    DriftItemOut,
    OverlapOut,
    PlanAcceptedOut,
    PlanAcceptIn,
    PlanAcceptNowIn,
    PlanTaskOut,
    PreviewStepOut,
    StepAction,
)
from agentvine.protocol.tasks import TaskRun

_STEPS = [
    Column[PreviewStepOut]("step", lambda row: "  " * row.level + row.key),
    Column[PreviewStepOut]("title", lambda row: row.title),
    Column[PreviewStepOut]("type", lambda row: row.type.value),
    Column[PreviewStepOut]("permission", lambda row: row.permission.value),
    Column[PreviewStepOut]("waits for", lambda row: row.depends_on),
    Column[PreviewStepOut]("files", lambda row: row.files),
]

_DRIFT = [
    Column[DriftItemOut]("what", lambda row: row.action.value),
    Column[DriftItemOut]("step", lambda row: row.key),
    Column[DriftItemOut]("title", lambda row: row.title),
    Column[DriftItemOut]("task", lambda row: row.ref),
    Column[DriftItemOut]("status", lambda row: row.status and row.status.value),
    Column[DriftItemOut]("why", lambda row: row.reason),
]

_TASKS = [
    Column[PlanTaskOut]("task", lambda row: row.ref),
    Column[PlanTaskOut]("step", lambda row: row.key),
    Column[PlanTaskOut]("title", lambda row: row.title),
    Column[PlanTaskOut]("status", lambda row: row.status.value),
]


async def preview_plan(session: Session, *, name: str, repo: str | None) -> None:
    """What accepting it does."""
    row = await resolve.find_plan(session, name, repo)
    found = await session.client.plans.preview(row.id)
    if session.out.as_json:
        session.out.data(found)
        return
    session.out.table(found.steps, _STEPS, nothing="It has no steps.")
    for overlap in found.overlaps:
        session.out.note(_overlap(overlap))
    changes = [item for item in found.drift if item.action is not StepAction.KEEP]
    if any(item.action is StepAction.CANCEL for item in changes):
        session.out.note(f"`agentvine plan drift {name}` shows what becomes of running tasks.")
    elif not changes:
        session.out.note("All of its tasks are made.")


async def show_drift(session: Session, *, name: str, repo: str | None) -> None:
    """What becomes of tasks."""
    row = await resolve.find_plan(session, name, repo)
    found = await session.client.plans.preview(row.id)
    session.out.table(found.drift, _DRIFT, nothing="It has no steps, and no tasks.")
    if found.is_settled:
        session.out.note("The tasks are as this version wants them.")


async def accept_plan(
    session: Session, *, name: str, repo: str | None, reconcile: bool, **values: Any
) -> None:
    """Its tasks."""
    row = await resolve.find_plan(session, name, repo)
    body = PlanAcceptNowIn(**await _how(session, values), reconcile=reconcile)
    _tell(session, name, await session.client.plans.accept(row.id, body))


async def reconcile_plan(
    session: Session, *, name: str, repo: str | None, yes: bool, **values: Any
) -> None:
    """The tasks that it wants, and no others."""
    row = await resolve.find_plan(session, name, repo)
    found = await session.client.plans.preview(row.id)
    ends = [item.ref or "" for item in found.drift if item.action is StepAction.CANCEL]
    if ends:
        session.confirm(f"Cancel {', '.join(ends)}?", yes=yes)
    body = PlanAcceptIn(**await _how(session, values))
    _tell(session, name, await session.client.plans.reconcile(row.id, body))


async def apply_changes(
    session: Session, *, name: str, repo: str | None, branch: str | None
) -> None:
    """A commit."""
    row = await resolve.find_plan(session, name, repo)
    made = await session.client.plans.apply(row.id, ChangesApplyIn(branch=branch))
    what = f"{len(made.files)} files are changed" if made.is_new else "That was done before:"
    session.out.done(f"{what} by {made.commit[:12]} on {made.branch}", made)


async def _how(session: Session, values: dict[str, Any]) -> dict[str, Any]:
    run = {
        "runtime": values["runtime"],
        "command": values["command"],
        "test_command": values["test"],
        "model": values["model"],
    }
    agent: str | None = values["agent"]
    priority: TaskPriority | None = values["priority"]
    return {
        "run": TaskRun(**{key: value for key, value in run.items() if value is not None}),
        "agent_id": (await resolve.find_agent(session, agent)).id if agent else None,
        "priority": priority or TaskPriority.NORMAL,
        "start": values["start"],
    }


def _tell(session: Session, name: str, made: PlanAcceptedOut) -> None:
    if session.out.as_json:
        session.out.data(made)
        return
    session.out.note(f"version {made.plan.version} of {made.plan.name} is {made.plan.status.value}")
    session.out.table(made.tasks, _TASKS, nothing="No task was made.")
    if made.drift:
        session.out.table(made.drift, _DRIFT, nothing="")
        session.out.note(f"This is still to be done: `agentvine plan reconcile {name}` does it.")


def _overlap(overlap: OverlapOut) -> str:
    files = ", ".join(overlap.files)
    what = "one after the other" if overlap.is_ordered else "perhaps at once, and may conflict"
    return f"{overlap.first} and {overlap.second} both touch {files}: {what}"
