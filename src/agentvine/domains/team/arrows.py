"""What comes next in a team run: one function of what the rows say, and nothing else.

    goal -> architect -> plan -> (approval) -> branch -> coders -> tester -> reviewer -> merge
                                                  ^                  | red      | rejected
                                                  +---- next round --+----------+

Nothing is remembered between two looks, so a look may come at any time, twice, or after a death.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from agentvine.domains.tasks.enums import PermissionLevel, TaskStatus
from agentvine.domains.team.enums import TeamRole, TeamRunStatus, VerdictOutcome

MAX_ANSWERS = 2
"""An answer that does not validate is asked for once more, with the reason."""


class Act(StrEnum):
    """What is to be done."""

    BEGIN = "begin"
    """A step of a role, in the current round."""
    ASK = "ask"
    """A model, for an open step."""
    TAKE = "take"
    """The answer that a step's run has left."""
    MAKE_BRANCH = "make_branch"
    ACCEPT = "accept"
    """The plan: its steps become tasks."""
    ASK_PERSON = "ask_person"
    """Whether the plan is good: a question for their inbox."""
    HEAR = "hear"
    """That the answer to it was yes."""
    APPROVE = "approve"
    """A coder's change, into the team's own branch."""
    REDO = "redo"
    """A coder's change that conflicts with others in that branch: from there as it is now."""
    NEXT_ROUND = "next_round"
    REMOVE_BRANCH = "remove_branch"
    """The team's own, which is merged; then the run is completed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFacts:
    """A step, as far as it matters."""

    role: TeamRole
    round: int
    number: int
    by_model: bool = False
    ref: str = ""
    """Of its task; empty where it is gone."""
    status: TaskStatus | None = None
    reason: str | None = None
    """Why its task is where it is."""
    is_answered: bool = False
    problem: str | None = None
    outcome: VerdictOutcome | None = None
    has_pending_change: bool = False
    is_elsewhere: bool = False
    """Whether its change is for another branch than the team's: a task that a person has made."""
    apply_problem: str | None = None
    """Why its approved change is not in its branch."""
    has_conflict: bool = False
    """Whether that is so because others have changed the same."""
    turned_down: int = 0
    """How many changes of its task were not taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A team run, as far as it matters."""

    level: PermissionLevel
    round: int
    max_rounds: int
    has_plan: bool = False
    is_approved: bool = False
    is_asked: bool = False
    """Whether people find the plan in their inbox."""
    is_allowed: bool = False
    """Whether somebody has answered yes there."""
    refusal: str | None = None
    """Who has answered no there, and why."""
    has_branch: bool = False
    is_overruled: bool = False
    has_money: bool = True
    steps: Sequence[StepFacts] = ()

    def of(self, role: TeamRole, round_: int) -> list[StepFacts]:
        """The steps of a role in a round, in their order."""
        found = [step for step in self.steps if (step.role, step.round) == (role, round_)]
        return sorted(found, key=lambda step: step.number)


@dataclass(frozen=True, slots=True)
class Next:
    """Where the run stands, and what is to be done; nothing where others are at work."""

    status: TeamRunStatus
    reason: str | None = None
    act: Act | None = None
    role: TeamRole | None = None
    number: int = 1
    """Of the step to begin, or that is meant."""
    verdict: VerdictOutcome | None = None
    """What a person may overrule, or let them try again."""


_S, _R = TeamRunStatus, TeamRole
_ENDED_BADLY = {TaskStatus.FAILED, TaskStatus.CANCELLED}
_GOOD = {VerdictOutcome.PASS, VerdictOutcome.APPROVE}


def find_next(run: RunFacts) -> Next:
    """What comes next."""
    found = _to_plan(run) or _to_code(run) or _to_verdict(run) or _to_delivery(run)
    spends = found.act in {Act.BEGIN, Act.ASK, Act.ACCEPT, Act.NEXT_ROUND, Act.REDO}
    if spends and found.role is not _R.DELIVERER and not run.has_money:
        return Next(
            _S.WAITING, "its budget is used up; `agentvine team approve --budget` gives more"
        )
    return found


def _to_plan(run: RunFacts) -> Next | None:
    if not run.has_plan:
        return _answer_of(run, _R.ARCHITECT, 0, _S.PLANNING) or Next(
            _S.FAILED, "its plan was deleted"
        )
    if run.level is PermissionLevel.AUTONOMOUS or run.is_approved:
        return None
    if run.refusal is not None:
        return Next(_S.CANCELLED, f"its plan was refused by {run.refusal}")
    act = Act.HEAR if run.is_allowed else None if run.is_asked else Act.ASK_PERSON
    return Next(_S.AWAITING_APPROVAL, "its plan waits for `agentvine team approve`", act)


