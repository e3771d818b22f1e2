"""From plans to tasks, on the wire: previews, drift, and what was made."""

import uuid
from enum import StrEnum

from pydantic import Field

from agentvine.protocol.base import Input, Output, Usd
from agentvine.protocol.enums import PermissionLevel, TaskPriority, TaskStatus, TaskType
from agentvine.protocol.plans import PlanOut
from agentvine.protocol.tasks import TaskRun


class StepAction(StrEnum):
    """What a version wants of a step and its task."""

    ADD = "add"
    KEEP = "keep"
    CANCEL = "cancel"


class PlanAcceptIn(Input):
    """How the tasks of a plan's steps are carried out, where the steps do not say."""

    run: TaskRun = TaskRun()
    agent_id: uuid.UUID | None = None
    """Whose work they are."""
    budget_usd: Usd | None = None
    """What the calls of each of them to language models may cost."""
    priority: TaskPriority = TaskPriority.NORMAL
    start: bool = True
    """Whether they begin as soon as nothing holds them back."""


class PlanAcceptNowIn(PlanAcceptIn):
    """Accept a version."""

    reconcile: bool = False
    """Also when tasks of an earlier version are to be cancelled for it."""


class PreviewStepOut(Output):
    """A step, and the task that it is or would become."""

    key: str
    title: str
    type: TaskType
    permission: PermissionLevel
    depends_on: list[str]
    files: list[str]
    level: int
    """How many steps must be done one after the other before it."""


class OverlapOut(Output):
    """Files that two steps both touch."""

    first: str
    second: str
    """The key of a step of the plan; or a task of another plan, like T-12."""
    files: list[str]
    is_ordered: bool
    """Whether one waits for the other; otherwise they may run at once, and conflict."""


class DriftItemOut(Output):
    """What becomes of one step, or of one task."""

    key: str
    title: str
    action: StepAction
    reason: str
    task_id: uuid.UUID | None
    """The task that is kept or cancelled."""
    ref: str | None
    status: TaskStatus | None


class PlanPreviewOut(Output):
    """What accepting a version does, or what is still to be done for it."""

    plan: PlanOut
    steps: list[PreviewStepOut]
    overlaps: list[OverlapOut]
    drift: list[DriftItemOut]
    is_settled: bool
    """Whether the tasks are as the version wants them: there is nothing to add or to cancel."""


class PlanTaskOut(Output):
    """The task of a step."""

    key: str
    task_id: uuid.UUID
    ref: str
    title: str
    status: TaskStatus


class PlanAcceptedOut(Output):
    """An accepted version and its tasks."""

    plan: PlanOut
    tasks: list[PlanTaskOut]
    """One for each step that has one, in the order of the steps."""
    drift: list[DriftItemOut]
    """What is still to be done: reconcile, to have it done."""


class ChangesApplyIn(Input):
    """Make a plan's code changes a commit."""

    branch: str | None = Field(default=None, min_length=1, max_length=200)
    """A new branch, from the plan's target branch; None: one named after the plan."""


class ChangesAppliedOut(Output):
    """The commit of a plan's code changes."""

    branch: str
    commit: str
    base_commit: str
    files: list[str]
    is_new: bool
    """False where an earlier request has made it."""
