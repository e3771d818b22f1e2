"""The queue protocol: claim, heartbeat, complete, fail, release.

Every message about a claimed order carries its fence, a number that grows with each claim. A
stale fence is answered with 409 ``lease_lost`` and nothing is changed: the worker stops that run
and discards it. A claim carries a token made by the worker; repeating a claim with the same token
returns the same orders, so a lost answer loses nothing; and a number, so that one which arrives
after its orders have ended gets no others. All messages may be repeated.
"""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from pydantic import AwareDatetime, Field, model_validator

from agentvine.protocol.base import Bare, Fence, Input, Output, Verbatim
from agentvine.protocol.controls import ControlKnown, LeaseControl
from agentvine.protocol.enums import (
    ChangeKind,
    ExecutionPhase,
    FailureClass,
    OrderStatus,
    TaskPriority,
    TaskStatus,
    TaskType,
)
from agentvine.protocol.runs import OrderedLimits, OrderedSandbox, OrderedWatch, OrderedWorkspace
from agentvine.protocol.tasks import TaskCreateIn, TaskOut

MAX_DIFF_CHARACTERS = 2_000_000
MAX_BUNDLE_BYTES = 64 * 1024 * 1024
MAX_ANSWER_CHARACTERS = 200_000
ANSWER_FILE = "agentvine-answer.json"
"""What a run writes at the top of its work tree when it is asked for an answer: any runtime can."""
MAX_DELAY_SECONDS = 31 * 24 * 3600
"""The longest that an order is put off for a provider's limit."""


class Held(Bare):
    """A claim a worker believes to hold, and what it is doing with it."""

    order_id: uuid.UUID
    fence: Fence
    phase: ExecutionPhase = ExecutionPhase.RUNNING


class ClaimIn(Input):
    """A request for up to ``slots`` orders, waiting up to ``wait_seconds`` for the first."""

    worker_id: uuid.UUID
    session_id: uuid.UUID
    claim_token: str = Field(min_length=16, max_length=64)
    number: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """Grows with each new token of one session, so that a request that the network held back is
    known for what it is; None (a worker of 1.0) leaves such a request good."""
    slots: int = Field(default=1, ge=1, le=100)
    wait_seconds: float = Field(default=0, ge=0, le=55)


class RepositorySource(Output):
    """Where a worker gets the code from; a local path is tried before a URL."""

    id: uuid.UUID
    name: str
    path: str
    git_url: str | None


class OrderPayload(Output):
    """What is to be done; stored with the order, so that each attempt sees the same."""

    schema_version: int = 1
    task_id: uuid.UUID
    task_ref: str
    title: str
    description: str | None = None
    task_type: TaskType
    repository: RepositorySource | None = None
    target_branch: str | None = None
    branch_name: str | None = None
    runtime: str
    command: str | None = None
    test_command: str | None = None
    timeout_seconds: int
    test_timeout_seconds: int
    limits: OrderedLimits = OrderedLimits()
    watch: OrderedWatch = OrderedWatch()
    sandbox: OrderedSandbox | None = None
    """None: the run may do what the worker's own user may."""
    workspace: OrderedWorkspace = OrderedWorkspace()
    wants_answer: bool = False
    """The run is to leave its answer in ``ANSWER_FILE``; what it changes is not kept."""


class ClaimedOrder(Output):
    """A claim granted: the order, its fence, and the execution to report against."""

    order_id: uuid.UUID
    execution_id: uuid.UUID
    fence: int
    attempt: int
    lease_seconds: float
    payload: OrderPayload


class ClaimOut(Output):
    """The orders granted; empty when none came in time."""

    orders: list[ClaimedOrder]


class HeartbeatIn(Bare):
    """One beat for a whole worker, with all claims it holds."""

    worker_id: uuid.UUID
    session_id: uuid.UUID
    held: list[Held] = Field(default_factory=list[Held], max_length=1000)


class LeaseState(StrEnum):
    """What the server says about one held claim."""

    KEPT = "kept"
    LOST = "lost"
    CANCEL = "cancel"


class LeaseOut(Output):
    """The state of one claim after a beat."""

    order_id: uuid.UUID
    fence: int
    state: LeaseState
    control: LeaseControl | None = None
    """None: nobody has asked anything of this claim, or the server does not know of it."""


class HeartbeatOut(Output):
    """All claims' states; ``drain`` asks the worker to claim no more."""

    leases: list[LeaseOut]
    lease_seconds: float
    drain: bool = False


