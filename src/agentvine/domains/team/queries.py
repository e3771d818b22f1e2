"""Reads of the team slice, and the one place that decides who may see a team run."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from sqlalchemy import Select, func, select

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession
from agentvine.domains.conversations.questions import StoredAnswer, facts_of
from agentvine.domains.modifications.enums import ModificationStatus
from agentvine.domains.modifications.models import Modification
from agentvine.domains.plans.enums import PlanId
from agentvine.domains.plans.models import Plan
from agentvine.domains.projects import queries as projects
from agentvine.domains.tasks.enums import TaskId, TaskStatus
from agentvine.domains.tasks.models import Task
from agentvine.domains.team import approval
from agentvine.domains.team.arrows import RunFacts, StepFacts
from agentvine.domains.team.enums import TeamRole, TeamRunStatus, TeamStepId
from agentvine.domains.team.errors import TeamRunNotFound
from agentvine.domains.team.models import TeamRun, TeamStep, TeamVerdict
from agentvine.domains.team.states import FINAL
from agentvine.kit.actor import Actor
from agentvine.kit.pagination import Page, PageRequest
from agentvine.protocol.questions import AnswerDecision

_CENT = Decimal("0.01")


def visible_team_runs(actor: Actor) -> Select[TeamRun]:
    """The team runs of projects that an actor may see."""
    return select(TeamRun).where(TeamRun.project_id.in_(projects.visible_projects(actor)))


def plans_of_open_runs() -> Select[PlanId]:
    """Plans that a team run is not done with."""
    held = select(TeamRun.plan_id).where(TeamRun.status.not_in(FINAL))
    return select(Plan.id).where(Plan.id.in_(held))


async def get_team_run(read: ReadSession, actor: Actor, run_id: uuid.UUID) -> TeamRun:
    """A team run the actor may see.

    Raises:
        TeamRunNotFound: There is none, or it is not theirs to see.
    """
    run = await read.scalar(visible_team_runs(actor).where(TeamRun.id == run_id))
    if run is None:
        raise TeamRunNotFound(f"You can see no team run with the id {run_id}.")
    return run


async def get_team_run_for_change(read: ReadSession, actor: Actor, run_id: uuid.UUID) -> TeamRun:
    """A team run of a project the actor may work in, locked.

    Raises:
        TeamRunNotFound: It is not theirs to see.
        ProjectReadOnly: They may only look.
    """
    seen = await get_team_run(read, actor, run_id)
    await projects.get_project_for_change(read, actor, seen.project_id)
    locked = await lock_team_run(read, run_id)
    assert locked is not None, "nobody deletes runs but with their project"
    return locked


async def lock_team_run(read: ReadSession, run_id: uuid.UUID) -> TeamRun | None:
    """A team run as it is now, locked: before its plan, and that before its tasks."""
    query = select(TeamRun).where(TeamRun.id == run_id).with_for_update(key_share=True)
    return await read.scalar(query.execution_options(populate_existing=True))


async def list_team_runs(
    read: ReadSession,
    actor: Actor,
    page: PageRequest,
    *,
    project_id: uuid.UUID | None = None,
    statuses: Sequence[TeamRunStatus] = (),
) -> Page[TeamRun]:
    """The team runs the actor may see, newest first."""
    query = visible_team_runs(actor)
    if project_id is not None:
        query = query.where(TeamRun.project_id == project_id)
    if statuses:
        query = query.where(TeamRun.status.in_(statuses))
    return await fetch_page(read, query, TeamRun.id, page, newest_first=True)


async def list_open(
    read: ReadSession, limit: int, *, after: uuid.UUID, besides: Sequence[uuid.UUID]
) -> Sequence[uuid.UUID]:
    """Ids of runs that are not over, in the order of their ids."""
    query = select(TeamRun.id).where(
        TeamRun.status.not_in(FINAL), TeamRun.id > after, TeamRun.id.not_in(besides)
    )
    return (await read.scalars(query.order_by(TeamRun.id).limit(limit))).all()


async def list_steps(read: ReadSession, run: TeamRun) -> Sequence[TeamStep]:
    """All steps of a run, oldest first."""
    query = select(TeamStep).where(TeamStep.team_run_id == run.id)
    return (
        await read.scalars(query.order_by(TeamStep.round, TeamStep.created_at, TeamStep.id))
    ).all()


async def find_step(
    read: ReadSession, run: TeamRun, role: TeamRole, number: int
) -> TeamStep | None:
    """A step of the current round."""
    return await read.scalar(
        select(TeamStep).where(
            TeamStep.team_run_id == run.id,
            TeamStep.role == role,
            TeamStep.round == run.round,
            TeamStep.number == number,
        )
    )


async def list_verdicts(read: ReadSession, run: TeamRun) -> Sequence[TeamVerdict]:
    """All verdicts of a run, oldest first."""
    query = select(TeamVerdict).where(TeamVerdict.team_run_id == run.id)
    return (await read.scalars(query.order_by(TeamVerdict.created_at, TeamVerdict.id))).all()


async def tasks_of(read: ReadSession, steps: Sequence[TeamStep]) -> dict[TaskId, Task]:
    """The tasks of steps, as they are now."""
    ids = [step.task_id for step in steps if step.task_id is not None]
    query = select(Task).where(Task.id.in_(ids)).execution_options(populate_existing=True)
    return {task.id: task for task in await read.scalars(query)}


def spent(steps: Sequence[TeamStep], tasks: dict[TaskId, Task]) -> Decimal:
    """What a run has cost so far, in dollars."""
    own = sum((step.cost_usd for step in steps), Decimal(0))
    return own + sum((task.total_cost_usd for task in tasks.values()), Decimal(0))


def left_of_budget(run: TeamRun, cost: Decimal) -> Decimal | None:
    """What may still be spent, down to the cent; None: as much as other budgets allow."""
    if run.budget_usd is None:
        return None
    return max(Decimal(0), (run.budget_usd - cost).quantize(_CENT, rounding="ROUND_DOWN"))


async def gather_facts(read: ReadSession, run: TeamRun) -> RunFacts:
    """What the rows say of a run."""
    steps = await list_steps(read, run)
    tasks = await tasks_of(read, steps)
    outcomes = {verdict.step_id: verdict for verdict in await list_verdicts(read, run)}
    changes = await _changes_in_review(read, tasks)
    turned_down = await _count_turned_down(read, changes)
    left = left_of_budget(run, spent(steps, tasks))
    question = None if run.is_approved else await approval.find_question(read, run)
    answer = facts_of(question).answer if question is not None else None
    is_allowed = answer is not None and answer.decision is AnswerDecision.ALLOW
    return RunFacts(
        level=run.permission_level,
        round=run.round,
        max_rounds=run.max_rounds,
        has_plan=run.plan_id is not None,
        is_approved=run.is_approved,
        # Without a conversation nobody can be asked in one.
        is_asked=question is not None or run.conversation_id is None,
        is_allowed=is_allowed,
        refusal=_refusal(answer) if not is_allowed else None,
        has_branch=run.base_commit is not None,
        is_overruled=run.is_overruled,
        has_money=left is None or left > 0,
        steps=[
            replace(
                _step_facts(step, tasks, outcomes, changes),
                turned_down=turned_down.get(step.task_id, 0),
                is_elsewhere=_is_elsewhere(run, step, changes),
            )
            for step in steps
        ],
    )


def _refusal(answer: StoredAnswer | None) -> str | None:
    if answer is None:
        return None
    return f"{answer.author}: {answer.text}" if answer.text else answer.author


async def _changes_in_review(
    read: ReadSession, tasks: dict[TaskId, Task]
) -> dict[TaskId, Modification]:
    ids = [task.id for task in tasks.values() if task.status is TaskStatus.REVIEW]
    if not ids:
        return {}
    query = (
        select(Modification)
        .where(
            Modification.task_id.in_(ids),
            Modification.status.in_([ModificationStatus.PENDING, ModificationStatus.APPROVED]),
        )
        .execution_options(populate_existing=True)
    )
    return {row.task_id: row for row in await read.scalars(query) if row.task_id is not None}


async def _count_turned_down(
    read: ReadSession, changes: dict[TaskId, Modification]
) -> dict[TaskId | None, int]:
    """How often the tasks whose changes conflict were told to begin anew."""
    ids = [task_id for task_id, change in changes.items() if change.conflicting_files]
    if not ids:
        return {}
    query = (
        select(Modification.task_id, func.count())
        .where(Modification.task_id.in_(ids), Modification.status == ModificationStatus.REJECTED)
        .group_by(Modification.task_id)
    )
    return {row[0]: row[1] for row in await read.execute(query)}


def _is_elsewhere(run: TeamRun, step: TeamStep, changes: dict[TaskId, Modification]) -> bool:
    change = changes.get(step.task_id) if step.task_id is not None else None
    return change is not None and change.target_branch != run.branch_name


def _step_facts(
    step: TeamStep,
    tasks: dict[TaskId, Task],
    outcomes: dict[TeamStepId, TeamVerdict],
    changes: dict[TaskId, Modification],
) -> StepFacts:
    task = tasks.get(step.task_id) if step.task_id is not None else None
    change = changes.get(task.id) if task is not None else None
    is_stuck = change is not None and change.apply_requested_at is None
    verdict = outcomes.get(step.id)
    return StepFacts(
        role=step.role,
        round=step.round,
        number=step.number,
        by_model=step.by_model,
        ref=f"T-{task.number}" if task else "",
        status=task.status if task else None,
        reason=task.status_reason if task else None,
        is_answered=step.answered_at is not None,
        problem=step.problem,
        outcome=verdict.outcome if verdict else None,
        has_pending_change=change is not None and change.status is ModificationStatus.PENDING,
        apply_problem=change.failure_message if change is not None and is_stuck else None,
        has_conflict=change is not None and is_stuck and bool(change.conflicting_files),
    )
