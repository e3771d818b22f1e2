"""Taking what a role has answered: checked against its shape, and what follows from it."""

import json

from pydantic import ValidationError
from sqlalchemy import select

from agentvine.db.session import Transaction
from agentvine.domains.conversations.chat import SYSTEM_SENDER
from agentvine.domains.conversations.enums import ChatMessageType
from agentvine.domains.executions.enums import ExecutionStatus
from agentvine.domains.executions.models import Execution
from agentvine.domains.plans import service as plan_service
from agentvine.domains.team import words
from agentvine.domains.team.enums import TeamVerdictId
from agentvine.domains.team.models import TeamRun, TeamStep, TeamVerdict
from agentvine.domains.team.service import say
from agentvine.domains.team.words import Answer
from agentvine.kit.actor import UserActor
from agentvine.kit.ids import new_id
from agentvine.protocol.enums import ArtifactType
from agentvine.protocol.plans import (
    FeaturePlanIn,
    ImplementationSteps,
    ImplementationStepsIn,
    PlanCreateIn,
    PlanStep,
)
from agentvine.protocol.queue import ANSWER_FILE
from agentvine.protocol.team import ArchitectAnswer, ArchitectStep

_MAX_PROBLEM = 2000
_MAX_PROBLEMS = 10


async def take_answer(tx: Transaction, run: TeamRun, step: TeamStep, actor: UserActor) -> None:
    """Take the answer that the run of a step's task has left, or say why it is none."""
    execution = await tx.scalar(
        select(Execution)
        .where(Execution.task_id == step.task_id, Execution.status == ExecutionStatus.COMPLETED)
        .order_by(Execution.completed_at.desc(), Execution.id.desc())
        .limit(1)
    )
    report = (execution.report or {}) if execution is not None else {}
    text = report.get("answer")
    if not isinstance(text, str):
        refuse(tx, run, step, f"there was no {ANSWER_FILE} that can be read")
        return
    try:
        answer = words.SHAPES[step.role].model_validate(json.loads(text))
    except ValueError as error:
        refuse(tx, run, step, describe(error))
        return
    await keep_answer(tx, run, step, answer, actor, execution)


async def keep_answer(
    tx: Transaction,
    run: TeamRun,
    step: TeamStep,
    answer: Answer,
    actor: UserActor,
    execution: Execution | None = None,
) -> None:
    """Keep what a role has said: a plan, or a verdict.

    Raises:
        AppError: The plan could not be made, as for ``create_plan``.
    """
    if isinstance(answer, ArchitectAnswer):
        try:
            steps = ImplementationSteps(steps=[_plan_step(run, one) for one in answer.steps])
        except ValidationError as error:
            refuse(tx, run, step, describe(error))
            return
        await _make_plan(tx, run, answer, steps, actor)
    else:
        verdict = TeamVerdict(
            id=TeamVerdictId(new_id()),
            team_run_id=run.id,
            step_id=step.id,
            role=step.role,
            round=step.round,
            outcome=answer.outcome,
            summary=answer.summary,
            findings=[each.model_dump(mode="json") for each in answer.findings],
            execution_id=execution.id if execution is not None else None,
            created_at=tx.now,
        )
        tx.add(verdict)
        say(tx, run, SYSTEM_SENDER, words.verdict_line(verdict))
    step.answered_at = tx.now
    await tx.flush()


def refuse(tx: Transaction, run: TeamRun, step: TeamStep, problem: str) -> None:
    """Do not take an answer; the role is asked once more, and told why."""
    step.problem, step.answered_at = problem[:_MAX_PROBLEM], tx.now
    told = f"The {step.role.value}'s answer is not taken: {step.problem}"
    say(tx, run, SYSTEM_SENDER, told, ChatMessageType.ERROR)


def describe(error: ValueError) -> str:
    """What is wrong with an answer, for whoever gave it."""
    if not isinstance(error, ValidationError):
        return f"it is no JSON: {error}"
    return "; ".join(
        f"{'.'.join(map(str, each['loc'])) or 'the whole'}: {each['msg']}"
        for each in error.errors(include_url=False, include_input=False)[:_MAX_PROBLEMS]
    )


def _plan_step(run: TeamRun, step: ArchitectStep) -> PlanStep:
    # How it is run, and how much may happen by itself, was said with the goal.
    return PlanStep(**step.model_dump(), permission=run.permission_level)


async def _make_plan(
    tx: Transaction,
    run: TeamRun,
    answer: ArchitectAnswer,
    steps: ImplementationSteps,
    actor: UserActor,
) -> None:
    assert run.repository_id is not None, "its repository is there: the plan is about it"
    wanted = PlanCreateIn(
        repository_id=run.repository_id,
        name=run.branch_name.removeprefix("agentvine/"),
        description=run.goal,
        target_branch=run.branch_name,
        artifacts=[
            FeaturePlanIn(artifact_type=ArtifactType.FEATURE_PLAN, content=answer.feature_plan),
            ImplementationStepsIn(artifact_type=ArtifactType.IMPLEMENTATION_STEPS, content=steps),
        ],
    )
    plan = await plan_service.create_plan(tx, actor, wanted)
    run.plan_id = plan.id
    listed = "\n".join(f"- {step.key}: {step.title}" for step in steps.steps)
    say(tx, run, SYSTEM_SENDER, f"The architect's plan, {plan.name}:\n{listed}")