def _to_code(run: RunFacts) -> Next | None:
    if not run.has_branch:
        return Next(_S.BUILDING, act=Act.MAKE_BRANCH)
    coders = run.of(_R.CODER, run.round)
    if not coders:
        act = Act.BEGIN if run.round else Act.ACCEPT
        return Next(_S.BUILDING, act=act, role=_R.CODER)
    are_done = all(step.status is TaskStatus.COMPLETED for step in coders)
    return _of_changes(run, coders) or _stuck(coders) or (None if are_done else Next(_S.BUILDING))


def _of_changes(run: RunFacts, coders: Sequence[StepFacts]) -> Next | None:
    for step in coders:
        if step.status is TaskStatus.REVIEW and step.has_pending_change:
            # A person who wants to be asked about everything is asked about this, too.
            if run.level is not PermissionLevel.HUMAN_REQUIRED and not step.is_elsewhere:
                return Next(_S.BUILDING, act=Act.APPROVE, role=_R.CODER, number=step.number)
            return Next(_S.WAITING, f"the change of {step.ref} waits for your approval")
        if step.has_conflict and step.turned_down < run.max_rounds:
            return Next(_S.BUILDING, act=Act.REDO, role=_R.CODER, number=step.number)
        if step.apply_problem is not None:
            return Next(_S.WAITING, f"the change of {step.ref} is not merged: {step.apply_problem}")
    return None


def _to_verdict(run: RunFacts) -> Next | None:
    if run.is_overruled:
        return None
    for role, status in ((_R.TESTER, _S.TESTING), (_R.REVIEWER, _S.REVIEWING)):
        if (found := _answer_of(run, role, run.round, status)) is not None:
            return found
        last = run.of(role, run.round)[-1]
        if last.outcome not in _GOOD:
            return _send_back(run, last)
    return None


def _send_back(run: RunFacts, last: StepFacts) -> Next:
    if run.round < run.max_rounds:
        return Next(_S.BUILDING, act=Act.NEXT_ROUND)
    return Next(
        _S.WAITING,
        f"the {last.role.value} says no after {run.round} rounds of rework; `agentvine team "
        "approve --rounds N` lets them go on, `--as-it-is` delivers what is there",
        verdict=last.outcome,
    )


def _to_delivery(run: RunFacts) -> Next:
    steps = run.of(_R.DELIVERER, run.round)
    if not steps:
        return Next(_S.DELIVERING, act=Act.BEGIN, role=_R.DELIVERER)
    if (stuck := _stuck(steps)) is not None:
        return stuck
    last = steps[-1]
    if last.status is TaskStatus.COMPLETED:
        return Next(_S.COMPLETED, last.reason, Act.REMOVE_BRANCH)
    if last.apply_problem is not None:
        return Next(_S.WAITING, f"the change of {last.ref} is not merged: {last.apply_problem}")
    asks = f"the change of {last.ref} waits for your approval" if last.has_pending_change else None
    return Next(_S.DELIVERING, asks)


def _answer_of(run: RunFacts, role: TeamRole, round_: int, status: TeamRunStatus) -> Next | None:
    """What is to be done to get a role's answer; None when it is there."""
    steps = run.of(role, round_)
    if not steps:
        return Next(status, act=Act.BEGIN, role=role)
    last = steps[-1]
    if last.problem is not None:
        if len(steps) < MAX_ANSWERS:
            return Next(status, act=Act.BEGIN, role=role, number=last.number + 1)
        return Next(_S.FAILED, f"the {role.value} gave no usable answer: {last.problem}")
    if last.is_answered:
        return None
    if last.by_model or last.status is TaskStatus.COMPLETED:
        act = Act.ASK if last.by_model else Act.TAKE
        return Next(status, act=act, role=role, number=last.number)
    return _stuck([last]) or Next(status)


def _stuck(steps: Sequence[StepFacts]) -> Next | None:
    for step in steps:
        if step.status is None:
            return Next(_S.FAILED, f"a task of the {step.role.value}'s was deleted")
        if step.status in _ENDED_BADLY:
            return Next(
                _S.WAITING,
                f"{step.ref} is {step.status.value} ({step.reason or 'nobody said why'}): "
                f"`agentvine task retry {step.ref}`, or `agentvine team cancel`",
            )
    return None