class ListenIn(Input):
    """Wait, up to ``wait_seconds``, until a beat would tell something new.

    ``held`` are the claims that are to go on, as far as the worker knows; ``controls`` what else it
    was told of them. A worker that was told nothing leaves that out.
    """

    worker_id: uuid.UUID
    session_id: uuid.UUID
    held: list[Held] = Field(default_factory=list[Held], max_length=1000)
    controls: list[ControlKnown] = Field(default_factory=list[ControlKnown], max_length=1000)
    wait_seconds: float = Field(default=0, ge=0, le=55)


class ListenOut(Output):
    """Whether to beat now: something is wanted of a claim, or the worker is to drain.

    A claim is to be cancelled or was lost; its run is to stand still, to go on, or to get a
    message. It may be true for nothing; what is so, the beat tells.
    """

    news: bool


class FileImpact(Verbatim):
    """What a change does to one file, and who uses it."""

    path: str
    old_path: str | None = None
    kind: ChangeKind
    added_lines: int = 0
    removed_lines: int = 0
    is_binary: bool = False
    public_names_added: list[str] = Field(default_factory=list[str])
    public_names_removed: list[str] = Field(default_factory=list[str])
    public_names_changed: list[str] = Field(default_factory=list[str])
    imported_by: list[str] = Field(default_factory=list[str])


class TestCaseOut(Verbatim):
    """One test that did not pass."""

    name: str
    outcome: str
    message: str = ""


class TestReport(Verbatim):
    """What the project's own tests said."""

    command: str
    exit_code: int | None
    passed: bool
    duration_seconds: float
    source: str = Field(default="exit_code", pattern="^(exit_code|junit)$")
    total: int | None = None
    failures: int | None = None
    errors: int | None = None
    skipped: int | None = None
    failed_cases: list[TestCaseOut] = Field(default_factory=list[TestCaseOut], max_length=200)
    output_tail: str = Field(default="", max_length=100_000)


class ChangeReport(Verbatim):
    """The change a run left behind, committed on its branch and sent as a bundle."""

    base_commit: str = Field(pattern="^[0-9a-f]{40,64}$")
    head_commit: str = Field(pattern="^[0-9a-f]{40,64}$")
    branch_name: str = Field(min_length=1, max_length=255)
    target_branch: str = Field(min_length=1, max_length=255)
    is_partial: bool = False
    """Work of a failed run, kept for people to look at; never applied by itself."""
    files: list[FileImpact] = Field(default_factory=list[FileImpact])
    diff: str = Field(default="", max_length=MAX_DIFF_CHARACTERS)
    diff_truncated: bool = False
    bundle_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    impact_notes: list[str] = Field(default_factory=list[str], max_length=20)
    """What the impact analysis could not look at, in sentences; empty when it saw everything."""


class ExecutionReport(Verbatim):
    """How an attempt went; sent with ``complete`` and ``fail`` alike."""

    exit_code: int | None = None
    duration_seconds: float = 0
    peak_memory_bytes: int | None = None
    metrics: dict[str, Any] = Field(default_factory=dict[str, Any])
    tests: TestReport | None = None
    change: ChangeReport | None = None
    log_high_water: dict[str, int] = Field(default_factory=dict[str, int])
    """Per stream, the number of log lines the worker has sent for this execution."""
    answer: str | None = Field(default=None, max_length=MAX_ANSWER_CHARACTERS)
    """What a run that was asked for an answer has left, word for word; None: nothing to be read."""


class CompleteIn(Input):
    """The attempt succeeded (a change, or nothing to change)."""

    order_id: uuid.UUID
    fence: int
    report: ExecutionReport


class FailIn(Verbatim):
    """The attempt failed; its class decides whether another follows."""

    order_id: uuid.UUID
    fence: int
    failure_class: FailureClass
    message: str = Field(max_length=10_000)
    report: ExecutionReport = ExecutionReport()
    retry_at: AwareDatetime | None = None
    """When a provider's limit is lifted, by the provider's clock; for classes that wait for it."""
    retry_after_seconds: float | None = Field(default=None, ge=0, le=MAX_DELAY_SECONDS)
    """The same where only a time span is known: it counts from when this message arrives."""


class ReleaseIn(Verbatim):
    """The worker gives an order back untouched, so that another may take it at once."""

    order_id: uuid.UUID
    fence: int
    reason: str = Field(default="", max_length=2000)


