"""Usage and budgets on the wire."""

import uuid
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from agentvine.kit.pagination import DEFAULT_LIMIT, MAX_LIMIT
from agentvine.protocol.base import MAX_INTEGER, Edit, Input, Output, Usd
from agentvine.protocol.enums import AgentType, BudgetAction, BudgetPeriod, BudgetScope

MAX_TOKENS_PER_CALL = 1_000_000_000
MAX_CALLS_PER_REPORT = 500

ExactUsd = Annotated[Decimal, Field(ge=0, max_digits=10, decimal_places=6)]
"""An amount in micro-dollars."""
Share = Annotated[Decimal, Field(gt=0, le=1, max_digits=3, decimal_places=2)]


class BudgetCreateIn(Input):
    """What may be spent in each period, and what happens at the limit."""

    name: str = Field(min_length=1, max_length=100)
    scope: BudgetScope = BudgetScope.GLOBAL
    project_id: uuid.UUID | None = None
    agent_id: uuid.UUID | None = None
    agent_type: AgentType | None = None
    amount_usd: Usd | None = None
    """Left out where tokens or runs are limited instead."""
    max_tokens: int | None = Field(default=None, ge=1, le=MAX_INTEGER)
    max_runs: int | None = Field(default=None, ge=1, le=2**31 - 1)
    period: BudgetPeriod = BudgetPeriod.MONTHLY
    alert_threshold: Share = Decimal("0.80")
    action: BudgetAction = BudgetAction.BLOCK

    @model_validator(mode="after")
    def _names_what_it_is_about(self) -> Self:
        keys = {
            BudgetScope.PROJECT: self.project_id,
            BudgetScope.AGENT: self.agent_id,
            BudgetScope.AGENT_TYPE: self.agent_type,
        }
        given = {scope for scope, key in keys.items() if key is not None}
        needed = {self.scope} & set(keys)
        if given != needed:
            wanted = f"{self.scope.value}_id".replace("type_id", "type") if needed else "nothing"
            raise ValueError(f"a budget of scope {self.scope.value} names {wanted}, and only that")
        if self.amount_usd is None and self.max_tokens is None and self.max_runs is None:
            raise ValueError("a budget limits something: amount_usd, max_tokens or max_runs")
        return self


class BudgetEditIn(Edit):
    """Fields left out stay as they are."""

    name: str | None = Field(default=None, min_length=1, max_length=100)
    amount_usd: Usd | None = None
    max_tokens: int | None = Field(default=None, ge=1, le=MAX_INTEGER)
    max_runs: int | None = Field(default=None, ge=1, le=2**31 - 1)
    alert_threshold: Share | None = None
    action: BudgetAction | None = None
    is_active: bool | None = None


class BudgetOut(Output):
    """A budget, and how its present period stands."""

    id: uuid.UUID
    name: str
    scope: BudgetScope
    project_id: uuid.UUID | None
    agent_id: uuid.UUID | None
    agent_type: str | None
    amount_usd: Decimal | None
    """Null where only tokens or runs are limited."""
    max_tokens: int | None
    max_runs: int | None
    period: BudgetPeriod
    alert_threshold: Decimal
    action: BudgetAction
    is_active: bool
    created_at: datetime
    updated_at: datetime
    period_start: date
    period_end: date
    """The first day of the next period."""
    spent_usd: Decimal
    reserved_usd: Decimal
    """Set aside for calls under way."""
    remaining_usd: Decimal | None
    spent_tokens: int
    spent_runs: int
    """Attempts that called models."""
    forecast_usd: Decimal | None
    """What the period will come to at the present pace; null in its first hundredth."""
    forecast_tokens: int | None = None
    forecast_runs: int | None = None
    alerted_at: datetime | None


class UsageBy(StrEnum):
    """By what usage is summed up."""

    DAY = "day"
    MODEL = "model"
    PROJECT = "project"
    TASK = "task"
    EXECUTION = "execution"
    USER = "user"
    AGENT = "agent"
    AGENT_TYPE = "agent_type"
    CONVERSATION = "conversation"
    MESSAGE = "message"


