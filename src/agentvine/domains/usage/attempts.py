"""The attempts at a task beside each other: how each ended, what it took, and what it came to."""

import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession
from agentvine.domains.executions.models import ChangeBundle, Execution
from agentvine.domains.usage import queries
from agentvine.domains.usage.models import TokenUsage
from agentvine.domains.workers.models import Worker
from agentvine.kit.pagination import Page, PageRequest
from agentvine.protocol.attempts import AttemptChange, AttemptOut, AttemptTests
from agentvine.protocol.queue import ChangeReport, ExecutionReport


async def list_attempts(
    read: ReadSession, task_id: uuid.UUID, page: PageRequest
) -> Page[AttemptOut]:
    """A task's attempts, oldest first. The caller has seen to who may look."""
    query = select(Execution).where(Execution.task_id == task_id)
    found = await fetch_page(read, query, Execution.id, page)
    return Page(await in_figures(read, found.items), found.next_cursor)


async def in_figures(read: ReadSession, executions: Sequence[Execution]) -> list[AttemptOut]:
    """Attempts with what is known of them elsewhere: workers, commits and model calls."""
    ids = [execution.id for execution in executions]
    if not ids:
        return []
    workers = select(Worker.id, Worker.name).where(
        Worker.id.in_({execution.worker_id for execution in executions})
    )
    names = {row.id: row.name for row in await read.execute(workers)}
    bundles = select(ChangeBundle.execution_id, ChangeBundle.imported_ref).where(
        ChangeBundle.execution_id.in_(ids)
    )
    refs = {row.execution_id: row.imported_ref for row in await read.execute(bundles)}
    used = queries.sums(TokenUsage.execution_id.in_(ids), TokenUsage.execution_id)
    usage = {row.execution_id: row for row in await read.execute(used)}
    return [
        _in_figures(each, names[each.worker_id], refs.get(each.id), usage.get(each.id))
        for each in executions
    ]


def _in_figures(
    execution: Execution, worker: str, rescue_ref: str | None, usage: Any
) -> AttemptOut:
    report = ExecutionReport.model_validate(execution.report) if execution.report else None
    metrics = execution.metrics or {}
    ended = execution.completed_at
    wall = (ended - execution.started_at).total_seconds() if ended is not None else None
    peak = metrics.get("peak_memory_bytes")
    return AttemptOut(
        execution_id=execution.id,
        task_id=execution.task_id,
        attempt=execution.attempt,
        status=execution.status,
        failure_class=execution.failure_class,
        failure_message=execution.failure_message,
        worker_id=execution.worker_id,
        worker_name=worker,
        runtime=execution.runtime,
        model=execution.model,
        exit_code=execution.exit_code,
        started_at=execution.started_at,
        completed_at=ended,
        wall_seconds=wall,
        prepare_seconds=_number(metrics, "prepare_seconds"),
        run_seconds=_number(metrics, "duration_seconds"),
        test_seconds=_number(metrics, "test_seconds"),
        cpu_seconds=_number(metrics, "cpu_seconds"),
        peak_memory_bytes=peak if isinstance(peak, int) else None,
        model_calls=usage.calls if usage else 0,
        tokens_in=usage.tokens_in if usage else 0,
        tokens_out=usage.tokens_out if usage else 0,
        cost_usd=usage.cost_usd if usage else Decimal(0),
        tests=AttemptTests.model_validate(report.tests) if report and report.tests else None,
        change=_change(report.change, rescue_ref) if report and report.change else None,
    )


def _change(change: ChangeReport, rescue_ref: str | None) -> AttemptChange:
    return AttemptChange(
        head_commit=change.head_commit,
        files=len(change.files),
        added_lines=sum(file.added_lines for file in change.files),
        removed_lines=sum(file.removed_lines for file in change.files),
        is_partial=change.is_partial,
        rescue_ref=rescue_ref,
    )


def _number(metrics: dict[str, Any], name: str) -> float | None:
    """A worker's figure; metrics may hold anything."""
    value = metrics.get(name)
    return float(value) if isinstance(value, int | float) else None
