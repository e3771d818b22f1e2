"""Tasks on the wire."""

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import AwareDatetime, Field

from agentvine.protocol.base import Edit, Input, Output, Usd
from agentvine.protocol.enums import (
    CapabilityLevel,
    DependencyType,
    PermissionLevel,
    TaskFileSource,
    TaskPriority,
    TaskStatus,
    TaskType,
)
from agentvine.protocol.paths import FilePatterns
from agentvine.protocol.runs import RunLimits, RunWatch

MAX_TIMEOUT_SECONDS = 7 * 24 * 3600
MAX_COMMAND_LENGTH = 100_000
MAX_EXPIRY_SECONDS = 366 * 24 * 3600


class TaskRun(Input):
    """How a task is carried out; kept with the task and copied into each of its work orders."""

    schema_version: int = 1
    runtime: str = Field(default="command", min_length=1, max_length=50)
    command: str | None = Field(default=None, max_length=MAX_COMMAND_LENGTH)
    """For the command runtime, what to run; for an agent, words that its instruction ends with; for
    ``scripted``, the script."""
    test_command: str | None = Field(default=None, max_length=MAX_COMMAND_LENGTH)
    model: str | None = Field(default=None, min_length=1, max_length=100)
    """Which model an agent is to use; None: the agent's own, or what its program takes."""
    timeout_seconds: int = Field(default=3600, ge=1, le=MAX_TIMEOUT_SECONDS)
    test_timeout_seconds: int = Field(default=1800, ge=1, le=MAX_TIMEOUT_SECONDS)
    max_retries: int = Field(default=3, ge=0, le=100)
    queue_name: str = Field(default="default", min_length=1, max_length=50)
    capabilities: dict[str, CapabilityLevel] = Field(
        default_factory=dict[str, CapabilityLevel], max_length=50
    )
    watch: RunWatch = RunWatch()
    limits: RunLimits = RunLimits()
    """What is left open here is the repository's, and then the worker's."""
    not_before: AwareDatetime | None = None
    """No worker gets it earlier."""
    expires_in_seconds: int | None = Field(default=None, ge=1, le=MAX_EXPIRY_SECONDS)
    """It is not run any more when it has not begun so long after it might have."""
    wants_answer: bool = False
    """The result is the file ``agentvine-answer.json`` that the run leaves, not a change."""


class TaskCreateIn(Input):
    """A new task. It is queued at once when nothing holds it back, unless ``start`` is false."""

    title: str = Field(min_length=1, max_length=300)
    description: str | None = Field(default=None, max_length=1_000_000)
    project_id: uuid.UUID | None = None
    repository_id: uuid.UUID | None = None
    type: TaskType = TaskType.FEATURE
    permission: PermissionLevel = PermissionLevel.SUPERVISED
    priority: TaskPriority = TaskPriority.NORMAL
    target_branch: str | None = Field(default=None, min_length=1, max_length=255)
    definition_of_done: str | None = Field(default=None, max_length=100_000)
    parent_id: uuid.UUID | None = None
    depends_on: list[uuid.UUID] = Field(default_factory=list[uuid.UUID], max_length=200)
    touches: FilePatterns = Field(default_factory=list[str])
    """Files it will change, as paths or patterns: it does not run beside another that does so."""
    run: TaskRun = TaskRun()
    agent_id: uuid.UUID | None = None
    """Whose work it is; its runtime and model are taken where ``run`` names none."""
    budget_usd: Usd | None = None
    """What its calls to language models may cost in all."""
    metadata: dict[str, Any] = Field(default_factory=dict[str, Any])
    start: bool = True


class TaskEditIn(Edit):
    """Fields left out stay as they are; ``run`` may be changed until the task is claimed."""

    may_be_emptied = frozenset({"description", "definition_of_done", "budget_usd", "agent_id"})

    title: str | None = Field(default=None, min_length=1, max_length=300)
    description: str | None = Field(default=None, max_length=1_000_000)
    priority: TaskPriority | None = None
    permission: PermissionLevel | None = None
    definition_of_done: str | None = Field(default=None, max_length=100_000)
    run: TaskRun | None = None
    agent_id: uuid.UUID | None = None
    """Whose work its next attempt is."""
    budget_usd: Usd | None = None
    touches: FilePatterns | None = None
    """In place of what was declared before; what was learned stays."""


class TaskCancelIn(Input):
    """Why, for those who read the history."""

    reason: str = Field(default="", max_length=2000)


class DependencyIn(Input):
    """Another task this one waits for or relates to."""

    depends_on: uuid.UUID
    type: DependencyType = DependencyType.BLOCKS


class DependencyOut(Output):
    """A relation to another task, with how that one stands."""

    task_id: uuid.UUID
    depends_on: uuid.UUID
    type: DependencyType
    depends_on_ref: str
    depends_on_title: str
    depends_on_status: TaskStatus


class TaskOut(Output):
    """A task."""

    id: uuid.UUID
    ref: str
    title: str
    description: str | None
    status: TaskStatus
    status_reason: str | None
    type: TaskType
    permission: PermissionLevel
    priority: TaskPriority
    project_id: uuid.UUID
    repository_id: uuid.UUID | None
    target_branch: str | None
    definition_of_done: str | None
    parent_id: uuid.UUID | None
    plan_id: uuid.UUID | None = None
    plan_step: str | None = None
    """The step of that version of a plan that it is."""
    agent_id: uuid.UUID | None = None
    conversation_id: uuid.UUID | None = None
    """Where its runs, people and the server talk about it."""
    run: TaskRun
    metadata: dict[str, Any]
    row_version: int
    total_tokens_used: int
    total_cost_usd: Decimal
    budget_usd: Decimal | None = None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    completed_at: datetime | None


class TaskFileOut(Output):
    """Files that a task touches, and how that is known."""

    pattern: str
    source: TaskFileSource


class FileWaitOut(Output):
    """A task that is at work on files which another one touches, too."""

    task_id: uuid.UUID
    ref: str
    title: str
    status: TaskStatus
    files: list[str]
    """Where the two meet: paths or patterns, some of them if they are many."""


class TaskDetailOut(TaskOut):
    """A task with its relations."""

    dependencies: list[DependencyOut]
    dependants: list[DependencyOut]
    sub_tasks: list[TaskOut]
    touches: list[TaskFileOut] = Field(default_factory=list[TaskFileOut])
    waits_for_files: list[FileWaitOut] = Field(default_factory=list[FileWaitOut])
    """For whom it waits because of its files; empty where it does not wait for such a reason."""
