"""The attempts at a task beside each other, with what each took and came to."""

import uuid
from datetime import datetime
from decimal import Decimal

from agentvine.protocol.base import Output
from agentvine.protocol.enums import ExecutionStatus


class AttemptTests(Output):
    """What the tests said; the counts are unknown where they wrote no results."""

    passed: bool
    total: int | None
    failures: int | None
    errors: int | None
    skipped: int | None


class AttemptChange(Output):
    """The commits that an attempt left."""

    head_commit: str
    files: int
    added_lines: int
    removed_lines: int
    is_partial: bool
    """Work of a failed attempt."""
    rescue_ref: str | None
    """What keeps it in the repository; null until it is there."""


class AttemptOut(Output):
    """One attempt in figures; what is not known is null."""

    execution_id: uuid.UUID
    task_id: uuid.UUID
    attempt: int
    status: ExecutionStatus
    failure_class: str | None
    failure_message: str | None
    worker_id: uuid.UUID
    worker_name: str
    runtime: str | None
    model: str | None
    exit_code: int | None
    started_at: datetime
    completed_at: datetime | None
    wall_seconds: float | None
    """From the claim to the report."""
    prepare_seconds: float | None
    run_seconds: float | None
    test_seconds: float | None
    cpu_seconds: float | None
    """Processor time, the system's and their own, of all processes of run and tests."""
    peak_memory_bytes: int | None
    model_calls: int
    tokens_in: int
    tokens_out: int
    cost_usd: Decimal
    tests: AttemptTests | None
    change: AttemptChange | None
