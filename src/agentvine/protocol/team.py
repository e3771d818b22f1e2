"""Team runs on the wire: a goal, the agents that work on it, and what each of them said.

What an agent answers is one JSON document, of a shape given here: of an ``ArchitectAnswer``, a
``TestVerdict`` or a ``ReviewVerdict``. A run writes it into ``agentvine-answer.json``.
"""

import uuid
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from agentvine.protocol.base import Input, Output, Usd
from agentvine.protocol.enums import PermissionLevel, TaskStatus, TaskType
from agentvine.protocol.plans import MAX_DEPENDENCIES, MAX_STEPS, FeaturePlan, FilePath
from agentvine.protocol.tasks import MAX_COMMAND_LENGTH, TaskRun

MAX_ROUNDS = 20
MAX_GOAL = 100_000
_MAX_TEXT = 20_000
_MAX_FINDINGS = 200


class TeamRole(StrEnum):
    """Who does a step."""

    ARCHITECT = "architect"
    CODER = "coder"
    TESTER = "tester"
    REVIEWER = "reviewer"
    DELIVERER = "deliverer"
    """Merges what the others are agreed on; git does, no agent."""


class TeamRunStatus(StrEnum):
    """Where a team run stands."""

    PLANNING = "planning"
    AWAITING_APPROVAL = "awaiting_approval"
    """The plan is there; a person says whether it is good."""
    BUILDING = "building"
    TESTING = "testing"
    REVIEWING = "reviewing"
    DELIVERING = "delivering"
    WAITING = "waiting"
    """Something is in the way that a person must see to; the reason says what."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class VerdictOutcome(StrEnum):
    """What a tester or a reviewer says."""

    PASS = "pass"  # noqa: S105 - a word of testers'
    FAIL = "fail"
    APPROVE = "approve"
    CHANGES_REQUESTED = "changes_requested"


class Severity(StrEnum):
    """How much a finding matters."""

    INFO = "info"
    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"


class Finding(Input):
    """Something that was found, and where."""

    path: FilePath | None = None
    line: int | None = Field(default=None, ge=1)
    severity: Severity = Severity.MAJOR
    text: str = Field(min_length=1, max_length=4000)

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if self.line is not None and self.path is None:
            raise ValueError("a line is of a file: name its path, too")
        return self


class _Verdict(Input):
    summary: str = Field(default="", max_length=_MAX_TEXT)
    findings: list[Finding] = Field(default_factory=list[Finding], max_length=_MAX_FINDINGS)

    def check_says_why(self, *, is_good: bool) -> None:
        """See that whoever is to do better knows what."""
        if not is_good and not self.findings and not self.summary:
            raise ValueError("say what is wrong: give findings, or a summary")


class TestVerdict(_Verdict):
    """What a tester says."""

    outcome: Literal[VerdictOutcome.PASS, VerdictOutcome.FAIL]

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        self.check_says_why(is_good=self.outcome is VerdictOutcome.PASS)
        return self


class ReviewVerdict(_Verdict):
    """What a reviewer says."""

    outcome: Literal[VerdictOutcome.APPROVE, VerdictOutcome.CHANGES_REQUESTED]

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        self.check_says_why(is_good=self.outcome is VerdictOutcome.APPROVE)
        return self


class ArchitectStep(Input):
    """One step. How it is run, and how much it may do by itself, is not the architect's to say."""

    key: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    title: str = Field(min_length=1, max_length=300)
    description: str | None = Field(default=None, max_length=_MAX_TEXT)
    type: TaskType = TaskType.FEATURE
    files: list[FilePath] = Field(default_factory=list[str], max_length=500)
    depends_on: list[str] = Field(default_factory=list[str], max_length=MAX_DEPENDENCIES)
    """Keys of the steps that come first."""
    definition_of_done: str | None = Field(default=None, max_length=_MAX_TEXT)


class ArchitectAnswer(Input):
    """What an architect says: what is wanted, and the steps to it."""

    feature_plan: FeaturePlan
    steps: list[ArchitectStep] = Field(min_length=1, max_length=MAX_STEPS)


class TeamRoleIn(Input):
    """Who takes a role, and how its tasks are carried out."""

    agent_id: uuid.UUID | None = None
    """None: the project's active agent of this type, or one for all projects."""
    run: TaskRun | None = None
    """None: by the agent's own runtime. An architect or a reviewer that has none is a language
    model, which is asked by the server."""


class TeamRunCreateIn(Input):
    """A goal for a team."""

    repository_id: uuid.UUID
    goal: str = Field(min_length=1, max_length=MAX_GOAL)
    target_branch: str | None = Field(default=None, min_length=1, max_length=255)
    """Where it is merged in the end; None: the repository's default branch."""
    permission: PermissionLevel = PermissionLevel.SUPERVISED
    max_rounds: int = Field(default=3, ge=0, le=MAX_ROUNDS)
    """How often the coder is sent back; then a person is asked."""
    budget_usd: Usd | None = None
    """What the models of all its steps may cost together."""
    test_command: str | None = Field(default=None, max_length=MAX_COMMAND_LENGTH)
    """What tests each change; None: the repository's."""
    architect: TeamRoleIn = TeamRoleIn()
    coder: TeamRoleIn = TeamRoleIn()
    tester: TeamRoleIn = TeamRoleIn()
    reviewer: TeamRoleIn = TeamRoleIn()


class TeamApproveIn(Input):
    """Let a team run go on: with its plan, for more rounds, or although somebody said no."""

    rounds: int = Field(default=1, ge=1, le=MAX_ROUNDS)
    """So many rounds more, where it has used up its own."""
    as_it_is: bool = False
    """Deliver what is there, whatever the last verdict says."""
    budget_usd: Usd | None = None
    """A new budget."""


class TeamCancelIn(Input):
    """Why, for those who read the history."""

    reason: str = Field(default="", max_length=2000)


class TeamRunOut(Output):
    """A team run."""

    id: uuid.UUID
    project_id: uuid.UUID
    repository_id: uuid.UUID | None
    goal: str
    status: TeamRunStatus
    status_reason: str | None
    permission: PermissionLevel
    round: int
    max_rounds: int
    target_branch: str
    branch_name: str
    """Where its changes meet before they are merged."""
    base_commit: str | None
    plan_id: uuid.UUID | None
    conversation_id: uuid.UUID | None
    budget_usd: Decimal | None
    row_version: int
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None


class TeamStepOut(Output):
    """A step: a task, or a question to a language model."""

    role: TeamRole
    round: int
    number: int
    """The second of a role and round where the first gave no usable answer; of the plan's tasks,
    one after the other."""
    task_id: uuid.UUID | None
    ref: str | None
    title: str | None
    status: TaskStatus | None
    model: str | None
    tokens: int
    cost_usd: Decimal
    problem: str | None
    """Why its answer was not taken."""
    answered_at: datetime | None
    created_at: datetime


class VerdictOut(Output):
    """What a tester or a reviewer said."""

    role: TeamRole
    round: int
    outcome: VerdictOutcome
    summary: str
    findings: list[dict[str, Any]]
    """Each with ``path``, ``line``, ``severity`` and ``text``."""
    task_id: uuid.UUID | None
    execution_id: uuid.UUID | None
    created_at: datetime


class TeamRunDetailOut(TeamRunOut):
    """A team run with all that was done and said, and what it came to."""

    steps: list[TeamStepOut]
    verdicts: list[VerdictOut]
    total_tokens: int
    total_cost_usd: Decimal
