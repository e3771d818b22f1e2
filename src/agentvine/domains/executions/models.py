"""Tables of the executions slice."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Integer, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from agentvine.db.base import Base
from agentvine.db.columns import (
    NEVER_REUSE_IDS,
    big_integer,
    choice,
    counted_key,
    document,
    foreign_key,
    integer,
    present_index,
    stamp,
    stamp_now,
    uuid_key,
    varchar,
)
from agentvine.db.types import Json
from agentvine.domains.agents.enums import AgentId
from agentvine.domains.executions.enums import (
    ExecutionId,
    ExecutionLogId,
    ExecutionPhase,
    ExecutionStatus,
    LogLevel,
)
from agentvine.domains.tasks.enums import TaskId
from agentvine.domains.work.enums import WorkOrderId
from agentvine.domains.workers.enums import WorkerId


class Execution(Base):
    """One attempt at a task, by one claim."""

    __tablename__ = "executions"
    __table_args__ = (
        UniqueConstraint("work_order_id", "fence"),
        Index("idx_executions_task", "task_id"),
        Index("idx_executions_worker", "worker_id"),
        Index("idx_executions_status", "status"),
        Index("idx_executions_started", "started_at"),
        Index("idx_executions_task_status", "task_id", "status"),
        present_index("idx_executions_agent", "agent_id"),
    )

    id: Mapped[ExecutionId] = uuid_key()
    task_id: Mapped[TaskId] = foreign_key("tasks.id", on_delete="CASCADE")
    worker_id: Mapped[WorkerId] = foreign_key("workers.id", on_delete="CASCADE")
    work_order_id: Mapped[WorkOrderId | None] = foreign_key("work_orders.id", on_delete="SET NULL")
    agent_id: Mapped[AgentId | None] = foreign_key("agents.id", on_delete="SET NULL")
    status: Mapped[ExecutionStatus] = choice(ExecutionStatus, 20, default=ExecutionStatus.RUNNING)
    phase: Mapped[ExecutionPhase] = choice(ExecutionPhase, 20, default=ExecutionPhase.STARTING)
    runtime: Mapped[str | None] = varchar(50)
    model: Mapped[str | None] = varchar(100)
    session_id: Mapped[str | None] = varchar(200)
    """The runtime's own name for the run, by which it can be resumed."""
    fence: Mapped[int] = big_integer(0)
    attempt: Mapped[int] = integer(1, nullable=False)
    exit_code: Mapped[int | None] = mapped_column(Integer())
    stdout_log: Mapped[str | None] = mapped_column(Text())
    stderr_log: Mapped[str | None] = mapped_column(Text())
    failure_class: Mapped[str | None] = varchar(50)
    failure_message: Mapped[str | None] = mapped_column(Text())
    metrics: Mapped[dict[str, Any]] = document(dict, nullable=True)
    report: Mapped[dict[str, Any] | None] = mapped_column(Json())
    started_at: Mapped[datetime] = stamp_now()
    completed_at: Mapped[datetime | None] = stamp()
    duration_seconds: Mapped[int | None] = mapped_column(Integer())


class ExecutionLog(Base):
    """A line of an execution's log, known by stream and number."""

    __tablename__ = "execution_logs"
    __table_args__ = (
        UniqueConstraint("execution_id", "stream", "seq"),
        Index("idx_execution_logs_execution", "execution_id"),
        Index("idx_execution_logs_level", "level"),
        Index("idx_execution_logs_logged_at", "logged_at"),
        # A tail reads on from a line it knows, in a log of any length.
        Index("idx_execution_logs_tail", "execution_id", "id"),
        NEVER_REUSE_IDS,
    )

    id: Mapped[ExecutionLogId] = counted_key()
    execution_id: Mapped[ExecutionId] = foreign_key("executions.id", on_delete="CASCADE")
    level: Mapped[LogLevel] = choice(LogLevel, 10)
    message: Mapped[str] = mapped_column(Text())
    stream: Mapped[str] = varchar(20, default="system")
    seq: Mapped[int] = mapped_column(BigInteger(), nullable=True)
    """Every line of ours has one; a row that raw SQL inserts may go without."""
    metadata_: Mapped[dict[str, Any]] = document(dict, nullable=True, name="metadata")
    logged_at: Mapped[datetime] = stamp_now()


class ChangeBundle(Base):
    """An execution's commits as a git bundle, so that a result is never on a worker only."""

    __tablename__ = "change_bundles"

    execution_id: Mapped[ExecutionId] = foreign_key(
        "executions.id", on_delete="CASCADE", primary_key=True
    )
    sha256: Mapped[str] = varchar(64)
    size_bytes: Mapped[int] = mapped_column(BigInteger())
    content: Mapped[bytes] = mapped_column(LargeBinary())
    imported_ref: Mapped[str | None] = varchar(255)
    """The rescue ref that holds these commits in the repository; NULL until they are there."""
    imported_at: Mapped[datetime | None] = stamp()
    findings: Mapped[dict[str, Any] | None] = mapped_column(Json())
    """What the server found in these commits, which is what a reviewer is shown."""
    created_at: Mapped[datetime] = stamp_now(nullable=False)
