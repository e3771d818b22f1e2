"""What comes next in a team run, from what the rows say alone."""

from dataclasses import replace
from typing import Any

import pytest

from agentvine.domains.tasks.enums import PermissionLevel, TaskStatus
from agentvine.domains.team.arrows import Act, Next, RunFacts, StepFacts, find_next
from agentvine.domains.team.enums import TeamRole, TeamRunStatus, VerdictOutcome

S, R, T = TeamRunStatus, TeamRole, TaskStatus


def step(role: TeamRole, round_: int = 0, number: int = 1, **facts: Any) -> StepFacts:
    values = {"ref": "T-1", "status": T.COMPLETED, **facts}
    return StepFacts(role=role, round=round_, number=number, **values)


PLANNED = step(R.ARCHITECT, is_answered=True)
BUILT = step(R.CODER)
GREEN = step(R.TESTER, is_answered=True, outcome=VerdictOutcome.PASS)
RED = replace(GREEN, outcome=VerdictOutcome.FAIL)
GOOD = step(R.REVIEWER, is_answered=True, outcome=VerdictOutcome.APPROVE)
BAD = replace(GOOD, outcome=VerdictOutcome.CHANGES_REQUESTED)
MERGED = step(R.DELIVERER)
CONFLICT = step(R.CODER, status=T.REVIEW, apply_problem="a.py conflicts", has_conflict=True)


def facts(*steps: StepFacts, **more: Any) -> RunFacts:
    values = {
        "has_plan": True,
        "is_approved": True,
        "has_branch": True,
        "max_rounds": 2,
        "round": 0,
    }
    values |= {"level": PermissionLevel.SUPERVISED, **more}
    return RunFacts(steps=steps, **values)


