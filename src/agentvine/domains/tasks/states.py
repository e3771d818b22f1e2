"""Where a task may go from where it stands: one table, and the one function that moves it."""

from agentvine.db.session import Transaction
from agentvine.domains.identity import history
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.errors import InvalidTransition
from agentvine.domains.tasks.models import Task

_S = TaskStatus

ALLOWED: dict[TaskStatus, frozenset[TaskStatus]] = {
    _S.PENDING: frozenset({_S.BLOCKED, _S.QUEUED, _S.CANCELLED}),
    _S.BLOCKED: frozenset({_S.PENDING, _S.QUEUED, _S.CANCELLED}),
    # Back to pending when a person must be asked after all.
    _S.QUEUED: frozenset({_S.IN_PROGRESS, _S.PENDING, _S.BLOCKED, _S.FAILED, _S.CANCELLED}),
    _S.IN_PROGRESS: frozenset(
        {_S.TESTING, _S.REVIEW, _S.COMPLETED, _S.QUEUED, _S.BLOCKED, _S.FAILED, _S.CANCELLED}
    ),
    _S.TESTING: frozenset(
        {_S.IN_PROGRESS, _S.REVIEW, _S.COMPLETED, _S.QUEUED, _S.BLOCKED, _S.FAILED, _S.CANCELLED}
    ),
    _S.REVIEW: frozenset({_S.COMPLETED, _S.FAILED, _S.CANCELLED, _S.PENDING}),
    # A finished task can only be tried again, by a person; a new work order is made for that.
    _S.COMPLETED: frozenset(),
    _S.FAILED: frozenset({_S.PENDING}),
    _S.CANCELLED: frozenset({_S.PENDING}),
}

FINAL = frozenset({_S.COMPLETED, _S.FAILED, _S.CANCELLED})
RUNNING = frozenset({_S.IN_PROGRESS, _S.TESTING})
HELD = frozenset({_S.PENDING, _S.BLOCKED})


def is_final(status: TaskStatus) -> bool:
    """Whether only a person can move the task on."""
    return status in FINAL


def set_status(tx: Transaction, task: Task, to: TaskStatus, *, reason: str | None = None) -> None:
    """Move a task, stamp its times and write its history. Staying where it is changes the reason.

    Raises:
        InvalidTransition: The table does not allow it.
    """
    origin = task.status
    if to is origin:
        task.status_reason = reason
        return
    if to not in ALLOWED[origin]:
        raise InvalidTransition(
            f"T-{task.number} is {origin}; from there it cannot become {to}.",
            current_status=origin.value,
            allowed=sorted(status.value for status in ALLOWED[origin]),
        )
    task.status = to
    task.status_reason = reason
    if to is not _S.BLOCKED:
        task.waits_for_files_since = None
    if to is _S.IN_PROGRESS and task.started_at is None:
        task.started_at = tx.now
    task.completed_at = tx.now if to in FINAL else None
    history.record(
        tx,
        f"task.{to.value}",
        entity=("task", task.id),
        project_id=task.project_id,
        before={"status": origin.value},
        after={"status": to.value, "reason": reason},
    )
