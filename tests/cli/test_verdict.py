"""When the wait for a task is over, and with which exit code."""

from datetime import UTC, datetime
from typing import Any

import pytest

from agentvine.cli.verdict import Outcome, judge
from agentvine.kit.ids import new_id
from agentvine.protocol.enums import ModificationStatus as M
from agentvine.protocol.enums import TaskStatus as T
from agentvine.protocol.modifications import ModificationOut
from agentvine.protocol.tasks import TaskOut

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def task(status: T, reason: str | None = None) -> TaskOut:
    fields: dict[str, Any] = dict.fromkeys(TaskOut.model_fields)
    return TaskOut.model_construct(**fields | {"status": status, "status_reason": reason})


def change(status: M, **more: Any) -> ModificationOut:
    fields: dict[str, Any] = dict.fromkeys(ModificationOut.model_fields)
    return ModificationOut.model_construct(**fields | {"id": new_id(), "status": status} | more)


@pytest.mark.parametrize("status", [T.QUEUED, T.IN_PROGRESS, T.TESTING, T.BLOCKED, T.PENDING])
def test_what_goes_on_by_itself_is_waited_for(status: T):
    assert judge(task(status), None) is None


@pytest.mark.parametrize(
    ("state", "modification", "outcome", "exit_code"),
    [
        (task(T.COMPLETED), change(M.APPLIED), Outcome.APPLIED, 0),
        (task(T.COMPLETED), None, Outcome.UNCHANGED, 0),
        (task(T.FAILED, "tests failed"), change(M.FAILED), Outcome.FAILED, 1),
        (task(T.FAILED, "rejected"), change(M.REJECTED), Outcome.FAILED, 1),
        (task(T.CANCELLED), None, Outcome.CANCELLED, 1),
        (task(T.REVIEW), change(M.PENDING), Outcome.REVIEW, 0),
        (task(T.REVIEW), change(M.APPROVED), Outcome.REVIEW, 0),
        (
            task(T.REVIEW),
            change(M.APPROVED, failure_message="a.py conflicts"),
            Outcome.NOT_APPLIED,
            1,
        ),
        (task(T.PENDING, "waits for somebody to start it"), None, Outcome.NOT_STARTED, 0),
    ],
)
def test_the_end_of_the_wait(
    state: TaskOut, modification: ModificationOut | None, outcome: Outcome, exit_code: int
):
    verdict = judge(state, modification)

    assert verdict is not None
    assert (verdict.outcome, verdict.outcome.exit_code) == (outcome, exit_code)


def test_a_change_that_is_being_applied_is_waited_for():
    assert judge(task(T.REVIEW), change(M.APPROVED, apply_requested_at=NOW)) is None


def test_a_review_whose_change_was_not_read_yet_is_waited_for():
    assert judge(task(T.REVIEW), None) is None
    assert judge(task(T.REVIEW), change(M.APPLIED)) is None


@pytest.mark.parametrize(
    ("blocked_by", "outcome", "exit_code"),
    [
        ("budget_used_up", Outcome.BUDGET_USED_UP, 6),
        ("task_blocked", Outcome.BLOCKED, 1),
    ],
)
def test_a_task_that_needs_somebody_is_not_waited_for(
    blocked_by: str, outcome: Outcome, exit_code: int
):
    verdict = judge(task(T.BLOCKED), None, blocked_by=blocked_by)

    assert verdict is not None
    assert (verdict.outcome, verdict.outcome.exit_code) == (outcome, exit_code)
    assert judge(task(T.IN_PROGRESS), None, blocked_by=blocked_by) is None, "it goes on again"


@pytest.mark.parametrize("blocked_by", ["dependencies", "files"])
def test_what_others_hold_back_is_waited_for(blocked_by: str):
    assert judge(task(T.BLOCKED), None, blocked_by=blocked_by) is None
