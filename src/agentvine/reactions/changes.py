"""When a change is applied, cannot be applied, or is turned down: its task follows.

And the other way round: a cancelled task takes its open changes along.
"""

from agentvine.db.session import Transaction
from agentvine.domains.executions.events import ChangeSeen
from agentvine.domains.modifications import queries
from agentvine.domains.modifications import service as modifications
from agentvine.domains.modifications.events import (
    ChangeApplied,
    ChangeNotApplicable,
    ChangeRejected,
)
from agentvine.domains.modifications.models import Modification
from agentvine.domains.tasks import files
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.tasks import service as task_service
from agentvine.domains.tasks.context import read_context, write_context
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.events import TaskCancelRequested
from agentvine.domains.tasks.models import Task
from agentvine.domains.tasks.states import set_status


async def on_change_seen(tx: Transaction, event: ChangeSeen) -> None:
    """A change that was reported before its commits could be looked at is described now."""
    modification = await queries.lock_change_of(tx, event.execution_id)
    if modification is not None and modifications.is_unseen(modification):
        modifications.show_findings(modification, event.findings)
        await learn_files(tx, modification)


async def learn_files(tx: Transaction, modification: Modification | None) -> None:
    """The task's next attempt is likely to change the same files as this one."""
    if modification is None or modifications.is_unseen(modification):
        return
    if modification.task_id is not None:
        task = await tasks.lock_task(tx, modification.task_id)
        await files.learn_files(tx, task, modifications.touched_paths(modification))


async def on_change_applied(tx: Transaction, event: ChangeApplied) -> None:
    """The task is done."""
    task = await _task_in_review(tx, event.modification)
    if task is not None:
        await task_service.finish_task(
            tx, task, TaskStatus.COMPLETED, reason=f"merged into {event.modification.target_branch}"
        )


async def on_change_not_applicable(tx: Transaction, event: ChangeNotApplicable) -> None:
    """The task stays in review and says what is in the way."""
    task = await _task_in_review(tx, event.modification)
    if task is not None:
        set_status(tx, task, TaskStatus.REVIEW, reason=f"could not be applied: {event.reason}")


async def on_change_rejected(tx: Transaction, event: ChangeRejected) -> None:
    """The task has failed; it can be tried again, and whoever does hears why."""
    task = await _task_in_review(tx, event.modification)
    if task is not None:
        heard = {"why_rejected": event.reason or None}
        write_context(task, read_context(task).model_copy(update=heard))
        reason = "the change was rejected" + (f": {event.reason}" if event.reason else "")
        await task_service.finish_task(tx, task, TaskStatus.FAILED, reason=reason)


async def on_task_cancel_requested(tx: Transaction, event: TaskCancelRequested) -> None:
    """A change that waits for approval, or to be applied, is not wanted any more."""
    await modifications.turn_down_open_changes(
        tx, event.task.id, reason=f"its task was cancelled: {event.reason}"
    )


async def _task_in_review(tx: Transaction, modification: Modification) -> Task | None:
    if modification.task_id is None:
        return None
    task = await tasks.lock_task(tx, modification.task_id)
    return task if task.status is TaskStatus.REVIEW else None