MAX_REPORTS = 100


class ReportIn(Input):
    """One report of several: exactly one of the three."""

    complete: CompleteIn | None = None
    fail: FailIn | None = None
    release: ReleaseIn | None = None

    @model_validator(mode="after")
    def _is_one_of_three(self) -> Self:
        if sum(each is not None for each in (self.complete, self.fail, self.release)) != 1:
            raise ValueError("give one of complete, fail and release")
        return self

    @property
    def message(self) -> CompleteIn | FailIn | ReleaseIn:
        """The report itself."""
        message = self.complete or self.fail or self.release
        assert message is not None, "validated"
        return message


class ReportsIn(Input):
    """Reports on several claims in one request; each counts for itself and may be repeated."""

    reports: list[ReportIn] = Field(min_length=1, max_length=MAX_REPORTS)


class OrderOutcome(Output):
    """Where an order stands after a report; repeating the report returns the same."""

    order_id: uuid.UUID
    status: OrderStatus
    will_retry: bool = False
    available_at: datetime | None = None


class WorkOrderOut(Output):
    """An order as people see it."""

    id: uuid.UUID
    task_id: uuid.UUID
    queue_name: str
    status: OrderStatus
    priority: TaskPriority
    worker_type: str | None
    runtime: str | None
    required_capabilities: dict[str, Any]
    retry_count: int
    max_retries: int
    fence: int
    error_message: str | None
    worker_id: uuid.UUID | None
    execution_id: uuid.UUID | None
    enqueued_at: datetime
    available_at: datetime
    claimed_at: datetime | None
    lease_expires_at: datetime | None
    completed_at: datetime | None
    expires_at: datetime | None = None
    last_failure_class: str | None = None
    lost_count: int = 0
    pausing_since: datetime | None = None
    """When somebody asked that its run stand still; None when it is to go on."""
    paused_since: datetime | None = None
    """Since when the run does stand still."""


class QueueStatusOut(Output):
    """Numbers for one queue; ages in seconds."""

    queue_name: str
    pending: int
    delayed: int
    claimed: int
    oldest_pending_seconds: float | None


MAX_BULK = 500


class BulkItemIn(Input):
    """One of many: a task that is there already, or one to be made."""

    task_id: uuid.UUID | None = None
    create: TaskCreateIn | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.task_id is None) is (self.create is None):
            raise ValueError("give either task_id or create")
        return self


class BulkEnqueueIn(Input):
    """Many tasks to start in one transaction; each may fail alone."""

    items: list[BulkItemIn] = Field(min_length=1, max_length=MAX_BULK)


class BulkError(Output):
    """Why one of many was refused."""

    code: str
    detail: str


class ReportOut(Output):
    """What became of one report: an outcome, or why it was refused."""

    outcome: OrderOutcome | None = None
    error: BulkError | None = None


class ReportsOut(Output):
    """What became of each report, in the order of the request."""

    items: list[ReportOut]


class BulkItemOut(Output):
    """What became of one of many, in the order of the request."""

    task: TaskOut | None = None
    error: BulkError | None = None


class BulkEnqueueOut(Output):
    """What became of each."""

    items: list[BulkItemOut]
    queued: int
    refused: int


class DeadOrdersIn(Input):
    """Which dead orders to try again: those that match all that is given."""

    project_id: uuid.UUID | None = None
    queue_name: str | None = Field(default=None, max_length=50)
    failure_class: FailureClass | None = None
    order_ids: list[uuid.UUID] = Field(default_factory=list[uuid.UUID], max_length=MAX_BULK)
    limit: int = Field(default=100, ge=1, le=MAX_BULK)


class WaitReason(Output):
    """One reason why an order does not run."""

    code: str
    message: str
    facts: dict[str, Any] = Field(default_factory=dict[str, Any])


class WhyOut(Output):
    """Why a task does not run, or that it does; the gravest reason first."""

    task_id: uuid.UUID
    task_ref: str
    task_status: TaskStatus
    order_id: uuid.UUID | None
    order_status: OrderStatus | None
    is_ready: bool
    """Nothing is in its way but those before it."""
    ahead: int | None
    """Orders that would be handed out before it."""
    reasons: list[WaitReason]


class EnqueueIn(Input):
    """Queue a task now; refused when something holds it back."""

    task_id: uuid.UUID
