"""What ``agentvine execution`` and ``agentvine logs`` do."""

import asyncio
import json
import uuid
from collections import deque
from collections.abc import AsyncIterator

import click

from agentvine.cli import resolve
from agentvine.cli.finds import Finds
from agentvine.cli.formats import fmt_bytes, fmt_count, fmt_duration, fmt_took
from agentvine.cli.output import Column, printable
from agentvine.cli.session import Session
from agentvine.kit.errors import Invalid
from agentvine.protocol.attempts import AttemptOut, AttemptTests
from agentvine.protocol.executions import DETAIL_STREAMS, ExecutionOut, LogLineOut, TimelineEventOut

_LINES = 1000
_LOOK_SECONDS = 0.5


async def list_executions(
    session: Session, *, task: str | None, project: str | None, limit: int | None
) -> None:
    """Attempts."""
    of_task = await resolve.task_id(session, task, project) if task else None
    rows = await resolve.collect(session.client.executions.list(task_id=of_task), limit)
    is_shown = not session.out.as_json
    refs = await resolve.task_names(session, [row.task_id for row in rows]) if is_shown else {}
    columns = [
        Column[ExecutionOut]("task", lambda row: refs.get(row.task_id, str(row.task_id))),
        Column[ExecutionOut]("attempt", lambda row: row.attempt),
        Column[ExecutionOut]("status", lambda row: row.status.value),
        Column[ExecutionOut]("runtime", lambda row: row.runtime),
        Column[ExecutionOut]("took", lambda row: fmt_took(row.started_at, row.completed_at)),
        Column[ExecutionOut]("began", lambda row: row.started_at),
        Column[ExecutionOut]("id", lambda row: row.id),
    ]
    session.out.table(rows, columns, nothing="Nothing has been attempted yet.")


async def show(session: Session, *, name: str, project: str | None) -> None:
    """One attempt."""
    row = await resolve.find_execution(session, name, project)
    figures = await session.client.executions.figures(row.id)
    session.out.record(
        row,
        [
            ("execution", row.id),
            ("task", row.task_id),
            ("attempt", row.attempt),
            ("status", f"{row.status.value} ({row.phase.value})"),
            ("runtime", row.runtime),
            ("model", row.model),
            ("exit code", row.exit_code),
            ("failure", row.failure_class),
            ("reason", row.failure_message),
            ("tests", _tests(figures.tests) or None),
            ("processor", _known(fmt_duration(figures.cpu_seconds))),
            ("memory", _known(fmt_bytes(figures.peak_memory_bytes))),
            ("tokens", _tokens(figures) or None),
            ("cost", f"${figures.cost_usd:.2f}" if figures.model_calls else None),
            ("began", row.started_at),
            ("took", fmt_took(row.started_at, row.completed_at)),
            ("worker", row.worker_id),
        ],
    )


async def attempts(session: Session, *, name: str, project: str | None) -> None:
    """The attempts at a task beside each other."""
    task = await resolve.task_id(session, name, project)
    rows = await resolve.collect(session.client.executions.attempts(task))
    columns = [
        Column[AttemptOut]("attempt", lambda row: row.attempt),
        Column[AttemptOut]("status", lambda row: row.failure_class or row.status.value),
        Column[AttemptOut]("worker", lambda row: row.worker_name),
        Column[AttemptOut]("took", lambda row: fmt_took(row.started_at, row.completed_at)),
        Column[AttemptOut]("cpu", lambda row: fmt_duration(row.cpu_seconds)),
        Column[AttemptOut]("memory", lambda row: fmt_bytes(row.peak_memory_bytes)),
        Column[AttemptOut]("tokens", _tokens),
        Column[AttemptOut]("cost", lambda row: f"${row.cost_usd:.2f}"),
        Column[AttemptOut]("change", _change),
        Column[AttemptOut]("tests", lambda row: _tests(row.tests)),
        Column[AttemptOut]("kept as", lambda row: row.change and row.change.rescue_ref),
        Column[AttemptOut]("reason", lambda row: printable(row.failure_message or "")[:80]),
    ]
    session.out.table(rows, columns, nothing="Nothing has been attempted yet.")


def _known(text: str) -> str | None:
    return None if text == "-" else text


def _tokens(row: AttemptOut) -> str:
    return f"{row.tokens_in:,} in, {row.tokens_out:,} out" if row.model_calls else ""


def _change(row: AttemptOut) -> str:
    change = row.change
    if change is None:
        return ""
    return f"{fmt_count(change.files, 'file')}, +{change.added_lines} -{change.removed_lines}"


def _tests(tests: AttemptTests | None) -> str:
    if tests is None:
        return ""
    if tests.total is None:
        return "passed" if tests.passed else "failed"
    bad = (tests.failures or 0) + (tests.errors or 0)
    return f"{tests.total - bad - (tests.skipped or 0)} passed, {bad} failed"


