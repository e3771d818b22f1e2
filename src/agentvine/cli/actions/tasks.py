"""What ``agentvine task`` does."""

import contextlib
import uuid
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from typing import Any

from agentvine.cli import asking, resolve
from agentvine.cli.actions.conflicts import conflict_line, few
from agentvine.cli.formats import fmt_diff_stat, fmt_took
from agentvine.cli.output import Column, dump, printable
from agentvine.cli.session import Session
from agentvine.kit.errors import Invalid, NotFound
from agentvine.kit.ids import short_id
from agentvine.protocol.enums import (
    CapabilityLevel,
    DependencyType,
    PermissionLevel,
    TaskPriority,
    TaskStatus,
)
from agentvine.protocol.executions import ExecutionOut
from agentvine.protocol.modifications import ModificationOut
from agentvine.protocol.questions import QuestionState
from agentvine.protocol.tasks import (
    DependencyIn,
    DependencyOut,
    TaskCreateIn,
    TaskDetailOut,
    TaskEditIn,
    TaskOut,
    TaskRun,
)

_SHOWN_FILES = 10


class NothingToChange(Invalid):
    """Nothing is to be changed."""

    code = "nothing_to_change"


async def list_tasks(
    session: Session,
    *,
    project: str | None,
    repo: str | None,
    status: TaskStatus | None,
    limit: int | None,
) -> None:
    """All tasks one may see, or some."""
    listing = session.client.tasks.list(
        project_id=await resolve.project_id(session, project) if project else None,
        repository_id=(await resolve.find_repository(session, repo, project)).id if repo else None,
        status=[status] if status else (),
    )
    out = session.out
    columns = [
        Column[TaskOut]("task", lambda task: task.ref),
        Column[TaskOut]("status", lambda task: task.status.value),
        Column[TaskOut]("type", lambda task: task.type.value),
        Column[TaskOut]("priority", lambda task: task.priority.value),
        Column[TaskOut]("title", lambda task: task.title),
        Column[TaskOut]("created", lambda task: task.created_at),
        Column[TaskOut]("why", lambda task: task.status_reason or ""),
    ]
    out.table(await resolve.collect(listing, limit), columns, nothing="There are no tasks.")


async def show(session: Session, *, name: str, project: str | None) -> None:
    """One task with all that hangs on it."""
    identity = await resolve.task_id(session, name, project)
    client = session.client
    task = await client.tasks.get(identity)
    executions = await client.executions.list(task_id=task.id).page(limit=20)
    changes = await client.modifications.list(task_id=task.id).page(limit=20)
    if session.out.as_json:
        session.out.data(dump(task, executions=executions.items, modifications=changes.items))
        return
    session.out.record(task, _fields(task))
    with contextlib.suppress(NotFound):  # a server of an earlier version
        await _tell_questions(session, task)
        await _tell_conflicts(session, task)
    _tell_relations(session, task)
    _tell_files(session, task)
    _tell_history(session, executions.items, changes.items)


async def _tell_questions(session: Session, task: TaskDetailOut) -> None:
    listing = session.client.questions.list(state=[QuestionState.OPEN], task_id=task.id)
    for row in (await listing.page(limit=20)).items:
        text = printable(" ".join(row.text.split()))
        session.out.line(f"asks: {text} (`agentvine answer {short_id(row.id)}`)")


async def _tell_conflicts(session: Session, task: TaskDetailOut) -> None:
    if task.repository_id is None or task.status is not TaskStatus.REVIEW:
        return
    listing = session.client.modifications.conflicts(task.repository_id, task_id=task.id)
    for row in (await listing.page(limit=20)).items:
        session.out.line(conflict_line(row, task.ref))


def _fields(task: TaskDetailOut) -> list[tuple[str, object]]:
    run = task.run
    return [
        ("task", f"{task.ref}  {task.title}"),
        ("id", task.id),
        (
            "status",
            f"{task.status.value}{f' ({task.status_reason})' if task.status_reason else ''}",
        ),
        ("kind", f"{task.type.value}, {task.priority.value}, {task.permission.value}"),
        ("target", task.target_branch),
        ("agent", task.agent_id),
        ("runtime", run.runtime),
        ("model", run.model),
        ("command", run.command),
        ("tests", run.test_command),
        ("needs", [f"{skill}:{level.value}" for skill, level in run.capabilities.items()]),
        ("described", task.description),
        ("done when", task.definition_of_done),
        ("used", _used(task)),
        ("created", task.created_at),
        ("started", task.started_at),
        ("finished", task.completed_at),
    ]


def _used(task: TaskDetailOut) -> str | None:
    if not task.total_tokens_used and task.budget_usd is None:
        return None
    limit = f" of {task.budget_usd}" if task.budget_usd is not None else ""
    return f"{task.total_tokens_used} tokens, {task.total_cost_usd.normalize():f}{limit} USD"


