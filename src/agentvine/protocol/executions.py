"""Executions and their logs on the wire."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from agentvine.protocol.base import Input, Output, Verbatim
from agentvine.protocol.enums import ExecutionPhase, ExecutionStatus, LogLevel

MAX_LINES_PER_BATCH = 2000
MAX_LINE_CHARACTERS = 16_384
DETAIL_STREAMS = frozenset({"raw", "events"})
"""What an agent's program printed, and what we made of it: shown only when asked for by name."""


class LogLineIn(Verbatim):
    """One line of output; longer ones come in parts, marked in ``metadata``."""

    message: str = Field(max_length=MAX_LINE_CHARACTERS)
    level: LogLevel = LogLevel.INFO
    logged_at: datetime
    metadata: dict[str, Any] = Field(default_factory=dict[str, Any])


class LogBatchIn(Input):
    """Lines of one stream, numbered from ``first_seq`` on without gaps (the first line is 1).

    A batch sent twice is stored once.
    """

    order_id: uuid.UUID
    fence: int
    stream: str = Field(pattern="^(stdout|stderr|system|setup|test|cleanup|events|raw)$")
    first_seq: int = Field(ge=1)
    lines: list[LogLineIn] = Field(min_length=1, max_length=MAX_LINES_PER_BATCH)


class LogBatchOut(Output):
    """The highest number the server now holds for that stream."""

    stream: str
    high_seq: int


class LogLineOut(Output):
    """A stored line; ``id`` grows, and a tail resumes after it."""

    id: int
    stream: str
    seq: int
    level: LogLevel
    message: str
    logged_at: datetime
    metadata: dict[str, Any]


class LogMatchOut(Output):
    """A line that holds what was looked for, and those around it in the same log."""

    execution_id: uuid.UUID
    task_id: uuid.UUID
    attempt: int
    line: LogLineOut
    before: list[LogLineOut]
    after: list[LogLineOut]


class ExecutionOut(Output):
    """One attempt at a task."""

    id: uuid.UUID
    task_id: uuid.UUID
    worker_id: uuid.UUID
    work_order_id: uuid.UUID | None
    agent_id: uuid.UUID | None = None
    """The agent that the task was assigned to when the attempt began."""
    status: ExecutionStatus
    phase: ExecutionPhase
    runtime: str | None
    session_id: str | None = None
    """The agent's own name for its session."""
    model: str | None
    attempt: int
    fence: int
    exit_code: int | None
    failure_class: str | None
    failure_message: str | None
    metrics: dict[str, Any]
    started_at: datetime
    completed_at: datetime | None
    duration_seconds: int | None


class TimelineSource(StrEnum):
    """Whose record an event of a timeline comes from."""

    SERVER = "server"
    WORKER = "worker"
    PERSON = "person"


class TimelineEventOut(Output):
    """Something that happened to an attempt."""

    number: int
    """Its place in the list, from 1."""
    at: datetime
    source: TimelineSource
    kind: str
    """Dotted: ``task.queued``, ``execution.claimed``, ``run.prepared``, ``order.steered`` ..."""
    message: str
    facts: dict[str, Any]


class TimelineOut(Output):
    """All that happened to an attempt, in order."""

    execution_id: uuid.UUID
    events: list[TimelineEventOut]
    is_whole: bool
    """Whether the attempt has ended and all that its worker reported is here."""


class BundleOut(Output):
    """A stored bundle."""

    execution_id: uuid.UUID
    sha256: str
    size_bytes: int