async def timeline(session: Session, *, name: str, is_all: bool, project: str | None) -> None:
    """What happened to an attempt, or to all attempts of its task."""
    latest = await resolve.find_execution(session, name, project)
    attempts = [latest]
    if is_all:
        of_task = session.client.executions.list(task_id=latest.task_id)
        attempts = (await resolve.collect(of_task))[::-1]
    lists = [await session.client.executions.timeline(each.id) for each in attempts]
    if session.out.as_json:
        session.out.data(lists if is_all else lists[0])
        return
    columns = [
        Column[TimelineEventOut]("time", lambda event: event.at.astimezone().strftime("%H:%M:%S")),
        Column[TimelineEventOut]("after", lambda event: fmt_took(events[0].at, event.at)),
        Column[TimelineEventOut]("who", lambda event: event.facts.get("by") or event.source.value),
        Column[TimelineEventOut]("what", lambda event: event.kind),
        Column[TimelineEventOut]("", lambda event: printable(event.message)),
    ]
    events = [event for each in lists for event in each.events]
    session.out.table(events, columns, nothing="Nothing has happened yet.")


async def logs(
    session: Session,
    *,
    name: str,
    follow: bool,
    after: int,
    tail: int | None,
    stream: str | None,
    search: str | None,
    context: int,
    project: str | None,
) -> None:
    """What an attempt printed. Machines get one JSON document per line."""
    if search is not None and (follow or tail or after):
        raise Invalid("--search looks through a whole log: leave out --follow, --after and --tail.")
    execution = await _execution(session, name, project, wait=follow)
    if search is not None:
        listing = session.client.executions.search(
            search, execution_id=execution.id, stream=stream, context=context
        )
        finds = Finds(session)
        async for match in resolve.every(listing):
            finds.show(match)
        _end(session, finds)
        return
    if tail is not None:
        last = deque([line async for line in _stored(session, execution.id, after, stream)], tail)
        for line in last:
            _print(session, line)
        after = last[-1].id if last else after
    elif not follow:
        async for line in _stored(session, execution.id, after, stream):
            _print(session, line)
    if follow:
        await _follow(session, execution.id, after, stream)


async def search(
    session: Session,
    *,
    text: str,
    task: str | None,
    project: str | None,
    stream: str | None,
    context: int,
    limit: int | None,
) -> None:
    """Lines of many attempts' logs. Machines get one JSON document per line."""
    listing = session.client.executions.search(
        text,
        task_id=await resolve.task_id(session, task, project) if task else None,
        project_id=await resolve.project_id(session, project) if project and not task else None,
        stream=stream,
        context=context,
    )
    refs: dict[uuid.UUID, str] = {}
    finds = Finds(session)
    async for match in resolve.every(listing):
        if match.task_id not in refs:
            refs[match.task_id] = (await session.client.tasks.get(match.task_id)).ref
        finds.show(match, f"{refs[match.task_id]}, attempt {match.attempt}: ")
        if finds.count == limit:
            break
    _end(session, finds)


def _end(session: Session, finds: Finds) -> None:
    finds.end()
    if not finds.count:
        session.out.note("No line holds it.")


async def _execution(
    session: Session, name: str, project: str | None, *, wait: bool
) -> ExecutionOut:
    """The attempt that is meant; when following, a queued task's first one is waited for."""
    while True:
        try:
            return await resolve.find_execution(session, name, project)
        except resolve.NameUnknown:
            task = await resolve.find_task(session, name, project)
            if not wait or task.completed_at is not None:
                raise
        await asyncio.sleep(_LOOK_SECONDS)


async def _follow(session: Session, execution: uuid.UUID, after: int, stream: str | None) -> None:
    async for item in session.client.executions.tail(execution, after=after):
        if isinstance(item, ExecutionOut):
            why = f": {item.failure_message}" if item.failure_message else ""
            session.out.note(
                f"[{item.status.value}, {fmt_took(item.started_at, item.completed_at)}{why}]"
            )
        elif _is_wanted(item, stream):
            _print(session, item)


async def _stored(
    session: Session, execution: uuid.UUID, after: int, stream: str | None
) -> AsyncIterator[LogLineOut]:
    while True:
        page = await session.client.executions.logs(
            execution, after=after, limit=_LINES, stream=stream
        )
        for line in page.items:
            after = line.id
            if _is_wanted(line, stream):
                yield line
        if page.next_cursor is None:
            return


def _is_wanted(line: LogLineOut, stream: str | None) -> bool:
    return line.stream == stream if stream else line.stream not in DETAIL_STREAMS


def _print(session: Session, line: LogLineOut) -> None:
    if session.out.as_json:
        click.echo(json.dumps(line.model_dump(mode="json")))
        return
    # Terminal codes of a program we only report on must not move the reader's cursor.
    click.echo(printable(line.message), err=line.stream == "stderr")
