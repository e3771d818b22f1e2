"""Reads between plans and tasks: what was made of which step, previews, overlaps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from sqlalchemy import select

from agentvine.db.session import ReadSession
from agentvine.domains.planning.drift import (
    Item,
    MadeTask,
    ancestors_of,
    find_drift,
    levels_of,
)
from agentvine.domains.planning.errors import StepsMissing
from agentvine.domains.plans import queries as plans
from agentvine.domains.plans.enums import PlanId
from agentvine.domains.plans.errors import ArtifactUnreadable
from agentvine.domains.plans.models import Plan
from agentvine.domains.tasks.models import Task
from agentvine.domains.tasks.states import FINAL
from agentvine.kit.globs import find_common
from agentvine.protocol.planning import (
    DriftItemOut,
    OverlapOut,
    PlanPreviewOut,
    PlanTaskOut,
    PreviewStepOut,
    StepAction,
)
from agentvine.protocol.plans import PlanOut, PlanStep

_SHOWN = set(PreviewStepOut.model_fields)
_MAX_OTHERS = 500
"""Open tasks of other plans that are looked at for overlaps."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A version's steps, and what it wants of the tasks."""

    plan: Plan
    steps: Sequence[PlanStep]
    drift: Sequence[Item]

    @property
    def open_items(self) -> list[Item]:
        """What is still to be done."""
        return [item for item in self.drift if item.action is not StepAction.KEEP]

    @property
    def tasks(self) -> dict[str, Task]:
        """The tasks that the steps have, by the steps' keys, in the steps' order."""
        return {
            item.key: item.task
            for item in self.drift
            if item.action is StepAction.KEEP and item.task is not None
        }


async def get_outline(read: ReadSession, plan: Plan) -> Outline:
    """What a version wants, of the tasks as they are.

    Raises:
        StepsMissing: It has no steps.
        ArtifactUnreadable: Raw SQL wrote something else.
    """
    content = await plans.get_content(read, plan)
    if content.steps is None:
        raise StepsMissing(
            f"Write steps into version {plan.version} of {plan.name}: `agentvine plan edit --file`."
        )
    steps = content.steps.steps
    made = await list_made_tasks(read, plan)
    return Outline(plan, steps, find_drift(plan.version, steps, made))


async def list_made_tasks(read: ReadSession, plan: Plan) -> list[MadeTask]:
    """The tasks made of any version of a plan, deleted ones too."""
    versions = {version.id: version for version in await plans.list_versions(read, plan)}
    query = select(Task).where(Task.plan_id.in_(versions), Task.plan_step.is_not(None))
    tasks = (await read.scalars(query.execution_options(populate_existing=True))).all()
    steps = {
        plan_id: await _steps_by_key(read, versions[plan_id])
        for plan_id in {task.plan_id for task in tasks if task.plan_id is not None}
    }
    return [
        MadeTask(task, versions[task.plan_id].version, steps[task.plan_id].get(task.plan_step))
        for task in tasks
        if task.plan_id is not None and task.plan_step is not None
    ]


async def _steps_by_key(read: ReadSession, plan: Plan) -> dict[str, PlanStep]:
    try:
        content = await plans.get_content(read, plan)
    except ArtifactUnreadable:
        return {}
    return {step.key: step for step in content.steps.steps} if content.steps else {}


async def get_preview(read: ReadSession, plan: Plan) -> PlanPreviewOut:
    """What accepting a version does, or what is still to be done for it.

    Raises:
        StepsMissing: It has no steps.
        ArtifactUnreadable: Raw SQL wrote something else.
    """
    outline = await get_outline(read, plan)
    levels = levels_of(outline.steps)
    return PlanPreviewOut(
        plan=PlanOut.model_validate(plan),
        steps=[
            PreviewStepOut(**step.model_dump(include=_SHOWN), level=levels[step.key])
            for step in outline.steps
        ],
        overlaps=[
            *_overlaps_within(outline.steps),
            *await _overlaps_with_others(read, plan, outline.steps),
        ],
        drift=[item_out(item) for item in outline.drift],
        is_settled=not outline.open_items,
    )


def item_out(item: Item) -> DriftItemOut:
    """What becomes of a step, as clients see it."""
    task = item.task
    return DriftItemOut(
        key=item.key,
        title=item.title,
        action=item.action,
        reason=item.reason,
        task_id=task.id if task else None,
        ref=f"T-{task.number}" if task else None,
        status=task.status if task else None,
    )


def task_out(key: str, task: Task) -> PlanTaskOut:
    """The task of a step, as clients see it."""
    return PlanTaskOut(
        key=key, task_id=task.id, ref=f"T-{task.number}", title=task.title, status=task.status
    )


def _overlaps_within(steps: Sequence[PlanStep]) -> list[OverlapOut]:
    before = ancestors_of(steps)
    return [
        OverlapOut(
            first=one.key,
            second=other.key,
            files=shared,
            is_ordered=one.key in before[other.key] or other.key in before[one.key],
        )
        for one, other in combinations(steps, 2)
        if (shared := find_common(one.files, other.files))
    ]


async def _overlaps_with_others(
    read: ReadSession, plan: Plan, steps: Sequence[PlanStep]
) -> list[OverlapOut]:
    """With open tasks of other plans of the repository: nothing puts those in an order."""
    query = (
        select(Task, Plan)
        .join(Plan, Plan.id == Task.plan_id)
        .where(
            Plan.repository_id == plan.repository_id,
            Plan.name != plan.name,
            Task.plan_step.is_not(None),
            Task.status.not_in(FINAL),
            Task.deleted_at.is_(None),
        )
        .order_by(Task.number)
        .limit(_MAX_OTHERS)
    )
    rows = [(task, other) for task, other in await read.execute(query)]
    others = {other.id: other for _, other in rows}
    known: Mapping[PlanId, dict[str, PlanStep]] = {
        plan_id: await _steps_by_key(read, other) for plan_id, other in others.items()
    }
    return [
        OverlapOut(first=step.key, second=f"T-{task.number}", files=shared, is_ordered=False)
        for step in steps
        for task, other in rows
        if (theirs := known[other.id].get(task.plan_step or ""))
        and (shared := find_common(step.files, theirs.files))
    ]
