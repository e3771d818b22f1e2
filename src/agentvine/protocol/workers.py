"""Workers on the wire."""

import uuid
from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field, SecretStr

from agentvine.protocol.base import Input, Output, Verbatim
from agentvine.protocol.controls import WorkerControls
from agentvine.protocol.enums import CapabilityLevel, TaskType, WorkerStatus


class WorkerIsolation(Verbatim):
    """How a worker holds its runs, found out by trying when it started."""

    containment: str = Field(max_length=50)
    """What holds a run's processes together: namespace, cgroup, subreaper or group."""
    problems: dict[str, str] = Field(default_factory=dict[str, str], max_length=20)
    """Why what would be firmer is not to be had there."""
    has_sandbox: bool = False
    sandbox_problem: str = ""


class WorkerIsolationOut(WorkerIsolation):
    """The same as people see it."""

    model_config = ConfigDict(extra="ignore")


class RuntimeReport(Verbatim):
    """What a worker found out about one runtime when it started."""

    name: str = Field(max_length=100)
    is_available: bool
    """Whether it offers it."""
    problem: str | None = Field(default=None, max_length=2000)
    """Why it cannot, and what to do about it."""
    version: str | None = Field(default=None, max_length=100)
    pinned_version: str | None = Field(default=None, max_length=100)
    """The version that the worker's release was tried with."""
    install: str | None = Field(default=None, max_length=500)
    login: str = Field(default="unknown", max_length=20)
    """Whether its program is logged in there: ready, missing, unknown or not_needed."""
    login_help: str | None = Field(default=None, max_length=1000)
    """What to do where there is neither a login nor a provider of models."""
    uses_models: bool = False
    """Whether the gateway serves it, so that a provider does in the place of a login."""


class RuntimeReportOut(RuntimeReport):
    """The same as people see it."""

    model_config = ConfigDict(extra="ignore")


class WorkerRegisterIn(Input):
    """A worker's process introduces itself; the same name means the same worker, started anew.

    Orders that an earlier process of this worker held and that are not listed in ``held`` are
    released at once.
    """

    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    session_id: uuid.UUID
    version: str = Field(default="", max_length=50)
    hostname: str = Field(default="", max_length=255)
    pid: int | None = None
    accepts: list[TaskType] = Field(default_factory=list[TaskType])
    """Kinds of task this worker takes; empty means all."""
    runtimes: list[str] = Field(default_factory=list[str], max_length=50)
    queues: list[str] = Field(default_factory=lambda: ["default"], min_length=1, max_length=50)
    capabilities: dict[str, CapabilityLevel] = Field(
        default_factory=dict[str, CapabilityLevel], max_length=200
    )
    max_concurrent_tasks: int = Field(default=1, ge=1, le=1000)
    held: list[uuid.UUID] = Field(default_factory=list[uuid.UUID])
    """Executions whose outcome waits in this worker's outbox to be reported."""
    isolation: WorkerIsolation | None = None
    """Left out by workers that do not know of it."""
    controls: WorkerControls | None = None
    """Likewise; such a worker's runs can be cancelled, but neither paused nor steered."""
    runtime_reports: list[RuntimeReport] | None = Field(default=None, max_length=50)
    """Of all runtimes that it looked for, those that it lacks, too; left out by older workers."""


class WorkerRegisteredOut(Output):
    """Who the worker is to the server, and the rhythm it keeps; seconds."""

    worker_id: uuid.UUID
    lease_seconds: float
    heartbeat_seconds: float
    long_poll_seconds: float
    released: int


class RuntimeLimit(Output):
    """A runtime whose own login has reached a limit of its provider, on one worker."""

    runtime: str
    until: datetime
    reason: str


class WorkerOut(Output):
    """A worker as people see it."""

    id: uuid.UUID
    name: str
    status: WorkerStatus
    worker_type: str
    version: str | None
    hostname: str | None
    accepts: list[str]
    runtimes: list[str]
    queues: list[str]
    capabilities: list[Any]
    max_concurrent_tasks: int
    is_draining: bool
    isolation: WorkerIsolationOut | None = None
    limited_runtimes: list[RuntimeLimit] = Field(default_factory=list[RuntimeLimit])
    """Until then it takes no orders for these."""
    runtime_reports: list[RuntimeReportOut] = Field(default_factory=list[RuntimeReportOut])
    """What it found when it looked last, of those that it lacks, too; empty for older workers."""
    last_heartbeat_at: datetime | None
    created_at: datetime


class EnrolmentCreateIn(Input):
    """An invitation for one worker, limited to what is listed; empty lists limit nothing."""

    name: str = Field(default="worker", min_length=1, max_length=100)
    types: list[TaskType] = Field(default_factory=list[TaskType], max_length=10)
    queues: list[str] = Field(default_factory=list[str], max_length=50)
    project_ids: list[uuid.UUID] = Field(default_factory=list[uuid.UUID], max_length=50)
    expires_in_minutes: int = Field(default=60, ge=1, le=7 * 24 * 60)


class EnrolmentOut(Output):
    """An invitation as it may be shown: never its secret."""

    id: uuid.UUID
    name: str
    prefix: str
    scopes: list[str]
    worker_name: str | None
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None


class EnrolmentCreatedOut(Output):
    """A new invitation; the only time its secret is shown."""

    token: str
    info: EnrolmentOut


class EnrolIn(Input):
    """A worker shows its invitation, and the hash of the key that it made for itself.

    The key is ``<key_prefix>_<256 random bits>``, the hash its SHA-256 in hexadecimal digits. The
    same message may be sent again.
    """

    token: SecretStr = Field(max_length=200)
    worker_name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    key_prefix: str = Field(pattern=r"^avw_[A-Za-z0-9]{8}$")
    key_hash: str = Field(pattern="^[0-9a-f]{64}$")


class EnrolledOut(Output):
    """The key is good from now on, for what its scopes say."""

    worker_name: str
    scopes: list[str]
