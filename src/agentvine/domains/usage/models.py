"""Tables of the usage slice."""

import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    Index,
    Integer,
    String,
    UniqueConstraint,
    and_,
    column,
)
from sqlalchemy.orm import Mapped, mapped_column

from agentvine.db.base import Base
from agentvine.db.columns import (
    big_integer,
    choice,
    document,
    flag,
    foreign_key,
    integer,
    money,
    stamp,
    stamp_now,
    uuid_key,
    varchar,
)
from agentvine.db.types import Json, Money, StrList, UtcDateTime, Uuid
from agentvine.domains.agents.enums import AgentId
from agentvine.domains.conversations.enums import ConversationId, MessageId
from agentvine.domains.executions.enums import ExecutionId
from agentvine.domains.identity.enums import UserId
from agentvine.domains.projects.enums import ProjectId
from agentvine.domains.tasks.enums import TaskId
from agentvine.domains.usage.enums import (
    BudgetAction,
    BudgetCounterId,
    BudgetLimitId,
    BudgetPeriod,
    BudgetReservationId,
    BudgetScope,
    PriceOverrideId,
    TokenUsageId,
)

NO_LIMIT_USD = Decimal("99999999.99")
"""The greatest amount of a budget: nobody spends so much."""
_THRESHOLD = column("alert_threshold", Money(3, 2))


class TokenUsage(Base):
    """One call to a language model: what went in and out, and what it cost."""

    __tablename__ = "token_usage"
    __table_args__ = (
        Index("idx_token_usage_timestamp", "timestamp"),
        Index("idx_token_usage_agent", "agent_id"),
        Index("idx_token_usage_project", "project_id"),
        Index("idx_token_usage_conversation", "conversation_id"),
        Index("idx_token_usage_date", "usage_date"),
        Index("idx_token_usage_user", "user_id"),
        Index("idx_token_usage_message", "message_id"),
        Index("idx_token_usage_task", "task_id"),
        Index("idx_token_usage_execution", "execution_id"),
    )

    id: Mapped[TokenUsageId] = uuid_key()
    timestamp: Mapped[datetime] = stamp_now()
    usage_date: Mapped[date] = mapped_column(Date())
    user_id: Mapped[UserId | None] = foreign_key("users.id", on_delete="SET NULL")
    agent_id: Mapped[AgentId | None] = foreign_key("agents.id", on_delete="SET NULL")
    agent_type: Mapped[str | None] = varchar(20)
    conversation_id: Mapped[ConversationId | None] = foreign_key(
        "conversations.id", on_delete="SET NULL"
    )
    message_id: Mapped[MessageId | None] = foreign_key("messages.id", on_delete="SET NULL")
    project_id: Mapped[ProjectId | None] = foreign_key("projects.id", on_delete="SET NULL")
    task_id: Mapped[TaskId | None] = foreign_key("tasks.id", on_delete="SET NULL")
    execution_id: Mapped[ExecutionId | None] = foreign_key("executions.id", on_delete="SET NULL")
    request_id: Mapped[str | None] = mapped_column(String(100), unique=True)
    """One request is counted once."""
    model: Mapped[str] = varchar(100)
    tokens_in: Mapped[int] = integer(0, nullable=False)
    tokens_out: Mapped[int] = integer(0, nullable=False)
    tokens_cache_read: Mapped[int] = integer(0, nullable=False)
    tokens_cache_write: Mapped[int] = integer(0, nullable=False)
    cost_usd: Mapped[Decimal] = money(10, 6, "0", nullable=False)
    request_duration_ms: Mapped[int | None] = mapped_column(Integer())
    was_cached: Mapped[bool] = flag(default=False)
    metadata_: Mapped[dict[str, Any]] = document(dict, nullable=True, name="metadata")


