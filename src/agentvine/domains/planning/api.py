"""Routes between plans and tasks: preview, accept, reconcile, and code changes as a commit."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends

from agentvine.domains.agents.errors import AgentNotFound, AgentUnusable
from agentvine.domains.planning import queries, service
from agentvine.domains.planning.changes import ChangeWriter
from agentvine.domains.planning.errors import (
    ChangesMissing,
    ChangesNotApplied,
    PlanNotActive,
    StepsMissing,
)
from agentvine.domains.planning.queries import Outline
from agentvine.domains.plans import queries as plans
from agentvine.domains.plans.enums import PlanStatus
from agentvine.domains.plans.errors import (
    ArtifactUnreadable,
    PlanNotFound,
    PlanTransitionInvalid,
)
from agentvine.domains.projects.errors import ProjectArchived, ProjectReadOnly
from agentvine.domains.tasks.errors import ProjectMissing, TaskNotRunnable
from agentvine.http.deps import (
    ExpectedVersion,
    Read,
    StaleVersion,
    State,
    Tx,
    check_version,
    require,
)
from agentvine.http.problems import responses
from agentvine.kit.actor import UserActor
from agentvine.protocol.planning import (
    ChangesAppliedOut,
    ChangesApplyIn,
    PlanAcceptedOut,
    PlanAcceptIn,
    PlanAcceptNowIn,
    PlanPreviewOut,
)
from agentvine.protocol.plans import PlanOut

router = APIRouter(tags=["plans"])

PlanReader = Annotated[UserActor, Depends(require("plans:read"))]
TaskWriter = Annotated[UserActor, Depends(require("tasks:write"))]
ChangeMaker = Annotated[UserActor, Depends(require("modifications:write"))]

_READ = (PlanNotFound, StepsMissing, ArtifactUnreadable)
_MAKE = (
    *_READ,
    ProjectReadOnly,
    ProjectArchived,
    ProjectMissing,
    TaskNotRunnable,
    AgentNotFound,
    AgentUnusable,
)


@router.get("/plans/{plan_id}/preview", responses=responses(*_READ))
async def preview_plan(plan_id: uuid.UUID, actor: PlanReader, read: Read) -> PlanPreviewOut:
    """What accepting a version does: its steps, overlaps of files, and what becomes of tasks."""
    return await queries.get_preview(read, await plans.get_plan(read, actor, plan_id))


@router.post(
    "/plans/{plan_id}/accept", responses=responses(*_MAKE, PlanTransitionInvalid, StaleVersion)
)
async def accept_plan(
    plan_id: uuid.UUID,
    body: PlanAcceptNowIn,
    actor: TaskWriter,
    tx: Tx,
    expected: ExpectedVersion,
) -> PlanAcceptedOut:
    """Let a version count, and make each of its steps a task, once.

    Where tasks of an earlier version would be cancelled for it, none is made: the answer says
    what is to be done, and `reconcile` does it.
    """
    plan, repository = await plans.get_plan_for_change(tx, actor, plan_id)
    if plan.status is PlanStatus.DRAFT:  # a repeated acceptance finds the version moved on
        check_version(plan.row_version, expected)
    outline = await service.accept_plan(
        tx, actor, plan, repository, body, may_cancel=body.reconcile
    )
    return _accepted_out(outline)


@router.post("/plans/{plan_id}/reconcile", responses=responses(*_MAKE, PlanNotActive))
async def reconcile_plan(
    plan_id: uuid.UUID, body: PlanAcceptIn, actor: TaskWriter, tx: Tx
) -> PlanAcceptedOut:
    """Bring the tasks into line with an active version: cancel, keep and add what the preview says.

    Doing it again changes nothing.
    """
    plan, repository = await plans.get_plan_for_change(tx, actor, plan_id)
    return _accepted_out(await service.reconcile_plan(tx, actor, plan, repository, body))


@router.post(
    "/plans/{plan_id}/apply",
    responses=responses(
        PlanNotFound,
        ProjectReadOnly,
        ProjectArchived,
        PlanNotActive,
        ChangesMissing,
        ChangesNotApplied,
        ArtifactUnreadable,
    ),
)
async def apply_changes(
    plan_id: uuid.UUID, body: ChangesApplyIn, actor: ChangeMaker, state: State
) -> ChangesAppliedOut:
    """Make the code changes of an active version one commit, on a new branch.

    All of them or none. Doing it again gives the commit that was made.
    """
    return await state.effect(ChangeWriter).apply(actor, plan_id, body.branch)


def _accepted_out(outline: Outline) -> PlanAcceptedOut:
    return PlanAcceptedOut(
        plan=PlanOut.model_validate(outline.plan),
        tasks=[queries.task_out(key, task) for key, task in outline.tasks.items()],
        drift=[queries.item_out(item) for item in outline.open_items],
    )
