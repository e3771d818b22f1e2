"""Tables of the work slice: the queue."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from agentvine.db.base import Base
from agentvine.db.columns import (
    NEVER_REUSE_IDS,
    big_integer,
    choice,
    counted_key,
    document,
    flag,
    foreign_key,
    integer,
    partial_index,
    present_index,
    stamp,
    stamp_now,
    uuid_key,
    varchar,
)
from agentvine.db.types import Json, Uuid
from agentvine.domains.tasks.enums import TaskId, TaskPriority
from agentvine.domains.work.enums import (
    AssignmentStatus,
    CapabilitySetId,
    LimitId,
    LimitScope,
    OrderStatus,
    RunMessageId,
    WorkerAssignmentId,
    WorkOrderId,
)
from agentvine.domains.workers.enums import WorkerId, WorkerType


class CapabilitySet(Base):
    """A set of required capabilities, kept once, so that a claim compares a small number."""

    __tablename__ = "capability_sets"

    id: Mapped[CapabilitySetId] = mapped_column(Integer(), primary_key=True, autoincrement=True)
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)
    requirements: Mapped[dict[str, str]] = mapped_column(Json())
    created_at: Mapped[datetime] = stamp_now(nullable=False)


class Limit(Base):
    """How much of one kind of work may run at a time, how much does, and whether any may begin.

    The row is the counter: whoever begins or ends such work changes it in the same transaction.
    """

    __tablename__ = "work_limits"
    __table_args__ = (
        UniqueConstraint("scope", "key"),
        CheckConstraint("capacity >= 0", name="capacity_not_negative"),
        CheckConstraint("running >= 0", name="running_not_negative"),
        # A hot row: its new versions are to fit into the same page.
        {"postgresql_with": {"fillfactor": "50"}, **NEVER_REUSE_IDS},
    )

    id: Mapped[LimitId] = counted_key()
    scope: Mapped[LimitScope] = choice(LimitScope, 20)
    key: Mapped[str] = varchar(100)
    """The id or the name within the scope; empty for the whole fleet."""
    capacity: Mapped[int | None] = mapped_column(Integer())
    """None: as many as there are slots; such a row is there for its pause alone."""
    running: Mapped[int] = integer(0, nullable=False)
    paused_at: Mapped[datetime | None] = stamp()
    paused_by: Mapped[str | None] = varchar(200)
    pause_reason: Mapped[str | None] = mapped_column(Text())
    stops_runs: Mapped[bool] = flag(default=False, nullable=False)
    """Whether the pause also stops what runs: the emergency stop."""
    created_at: Mapped[datetime] = stamp_now(nullable=False)


class WorkOrder(Base):
    """A task in a queue, and who holds it."""

    __tablename__ = "work_orders"
    __table_args__ = (
        Index("idx_work_orders_task", "task_id"),
        Index("idx_work_orders_queue", "queue_name"),
        Index("idx_work_orders_status", "status"),
        Index("idx_work_orders_enqueued", "enqueued_at"),
        Index("idx_work_orders_expires", "expires_at"),
        # The claim walks this one in order; finished orders are not in it.
        partial_index(
            "idx_work_orders_ready",
            "queue_name",
            "rank",
            "id",
            where="status = 'pending' AND line_id IS NULL",
        ),
        # The same for the orders that wait at a limit, which so are in nobody's way.
        partial_index(
            "idx_work_orders_line",
            "line_id",
            "queue_name",
            "rank",
            "id",
            where="line_id IS NOT NULL",
        ),
        # What a worker holds, without its history; and all that is held, among which a lease that
        # has lapsed is found. No index holds the leases: each beat would write to every index of
        # the table. It leads over the index below by its second column, which says the same as its
        # condition.
        partial_index("idx_work_orders_held", "worker_id", "status", where="status = 'claimed'"),
        partial_index(
            "idx_work_orders_claim_token", "claim_token", where="claim_token IS NOT NULL"
        ),
        present_index("idx_work_orders_worker", "worker_id"),
        present_index("idx_work_orders_capability_set", "capability_set_id"),
        # A beat writes new versions of what is held: they are to fit into the same page.
        {"postgresql_with": {"fillfactor": "70"}},
    )

    id: Mapped[WorkOrderId] = uuid_key()
    task_id: Mapped[TaskId] = foreign_key("tasks.id", on_delete="CASCADE")
    queue_name: Mapped[str] = varchar(50)
    status: Mapped[OrderStatus] = choice(OrderStatus, 20, default=OrderStatus.PENDING)
    priority: Mapped[TaskPriority] = choice(TaskPriority, 10, default=TaskPriority.NORMAL)
    rank: Mapped[int] = big_integer(0)
    """The order of claims: the time of enqueueing, moved forward by priority."""
    payload: Mapped[dict[str, Any]] = mapped_column(Json(), nullable=False)
    result: Mapped[dict[str, Any] | None] = mapped_column(Json())
    error_message: Mapped[str | None] = mapped_column(Text())
    retry_count: Mapped[int] = integer(0)
    max_retries: Mapped[int] = integer(3)
    timeout_seconds: Mapped[int] = integer(3600)
    worker_type: Mapped[WorkerType | None] = choice(WorkerType, 20)
    runtime: Mapped[str | None] = varchar(50)
    required_capabilities: Mapped[dict[str, str]] = document(dict)
    capability_set_id: Mapped[CapabilitySetId | None] = mapped_column(
        Integer(), ForeignKey("capability_sets.id")
    )
    available_at: Mapped[datetime] = stamp_now(nullable=False)
    """Not claimed before: the back-off of a retry."""
    fence: Mapped[int] = big_integer(0)
    """Grows with every claim; whatever a worker writes carries it."""
    claim_token: Mapped[str | None] = varchar(64)
    """Names the request that claimed it, so that the same request gets it again."""
    lease_expires_at: Mapped[datetime | None] = stamp()
    worker_id: Mapped[WorkerId | None] = foreign_key("workers.id", on_delete="SET NULL")
    worker_session_id: Mapped[uuid.UUID | None] = mapped_column(Uuid())
    execution_id: Mapped[uuid.UUID | None] = mapped_column(Uuid())
    """The current attempt; executions stand above this slice, hence no foreign key."""
    cancel_requested_at: Mapped[datetime | None] = stamp()
    stop_requested_at: Mapped[datetime | None] = stamp()
    """Its run is told to stop, and the order to wait again: an emergency stop."""
    line_id: Mapped[LimitId | None] = mapped_column(BigInteger())
    """The limit in whose line it waits; None while none is known to apply, and when it does not
    wait; 0 when it is held up (``holds``). No foreign key: a limit that goes away must not have to
    look at every order."""
    held_limits: Mapped[list[int] | None] = mapped_column(Json())
    """The limits that count the current claim, so that its end gives back just these."""
    controlled_fence: Mapped[int | None] = mapped_column(BigInteger())
    """The claim that a person has paused, or has sent messages to: what the next two say is about
    that one alone, so that no other claim has to clear them."""
    pause_requested_at: Mapped[datetime | None] = stamp()
    paused_at: Mapped[datetime | None] = stamp()
    """Since when the run stands still, as its worker said."""
    lost_count: Mapped[int] = integer(0, nullable=False)
    last_failure_class: Mapped[str | None] = varchar(50)
    enqueued_at: Mapped[datetime] = stamp_now()
    claimed_at: Mapped[datetime | None] = stamp()
    completed_at: Mapped[datetime | None] = stamp()
    expires_at: Mapped[datetime | None] = stamp()
    """The order itself is too late then; a lease ends at ``lease_expires_at``."""

    @property
    def pausing_since(self) -> datetime | None:
        """When somebody asked that the run stand still; None when it is to go on."""
        return self.pause_requested_at if self._is_controlled else None

    @property
    def paused_since(self) -> datetime | None:
        """Since when the run stands still."""
        return self.paused_at if self._is_controlled else None

    @property
    def _is_controlled(self) -> bool:
        return self.status is OrderStatus.CLAIMED and self.controlled_fence == self.fence


class RunMessage(Base):
    """What a person has said to a run while it ran."""

    __tablename__ = "run_messages"
    __table_args__ = (UniqueConstraint("work_order_id", "fence", "number"),)

    id: Mapped[RunMessageId] = uuid_key()
    work_order_id: Mapped[WorkOrderId] = foreign_key("work_orders.id", on_delete="CASCADE")
    fence: Mapped[int] = mapped_column(BigInteger())
    """The claim whose run it is for."""
    number: Mapped[int] = mapped_column(Integer())
    """Counts the messages to that run, from 1."""
    execution_id: Mapped[uuid.UUID] = mapped_column(Uuid())
    author: Mapped[str] = varchar(200)
    text: Mapped[str] = mapped_column(Text())
    attachments: Mapped[list[Any]] = document(list, "[]")
    """Files of the control channel that go with it, as they are told on the wire."""
    created_at: Mapped[datetime] = stamp_now(nullable=False)
    delivered_at: Mapped[datetime | None] = stamp()
    """When its worker said that it had handed it over."""


class WorkerAssignment(Base):
    """A worker's hold of an order; a later claim by the same worker opens it again."""

    __tablename__ = "worker_assignments"
    __table_args__ = (
        UniqueConstraint("worker_id", "work_order_id"),
        Index("idx_assignments_worker", "worker_id"),
        Index("idx_assignments_order", "work_order_id"),
        Index("idx_assignments_status", "status"),
    )

    id: Mapped[WorkerAssignmentId] = uuid_key()
    worker_id: Mapped[WorkerId] = foreign_key("workers.id", on_delete="CASCADE")
    work_order_id: Mapped[WorkOrderId] = foreign_key("work_orders.id", on_delete="CASCADE")
    status: Mapped[AssignmentStatus] = choice(AssignmentStatus, 20, default=AssignmentStatus.ACTIVE)
    fence: Mapped[int] = big_integer(0)
    execution_id: Mapped[uuid.UUID | None] = mapped_column(Uuid())
    assigned_at: Mapped[datetime] = stamp_now()
    completed_at: Mapped[datetime | None] = stamp()


class ClaimOutcome(Base):
    """How a claim ended that did not complete its order: what a repeated report is answered.

    The order itself goes on meanwhile, and tells nothing of it any more. Of a completed order
    nothing is kept here: it stays as it ended.
    """

    __tablename__ = "claim_outcomes"
    __table_args__ = (Index("idx_claim_outcomes_worker", "worker_id"),)

    work_order_id: Mapped[WorkOrderId] = foreign_key(
        "work_orders.id", on_delete="CASCADE", primary_key=True
    )
    fence: Mapped[int] = mapped_column(BigInteger(), primary_key=True)
    worker_id: Mapped[WorkerId] = foreign_key("workers.id", on_delete="CASCADE")
    available_at: Mapped[datetime | None] = stamp()
    """When the order could be claimed again; None when it had failed."""
    created_at: Mapped[datetime] = stamp_now(nullable=False)
