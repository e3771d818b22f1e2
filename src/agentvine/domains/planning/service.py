"""Commands between plans and tasks: accept a version, and bring its tasks into line with it."""

import uuid
from collections.abc import Mapping

from sqlalchemy import Select, select

from agentvine.db.session import Transaction
from agentvine.domains.identity import history
from agentvine.domains.planning import queries
from agentvine.domains.planning.drift import in_order
from agentvine.domains.planning.errors import PlanNotActive, StepsMissing
from agentvine.domains.planning.queries import Outline
from agentvine.domains.plans import queries as plans
from agentvine.domains.plans import service as plan_service
from agentvine.domains.plans.enums import PlanId, PlanStatus
from agentvine.domains.plans.errors import ArtifactUnreadable
from agentvine.domains.plans.models import Plan
from agentvine.domains.projects.models import Project, Repository
from agentvine.domains.tasks import dependencies
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.tasks import service as task_service
from agentvine.domains.tasks.enums import TaskId, TaskStatus
from agentvine.domains.tasks.models import Task
from agentvine.domains.tasks.service import StepOrigin
from agentvine.domains.tasks.states import HELD
from agentvine.kit.actor import UserActor
from agentvine.protocol.planning import PlanAcceptIn, StepAction
from agentvine.protocol.plans import PlanStep
from agentvine.protocol.tasks import DependencyIn, TaskCreateIn

CHANNEL = "plans"
"""Hints with a plan's id, when a task of it is done."""
_NOT_BEGUN = HELD | {TaskStatus.QUEUED}


async def accept_plan(
    tx: Transaction,
    actor: UserActor,
    plan: Plan,
    repository: Repository,
    wanted: PlanAcceptIn,
    *,
    may_cancel: bool,
) -> Outline:
    """Let a version count, and make its tasks: once, however often it is accepted.

    Where tasks of an earlier version would have to be cancelled for it, nothing is made, unless
    that is allowed: what is to be done is in the outline.

    Args:
        tx: With the versions of the plan locked.
        actor: Who accepts.
        plan: The version.
        repository: Its repository.
        wanted: How the tasks are carried out.
        may_cancel: Whether tasks of earlier versions may be cancelled at once.

    Raises:
        PlanTransitionInvalid: It is over.
        StepsMissing: It has no steps.
        TaskNotRunnable: A task is to start but lacks what its runtime needs.
        AgentUnusable: The agent is inactive, or another project's.
        ProjectMissing: The repository belongs to no project.
    """
    await plan_service.activate_plan(tx, plan, repository)
    outline = await queries.get_outline(tx, plan)
    if not may_cancel and any(item.action is StepAction.CANCEL for item in outline.drift):
        return outline
    return await _carry_out(tx, actor, outline, repository, wanted)


async def complete_plan_when_done(
    tx: Transaction, plan_id: uuid.UUID, *, held: Select[PlanId]
) -> bool:
    """Complete an active version each of whose steps has a task that is completed; whether it was.

    Args:
        tx: Takes the plan's lock.
        plan_id: The version.
        held: Plans that are not over yet, whatever their tasks say.
    """
    found = await tx.get(Plan, plan_id)
    if found is None:
        return False
    versions = await plans.lock_versions(tx, found.repository_id, found.name)
    plan = next((each for each in versions if each.id == plan_id), None)
    if plan is None or plan.status is not PlanStatus.ACTIVE:
        return False
    if await tx.scalar(select(Plan.id).where(Plan.id == plan_id, Plan.id.in_(held))) is not None:
        return False
    try:
        outline = await queries.get_outline(tx, plan)
    except (StepsMissing, ArtifactUnreadable):
        return False
    is_done = all(task.status is TaskStatus.COMPLETED for task in outline.tasks.values())
    if outline.open_items or not is_done:
        return False
    repository = await tx.get_one(Repository, plan.repository_id)
    await plan_service.end_plan(tx, plan, repository, PlanStatus.COMPLETED)
    return True


async def reconcile_plan(
    tx: Transaction, actor: UserActor, plan: Plan, repository: Repository, wanted: PlanAcceptIn
) -> Outline:
    """Bring the tasks into line with an active version; again changes nothing.

    Raises:
        PlanNotActive: It does not count.
        AppError: As for ``accept_plan``.
    """
    if plan.status is not PlanStatus.ACTIVE:
        raise PlanNotActive(
            f"Version {plan.version} of {plan.name} is {plan.status}; accept it first."
        )
    outline = await queries.get_outline(tx, plan)
    return await _carry_out(tx, actor, outline, repository, wanted)


