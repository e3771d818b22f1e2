"""What the roles are told: the texts of their tasks, and of questions to models."""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from agentvine.domains.plans.queries import Content
from agentvine.domains.team.enums import TeamRole, VerdictOutcome
from agentvine.domains.team.models import TeamRun, TeamVerdict
from agentvine.protocol.plans import PlanStep
from agentvine.protocol.queue import ANSWER_FILE
from agentvine.protocol.team import ArchitectAnswer, ReviewVerdict, TestVerdict

Answer = ArchitectAnswer | TestVerdict | ReviewVerdict
SHAPES: dict[TeamRole, type[Answer]] = {
    TeamRole.ARCHITECT: ArchitectAnswer,
    TeamRole.TESTER: TestVerdict,
    TeamRole.REVIEWER: ReviewVerdict,
}
"""What each of them answers with."""

_WORK = {
    TeamRole.ARCHITECT: (
        "Plan how this goal is reached in this repository. Read what you need, change nothing. "
        "Make steps that are small enough for one change each, with what each of them depends on, "
        "the files that it touches and when it is done. Later steps see what earlier ones did."
    ),
    TeamRole.TESTER: (
        "Find out whether this goal is reached, and whether anything else is broken: run the "
        "project's tests, and whatever shows it. You are on the branch that holds the team's work. "
        "Judge what is there; do not mend it. Say pass, or fail with each fault, its file and line."
    ),
    TeamRole.REVIEWER: (
        "Review what the team has done for this goal, as its last reviewer: is it right, complete, "
        "no more than was wanted, and in the style of the code around it? Say approve, or "
        "changes_requested with each point, its file and line, and how much it matters."
    ),
}
_TITLES = {
    TeamRole.ARCHITECT: "Plan",
    TeamRole.CODER: "Rework",
    TeamRole.TESTER: "Test",
    TeamRole.REVIEWER: "Review",
    TeamRole.DELIVERER: "Merge",
}
_MAX_TITLE = 300
_ANEW = "## Once more"
_MAX_CONFLICTS = 20


def goal_line(run: TeamRun) -> str:
    """The first line of the goal."""
    return run.goal.strip().splitlines()[0]


def title_of(run: TeamRun, role: TeamRole) -> str:
    """Of the task of a role."""
    again = f" (round {run.round})" if run.round else ""
    return f"{_TITLES[role]}{again}: {goal_line(run)}"[:_MAX_TITLE]


def work_of(run: TeamRun, role: TeamRole, problem: str | None) -> str:
    """What a role that answers is to do, without how."""
    parts = [_WORK[role], f"## The goal\n\n{run.goal.strip()}"]
    if role is TeamRole.REVIEWER and run.base_commit:
        parts.append(f"What was done is `git diff {run.base_commit}..HEAD`.")
    if problem:
        parts.append(f"An earlier answer was not taken: {problem}")
    return "\n\n".join(parts)


def answering(run: TeamRun, role: TeamRole, problem: str | None) -> str:
    """The description of the task of a role that answers: with the shape of its answer."""
    return f"{work_of(run, role, problem)}\n\n{_how_to_answer(SHAPES[role])}"


def rework(run: TeamRun, verdict: TeamVerdict) -> str:
    """The description of the task of a coder who is sent back."""
    found = [_finding(each) for each in verdict.findings]
    said = verdict.outcome.value.replace("_", " ")
    parts = [
        f"The {verdict.role.value} says {said}. See to each point, and change nothing else.",
        verdict.summary,
        "\n".join(found),
        f"## The goal of the whole\n\n{run.goal.strip()}",
    ]
    return "\n\n".join(part for part in parts if part)


def conflict(run: TeamRun, files: Sequence[str]) -> str:
    """Why a coder's change is not taken."""
    shown = ", ".join(files[:_MAX_CONFLICTS])
    more = f" and {len(files) - _MAX_CONFLICTS} more" if len(files) > _MAX_CONFLICTS else ""
    return (
        f"its change conflicts with what others have merged into {run.branch_name}: {shown}{more}"
    )


def anew(description: str | None, reason: str) -> str:
    """The description of a task that begins anew; what was said of an earlier try is left out."""
    wanted = (description or "").partition(_ANEW)[0].strip()
    how = (
        f"{_ANEW}\n\nThis was done before, but {reason}. You begin from that branch as it is now: "
        "look at what is there first, keep it, and do what is asked above so that both hold."
    )
    return f"{wanted}\n\n{how}".strip()


def plan_question(run: TeamRun, content: Content) -> str:
    """What people are asked about a plan: with its steps."""
    steps = content.steps.steps if content.steps is not None else []
    listed = "\n".join(map(_step, steps))
    return f"May the team go ahead with this plan?\n\nGoal: {run.goal.strip()}\n\n{listed}"


def verdict_line(verdict: TeamVerdict) -> str:
    """A verdict as it is told in the conversation."""
    return _judged(verdict.role, verdict.outcome, verdict.summary, verdict.findings)


def said_line(role: TeamRole, answer: Answer | None, problem: str) -> str:
    """What a model has answered, for the message that carries its cost."""
    if answer is None:
        return f"{role.value}: no usable answer. {problem}".strip()
    if isinstance(answer, ArchitectAnswer):
        listed = "\n".join(f"- {step.key}: {step.title}" for step in answer.steps)
        return f"{role.value}: {answer.feature_plan.goal}\n{listed}"
    findings = [each.model_dump(mode="json") for each in answer.findings]
    return _judged(role, answer.outcome, answer.summary, findings)


def _judged(
    role: TeamRole, outcome: VerdictOutcome, summary: str, findings: list[dict[str, Any]]
) -> str:
    said = f"{role.value}: {outcome.value.replace('_', ' ')}"
    return "\n".join([f"{said}. {summary}".strip(), *map(_finding, findings)])


def merge_command(run: TeamRun) -> str:
    """What brings the team's branch into a work tree of the target branch."""
    who = "-c user.name=AgentVine -c user.email=agentvine@localhost"
    return (
        f"git {who} merge --no-ff --no-edit refs/remotes/origin/{run.branch_name}"
        " && git log -1 --format='merged as %H'"
    )


def _step(step: PlanStep) -> str:
    after = f" (after {', '.join(step.depends_on)})" if step.depends_on else ""
    files = f": {', '.join(step.files)}" if step.files else ""
    return f"- {step.key}{after}: {step.title}{files}"


def _finding(each: dict[str, object]) -> str:
    line = f":{each['line']}" if each.get("line") else ""
    place = f"{each['path']}{line}: " if each.get("path") else ""
    return f"- [{each['severity']}] {place}{each['text']}"


def _how_to_answer(shape: type[BaseModel]) -> str:
    schema = json.dumps(shape.model_json_schema(), separators=(",", ":"))
    return (
        f"## How to answer\n\nWrite your answer as one JSON object into the file {ANSWER_FILE} at "
        f"the top of the work tree. It follows this JSON Schema, and has nothing else:\n\n{schema}"
    )
