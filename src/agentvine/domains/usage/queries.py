"""Reads of the usage slice: budgets and how they stand, and the ledger's sums."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, and_, case, func, literal, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession
from agentvine.db.types import Money
from agentvine.domains.agents.models import Agent
from agentvine.domains.projects import queries as projects
from agentvine.domains.usage.enums import BudgetScope
from agentvine.domains.usage.errors import BudgetNotFound
from agentvine.domains.usage.models import NO_LIMIT_USD, BudgetCounter, BudgetLimit, TokenUsage
from agentvine.domains.usage.periods import day_of, elapsed_share, period_of
from agentvine.domains.usage.purses import figures_of
from agentvine.kit.actor import Actor, UserActor
from agentvine.kit.pagination import Page, PageRequest
from agentvine.protocol.usage import BudgetOut, CallFilter

_TOO_EARLY = 0.01
"""The part of a period in which its pace says nothing yet."""


def _visible_budgets(actor: Actor) -> ColumnElement[bool]:
    if not isinstance(actor, UserActor) or actor.is_admin:
        return true()
    seen = projects.visible_projects(actor)
    agents = select(Agent.id).where(Agent.project_id.in_(seen))
    return or_(
        and_(BudgetLimit.scope_type == BudgetScope.PROJECT, BudgetLimit.scope_id.in_(seen)),
        and_(BudgetLimit.scope_type == BudgetScope.AGENT, BudgetLimit.scope_id.in_(agents)),
    )


async def get_budget(read: ReadSession, actor: Actor, budget_id: uuid.UUID) -> BudgetLimit:
    """A budget that the actor may see: of their projects, or any for an admin.

    Raises:
        BudgetNotFound: There is none, or it is not theirs to see.
    """
    query = select(BudgetLimit).where(BudgetLimit.id == budget_id, _visible_budgets(actor))
    budget = await read.scalar(query)
    if budget is None:
        raise BudgetNotFound(f"You can see no budget with the id {budget_id}.")
    return budget


async def list_budgets(read: ReadSession, actor: Actor, page: PageRequest) -> Page[BudgetLimit]:
    """The budgets that the actor may see."""
    query = select(BudgetLimit).where(_visible_budgets(actor))
    return await fetch_page(read, query, BudgetLimit.id, page)


async def budgets_out(
    read: ReadSession, budgets: Sequence[BudgetLimit], now: datetime, zone: ZoneInfo
) -> list[BudgetOut]:
    """Budgets as clients see them, with their present periods."""
    today = day_of(now, zone)
    starts = {period_of(budget.period, today).start for budget in budgets}
    query = select(BudgetCounter).where(
        BudgetCounter.budget_id.in_([budget.id for budget in budgets]),
        BudgetCounter.period_start.in_(starts),
    )
    found = await read.scalars(query)
    counters = {(counter.budget_id, counter.period_start): counter for counter in found}
    return [
        await _budget_out(
            read,
            budget,
            counters.get((budget.id, period_of(budget.period, today).start)),
            now,
            zone,
        )
        for budget in budgets
    ]


async def _budget_out(
    read: ReadSession,
    budget: BudgetLimit,
    counter: BudgetCounter | None,
    now: datetime,
    zone: ZoneInfo,
) -> BudgetOut:
    period = period_of(budget.period, day_of(now, zone))
    usd, tokens, runs = await figures_of(read, budget, counter, period)
    spent = Money.quantize(usd)
    reserved = Money.quantize(counter.reserved_usd if counter else Decimal(0))
    share = elapsed_share(period, now, zone)
    pace = Decimal(share) if share >= _TOO_EARLY else None
    amount = budget.amount_usd if budget.amount_usd < NO_LIMIT_USD else None
    of = dict.fromkeys((budget.scope_type,), budget.scope_id)
    return BudgetOut(
        id=budget.id,
        name=budget.name,
        scope=budget.scope_type,
        project_id=of.get(BudgetScope.PROJECT),
        agent_id=of.get(BudgetScope.AGENT),
        agent_type=budget.scope_agent_type,
        amount_usd=amount,
        max_tokens=budget.max_tokens,
        max_runs=budget.max_runs,
        period=budget.period,
        alert_threshold=budget.alert_threshold,
        action=budget.action_on_exceed,
        is_active=budget.is_active,
        created_at=budget.created_at,
        updated_at=budget.updated_at,
        period_start=period.start,
        period_end=period.end,
        spent_usd=spent,
        reserved_usd=reserved,
        remaining_usd=None if amount is None else max(Decimal(0), amount - spent - reserved),
        spent_tokens=tokens,
        spent_runs=runs,
        forecast_usd=None if pace is None else Money.quantize(spent / pace, 2),
        forecast_tokens=None if pace is None else round(tokens / pace),
        forecast_runs=None if pace is None else round(runs / pace),
        alerted_at=counter.alerted_at if counter else None,
    )


def visible_calls(actor: Actor, wanted: CallFilter) -> ColumnElement[bool]:
    """The calls that are meant and that the actor may see: in their projects, or their own."""
    conditions: list[ColumnElement[bool]] = []
    if isinstance(actor, UserActor) and not actor.is_admin:
        seen = TokenUsage.project_id.in_(projects.visible_projects(actor))
        own = and_(TokenUsage.project_id.is_(None), TokenUsage.user_id == actor.user_id)
        conditions.append(or_(seen, own))
    equal = {
        TokenUsage.project_id: wanted.project_id,
        TokenUsage.task_id: wanted.task_id,
        TokenUsage.execution_id: wanted.execution_id,
        TokenUsage.agent_id: wanted.agent_id,
        TokenUsage.user_id: wanted.user_id,
        TokenUsage.model: wanted.model,
    }
    conditions += [column == value for column, value in equal.items() if value is not None]
    if wanted.since is not None:
        conditions.append(TokenUsage.usage_date >= wanted.since)
    if wanted.until is not None:
        conditions.append(TokenUsage.usage_date < wanted.until)
    return and_(true(), *conditions)


async def list_calls(
    read: ReadSession, actor: Actor, page: PageRequest, wanted: CallFilter
) -> Page[TokenUsage]:
    """Calls, newest first."""
    query = select(TokenUsage).where(visible_calls(actor, wanted))
    return await fetch_page(read, query, TokenUsage.id, page, newest_first=True)


def sums(where: ColumnElement[bool], *keys: InstrumentedAttribute[Any]) -> Select[Any]:
    """How much the matching calls used, per value of the keys."""
    estimated = TokenUsage.metadata_["is_estimated"].as_boolean()
    query = select(
        *keys,
        func.count().label("calls"),
        func.coalesce(func.sum(TokenUsage.tokens_in), 0).label("tokens_in"),
        func.coalesce(func.sum(TokenUsage.tokens_out), 0).label("tokens_out"),
        func.coalesce(func.sum(TokenUsage.tokens_cache_read), 0).label("tokens_cache_read"),
        func.coalesce(func.sum(TokenUsage.tokens_cache_write), 0).label("tokens_cache_write"),
        func.sum(TokenUsage.cost_usd, type_=Money(14, 6)).label("cost_usd"),
        func.coalesce(func.sum(case((estimated, 1), else_=literal(0))), 0).label("estimated_calls"),
    ).where(where)
    return query.group_by(*keys) if keys else query


async def sum_calls(
    read: ReadSession, where: ColumnElement[bool], key: InstrumentedAttribute[Any], limit: int
) -> tuple[Sequence[Any], Any]:
    """The greatest sums per value of a key (days in their order), and the sum of all."""
    cost = func.sum(TokenUsage.cost_usd)
    order = [key.desc()] if key.key == "usage_date" else [cost.desc(), key]
    rows = (await read.execute(sums(where, key).order_by(*order).limit(limit))).all()
    return rows, (await read.execute(sums(where))).one()