def at(found: Next) -> tuple[TeamRunStatus, Act | None, TeamRole | None]:
    return found.status, found.act, found.role


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (facts(has_plan=False), (S.PLANNING, Act.BEGIN, R.ARCHITECT)),
        (
            facts(step(R.ARCHITECT, status=T.IN_PROGRESS), has_plan=False),
            (S.PLANNING, None, None),
        ),
        (facts(step(R.ARCHITECT), has_plan=False), (S.PLANNING, Act.TAKE, R.ARCHITECT)),
        (
            facts(step(R.ARCHITECT, status=None, by_model=True), has_plan=False),
            (S.PLANNING, Act.ASK, R.ARCHITECT),
        ),
        (facts(PLANNED, is_approved=False), (S.AWAITING_APPROVAL, Act.ASK_PERSON, None)),
        (facts(PLANNED, is_approved=False, is_asked=True), (S.AWAITING_APPROVAL, None, None)),
        (
            facts(PLANNED, is_approved=False, is_asked=True, is_allowed=True),
            (S.AWAITING_APPROVAL, Act.HEAR, None),
        ),
        (
            facts(PLANNED, is_approved=False, is_asked=True, refusal="ada: no"),
            (S.CANCELLED, None, None),
        ),
        (
            facts(PLANNED, is_approved=False, level=PermissionLevel.AUTONOMOUS, has_branch=False),
            (S.BUILDING, Act.MAKE_BRANCH, None),
        ),
        (facts(PLANNED), (S.BUILDING, Act.ACCEPT, R.CODER)),
        (facts(PLANNED, step(R.CODER, status=T.QUEUED)), (S.BUILDING, None, None)),
        (
            facts(PLANNED, step(R.CODER, status=T.REVIEW, has_pending_change=True)),
            (S.BUILDING, Act.APPROVE, R.CODER),
        ),
        (facts(PLANNED, step(R.CODER, status=T.REVIEW)), (S.BUILDING, None, None)),
        (
            facts(PLANNED, step(R.CODER, status=T.REVIEW, apply_problem="a.py conflicts")),
            (S.WAITING, None, None),
        ),
        (
            facts(
                PLANNED,
                step(R.CODER, status=T.REVIEW, has_pending_change=True, is_elsewhere=True),
            ),
            (S.WAITING, None, None),
        ),
        (facts(PLANNED, CONFLICT), (S.BUILDING, Act.REDO, R.CODER)),
        (facts(PLANNED, replace(CONFLICT, turned_down=1)), (S.BUILDING, Act.REDO, R.CODER)),
        (facts(PLANNED, replace(CONFLICT, turned_down=2)), (S.WAITING, None, None)),
        (facts(PLANNED, CONFLICT, max_rounds=0), (S.WAITING, None, None)),
        (facts(PLANNED, CONFLICT, has_money=False), (S.WAITING, None, None)),
        (facts(PLANNED, BUILT, step(R.CODER, number=2, status=T.FAILED)), (S.WAITING, None, None)),
        (facts(PLANNED, BUILT), (S.TESTING, Act.BEGIN, R.TESTER)),
        (facts(PLANNED, BUILT, RED), (S.BUILDING, Act.NEXT_ROUND, None)),
        (facts(PLANNED, BUILT, RED, round=1), (S.BUILDING, Act.BEGIN, R.CODER)),
        (facts(PLANNED, BUILT, GREEN), (S.REVIEWING, Act.BEGIN, R.REVIEWER)),
        (facts(PLANNED, BUILT, GREEN, BAD), (S.BUILDING, Act.NEXT_ROUND, None)),
        (facts(PLANNED, BUILT, GREEN, BAD, max_rounds=0), (S.WAITING, None, None)),
        (
            facts(PLANNED, BUILT, GREEN, BAD, max_rounds=0, is_overruled=True),
            (S.DELIVERING, Act.BEGIN, R.DELIVERER),
        ),
        (facts(PLANNED, BUILT, GREEN, GOOD), (S.DELIVERING, Act.BEGIN, R.DELIVERER)),
        (
            facts(PLANNED, BUILT, GREEN, GOOD, step(R.DELIVERER, status=T.REVIEW)),
            (S.DELIVERING, None, None),
        ),
        (
            facts(
                *(PLANNED, BUILT, GREEN, GOOD),
                step(R.DELIVERER, status=T.REVIEW, apply_problem="a.py conflicts"),
            ),
            (S.WAITING, None, None),
        ),
        (facts(PLANNED, BUILT, GREEN, GOOD, MERGED), (S.COMPLETED, Act.REMOVE_BRANCH, None)),
        (facts(PLANNED, BUILT, has_money=False), (S.WAITING, None, None)),
        (facts(PLANNED, step(R.CODER, ref="", status=None)), (S.FAILED, None, None)),
    ],
)
def test_each_arrow_follows_from_the_rows(
    run: RunFacts, expected: tuple[TeamRunStatus, Act | None, TeamRole | None]
):
    assert at(find_next(run)) == expected


def test_an_answer_that_is_not_taken_is_asked_for_once_more_and_then_the_run_has_failed():
    refused = replace(GREEN, outcome=None, problem="outcome: is missing")
    again = find_next(facts(PLANNED, BUILT, refused))
    assert (at(again), again.number) == ((S.TESTING, Act.BEGIN, R.TESTER), 2)

    twice = find_next(facts(PLANNED, BUILT, refused, replace(refused, number=2)))
    assert twice.status is S.FAILED
    assert "outcome: is missing" in (twice.reason or "")


def test_the_level_that_asks_a_person_about_everything_asks_about_each_change():
    waiting = step(R.CODER, status=T.REVIEW, has_pending_change=True)
    found = find_next(facts(PLANNED, waiting, level=PermissionLevel.HUMAN_REQUIRED))
    assert at(found) == (S.WAITING, None, None)
    assert "T-1" in (found.reason or "")


def test_what_was_said_of_an_earlier_round_does_not_count_for_the_next():
    after = [step(R.CODER, 1), replace(GREEN, round=1)]
    found = find_next(facts(PLANNED, BUILT, RED, *after, round=1))
    assert at(found) == (S.REVIEWING, Act.BEGIN, R.REVIEWER)


def test_only_a_change_that_waits_for_a_person_is_told_while_the_whole_is_delivered():
    given = (PLANNED, BUILT, GREEN, GOOD)
    asks = step(R.DELIVERER, status=T.REVIEW, has_pending_change=True)
    assert "your approval" in (find_next(facts(*given, asks)).reason or "")
    # Being applied is nobody's business.
    assert find_next(facts(*given, step(R.DELIVERER, status=T.REVIEW))).reason is None
