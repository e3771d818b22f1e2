"""Orders whose last run has asked something, and ended until the answer is there.

Such an order is pending, and due so late that only an answer, which makes it due at once, lets it
run. The caller holds the task's lock, as do those who answer and those who report: so an answer
either finds the order waiting, or the report finds the answer.
"""

from sqlalchemy import select, update

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.conversations import questions
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.models import Task
from agentvine.domains.tasks.states import set_status
from agentvine.domains.work.enums import OrderStatus
from agentvine.domains.work.models import WorkOrder
from agentvine.protocol.enums import FailureClass

_CLASS = FailureClass.WAITING_FOR_ANSWER
_CHANNEL = "orders"


async def is_answered(read: ReadSession, order: WorkOrder, failure_class: FailureClass) -> bool:
    """Whether a run that ended to wait has its answer already."""
    if failure_class is not _CLASS or order.execution_id is None:
        return False
    return not await questions.has_open(read, order.execution_id)


async def find_waiting(read: ReadSession, task: Task) -> WorkOrder | None:
    """The task's order that waits for an answer."""
    return await read.scalar(
        select(WorkOrder).where(
            WorkOrder.task_id == task.id,
            WorkOrder.status == OrderStatus.PENDING,
            WorkOrder.last_failure_class == _CLASS.value,
        )
    )


async def release_waiting(tx: Transaction, task: Task) -> None:
    """Let the task's order run again, once nothing that its run asked is open."""
    order = await find_waiting(tx, task)
    if order is None or not await is_answered(tx, order, _CLASS):
        return
    await tx.execute(
        update(WorkOrder)
        .where(WorkOrder.id == order.id, WorkOrder.status == OrderStatus.PENDING)
        .values(available_at=tx.dialect.now_sql())
        .execution_options(synchronize_session=False)
    )
    if task.status is TaskStatus.QUEUED:
        set_status(tx, task, TaskStatus.QUEUED, reason="has its answer, and waits for a worker")
    tx.hint(_CHANNEL, order.queue_name)
