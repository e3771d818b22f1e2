"""Purses: the budgets that one call draws on, each with the counter of its present period.

Counters are made when they are first needed, with what the ledger holds of their period. Whoever
adds to the ledger holds the books open (a shared lock), who makes or changes a budget holds them
closed, so that no counter begins beside a row that it does not see.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, and_, case, func, literal, or_, select, true
from sqlalchemy import cast as sql_cast

from agentvine.db.base import table_of
from agentvine.db.session import ReadSession, Transaction
from agentvine.db.types import Money
from agentvine.domains.tasks.models import Task
from agentvine.domains.usage.calls import Payer
from agentvine.domains.usage.enums import (
    BudgetAction,
    BudgetCounterId,
    BudgetPeriod,
    BudgetScope,
)
from agentvine.domains.usage.models import BudgetCounter, BudgetLimit, TokenUsage
from agentvine.domains.usage.periods import Period, period_of
from agentvine.kit.ids import new_id

BOOKS = "usage books"
CHANNEL = "budgets"
"""Hints that a budget was changed."""
_FIGURES = ("spent_usd", "spent_tokens", "spent_runs")
_ZERO = literal(Decimal(0), Money(14, 6))


@dataclass(frozen=True, slots=True)
class Purse:
    """A budget and how full it is."""

    counter_id: BudgetCounterId
    name: str
    amount_usd: Decimal
    spent_usd: Decimal
    reserved_usd: Decimal
    is_hard: bool
    """Whether it refuses what does not fit."""
    threshold_usd: Decimal
    """What is spent when somebody is told."""
    period_end: date | None
    budget: BudgetLimit | None = None
    """None for a task's own budget."""
    period_start: date = date.min
    spent_tokens: int = 0
    spent_runs: int = 0

    @property
    def way_out(self) -> str:
        """What one can do when it is used up, at the end of a sentence."""
        if self.budget is None:
            return "raise it with `agentvine task edit TASK --budget USD`"
        return "raise it with `agentvine budget edit`, or wait"

    @property
    def max_tokens(self) -> int | None:
        """Its limit on tokens."""
        return self.budget.max_tokens if self.budget else None

    @property
    def max_runs(self) -> int | None:
        """Its limit on attempts."""
        return self.budget.max_runs if self.budget else None


async def find_purses(tx: Transaction, payer: Payer, day: date) -> list[Purse]:
    """The purses of a call that began on a day, in the order in which they are locked."""
    # The task's lock comes before those of counters, as in a settlement.
    purses = await _task_purse(tx, payer, day) if payer.task_id is not None else []
    purses += await _budget_purses(tx, payer, day)
    return sorted(purses, key=lambda purse: purse.counter_id)


async def _budget_purses(tx: Transaction, payer: Payer, day: date) -> list[Purse]:
    rows = await read_budgets(tx, payer, day)
    missing = [budget for budget, counter in rows if counter is None]
    if missing:
        await _make_counters(tx, missing, day)
        rows = await read_budgets(tx, payer, day)
    return [_purse(budget, counter) for budget, counter in rows if counter is not None]


async def read_budgets(
    read: ReadSession, payer: Payer, day: date
) -> Sequence[tuple[BudgetLimit, BudgetCounter | None]]:
    """The budgets that a call draws on, each with its counter where its period has one."""
    query = (
        select(BudgetLimit, BudgetCounter)
        .outerjoin(
            BudgetCounter,
            and_(
                BudgetCounter.budget_id == BudgetLimit.id,
                BudgetCounter.period_start == _start_of(day),
            ),
        )
        .where(_is_about(payer))
        .order_by(BudgetLimit.id)
        .execution_options(populate_existing=True)
    )
    return [(budget, counter) for budget, counter in (await read.execute(query)).all()]


def _start_of(day: date) -> ColumnElement[date]:
    starts = [
        (BudgetLimit.period == kind, period_of(kind, day).start)
        for kind in (BudgetPeriod.DAILY, BudgetPeriod.WEEKLY)
    ]
    column = table_of(BudgetCounter).c.period_start
    whens = [(condition, literal(start, column.type)) for condition, start in starts]
    month = literal(period_of(BudgetPeriod.MONTHLY, day).start, column.type)
    return case(*whens, else_=month)


def _is_about(payer: Payer) -> ColumnElement[bool]:
    scopes: list[ColumnElement[bool]] = [BudgetLimit.scope_type == BudgetScope.GLOBAL]
    for scope, key in (
        (BudgetScope.PROJECT, payer.project_id),
        (BudgetScope.AGENT, payer.agent_id),
    ):
        if key is not None:
            scopes.append(and_(BudgetLimit.scope_type == scope, BudgetLimit.scope_id == key))
    if payer.agent_type is not None:
        scopes.append(
            and_(
                BudgetLimit.scope_type == BudgetScope.AGENT_TYPE,
                BudgetLimit.scope_agent_type == payer.agent_type,
            )
        )
    return or_(*scopes)