async def _carry_out(
    tx: Transaction,
    actor: UserActor,
    outline: Outline,
    repository: Repository,
    wanted: PlanAcceptIn,
) -> Outline:
    if not outline.open_items:
        return outline
    plan = outline.plan
    # Before any task, as everywhere: two of us would each wait for the other's.
    await tx.execute(
        select(Project.id)
        .where(Project.id == repository.project_id)
        .with_for_update(key_share=True)
    )
    own = {one.task.id for one in await queries.list_made_tasks(tx, plan)}
    kept = outline.tasks
    # First what is not to be waited for any more: the end of a task that is cancelled is told to
    # those that wait for it.
    waiting = await _unlink_kept(tx, outline, own)
    for item in outline.drift:
        if item.action is StepAction.CANCEL and item.task is not None:
            reason = f"version {plan.version} of the plan {plan.name}: {item.reason}"
            await task_service.cancel_task(tx, await tasks.lock_task(tx, item.task.id), reason)
    for step in in_order(outline.steps):
        if step.key not in kept:
            kept[step.key] = await _make_task(tx, actor, plan, step, kept, wanted)
    for task_id, step in waiting:
        await _link_kept(tx, actor, task_id, _blockers(step, kept))
    _record(tx, outline, repository)
    await tx.flush()
    return await queries.get_outline(tx, plan)


async def _make_task(
    tx: Transaction,
    actor: UserActor,
    plan: Plan,
    step: PlanStep,
    made: Mapping[str, Task],
    wanted: PlanAcceptIn,
) -> Task:
    body = TaskCreateIn(
        title=step.title,
        description=_description(plan, step),
        repository_id=plan.repository_id,
        type=step.type,
        permission=step.permission,
        priority=wanted.priority,
        target_branch=plan.target_branch,
        definition_of_done=step.definition_of_done,
        depends_on=_blockers(step, made),
        touches=step.files,
        run=step.run or wanted.run,
        agent_id=wanted.agent_id,
        budget_usd=wanted.budget_usd,
        start=wanted.start,
    )
    return await task_service.create_task(tx, actor, body, origin=StepOrigin(plan.id, step.key))


def _blockers(step: PlanStep, made: Mapping[str, Task]) -> list[uuid.UUID]:
    """What its task waits for; a task that somebody deleted is waited for by nobody."""
    return [made[key].id for key in step.depends_on if made[key].deleted_at is None]


def _description(plan: Plan, step: PlanStep) -> str:
    parts = [step.description] if step.description else []
    if step.files:
        parts.append("Files: " + ", ".join(step.files))
    parts.append(f"This is the step {step.key} of version {plan.version} of the plan {plan.name}.")
    return "\n\n".join(parts)


async def _unlink_kept(
    tx: Transaction, outline: Outline, own: set[TaskId]
) -> list[tuple[uuid.UUID, PlanStep]]:
    """End what kept tasks no longer wait for; those tasks that have not begun, and their steps."""
    steps = {step.key: step for step in outline.steps}
    kept = outline.tasks
    ids = await tasks.sort_by_waiting(tx, [task.id for task in kept.values()])
    keys: dict[uuid.UUID, str] = {task.id: key for key, task in kept.items()}
    waiting: list[tuple[uuid.UUID, PlanStep]] = []
    for task_id in ids:
        task = await tasks.lock_task(tx, task_id)
        if task.status not in _NOT_BEGUN or task.deleted_at is not None:
            continue
        step = steps[keys[task_id]]
        wanted = {kept[key].id for key in step.depends_on if key in kept}
        for relation, other in await tasks.list_dependencies(tx, task_id):
            if dependencies.holds_back(relation) and other.id in own - wanted:
                await dependencies.remove_dependency(tx, task, other.id)
        waiting.append((task_id, step))
    return waiting


async def _link_kept(
    tx: Transaction, actor: UserActor, task_id: uuid.UUID, blockers: list[uuid.UUID]
) -> None:
    """Let a kept task wait for what its step depends on now, and settle it."""
    known = {other.id for _, other in await tasks.list_dependencies(tx, task_id)}
    for blocker_id in blockers:
        if blocker_id not in known:
            wanted = DependencyIn(depends_on=blocker_id)
            await dependencies.add_dependency(tx, actor, task_id, wanted)
    await tx.flush()
    task = await tasks.lock_task(tx, task_id)
    if task.status in _NOT_BEGUN:
        await task_service.hold_back(tx, task)


def _record(tx: Transaction, outline: Outline, repository: Repository) -> None:
    counts = {
        action.value: sum(item.action is action for item in outline.drift) for action in StepAction
    }
    history.record(
        tx,
        "plan.tasks_made",
        entity=("plan", outline.plan.id),
        project_id=repository.project_id,
        after={"version": outline.plan.version, **counts},
    )
