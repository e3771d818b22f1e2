"""What ``agentvine order`` does."""

import uuid
from collections.abc import Sequence

from agentvine.cli import resolve
from agentvine.cli.actions.controls import message_line
from agentvine.cli.formats import fmt_count, fmt_duration
from agentvine.cli.output import Column
from agentvine.cli.session import Session
from agentvine.kit.errors import Invalid, NotFound
from agentvine.protocol.controls import RunMessageOut
from agentvine.protocol.enums import FailureClass, OrderStatus
from agentvine.protocol.queue import DeadOrdersIn, QueueStatusOut, WorkOrderOut


async def list_orders(
    session: Session,
    *,
    status: OrderStatus | None,
    queue: str | None,
    task: str | None,
    project: str | None,
    limit: int | None,
) -> None:
    """Work orders."""
    of_task = await resolve.task_id(session, task, project) if task else None
    listing = session.client.queue.orders(
        status=[status] if status else (), queue_name=queue, task_id=of_task
    )
    rows = await resolve.collect(listing, limit)
    is_shown = not session.out.as_json
    refs = await resolve.task_names(session, [row.task_id for row in rows]) if is_shown else {}
    columns = [
        Column[WorkOrderOut]("task", lambda row: refs.get(row.task_id, str(row.task_id))),
        Column[WorkOrderOut]("status", lambda row: row.status.value),
        Column[WorkOrderOut]("queue", lambda row: row.queue_name),
        Column[WorkOrderOut]("priority", lambda row: row.priority.value),
        Column[WorkOrderOut]("tries", lambda row: f"{row.retry_count}/{row.max_retries}"),
        Column[WorkOrderOut]("queued", lambda row: row.enqueued_at),
        Column[WorkOrderOut]("claimed", lambda row: row.claimed_at),
        Column[WorkOrderOut]("id", lambda row: row.id),
    ]
    session.out.table(rows, columns, nothing="There are no work orders.")


async def show(session: Session, *, name: uuid.UUID) -> None:
    """One work order."""
    row = await session.client.queue.order(name)
    said: Sequence[RunMessageOut] = ()
    if not session.out.as_json:
        said = await session.client.queue.messages(name)
    session.out.record(
        row,
        [
            ("order", row.id),
            ("task", row.task_id),
            ("status", row.status.value),
            ("queue", row.queue_name),
            ("priority", row.priority.value),
            ("takes", row.worker_type),
            ("runtime", row.runtime),
            ("needs", [f"{skill}:{level}" for skill, level in row.required_capabilities.items()]),
            ("retries", f"{row.retry_count} of {row.max_retries}"),
            ("fence", row.fence),
            ("worker", row.worker_id),
            ("execution", row.execution_id),
            ("error", row.error_message),
            ("queued", row.enqueued_at),
            ("due", row.available_at),
            ("claimed", row.claimed_at),
            ("lease ends", row.lease_expires_at),
            ("paused", row.paused_since),
            ("to pause", None if row.paused_since else row.pausing_since),
            ("messages", "\n".join(message_line(message) for message in said)),
            ("finished", row.completed_at),
        ],
    )


STATUS_COLUMNS = [
    Column[QueueStatusOut]("queue", lambda row: row.queue_name),
    Column[QueueStatusOut]("pending", lambda row: row.pending),
    Column[QueueStatusOut]("delayed", lambda row: row.delayed),
    Column[QueueStatusOut]("claimed", lambda row: row.claimed),
    Column[QueueStatusOut]("oldest", lambda row: fmt_duration(row.oldest_pending_seconds)),
]


async def status(session: Session) -> None:
    """The queues' numbers."""
    rows = await session.client.queue.status()
    session.out.table(rows, STATUS_COLUMNS, nothing="Nothing is queued.")


async def why(session: Session, *, name: str, project: str | None) -> None:
    """Why a task does not run."""
    given = resolve.as_uuid(name)
    if given is None:
        found = await session.client.queue.why_task(await resolve.task_id(session, name, project))
    else:
        try:
            found = await session.client.queue.why(given)
        except NotFound:
            # It may be a task's id; if it is neither, the task's error says so.
            found = await session.client.queue.why_task(given)
    if session.out.as_json:
        session.out.data(found)
        return
    session.out.line(f"{found.task_ref} is {found.task_status.value}")
    for reason in found.reasons:
        session.out.line(f"  {reason.message}")
    if found.is_ready and not found.ahead:
        session.out.line("  nothing is in its way: the next worker that asks gets it")


async def dead(
    session: Session,
    *,
    project: str | None,
    queue: str | None,
    failure: FailureClass | None,
    limit: int | None,
) -> None:
    """Dead orders."""
    within = await resolve.project_id(session, project) if project else None
    listing = session.client.queue.dead(project_id=within, queue_name=queue, failure_class=failure)
    rows = await resolve.collect(listing, limit)
    is_shown = not session.out.as_json
    refs = await resolve.task_names(session, [row.task_id for row in rows]) if is_shown else {}
    columns = [
        Column[WorkOrderOut]("task", lambda row: refs.get(row.task_id, str(row.task_id))),
        Column[WorkOrderOut]("queue", lambda row: row.queue_name),
        Column[WorkOrderOut]("failure", lambda row: row.last_failure_class or row.status.value),
        Column[WorkOrderOut]("tries", lambda row: f"{row.retry_count}/{row.max_retries}"),
        Column[WorkOrderOut]("ended", lambda row: row.completed_at),
        Column[WorkOrderOut]("error", lambda row: (row.error_message or "")[:60]),
        Column[WorkOrderOut]("id", lambda row: row.id),
    ]
    session.out.table(rows, columns, nothing="There are no dead orders.")


async def retry(
    session: Session,
    *,
    names: Sequence[uuid.UUID],
    project: str | None,
    queue: str | None,
    failure: FailureClass | None,
    is_all: bool,
    limit: int | None,
) -> int:
    """Try dead orders again."""
    if not (names or project or queue or failure or is_all):
        raise Invalid("Name orders, or say which: --project, --queue, --failure or --all.")
    wanted: dict[str, object] = {
        "project_id": await resolve.project_id(session, project) if project else None,
        "queue_name": queue,
        "failure_class": failure,
        "order_ids": list(names) or None,
        "limit": limit,
    }
    body = DeadOrdersIn.model_validate({k: v for k, v in wanted.items() if v is not None})
    found = await session.client.queue.retry_dead(body)
    for item in found.items:
        if item.error is not None:
            session.out.note(item.error.detail)
    session.out.done(f"{fmt_count(found.queued, 'task')} tried again", found)
    return 1 if found.refused else 0