async def _make_counters(tx: Transaction, budgets: Sequence[BudgetLimit], day: date) -> None:
    """Begin the period of budgets, with what the ledger holds of it; others may do so as well."""
    for budget in budgets:
        period = period_of(budget.period, day)
        row = {
            "id": new_id(),
            "budget_id": budget.id,
            "period_start": period.start,
            "period_end": period.end,
            **dict(zip(_FIGURES, _ledger_of(budget, period), strict=True)),
        }
        keys = ("budget_id", "period_start")
        await tx.execute(tx.dialect.upsert(table_of(BudgetCounter), row, keys=keys))


async def figures_of(
    read: ReadSession, budget: BudgetLimit, counter: BudgetCounter | None, period: Period
) -> tuple[Decimal, int, int]:
    """The dollars, tokens and attempts of a budget's period, also of one without a counter."""
    if counter is not None:
        return counter.spent_usd, counter.spent_tokens, counter.spent_runs
    usd, tokens, runs = tuple((await read.execute(select(*_ledger_of(budget, period)))).one())
    return usd, tokens, runs


def _ledger_of(budget: BudgetLimit, period: Period) -> tuple[ColumnElement[Any], ...]:
    """The dollars, tokens and attempts that the ledger holds of a budget's period."""
    dollars = func.sum(TokenUsage.cost_usd, type_=Money(14, 6))
    tokens = func.sum(TokenUsage.tokens_in + TokenUsage.tokens_out)
    return (
        _in_ledger(func.coalesce(dollars, _ZERO), budget, period),
        _in_ledger(sql_cast(func.coalesce(tokens, 0), BigInteger()), budget, period),
        _in_ledger(func.count(TokenUsage.execution_id.distinct()), budget, period),
    )


def _in_ledger(
    figure: ColumnElement[Any], budget: BudgetLimit, period: Period
) -> ColumnElement[Any]:
    return (
        select(figure)
        .where(
            TokenUsage.usage_date >= period.start,
            TokenUsage.usage_date < period.end,
            is_counted_in(budget),
        )
        .scalar_subquery()
    )


def is_counted_in(budget: BudgetLimit) -> ColumnElement[bool]:
    """Which rows of the ledger a budget is about."""
    if budget.scope_type is BudgetScope.PROJECT:
        return TokenUsage.project_id == budget.scope_id
    if budget.scope_type is BudgetScope.AGENT:
        return TokenUsage.agent_id == budget.scope_id
    if budget.scope_type is BudgetScope.AGENT_TYPE:
        return TokenUsage.agent_type == budget.scope_agent_type
    return true()


def _purse(budget: BudgetLimit, counter: BudgetCounter) -> Purse:
    return Purse(
        counter_id=counter.id,
        name=budget.name,
        amount_usd=budget.amount_usd,
        spent_usd=counter.spent_usd,
        reserved_usd=counter.reserved_usd,
        is_hard=budget.is_active and budget.action_on_exceed is BudgetAction.BLOCK,
        threshold_usd=Money.quantize(budget.amount_usd * budget.alert_threshold),
        period_end=counter.period_end,
        budget=budget,
        period_start=counter.period_start,
        spent_tokens=counter.spent_tokens,
        spent_runs=counter.spent_runs,
    )


async def _task_purse(tx: Transaction, payer: Payer, day: date) -> list[Purse]:
    budget_usd = await tx.scalar(select(Task.budget_usd).where(Task.id == payer.task_id))
    counter = await _task_counter(tx, payer)
    if budget_usd is None and counter is None:
        return []
    if counter is None:
        await _make_task_counter(tx, payer, day)
        counter = await _task_counter(tx, payer)
    assert counter is not None, "made just now, and never deleted before its task"
    return [
        Purse(
            counter_id=counter.id,
            name="the task's own budget",
            amount_usd=budget_usd or Decimal(0),
            spent_usd=counter.spent_usd,
            reserved_usd=counter.reserved_usd,
            is_hard=budget_usd is not None,
            threshold_usd=budget_usd or Decimal(0),
            period_end=None,
        )
    ]


async def _task_counter(read: ReadSession, payer: Payer) -> BudgetCounter | None:
    query = select(BudgetCounter).where(BudgetCounter.task_id == payer.task_id)
    return await read.scalar(query.execution_options(populate_existing=True))


async def _make_task_counter(tx: Transaction, payer: Payer, day: date) -> None:
    # Under the task's lock, which every settlement takes first: no call is settled meanwhile.
    spent = (
        await tx.execute(
            select(Task.total_cost_usd)
            .where(Task.id == payer.task_id)
            .with_for_update(key_share=True)
        )
    ).scalar_one()
    row = {"id": new_id(), "task_id": payer.task_id, "period_start": day, "spent_usd": spent or 0}
    await tx.execute(tx.dialect.upsert(table_of(BudgetCounter), row, keys=("task_id",)))
