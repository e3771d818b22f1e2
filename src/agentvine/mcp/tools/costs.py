"""People's assistants tell what models cost, and how the budgets stand."""

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from agentvine.domains.usage import queries, sums
from agentvine.kit.pagination import PageRequest
from agentvine.mcp.calls import PersonCall
from agentvine.mcp.table import PersonTool
from agentvine.mcp.words import ToolInput
from agentvine.protocol.usage import BudgetOut, SumQuery, UsageBy, UsageSumOut

_MAX_BUDGETS = 50


def _is_day(text: str) -> str:
    if text:
        date.fromisoformat(text)
    return text


Day = Annotated[str, Field(max_length=10), AfterValidator(_is_day)]


class GetCosts(ToolInput):
    """Tell what calls to language models have used and cost, summed up by one thing."""

    by: Literal["day", "model", "project", "task", "agent", "user"] = "day"
    since: Day = Field(default="", description="The first day, as 2026-01-31; empty: the first.")
    until: Day = Field(default="", description="The first day that is not meant; empty: none.")
    limit: int = Field(default=20, ge=1, le=100)


class GetBudgets(ToolInput):
    """Tell how the budgets stand: what is spent, what is left, and what the period will come to."""


async def _costs(call: PersonCall, given: GetCosts) -> str:
    wanted = SumQuery(
        by=UsageBy(given.by),
        since=date.fromisoformat(given.since) if given.since else None,
        until=date.fromisoformat(given.until) if given.until else None,
        limit=given.limit,
    )
    async with call.state.database.read() as read:
        found = await sums.sum_usage(read, call.actor, wanted)
    lines = [f"{row.label or row.key or 'none'}: {_sum(row)}" for row in found.rows]
    if not found.is_complete:
        lines.append("(there are more)")
    return "\n".join([*lines, f"all: {_sum(found.total)}"])


async def _budgets(call: PersonCall, _: GetBudgets) -> str:
    now, zone = call.state.clock.now(), call.state.settings.zone
    async with call.state.database.read() as read:
        found = await queries.list_budgets(read, call.actor, PageRequest(limit=_MAX_BUDGETS))
        told = await queries.budgets_out(read, found.items, now, zone)
    return "\n".join(map(_budget, told)) or "There are no budgets."


def _sum(row: UsageSumOut) -> str:
    return f"${row.cost_usd}, {row.calls} calls, {row.tokens_in} in, {row.tokens_out} out"


def _budget(budget: BudgetOut) -> str:
    told = [_figure(f"${budget.spent_usd}", budget.amount_usd, budget.forecast_usd, "$")]
    if budget.max_tokens is not None:
        used = f"{budget.spent_tokens} tokens"
        told.append(_figure(used, budget.max_tokens, budget.forecast_tokens))
    if budget.max_runs is not None:
        told.append(_figure(f"{budget.spent_runs} runs", budget.max_runs, budget.forecast_runs))
    return (
        f"{budget.name} ({budget.scope.value}, {budget.period.value}, {budget.action.value}): "
        f"{'; '.join(told)}; since {budget.period_start}"
    )


def _figure(used: str, most: object, forecast: object, unit: str = "") -> str:
    of = f" of {unit}{most}" if most is not None else ""
    then = f", will come to {unit}{forecast}" if forecast is not None else ""
    return f"{used}{of}{then}"


TOOLS = (
    PersonTool(name="get_costs", takes=GetCosts, scope="usage:read", do=_costs, is_read_only=True),
    PersonTool(
        name="get_budgets", takes=GetBudgets, scope="budgets:read", do=_budgets, is_read_only=True
    ),
)
