"""Tables of the workers slice."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from agentvine.db.base import Base
from agentvine.db.columns import (
    choice,
    document,
    flag,
    foreign_key,
    integer,
    stamp,
    stamp_now,
    uuid_key,
    varchar,
)
from agentvine.db.types import Uuid
from agentvine.domains.identity.enums import UserId
from agentvine.domains.workers.enums import (
    CapabilityLevel,
    EnrolmentId,
    WorkerCapabilityId,
    WorkerId,
    WorkerStatus,
    WorkerType,
)
from agentvine.protocol.controls import WorkerControls
from agentvine.protocol.workers import RuntimeLimit, RuntimeReportOut


def _default_queues() -> list[str]:
    return ["default"]


class Worker(Base):
    """A process that claims work; its row outlives it, known by name."""

    __tablename__ = "workers"
    __table_args__ = (
        Index("idx_workers_type", "worker_type"),
        Index("idx_workers_status", "status"),
        Index("idx_workers_heartbeat", "last_heartbeat_at"),
        Index("idx_workers_type_status", "worker_type", "status"),
        Index("idx_workers_token", "token_id"),
    )

    id: Mapped[WorkerId] = uuid_key()
    name: Mapped[str] = mapped_column(String(100), unique=True)
    worker_type: Mapped[WorkerType] = choice(WorkerType, 20)
    status: Mapped[WorkerStatus] = choice(WorkerStatus, 20)
    version: Mapped[str | None] = varchar(50)
    max_concurrent_tasks: Mapped[int] = integer(1)
    timeout_seconds: Mapped[int] = integer(3600)
    context_window_size: Mapped[int] = integer(200_000)
    config: Mapped[dict[str, Any]] = document(dict, nullable=True)
    """``isolation``: how it holds its runs; ``controls``: what it can do to them on a person's
    behalf; ``runtime_reports``: what it found of runtimes; all as it told when it registered.
    ``limited_runtimes``: what its logins wait for. ``past_sessions``: of its earlier processes."""
    capabilities: Mapped[list[Any]] = document(list, "[]", nullable=True)
    last_heartbeat_at: Mapped[datetime | None] = stamp()
    session_id: Mapped[uuid.UUID | None] = mapped_column(Uuid())
    """Changes with every start of the process."""
    claim_session_id: Mapped[uuid.UUID | None] = mapped_column(Uuid())
    claim_number: Mapped[int | None] = mapped_column(Integer())
    """The session and the number of the last claim that orders were granted for."""
    hostname: Mapped[str | None] = varchar(255)
    pid: Mapped[int | None] = mapped_column(Integer())
    accepts: Mapped[list[str]] = document(list, "[]")
    """The types of work it takes; empty for all."""
    runtimes: Mapped[list[str]] = document(list, "[]")
    queues: Mapped[list[str]] = document(_default_queues, '["default"]')
    is_draining: Mapped[bool] = flag(default=False, nullable=False)
    started_at: Mapped[datetime | None] = stamp()
    token_id: Mapped[uuid.UUID | None] = mapped_column(Uuid())
    created_at: Mapped[datetime] = stamp_now()
    updated_at: Mapped[datetime] = stamp_now()
    deleted_at: Mapped[datetime | None] = stamp()

    @property
    def isolation(self) -> dict[str, Any] | None:
        """How it holds its runs; None for workers that do not tell."""
        return (self.config or {}).get("isolation")

    @property
    def controls(self) -> WorkerControls | None:
        """What it can do to its runs on a person's behalf; None for workers that do not tell."""
        told = (self.config or {}).get("controls")
        return None if told is None else WorkerControls.model_validate(told)

    @property
    def runtime_reports(self) -> list[RuntimeReportOut]:
        """What it found of each runtime; empty for workers that do not tell."""
        told: list[Any] = (self.config or {}).get("runtime_reports") or []
        return [RuntimeReportOut.model_validate(each) for each in told]

    @property
    def limited_runtimes(self) -> list[RuntimeLimit]:
        """The runtimes whose login here had reached a limit, and until when; also past ones."""
        told: dict[str, Any] = (self.config or {}).get("limited_runtimes") or {}
        return [RuntimeLimit(runtime=name, **limit) for name, limit in sorted(told.items())]

    def usable_runtimes(self, now: datetime) -> list[str]:
        """What it can run at a time: no runtime whose login has reached its limit."""
        limited = {each.runtime for each in self.limited_runtimes if each.until > now}
        return [name for name in self.runtimes if name not in limited]


class WorkerCapability(Base):
    """Something a worker can do, and how well."""

    __tablename__ = "worker_capabilities"
    __table_args__ = (
        UniqueConstraint("worker_id", "capability_name"),
        Index("idx_worker_caps_worker", "worker_id"),
        Index("idx_worker_caps_name", "capability_name"),
    )

    id: Mapped[WorkerCapabilityId] = uuid_key()
    worker_id: Mapped[WorkerId] = foreign_key("workers.id", on_delete="CASCADE")
    capability_name: Mapped[str] = varchar(100)
    capability_level: Mapped[CapabilityLevel] = choice(
        CapabilityLevel, 20, default=CapabilityLevel.INTERMEDIATE, nullable=True
    )
    metadata_: Mapped[dict[str, Any]] = document(dict, nullable=True, name="metadata")


class Enrolment(Base):
    """An invitation for one worker: a token that is exchanged, once, for the worker's own key."""

    __tablename__ = "worker_enrolments"
    __table_args__ = (Index("idx_worker_enrolments_created_by", "created_by"),)

    id: Mapped[EnrolmentId] = uuid_key()
    name: Mapped[str] = varchar(100)
    prefix: Mapped[str] = mapped_column(String(32), unique=True)
    """The readable part, by which the row is found."""
    token_hash: Mapped[str] = varchar(64)
    scopes: Mapped[list[str]] = document(list, "[]")
    """What the worker will be limited to, as in its key; empty for no limit."""
    key_prefix: Mapped[str | None] = varchar(32)
    """Of the key it was exchanged for: the same key may be asked for again, no other."""
    worker_name: Mapped[str | None] = varchar(100)
    created_by: Mapped[UserId | None] = foreign_key("users.id", on_delete="SET NULL")
    created_at: Mapped[datetime] = stamp_now(nullable=False)
    expires_at: Mapped[datetime] = stamp()
    used_at: Mapped[datetime | None] = stamp()
    revoked_at: Mapped[datetime | None] = stamp()
