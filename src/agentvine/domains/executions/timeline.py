"""What happened to an attempt, step by step: one list from what is recorded anyway.

Three records are brought together: the history of its task and its order, the execution's own row,
and the steps that its worker reports among its log lines, which are stored once each and without a
gap. What happened before a task's first attempt belongs to that one, and what happened between two
attempts to the earlier: so the timelines of a task's attempts, one after the other, are its whole
history.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import and_, func, or_, select

from agentvine.db.session import ReadSession
from agentvine.domains.executions import log_store
from agentvine.domains.executions.enums import ExecutionStatus
from agentvine.domains.executions.models import Execution, ExecutionLog
from agentvine.domains.identity.models import AuditEvent
from agentvine.domains.workers.models import Worker
from agentvine.protocol.enums import FailureClass
from agentvine.protocol.executions import TimelineEventOut, TimelineOut, TimelineSource
from agentvine.protocol.queue import ExecutionReport

_MAX_ROWS = 2000
"""Of each record; nothing that goes well comes near it."""
_STEP = re.compile(r"[a-z][a-z_]{0,39}")
_NOT_FACTS = {"reason", "status"}
_PEOPLE = "user"

Entry = tuple[datetime, TimelineSource, str, str, dict[str, Any]]
"""When, who says so, the kind, in words, and facts."""


async def get_timeline(read: ReadSession, execution: Execution) -> TimelineOut:
    """All that happened to an attempt, in order. The caller has seen to who may look.

    A worker's clock only orders its own steps: they stand between the start and the end that the
    server has recorded, whatever the worker takes the time to be.
    """
    history = await _history(read, execution)
    steps = await _steps(read, execution)
    ended = execution.completed_at
    entries = [
        *(entry for entry in history if entry[0] < execution.started_at),
        await _claim(read, execution),
        *sorted(
            [*(each for each in history if _is_between(each[0], execution)), *steps],
            key=lambda entry: entry[0],
        ),
        *_end(execution),
        *(entry for entry in history if ended is not None and entry[0] >= ended),
    ]
    return TimelineOut(
        execution_id=execution.id,
        events=[
            TimelineEventOut(
                number=number, at=at, source=source, kind=kind, message=message, facts=facts
            )
            for number, (at, source, kind, message, facts) in enumerate(entries, 1)
        ],
        is_whole=ended is not None and await _has_all_steps(read, execution),
    )


async def _history(read: ReadSession, execution: Execution) -> list[Entry]:
    """What was done to the task, and to the order, from this attempt's beginning to the next's."""
    others = select(
        func.max(Execution.started_at).filter(Execution.started_at < execution.started_at),
        func.min(Execution.started_at).filter(Execution.started_at > execution.started_at),
    ).where(Execution.task_id == execution.task_id)
    bounds = (await read.execute(others)).one()
    earlier, later = cast("tuple[datetime | None, datetime | None]", bounds)
    whose = [("task", execution.task_id), ("work_order", execution.work_order_id)]
    query = (
        select(AuditEvent)
        .where(
            or_(
                *(
                    and_(AuditEvent.entity_type == kind, AuditEvent.entity_id == str(entity_id))
                    for kind, entity_id in whose
                )
            )
        )
        .order_by(AuditEvent.id)
        .limit(_MAX_ROWS)
    )
    if earlier is not None:
        query = query.where(AuditEvent.occurred_at >= execution.started_at)
    if later is not None:
        query = query.where(AuditEvent.occurred_at < later)
    return [_done(row) for row in await read.scalars(query)]


def _done(row: AuditEvent) -> Entry:
    after = row.after or {}
    source = TimelineSource.PERSON if row.actor_type == _PEOPLE else TimelineSource.SERVER
    facts = {name: value for name, value in after.items() if name not in _NOT_FACTS}
    if row.actor_label is not None:
        facts["by"] = row.actor_label
    return row.occurred_at, source, row.action, str(after.get("reason") or ""), facts


async def _claim(read: ReadSession, execution: Execution) -> Entry:
    name = await read.scalar(select(Worker.name).where(Worker.id == execution.worker_id))
    facts = {"attempt": execution.attempt, "worker": name, "fence": execution.fence}
    return (
        execution.started_at,
        TimelineSource.SERVER,
        "execution.claimed",
        f"Attempt {execution.attempt} began on {name}.",
        facts,
    )


async def _steps(read: ReadSession, execution: Execution) -> list[Entry]:
    query = (
        select(ExecutionLog)
        .where(ExecutionLog.execution_id == execution.id, ExecutionLog.stream == "system")
        .order_by(ExecutionLog.seq)
        .limit(_MAX_ROWS)
    )
    entries: list[Entry] = []
    latest = execution.started_at
    for line in await read.scalars(query):
        facts = dict(line.metadata_ or {})
        step = facts.pop("step", None)
        if not isinstance(step, str) or not _STEP.fullmatch(step):
            continue
        latest = max(latest, min(line.logged_at, execution.completed_at or line.logged_at))
        entries.append((latest, TimelineSource.WORKER, f"run.{step}", line.message, facts))
        if step == "started":
            entries += _first_output(execution, latest)
    return entries


def _first_output(execution: Execution, started: datetime) -> Iterable[Entry]:
    """Known from the report, as it costs no line of its own."""
    seconds = (execution.metrics or {}).get("first_output_seconds")
    if isinstance(seconds, int | float):
        at = min(started + timedelta(seconds=seconds), execution.completed_at or started)
        said = f"First output after {seconds:g} s."
        yield at, TimelineSource.WORKER, "run.first_output", said, {"seconds": seconds}


def _end(execution: Execution) -> Sequence[Entry]:
    if execution.completed_at is None:
        return []
    is_lost = execution.failure_class == FailureClass.LEASE_LOST.value
    kind = "lost" if is_lost else execution.status.value
    facts: dict[str, Any] = {"duration_seconds": execution.duration_seconds}
    if execution.failure_class is not None:
        facts["failure_class"] = execution.failure_class
    if execution.exit_code is not None:
        facts["exit_code"] = execution.exit_code
    report = ExecutionReport.model_validate(execution.report) if execution.report else None
    if report is not None and report.change is not None:
        facts["change"] = {
            "head_commit": report.change.head_commit,
            "files": len(report.change.files),
            "is_partial": report.change.is_partial,
        }
    message = execution.failure_message or ""
    return [(execution.completed_at, TimelineSource.SERVER, f"execution.{kind}", message, facts)]


async def _has_all_steps(read: ReadSession, execution: Execution) -> bool:
    if execution.report is None:
        # Nobody has told how many there are.
        return execution.status is not ExecutionStatus.RUNNING
    sent = ExecutionReport.model_validate(execution.report).log_high_water
    return await log_store.has_all_lines(
        read, execution.id, {name: count for name, count in sent.items() if name == "system"}
    )


def _is_between(at: datetime, execution: Execution) -> bool:
    ended = execution.completed_at
    return at >= execution.started_at and (ended is None or at < ended)
