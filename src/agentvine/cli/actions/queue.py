"""What ``agentvine queue`` does."""

import uuid
from typing import TypedDict, Unpack

from agentvine.cli import resolve
from agentvine.cli.actions.orders import STATUS_COLUMNS
from agentvine.cli.output import Column
from agentvine.cli.session import Session
from agentvine.kit.errors import Invalid
from agentvine.protocol.enums import LimitScope, TaskType
from agentvine.protocol.limits import LimitOut, LimitTarget


class TargetUnclear(Invalid):
    """It is not clear what is meant."""

    code = "target_unclear"


class Named(TypedDict):
    """What a command is about; nothing named is the whole fleet."""

    queue: str | None
    kind: TaskType | None
    project: str | None
    repo: str | None
    agent: uuid.UUID | None


async def status(session: Session) -> None:
    """All numbers, and what is limited or paused."""
    queues = await session.client.queue.status()
    limits = await session.client.limits.list()
    if session.out.as_json:
        session.out.data({"queues": queues, "limits": limits})
        return
    for row in limits:
        if row.scope is LimitScope.FLEET and row.paused_at is not None:
            session.out.line(f"{'STOPPED' if row.stops_runs else 'PAUSED'}: {_pause(session, row)}")
    session.out.table(queues, STATUS_COLUMNS, nothing="Nothing is queued.")
    shown = [row for row in limits if row.scope is not LimitScope.FLEET]
    if not shown:
        return
    session.out.line()
    names = await _names(session, shown)
    columns = [
        Column[LimitOut]("limit", lambda row: names[row.scope, row.key]),
        Column[LimitOut]("runs", lambda row: row.running),
        Column[LimitOut]("of", lambda row: row.capacity),
        Column[LimitOut]("in line", lambda row: row.waiting),
        Column[LimitOut]("paused", lambda row: _pause(session, row) if row.paused_at else None),
    ]
    session.out.table(shown, columns, nothing="")


async def pause(session: Session, *, reason: str, **named: Unpack[Named]) -> None:
    """Let nothing of a kind begin."""
    target, said = await _target(session, **named)
    if target.scope is LimitScope.PROJECT:
        row = await session.client.limits.pause_project(uuid.UUID(target.key), reason)
    else:
        row = await session.client.limits.pause(target, reason)
    session.out.done(f"{said} does not begin any more; what runs goes on", row)


async def resume(session: Session, *, reason: str, **named: Unpack[Named]) -> None:
    """Let it begin again."""
    target, said = await _target(session, **named)
    if target.scope is LimitScope.PROJECT:
        await session.client.limits.resume_project(uuid.UUID(target.key), reason)
    else:
        await session.client.limits.resume(target, reason)
    session.out.done(f"{said} begins again", {"resumed": target})


async def stop(session: Session, *, reason: str, yes: bool) -> None:
    """Stop everything."""
    session.confirm("Stop everything that runs, on all workers?", yes=yes)
    stopped = await session.client.limits.stop(reason)
    session.out.done(
        f"nothing begins any more, and {stopped.stopping} runs were told to stop; "
        "`agentvine queue resume` lets them begin anew",
        stopped,
    )


async def limit(
    session: Session,
    *,
    capacity: int | None,
    is_removed: bool,
    **named: Unpack[Named],
) -> None:
    """Set or remove a limit."""
    target, said = await _target(session, **named)
    if (capacity is None) is not is_removed:
        raise TargetUnclear("Say how many may run, or --none.")
    if capacity is None:
        await session.client.limits.remove(target)
        session.out.done(f"{said} has no limit", {"removed": target})
        return
    row = await session.client.limits.set(target, capacity)
    session.out.done(f"{said}: at most {capacity} at a time, {row.running} run now", row)


async def _target(session: Session, **named: Unpack[Named]) -> tuple[LimitTarget, str]:
    """What is meant, and how people call it."""
    given: dict[LimitScope, tuple[str, str]] = {}
    queue, kind, agent = named["queue"], named["kind"], named["agent"]
    repo, project = named["repo"], named["project"]
    if queue is not None:
        given[LimitScope.QUEUE] = queue, queue
    if kind is not None:
        given[LimitScope.WORKER_TYPE] = kind.value, kind.value
    if repo is not None:
        # A project only says which of several repositories is meant.
        found = await resolve.find_repository(session, repo, project)
        given[LimitScope.REPOSITORY] = str(found.id), found.name
    elif project is not None:
        given[LimitScope.PROJECT] = str(await resolve.project_id(session, project)), project
    if agent is not None:
        given[LimitScope.AGENT] = str(agent), str(agent)
    if len(given) > 1:
        raise TargetUnclear("Name one queue, type, project, repository or agent.")
    for scope, (key, called) in given.items():
        said = f"work of the {scope.value.replace('_', ' ')} {called}"
        return LimitTarget(scope=scope, key=key), said
    return LimitTarget(scope=LimitScope.FLEET), "work"


def _pause(session: Session, row: LimitOut) -> str:
    told = f"by {row.paused_by}, {session.out.age(row.paused_at)}"
    return f"{told}: {row.pause_reason}" if row.pause_reason else told


async def _names(session: Session, rows: list[LimitOut]) -> dict[tuple[LimitScope, str], str]:
    """How people call what is limited."""
    names: dict[tuple[LimitScope, str], str] = {}
    if any(row.scope is LimitScope.PROJECT for row in rows):
        for project in await resolve.collect(session.client.projects.list(), None):
            names[LimitScope.PROJECT, str(project.id)] = project.name
    if any(row.scope is LimitScope.REPOSITORY for row in rows):
        for repository in await resolve.collect(session.client.repositories.list(), None):
            names[LimitScope.REPOSITORY, str(repository.id)] = repository.name
    return {
        (row.scope, row.key): f"{row.scope.value.replace('_', ' ')} "
        f"{names.get((row.scope, row.key), row.key)}"
        for row in rows
    }
