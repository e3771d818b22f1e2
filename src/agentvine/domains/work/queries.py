"""Reads of the work slice."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import defer

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession
from agentvine.domains.projects import queries as projects
from agentvine.domains.tasks.enums import TaskId
from agentvine.domains.tasks.models import Task
from agentvine.domains.work.enums import OrderStatus
from agentvine.domains.work.errors import LeaseLost, OrderNotFound
from agentvine.domains.work.models import ClaimOutcome, WorkerAssignment, WorkOrder
from agentvine.domains.workers.models import Worker
from agentvine.kit.actor import Actor, WorkerActor
from agentvine.kit.pagination import Page, PageRequest
from agentvine.protocol.queue import QueueStatusOut


async def get_order(read: ReadSession, actor: Actor, order_id: uuid.UUID) -> WorkOrder:
    """An order of a project the actor may see.

    Raises:
        OrderNotFound: There is none, or it is not theirs to see.
    """
    order = await read.scalar(
        select(WorkOrder)
        .join(Task, Task.id == WorkOrder.task_id)
        .where(WorkOrder.id == order_id, Task.project_id.in_(projects.visible_projects(actor)))
    )
    if order is None:
        raise OrderNotFound(f"You can see no work order with the id {order_id}.")
    return order


async def task_of_claim(
    read: ReadSession, actor: WorkerActor, order_id: uuid.UUID, fence: int
) -> TaskId:
    """The task of a claim, which must be, or have been, this token's.

    Who only knows an order's id cannot report about it, nor guess the fence of the next claim.

    Raises:
        LeaseLost: No worker of this token made that claim, or it has claimed the order again since.
    """
    task_id = await find_task_of_claim(read, actor, order_id, fence)
    if task_id is None:
        raise LeaseLost("No worker of this token holds that order by this fence.")
    return task_id


async def find_task_of_claim(
    read: ReadSession, actor: WorkerActor, order_id: uuid.UUID, fence: int
) -> TaskId | None:
    """The same, or None."""
    return await read.scalar(
        select(WorkOrder.task_id)
        .join(WorkerAssignment, WorkerAssignment.work_order_id == WorkOrder.id)
        .join(Worker, Worker.id == WorkerAssignment.worker_id)
        .where(
            WorkOrder.id == order_id,
            WorkerAssignment.fence == fence,
            Worker.token_id == actor.token_id,
        )
    )


async def check_is_held(
    read: ReadSession, order_id: uuid.UUID, fence: int, execution_id: uuid.UUID
) -> None:
    """See that a claim still stands, and is the one of that attempt; its task is locked.

    Raises:
        LeaseLost: It does not.
    """
    status = await read.scalar(
        select(WorkOrder.status).where(
            WorkOrder.id == order_id,
            WorkOrder.fence == fence,
            WorkOrder.execution_id == execution_id,
        )
    )
    if status is not OrderStatus.CLAIMED:
        raise LeaseLost("Stop this run and discard it: the order was taken back, or has ended.")


async def find_outcome(
    read: ReadSession, actor: WorkerActor, order_id: uuid.UUID, fence: int
) -> ClaimOutcome | None:
    """How a claim of this token ended without completing its order; None when it did not."""
    return await read.scalar(
        select(ClaimOutcome)
        .join(Worker, Worker.id == ClaimOutcome.worker_id)
        .where(
            ClaimOutcome.work_order_id == order_id,
            ClaimOutcome.fence == fence,
            Worker.token_id == actor.token_id,
        )
    )


async def list_orders(
    read: ReadSession,
    actor: Actor,
    page: PageRequest,
    *,
    task_id: uuid.UUID | None = None,
    queue_name: str | None = None,
    statuses: Sequence[OrderStatus] = (),
) -> Page[WorkOrder]:
    """The orders the actor may see, newest first."""
    query = (
        select(WorkOrder)
        .join(Task, Task.id == WorkOrder.task_id)
        .where(Task.project_id.in_(projects.visible_projects(actor)))
        .options(defer(WorkOrder.payload, raiseload=True), defer(WorkOrder.result, raiseload=True))
    )
    if task_id is not None:
        query = query.where(WorkOrder.task_id == task_id)
    if queue_name is not None:
        query = query.where(WorkOrder.queue_name == queue_name)
    if statuses:
        query = query.where(WorkOrder.status.in_(statuses))
    return await fetch_page(read, query, WorkOrder.id, page, newest_first=True)


async def queue_status(read: ReadSession, actor: Actor) -> list[QueueStatusOut]:
    """Numbers for each queue that has open orders the actor may see."""
    now = read.dialect.now_sql()
    is_due = (WorkOrder.status == OrderStatus.PENDING) & (WorkOrder.available_at <= now)
    is_delayed = (WorkOrder.status == OrderStatus.PENDING) & (WorkOrder.available_at > now)
    query = (
        select(
            WorkOrder.queue_name,
            func.sum(case((is_due, 1), else_=0)),
            func.sum(case((is_delayed, 1), else_=0)),
            func.sum(case((WorkOrder.status == OrderStatus.CLAIMED, 1), else_=0)),
            read.dialect.seconds_between(func.min(case((is_due, WorkOrder.available_at))), now),
        )
        .join(Task, Task.id == WorkOrder.task_id)
        .where(
            WorkOrder.status.in_([OrderStatus.PENDING, OrderStatus.CLAIMED]),
            Task.project_id.in_(projects.visible_projects(actor)),
        )
        .group_by(WorkOrder.queue_name)
        .order_by(WorkOrder.queue_name)
    )
    return [_status_out(row) for row in (await read.execute(query)).all()]


def _status_out(row: Any) -> QueueStatusOut:
    name, due, delayed, claimed, age = row
    return QueueStatusOut(
        queue_name=name,
        pending=int(due),
        delayed=int(delayed),
        claimed=int(claimed),
        # Where nothing is due, nothing has waited.
        oldest_pending_seconds=None if age is None else float(age),
    )
