"""When a task of a plan ends: somebody looks whether the plan is done."""

from agentvine.db.session import Transaction
from agentvine.domains.planning.service import CHANNEL
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.events import TaskFinished


async def on_task_finished(tx: Transaction, event: TaskFinished) -> None:
    """Wake the chore. Not done here: plans are locked before their tasks, which hold locks now."""
    if event.task.plan_id is not None and event.task.status is TaskStatus.COMPLETED:
        tx.hint(CHANNEL, str(event.task.plan_id))
