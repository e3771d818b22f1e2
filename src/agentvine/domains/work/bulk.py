"""Commands on many orders at once: start many tasks, try many dead orders again."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, exists, select
from sqlalchemy.orm import aliased

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.identity import history
from agentvine.domains.projects import queries as projects
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.tasks import service as task_service
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.models import Task
from agentvine.domains.work.enums import OrderStatus
from agentvine.domains.work.models import WorkOrder
from agentvine.kit.actor import UserActor
from agentvine.kit.errors import AppError
from agentvine.kit.pagination import Page, PageRequest
from agentvine.protocol.queue import BulkItemIn, DeadOrdersIn

_DEAD = (OrderStatus.FAILED, OrderStatus.EXPIRED)

Outcome = Task | AppError


async def start_many(
    tx: Transaction, actor: UserActor, items: Sequence[BulkItemIn]
) -> list[Outcome]:
    """Make and start tasks; one that is refused leaves nothing behind, and stops no other."""
    return [await _start_one(tx, actor, item) for item in items]


async def _start_one(tx: Transaction, actor: UserActor, item: BulkItemIn) -> Outcome:
    try:
        async with tx.attempt():
            if item.create is not None:
                return await task_service.create_task(tx, actor, item.create)
            assert item.task_id is not None, "checked on the wire"
            task = await tasks.get_task_for_change(tx, actor, item.task_id)
            await task_service.start_task(tx, task)
            await tx.flush()
            await tx.refresh(task)
            return task
    except AppError as error:
        return error


async def retry_dead(tx: Transaction, actor: UserActor, wanted: DeadOrdersIn) -> list[Outcome]:
    """Try dead orders again, oldest first: each task gets a new order, with all its retries."""
    query = _dead(actor, wanted).order_by(WorkOrder.id).limit(wanted.limit)
    found = (await tx.scalars(query)).all()
    outcomes: list[Outcome] = []
    for order in found:
        try:
            async with tx.attempt():
                task = await tasks.get_task_for_change(tx, actor, order.task_id)
                await task_service.retry_task(tx, task)
                history.record(
                    tx,
                    "order.retried",
                    entity=("work_order", order.id),
                    project_id=task.project_id,
                    after={"task": f"T-{task.number}"},
                )
                await tx.flush()
                await tx.refresh(task)
                outcomes.append(task)
        except AppError as error:
            outcomes.append(error)
    return outcomes


async def list_dead(
    read: ReadSession, actor: UserActor, wanted: DeadOrdersIn, page: PageRequest
) -> Page[WorkOrder]:
    """Dead orders, newest first: the last orders of tasks that have failed."""
    return await fetch_page(read, _dead(actor, wanted), WorkOrder.id, page, newest_first=True)


def _dead(actor: UserActor, wanted: DeadOrdersIn) -> Select[WorkOrder]:
    later = aliased(WorkOrder)
    conditions: list[ColumnElement[bool]] = [
        WorkOrder.status.in_(_DEAD),
        Task.status == TaskStatus.FAILED,
        Task.deleted_at.is_(None),
        Task.project_id.in_(projects.visible_projects(actor)),
        ~exists().where(later.task_id == WorkOrder.task_id, later.id > WorkOrder.id),
    ]
    if wanted.project_id is not None:
        conditions.append(Task.project_id == wanted.project_id)
    if wanted.queue_name is not None:
        conditions.append(WorkOrder.queue_name == wanted.queue_name)
    if wanted.failure_class is not None:
        conditions.append(WorkOrder.last_failure_class == wanted.failure_class.value)
    if wanted.order_ids:
        conditions.append(WorkOrder.id.in_(wanted.order_ids))
    return select(WorkOrder).join(Task, Task.id == WorkOrder.task_id).where(*conditions)
