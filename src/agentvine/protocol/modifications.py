"""Modifications on the wire: the change a run left behind, on its way to the target branch."""

import uuid
from datetime import datetime
from typing import Any, Self

from pydantic import Field, model_validator

from agentvine.protocol.base import Input, Output, Usd
from agentvine.protocol.enums import (
    ModificationStage,
    ModificationStatus,
    PermissionLevel,
    TaskPriority,
    TaskType,
)
from agentvine.protocol.tasks import TaskRun


class DecisionIn(Input):
    """A person's reason, kept with the change."""

    reason: str = Field(default="", max_length=10_000)


class ApproveIn(DecisionIn):
    """Approve; by default the change is applied at once."""

    apply: bool = True


class ModificationRequestIn(Input):
    """A change that is asked for in words; when it is approved it becomes one task."""

    request: str = Field(min_length=1, max_length=100_000)
    """What is wanted. The files that it is about are looked for by its words."""
    repository_id: uuid.UUID | None = None
    project_context_id: uuid.UUID | None = None
    """Instead of the repository, one of its contexts."""
    title: str | None = Field(default=None, min_length=1, max_length=300)
    """The task's; the first line of the request when left out."""
    type: TaskType = TaskType.FEATURE
    permission: PermissionLevel = PermissionLevel.SUPERVISED
    priority: TaskPriority = TaskPriority.NORMAL
    target_branch: str | None = Field(default=None, min_length=1, max_length=255)
    definition_of_done: str | None = Field(default=None, max_length=100_000)
    run: TaskRun = TaskRun()
    agent_id: uuid.UUID | None = None
    budget_usd: Usd | None = None

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        if (self.repository_id is None) == (self.project_context_id is None):
            raise ValueError("name either repository_id or project_context_id")
        return self


class ModificationOut(Output):
    """A change, without its text."""

    id: uuid.UUID
    task_id: uuid.UUID | None
    execution_id: uuid.UUID | None
    repository_id: uuid.UUID | None
    status: ModificationStatus
    stage: ModificationStage = ModificationStage.CHANGE
    request: str
    requested_by: str
    requested_at: datetime
    branch_name: str | None
    target_branch: str | None
    base_commit: str | None
    head_commit: str | None
    merge_commit: str | None
    revert_commit: str | None
    rescue_ref: str | None
    affected_files: list[str]
    diff_stat: dict[str, Any]
    tests_passed: bool | None
    decision_reason: str | None
    failure_message: str | None
    apply_requested_at: datetime | None
    approved_at: datetime | None
    applied_at: datetime | None
    reverted_at: datetime | None
    row_version: int


class LiveChangeOut(Output):
    """A change that is not applied yet, and whose it is."""

    modification_id: uuid.UUID
    task_id: uuid.UUID
    task_ref: str
    title: str
    target_branch: str


class ForeseenConflictOut(Output):
    """A conflict that a change will run into."""

    change: LiveChangeOut
    other: LiveChangeOut | None
    """The change it conflicts with; None: the target branch as it is now."""
    target_branch: str
    files: list[str]
    tried_at: datetime


class ModificationDetailOut(ModificationOut):
    """A change with its evidence."""

    diff: str | None
    impact_analysis: dict[str, Any]
    modified_files: dict[str, Any]
    test_results: dict[str, Any]
    conflicts: list[ForeseenConflictOut] = Field(default_factory=list[ForeseenConflictOut])
    """Those that are foreseen, with other changes or with its target branch."""
    foreseen: dict[str, Any] | None = None
