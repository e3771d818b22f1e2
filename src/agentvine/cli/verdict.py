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
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def exit_code(self) -> int:
        """0 when everything went as it was asked to, 6 when a limit stopped it."""
        if self is Outcome.BUDGET_USED_UP:
            return 6
        return 1 if self in (Outcome.NOT_APPLIED, Outcome.FAILED, Outcome.CANCELLED) else 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of the wait for one task."""

    outcome: Outcome
    task: TaskOut
    modification: ModificationOut | None = None


def judge(
    task: TaskOut, modification: ModificationOut | None, *, is_budget_used_up: bool = False
) -> Verdict | None:
    """The verdict on a task and its newest change; None while it goes on by itself."""
    outcome = _outcome(task, modification)
    if task.status is TaskStatus.BLOCKED and is_budget_used_up:
        outcome = Outcome.BUDGET_USED_UP
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