class BudgetLimit(Base):
    """What may be spent in a period, by whom, and what happens at the limit."""

    __tablename__ = "budget_limits"
    __table_args__ = (
        CheckConstraint(and_(_THRESHOLD > 0, _THRESHOLD <= 1), name="alert_threshold_range"),
        Index("idx_budget_scope", "scope_type", "scope_id"),
        Index("idx_budget_agent_type", "scope_type", "scope_agent_type"),
    )

    id: Mapped[BudgetLimitId] = uuid_key()
    name: Mapped[str] = varchar(100)
    scope_type: Mapped[BudgetScope] = choice(BudgetScope, 20)
    scope_id: Mapped[uuid.UUID | None] = mapped_column(Uuid())
    scope_agent_type: Mapped[str | None] = varchar(20)
    amount_usd: Mapped[Decimal] = money(10, 2)
    """``NO_LIMIT_USD`` where only tokens or runs are limited."""
    max_tokens: Mapped[int | None] = mapped_column(BigInteger())
    """In and out together: for logins without a price."""
    max_runs: Mapped[int | None] = mapped_column(Integer())
    """Attempts that call models."""
    period: Mapped[BudgetPeriod] = choice(BudgetPeriod, 20)
    alert_threshold: Mapped[Decimal] = money(3, 2, "0.80")
    """The part of the amount at which somebody is told."""
    action_on_exceed: Mapped[BudgetAction] = choice(
        BudgetAction, 20, default=BudgetAction.WARN, nullable=True
    )
    is_active: Mapped[bool] = flag(default=True)
    created_at: Mapped[datetime] = stamp_now()
    updated_at: Mapped[datetime] = stamp_now()


class BudgetCounter(Base):
    """Spent and reserved in one period of one budget, or of one task: a check reads one row."""

    __tablename__ = "budget_counters"
    __table_args__ = (
        UniqueConstraint("budget_id", "period_start"),
        UniqueConstraint("task_id"),
    )

    id: Mapped[BudgetCounterId] = uuid_key()
    budget_id: Mapped[BudgetLimitId | None] = foreign_key("budget_limits.id", on_delete="CASCADE")
    task_id: Mapped[TaskId | None] = foreign_key("tasks.id", on_delete="CASCADE")
    """Whose own budget this counts; it has one period, the whole of its life."""
    period_start: Mapped[date] = mapped_column(Date())
    period_end: Mapped[date | None] = mapped_column(Date())
    """The first day after it."""
    spent_usd: Mapped[Decimal] = money(14, 6, "0", nullable=False)
    reserved_usd: Mapped[Decimal] = money(14, 6, "0", nullable=False)
    spent_tokens: Mapped[int] = big_integer(0)
    spent_runs: Mapped[int] = integer(0, nullable=False)
    alerted_at: Mapped[datetime | None] = stamp()
    updated_at: Mapped[datetime] = stamp_now(nullable=False)


class BudgetReservation(Base):
    """Money set aside for one call until it is settled; nothing is freed in silence."""

    __tablename__ = "budget_reservations"
    __table_args__ = (
        Index("idx_budget_reservations_execution", "execution_id"),
        Index("idx_budget_reservations_expires", "expires_at"),
    )

    id: Mapped[BudgetReservationId] = uuid_key()
    request_id: Mapped[str] = mapped_column(String(100), unique=True)
    execution_id: Mapped[ExecutionId | None] = foreign_key("executions.id", on_delete="SET NULL")
    amount_usd: Mapped[Decimal] = mapped_column(Money(14, 6), nullable=False)
    counter_ids: Mapped[list[str]] = mapped_column(StrList(), nullable=False)
    """Where the amount is reserved; without any budget, nowhere."""
    call: Mapped[dict[str, Any]] = mapped_column(Json(), nullable=False)
    """What is being called and who pays, for the row that an unfinished call leaves."""
    owner: Mapped[str | None] = varchar(100)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime(), nullable=False)
    created_at: Mapped[datetime] = stamp_now(nullable=False)


class PriceOverride(Base):
    """What a model costs from a time on, whatever the price table says; in dollars a million."""

    __tablename__ = "price_overrides"
    __table_args__ = (Index("idx_price_overrides_model", "model", "effective_from"),)

    id: Mapped[PriceOverrideId] = uuid_key()
    provider: Mapped[str | None] = varchar(50)
    """Whose model; NULL: whoever serves it."""
    model: Mapped[str] = varchar(100)
    effective_from: Mapped[datetime] = mapped_column(UtcDateTime(), nullable=False)
    input_usd: Mapped[Decimal] = mapped_column(Money(12, 6), nullable=False)
    output_usd: Mapped[Decimal] = mapped_column(Money(12, 6), nullable=False)
    cache_read_usd: Mapped[Decimal | None] = money(12, 6)
    """NULL: as other input."""
    cache_write_usd: Mapped[Decimal | None] = money(12, 6)
    """NULL: as other input."""
    reasoning_usd: Mapped[Decimal | None] = money(12, 6)
    """NULL: as other output."""
    created_at: Mapped[datetime] = stamp_now(nullable=False)