def _tell_relations(session: Session, task: TaskDetailOut) -> None:
    out = session.out
    for word, relations in (("waits for", task.dependencies),):
        for other in relations:
            verb = word if other.type is DependencyType.BLOCKS else other.type.value
            out.line(
                f"{verb} {other.depends_on_ref} {other.depends_on_title} "
                f"({other.depends_on_status.value})"
            )
    if task.dependants:
        out.line(f"{len(task.dependants)} other task(s) wait for or relate to it")
    for part in task.sub_tasks:
        out.line(f"part {part.ref} {part.title} ({part.status.value})")


def _tell_files(session: Session, task: TaskDetailOut) -> None:
    out = session.out
    for other in task.waits_for_files:
        out.line(
            f"waits for files of {other.ref} {other.title} ({other.status.value}): "
            f"{few(other.files)}"
        )
    for source, rows in groupby(task.touches, key=lambda row: row.source):
        out.line(f"touches ({source.value}) {few([row.pattern for row in rows], _SHOWN_FILES)}")


def _tell_history(
    session: Session, executions: Sequence[ExecutionOut], changes: Sequence[ModificationOut]
) -> None:
    out = session.out
    for row in executions:
        why = f": {row.failure_message}" if row.failure_message else ""
        out.line(
            f"attempt {row.attempt}  {row.id}  {row.status.value}, "
            f"{fmt_took(row.started_at, row.completed_at)}, {out.age(row.started_at)}{why}"
        )
    for row in changes:
        out.line(f"change  {row.id}  {row.status.value}, {fmt_diff_stat(row.diff_stat)}")


async def create(
    session: Session,
    *,
    title: str,
    repo: str | None,
    project: str | None,
    description: str | None,
    depends_on: Sequence[str],
    parent: str | None,
    no_start: bool,
    key: str | None,
    **values: Any,
) -> None:
    """A new task."""
    repository = await resolve.find_repository(session, repo, project) if repo else None
    given: dict[str, Any] = {
        "title": title,
        "description": read_text(description),
        "repository_id": repository.id if repository else None,
        "project_id": await resolve.project_id(session, project) if project else None,
        "depends_on": [await resolve.task_id(session, name, project) for name in depends_on],
        "parent_id": await resolve.task_id(session, parent, project) if parent else None,
        "agent_id": await agent_id(session, values, project),
    }
    body = new_task(given, values, start=not no_start)
    task = await session.client.tasks.create(body, key=key)
    why = f": {task.status_reason}" if task.status_reason else ""
    session.out.done(f"{task.ref} {task.title} is {task.status.value}{why}", task)


async def agent_id(
    session: Session, values: dict[str, Any], project: str | None
) -> uuid.UUID | None:
    """The agent that ``--agent`` names, if it does."""
    name: str | None = values.get("agent")
    return (await resolve.find_agent(session, name, project)).id if name else None


def new_task(given: dict[str, Any], values: dict[str, Any], *, start: bool) -> TaskCreateIn:
    """The wire's form of a task from the options of ``task create`` and ``run``."""
    given |= {
        "type": values.get("type"),
        "permission": values.get("permission"),
        "priority": values.get("priority"),
        "target_branch": values.get("target"),
        "definition_of_done": values.get("done"),
        "run": run_of(TaskRun(), values),
        "budget_usd": values.get("budget"),
        "touches": touched(values),
        "start": start,
    }
    return TaskCreateIn(**{name: value for name, value in given.items() if value is not None})


def touched(values: dict[str, Any]) -> list[str] | None:
    """The files that ``--touches`` names, if it does; an empty word takes them all away."""
    given: Sequence[str] = values.get("touches") or ()
    return [word for word in given if word] if given else None


def run_of(current: TaskRun, values: dict[str, Any]) -> TaskRun:
    """How a task is carried out, with the options that were given in their places."""
    capabilities: Sequence[tuple[str, CapabilityLevel]] = values.get("capabilities") or ()
    given: dict[str, Any] = {
        "runtime": values.get("runtime"),
        "command": values.get("command"),
        "model": values.get("model"),
        "test_command": values.get("test"),
        "timeout_seconds": values.get("timeout"),
        "test_timeout_seconds": values.get("test_timeout"),
        "max_retries": values.get("retries"),
        "queue_name": values.get("queue"),
        "capabilities": dict(capabilities) or None,
        "not_before": values.get("not_before"),
        "expires_in_seconds": values.get("expires_in"),
    }
    changes = {name: value for name, value in given.items() if value is not None}
    return TaskRun(**{**current.model_dump(exclude_unset=True), **changes})


