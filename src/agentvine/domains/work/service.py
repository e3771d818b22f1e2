"""Commands of the work slice that follow a task: into the queue, changed there, out of it.

The caller holds the task's lock, which comes before that of its order.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select, update

from agentvine.config.settings import QueueSettings
from agentvine.db.session import Transaction
from agentvine.domains.identity import history
from agentvine.domains.projects.models import Repository
from agentvine.domains.tasks.context import read_context
from agentvine.domains.tasks.models import Task
from agentvine.domains.tasks.ranking import rank_of
from agentvine.domains.work import limits, store
from agentvine.domains.work.branches import branch_name_for
from agentvine.domains.work.capabilities import intern_requirements
from agentvine.domains.work.enums import OrderStatus
from agentvine.domains.work.errors import OrderClaimed
from agentvine.domains.work.models import WorkOrder
from agentvine.domains.work.settling import CHANNEL, ended
from agentvine.domains.workers.service import NEWS
from agentvine.kit.ids import new_id
from agentvine.protocol.queue import OrderPayload, RepositorySource
from agentvine.protocol.runs import (
    OrderedLimits,
    OrderedSandbox,
    OrderedWatch,
    OrderedWorkspace,
    RunLimits,
    tightest,
)
from agentvine.protocol.tasks import TaskRun

_OPEN = (OrderStatus.PENDING, OrderStatus.CLAIMED)


async def enqueue_task(
    tx: Transaction, task: Task, repository: Repository, settings: QueueSettings
) -> WorkOrder:
    """Put a task into its queue, in the transaction that made it ready."""
    run = read_context(task).run
    payload = _payload(task, repository)
    order = WorkOrder(
        id=new_id(),
        task_id=task.id,
        queue_name=run.queue_name,
        status=OrderStatus.PENDING,
        payload=payload.model_dump(mode="json"),
        priority=task.priority,
        rank=rank_of(_waits_from(run, tx.now).timestamp(), task.priority, settings),
        worker_type=task.task_type,
        runtime=run.runtime,
        required_capabilities={name: level.value for name, level in run.capabilities.items()},
        capability_set_id=await intern_requirements(tx, run.capabilities),
        max_retries=run.max_retries,
        timeout_seconds=run.timeout_seconds,
        enqueued_at=tx.now,
        # By the clock that claims compare it with: an application's may run ahead.
        available_at=run.not_before or tx.dialect.now_sql(),
        expires_at=_expiry(run, tx.now),
        line_id=await limits.line_of_place(
            tx, limits.place_of(run.queue_name, task.task_type, task)
        ),
    )
    tx.add(order)
    history.announce(
        tx,
        "order.enqueued",
        entity=("work_order", order.id),
        project_id=task.project_id,
        payload={"task_id": str(task.id), "queue": run.queue_name},
    )
    tx.hint(CHANNEL, run.queue_name)
    await tx.flush()
    return order


async def refresh_waiting_order(
    tx: Transaction, task: Task, repository: Repository, settings: QueueSettings
) -> None:
    """Let a waiting order follow an edit of its task; a claimed one is left alone."""
    for order in await open_orders(tx, task.id):
        run = read_context(task).run
        since = _waits_from(run, order.enqueued_at)
        await store.withdraw(
            tx,
            order.id,
            {
                "payload": _payload(task, repository).model_dump(mode="json"),
                "priority": task.priority,
                "rank": rank_of(since.timestamp(), task.priority, settings),
                # The back-off of a retry stands, and so does a wait for a limit or an answer.
                "available_at": order.available_at if _has_failed(order) else since,
                "expires_at": _expiry(run, order.enqueued_at),
                "queue_name": run.queue_name,
                "line_id": await limits.line_of_place(
                    tx, limits.place_of(run.queue_name, order.worker_type, task)
                ),
                "runtime": run.runtime,
                "required_capabilities": {
                    name: level.value for name, level in run.capabilities.items()
                },
                "capability_set_id": await intern_requirements(tx, run.capabilities),
                "max_retries": run.max_retries,
                "timeout_seconds": run.timeout_seconds,
            },
        )
        tx.hint(CHANNEL, run.queue_name)


async def withdraw_orders(tx: Transaction, task: Task, reason: str) -> None:
    """Take a task's waiting order out of the queue.

    Raises:
        OrderClaimed: A worker has it already.
    """
    for order in await open_orders(tx, task.id):
        if await store.withdraw(tx, order.id, ended(tx, reason)) is None:
            raise OrderClaimed(f"A worker claimed T-{task.number} just now.")


async def request_cancel(tx: Transaction, task: Task, reason: str) -> None:
    """End a waiting order; the worker of a claimed one is told to beat, and hears of it then."""
    for order in await open_orders(tx, task.id):
        if await store.withdraw(tx, order.id, ended(tx, reason)) is None:
            await tx.execute(
                update(WorkOrder)
                .where(WorkOrder.id == order.id, WorkOrder.status == OrderStatus.CLAIMED)
                .values(cancel_requested_at=tx.now)
                .execution_options(synchronize_session=False)
            )
            tx.hint(NEWS, str(order.worker_id))


async def open_orders(tx: Transaction, task_id: uuid.UUID) -> Sequence[WorkOrder]:
    """A task's orders that are not over: none or one."""
    query = (
        select(WorkOrder)
        .where(WorkOrder.task_id == task_id, WorkOrder.status.in_(_OPEN))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return (await tx.scalars(query)).all()


def _has_failed(order: WorkOrder) -> bool:
    return bool(order.retry_count) or order.last_failure_class is not None


def _waits_from(run: TaskRun, enqueued_at: datetime) -> datetime:
    """Since when an order waits: it ages from the moment at which it may begin."""
    return max(run.not_before, enqueued_at) if run.not_before else enqueued_at


def _expiry(run: TaskRun, enqueued_at: datetime) -> datetime | None:
    if run.expires_in_seconds is None:
        return None
    return _waits_from(run, enqueued_at) + timedelta(seconds=run.expires_in_seconds)


def _payload(task: Task, repository: Repository) -> OrderPayload:
    run = read_context(task).run
    return OrderPayload(
        task_id=task.id,
        task_ref=f"T-{task.number}",
        title=task.title,
        description=task.description,
        task_type=task.task_type,
        repository=RepositorySource(
            id=repository.id,
            name=repository.name,
            path=repository.path,
            git_url=repository.git_url,
        ),
        target_branch=task.branch_name or repository.default_branch,
        branch_name=branch_name_for(task.number, task.title),
        runtime=run.runtime,
        command=run.command,
        test_command=run.test_command or repository.test_command,
        timeout_seconds=run.timeout_seconds,
        test_timeout_seconds=run.test_timeout_seconds,
        limits=OrderedLimits(
            **tightest(run.limits, RunLimits(**repository.limits)).model_dump(),
        ),
        sandbox=OrderedSandbox(**repository.sandbox) if repository.sandbox is not None else None,
        watch=OrderedWatch(**run.watch.model_dump()),
        workspace=OrderedWorkspace(**repository.workspace),
        wants_answer=run.wants_answer,
    )
