"""When a watched task needs no more watching, and what that means for who waits."""

from dataclasses import dataclass
from enum import StrEnum

from agentvine.protocol.enums import ModificationStatus, TaskStatus
from agentvine.protocol.modifications import ModificationOut
from agentvine.protocol.tasks import TaskOut


class Outcome(StrEnum):
    """How the wait ended."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    """Done, and there was nothing to change."""
    REVIEW = "review"
    """A person must approve the change."""
    NOT_APPLIED = "not_applied"
    """Approved, but it could not be merged."""
    NOT_STARTED = "not_started"
    """A person must say go."""
    BUDGET_USED_UP = "budget_used_up"
    """It goes on when there is more to spend."""
    BLOCKED = "blocked"
    """It goes on when somebody has put something right."""
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def exit_code(self) -> int:
        """0 when everything went as it was asked to, 6 when a limit stopped it."""
        if self is Outcome.BUDGET_USED_UP:
            return 6
        return 0 if self in _WELL else 1


_WELL = (Outcome.APPLIED, Outcome.UNCHANGED, Outcome.REVIEW, Outcome.NOT_STARTED)
_OF_A_BLOCK = {"budget_used_up": Outcome.BUDGET_USED_UP, "task_blocked": Outcome.BLOCKED}
"""By the code of the reason why it does not run; others pass by themselves."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of the wait for one task."""

    outcome: Outcome
    task: TaskOut
    modification: ModificationOut | None = None


def judge(
    task: TaskOut, modification: ModificationOut | None, *, blocked_by: str | None = None
) -> Verdict | None:
    """The verdict on a task and its newest change; None while it goes on by itself.

    Args:
        task: The task.
        modification: Its newest change.
        blocked_by: The code of the reason why it is blocked.
    """
    if task.status is TaskStatus.BLOCKED and blocked_by is not None:
        outcome = _OF_A_BLOCK.get(blocked_by)
    else:
        outcome = _outcome(task, modification)
    return Verdict(outcome, task, modification) if outcome else None


def _outcome(task: TaskOut, modification: ModificationOut | None) -> Outcome | None:
    match task.status:
        case TaskStatus.COMPLETED:
            is_applied = (
                modification is not None and modification.status is ModificationStatus.APPLIED
            )
            return Outcome.APPLIED if is_applied else Outcome.UNCHANGED
        case TaskStatus.FAILED:
            return Outcome.FAILED
        case TaskStatus.CANCELLED:
            return Outcome.CANCELLED
        case TaskStatus.REVIEW if modification is not None:
            return _outcome_of_review(modification)
        case TaskStatus.PENDING if task.status_reason:
            return Outcome.NOT_STARTED
        case _:
            return None


def _outcome_of_review(modification: ModificationOut) -> Outcome | None:
    if modification.status is ModificationStatus.PENDING:
        return Outcome.REVIEW
    if modification.status is not ModificationStatus.APPROVED:
        # Its task follows in the same transaction: what we hold was read a moment earlier.
        return None
    if modification.apply_requested_at is not None:
        return None
    return Outcome.NOT_APPLIED if modification.failure_message else Outcome.REVIEW