async def edit(
    session: Session,
    *,
    name: str,
    project: str | None,
    title: str | None,
    description: str | None,
    permission: PermissionLevel | None,
    priority: TaskPriority | None,
    done: str | None,
    **values: Any,
) -> None:
    """Some fields of a task, on the version just read."""
    task = await resolve.find_task(session, name, project)
    run = run_of(task.run, values)
    given: dict[str, Any] = {
        "title": title,
        "description": read_text(description),
        "permission": permission,
        "priority": priority,
        "definition_of_done": done,
        "run": run if run != task.run else None,
        "agent_id": await agent_id(session, values, project),
        "budget_usd": values.get("budget"),
        "touches": touched(values),
    }
    changes = {field: value for field, value in given.items() if value is not None}
    if not changes:
        raise NothingToChange(f"Name what is to change of {task.ref}; see `task edit --help`.")
    changed = await session.client.tasks.edit(
        task.id, TaskEditIn(**changes), row_version=task.row_version
    )
    session.out.done(f"{changed.ref} is changed: {', '.join(changes)}", changed)


async def cancel(
    session: Session, *, names: Sequence[str], project: str | None, reason: str
) -> None:
    """Stop tasks."""
    await _each(
        session, names, project, lambda task: session.client.tasks.cancel(task, reason=reason)
    )


async def start(session: Session, *, names: Sequence[str], project: str | None) -> None:
    """Say go."""
    await _each(session, names, project, session.client.tasks.start)


async def resume(session: Session, *, names: Sequence[str], project: str | None) -> None:
    """Say go again, whatever they wait for."""
    await _each(session, names, project, session.client.tasks.start)


async def retry(session: Session, *, names: Sequence[str], project: str | None) -> None:
    """Try again."""
    await _each(session, names, project, session.client.tasks.retry)


async def _each(
    session: Session,
    names: Sequence[str],
    project: str | None,
    act: Callable[[uuid.UUID], Awaitable[TaskOut]],
) -> None:
    changed: list[TaskOut] = []
    for name in names:
        task = await act(await resolve.task_id(session, name, project))
        changed.append(task)
        why = f": {task.status_reason}" if task.status_reason else ""
        session.out.line(f"{task.ref} is {task.status.value}{why}")
    if session.out.as_json:
        session.out.data(changed[0] if len(changed) == 1 else changed)


async def delete(session: Session, *, names: Sequence[str], project: str | None, yes: bool) -> None:
    """Delete tasks softly."""
    found = [await resolve.find_task(session, name, project) for name in names]
    session.confirm(f"Delete {', '.join(task.ref for task in found)}?", yes=yes)
    for task in found:
        await session.client.tasks.delete(task.id)
        session.out.line(f"{task.ref} is deleted")
    if session.out.as_json:
        session.out.data({"deleted": [task.id for task in found]})


async def list_dependencies(session: Session, *, name: str, project: str | None) -> None:
    """A task's relations."""
    identity = await resolve.task_id(session, name, project)
    rows = await resolve.collect(session.client.tasks.dependencies(identity))
    columns = [
        Column[DependencyOut]("task", lambda row: row.depends_on_ref),
        Column[DependencyOut]("type", lambda row: row.type.value),
        Column[DependencyOut]("status", lambda row: row.depends_on_status.value),
        Column[DependencyOut]("title", lambda row: row.depends_on_title),
    ]
    session.out.table(rows, columns, nothing=f"{name} depends on nothing.")


async def add_dependencies(
    session: Session,
    *,
    name: str,
    others: Sequence[str],
    type: DependencyType,  # noqa: A002 - the option's name
    project: str | None,
) -> None:
    """New relations."""
    identity = await resolve.task_id(session, name, project)
    made: list[DependencyOut] = []
    for other in others:
        body = DependencyIn(depends_on=await resolve.task_id(session, other, project), type=type)
        made.append(await session.client.tasks.add_dependency(identity, body))
        session.out.line(f"{name} {_VERBS[type]} {made[-1].depends_on_ref}")
    if session.out.as_json:
        session.out.data(made)


async def remove_dependencies(
    session: Session, *, name: str, others: Sequence[str], project: str | None
) -> None:
    """Relations that end."""
    identity = await resolve.task_id(session, name, project)
    gone: list[uuid.UUID] = []
    for other in others:
        gone.append(await resolve.task_id(session, other, project))
        await session.client.tasks.remove_dependency(identity, gone[-1])
        session.out.line(f"{name} and {other} are no longer related")
    if session.out.as_json:
        session.out.data({"removed": gone})


def read_text(text: str | None) -> str | None:
    """A text given as an option, or standard input for ``-``."""
    return asking.read_input() if text == "-" else text


_VERBS = {
    DependencyType.BLOCKS: "waits for",
    DependencyType.RELATED: "is related to",
    DependencyType.DUPLICATE: "is a duplicate of",
}