class CallFilter(Input):
    """Which calls are meant; what is left out does not matter."""

    project_id: uuid.UUID | None = None
    task_id: uuid.UUID | None = None
    execution_id: uuid.UUID | None = None
    agent_id: uuid.UUID | None = None
    user_id: uuid.UUID | None = None
    model: str | None = Field(default=None, max_length=100)
    since: date | None = None
    """The first day."""
    until: date | None = None
    """The first day that is not meant."""


class SumQuery(CallFilter):
    """By what to sum up, and how many sums at most."""

    by: UsageBy = UsageBy.DAY
    limit: int = Field(default=100, ge=1, le=1000)


class CallQuery(CallFilter):
    """Which calls to list, page by page."""

    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
    cursor: str | None = Field(default=None, max_length=500)


class UsageSumOut(Output):
    """What was used by one of a kind."""

    key: str | None
    """A day, a model or an id; null where the calls name none."""
    label: str | None
    """What people call it."""
    calls: int
    tokens_in: int
    tokens_out: int
    tokens_cache_read: int
    tokens_cache_write: int
    cost_usd: Decimal
    estimated_calls: int
    """Of these, how many are at their upper bound, because the provider did not tell."""


class UsageOut(Output):
    """Usage, summed up."""

    by: UsageBy
    rows: list[UsageSumOut]
    total: UsageSumOut
    is_complete: bool
    """Whether ``rows`` holds all; the total always does."""


class CallOut(Output):
    """One call to a language model."""

    id: uuid.UUID
    timestamp: datetime
    usage_date: date
    model: str
    tokens_in: int
    tokens_out: int
    tokens_cache_read: int
    tokens_cache_write: int
    cost_usd: Decimal
    request_duration_ms: int | None
    was_cached: bool
    is_estimated: bool
    request_id: str | None
    user_id: uuid.UUID | None
    agent_id: uuid.UUID | None
    agent_type: str | None
    project_id: uuid.UUID | None
    task_id: uuid.UUID | None
    execution_id: uuid.UUID | None
    conversation_id: uuid.UUID | None
    message_id: uuid.UUID | None


class CallBodiesOut(Output):
    """What was asked and answered in one call; secrets are masked."""

    request_id: str
    request: str
    """As it was sent to the provider."""
    response: str
    """As the provider sent it: JSON, or the events of a stream."""
    request_bytes: int
    response_bytes: int
    is_cut: bool
    """Only the beginning is kept of what was longer than 4 MiB."""
    created_at: datetime


class CallIn(Input):
    """A call that a runtime made past the gateway, as it tells of it."""

    request_id: str = Field(min_length=1, max_length=60)
    """The runtime's own name for it: told again, it is not counted again."""
    model: str = Field(min_length=1, max_length=100)
    provider: str | None = Field(default=None, max_length=50)
    tokens_in: int = Field(ge=0, le=MAX_TOKENS_PER_CALL)
    """All that went in, the cached part too."""
    tokens_out: int = Field(ge=0, le=MAX_TOKENS_PER_CALL)
    tokens_cache_read: int = Field(default=0, ge=0, le=MAX_TOKENS_PER_CALL)
    tokens_cache_write: int = Field(default=0, ge=0, le=MAX_TOKENS_PER_CALL)
    cost_usd: ExactUsd | None = None
    """What it cost, where the runtime knows; else the price table says."""
    duration_ms: int | None = Field(default=None, ge=0, le=2**31 - 1)

    @model_validator(mode="after")
    def _caches_are_parts_of_the_input(self) -> Self:
        if self.tokens_cache_read + self.tokens_cache_write > self.tokens_in:
            raise ValueError("tokens_in counts all that went in, so it holds the cached tokens too")
        return self


class UsageReportIn(Input):
    """Calls of one attempt, told by the worker that holds it."""

    order_id: uuid.UUID
    fence: int = Field(ge=0)
    calls: list[CallIn] = Field(min_length=1, max_length=MAX_CALLS_PER_REPORT)


class UsageReportOut(Output):
    """What became of a report."""

    counted: int
    """Those that were new."""
    exceeded: list[str]
    """Budgets that block and are used up now, by name: the run is to stop."""
