"""Orders that wait for something outside the queue until a time: out of every claim's sight.

They stand in a line of which no claim knows, so that however many they are, no claim looks at them.
Who holds them up sees to it that they are let go.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, or_, select, update

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.agents.enums import AgentId
from agentvine.domains.projects.enums import ProjectId
from agentvine.domains.tasks.context import read_context
from agentvine.domains.tasks.models import Task
from agentvine.domains.work import limits
from agentvine.domains.work.enums import LimitId, OrderStatus
from agentvine.domains.work.limits import OrderPlace
from agentvine.domains.work.models import WorkOrder
from agentvine.domains.work.settling import CHANNEL

HELD = LimitId(0)
"""Their line. Ids of limits begin at 1."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What decides whether an order that waits is to be held up."""

    order_id: uuid.UUID
    runtime: str
    project_id: ProjectId
    agent_id: AgentId | None
    model: str | None
    """The one that its task names."""
    available_at: datetime
    is_held: bool


def waiting_of(order: WorkOrder, task: Task) -> Waiting | None:
    """An order that waits for a worker with a certain runtime."""
    if order.runtime is None or order.status is not OrderStatus.PENDING:
        return None
    return Waiting(
        order_id=order.id,
        runtime=order.runtime,
        project_id=task.project_id,
        agent_id=task.assigned_to_agent_id,
        model=read_context(task).run.model,
        available_at=order.available_at,
        is_held=order.line_id == HELD,
    )


async def list_waiting(
    read: ReadSession, runtimes: Collection[str], projects: Collection[uuid.UUID] | None
) -> list[uuid.UUID]:
    """Orders that wait for one of these runtimes, in some projects or in all; and all held ones."""
    wanted: ColumnElement[bool] = WorkOrder.runtime.in_(list(runtimes))
    if projects is not None:
        wanted = wanted & Task.project_id.in_(list(projects))
    query = (
        select(WorkOrder.id)
        .join(Task, Task.id == WorkOrder.task_id)
        .where(WorkOrder.status == OrderStatus.PENDING, or_(WorkOrder.line_id == HELD, wanted))
    )
    return list((await read.scalars(query)).all())


async def list_held(read: ReadSession) -> list[uuid.UUID]:
    """Orders that are held up."""
    return list((await read.scalars(select(WorkOrder.id).where(WorkOrder.line_id == HELD))).all())


async def read_waiting(read: ReadSession, ids: Sequence[uuid.UUID]) -> list[Waiting]:
    """Those of the orders that still wait."""
    query = (
        select(WorkOrder, Task)
        .join(Task, Task.id == WorkOrder.task_id)
        .where(WorkOrder.id.in_(ids))
    )
    rows = (await read.execute(query)).all()
    return [found for order, task in rows if (found := waiting_of(order, task)) is not None]


async def hold(tx: Transaction, ids: Sequence[uuid.UUID], until: datetime) -> int:
    """Hold up orders that wait, until a time. Returns how many still waited."""
    locked = [order.id for order, _ in await _lock(tx, ids)]
    await tx.execute(
        update(WorkOrder)
        .where(WorkOrder.id.in_(locked))
        .values(line_id=HELD, available_at=until)
        .execution_options(synchronize_session="fetch")
    )
    return len(locked)


async def let_go(tx: Transaction, ids: Sequence[uuid.UUID]) -> int:
    """Let held orders wait as others do, from now on or from their task's own time on."""
    rows = [row for row in await _lock(tx, ids) if row[0].line_id == HELD]
    lines: dict[OrderPlace, LimitId | None] = {}
    for order, task in rows:
        not_before = read_context(task).run.not_before
        place = limits.place_of(order.queue_name, order.worker_type, task)
        if place not in lines:  # most are of a few kinds
            lines[place] = await limits.line_of_place(tx, place)
        order.line_id = lines[place]
        order.available_at = max(tx.now, not_before) if not_before else tx.now
        tx.hint(CHANNEL, order.queue_name)
    await tx.flush()
    return len(rows)


async def _lock(tx: Transaction, ids: Sequence[uuid.UUID]) -> list[tuple[WorkOrder, Task]]:
    """Those of the orders that wait and that nobody else is at."""
    query = (
        select(WorkOrder, Task)
        .join(Task, Task.id == WorkOrder.task_id)
        .where(WorkOrder.id.in_(ids), WorkOrder.status == OrderStatus.PENDING)
        .with_for_update(of=WorkOrder, skip_locked=True, key_share=True)
        .execution_options(populate_existing=True)
    )
    return [(order, task) for order, task in (await tx.execute(query)).all()]
