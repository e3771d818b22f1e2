"""Team runs as clients see them."""

from collections.abc import Sequence
from decimal import Decimal

from agentvine.db.session import ReadSession
from agentvine.domains.tasks.enums import TaskId
from agentvine.domains.tasks.models import Task
from agentvine.domains.team import queries
from agentvine.domains.team.enums import TeamStepId
from agentvine.domains.team.models import TeamRun, TeamStep, TeamVerdict
from agentvine.protocol.team import TeamRunDetailOut, TeamRunOut, TeamStepOut, VerdictOut


def team_run_out(run: TeamRun) -> TeamRunOut:
    """A run."""
    return TeamRunOut(
        id=run.id,
        project_id=run.project_id,
        repository_id=run.repository_id,
        goal=run.goal,
        status=run.status,
        status_reason=run.status_reason,
        permission=run.permission_level,
        round=run.round,
        max_rounds=run.max_rounds,
        target_branch=run.target_branch,
        branch_name=run.branch_name,
        base_commit=run.base_commit,
        plan_id=run.plan_id,
        conversation_id=run.conversation_id,
        budget_usd=run.budget_usd,
        row_version=run.row_version,
        created_at=run.created_at,
        updated_at=run.updated_at,
        completed_at=run.completed_at,
    )


async def team_run_detail(read: ReadSession, run: TeamRun) -> TeamRunDetailOut:
    """A run with all that was done and said."""
    steps = await queries.list_steps(read, run)
    tasks = await queries.tasks_of(read, steps)
    shown = [_step_out(step, tasks) for step in steps]
    verdicts = await queries.list_verdicts(read, run)
    return TeamRunDetailOut(
        **team_run_out(run).model_dump(),
        steps=shown,
        verdicts=_verdicts_out(verdicts, steps),
        total_tokens=sum(step.tokens for step in shown),
        total_cost_usd=sum((step.cost_usd for step in shown), Decimal(0)),
    )


def _step_out(step: TeamStep, tasks: dict[TaskId, Task]) -> TeamStepOut:
    task = tasks.get(step.task_id) if step.task_id is not None else None
    return TeamStepOut(
        role=step.role,
        round=step.round,
        number=step.number,
        task_id=step.task_id,
        ref=f"T-{task.number}" if task else None,
        title=task.title if task else None,
        status=task.status if task else None,
        model=step.model,
        tokens=step.tokens_in + step.tokens_out + (task.total_tokens_used if task else 0),
        cost_usd=step.cost_usd + (task.total_cost_usd if task else Decimal(0)),
        problem=step.problem,
        answered_at=step.answered_at,
        created_at=step.created_at,
    )


def _verdicts_out(verdicts: Sequence[TeamVerdict], steps: Sequence[TeamStep]) -> list[VerdictOut]:
    tasks: dict[TeamStepId, TaskId | None] = {step.id: step.task_id for step in steps}
    return [
        VerdictOut(
            role=verdict.role,
            round=verdict.round,
            outcome=verdict.outcome,
            summary=verdict.summary,
            findings=verdict.findings,
            task_id=tasks.get(verdict.step_id),
            execution_id=verdict.execution_id,
            created_at=verdict.created_at,
        )
        for verdict in verdicts
    ]
