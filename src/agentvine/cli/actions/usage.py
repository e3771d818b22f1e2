"""What ``agentvine budget`` and ``agentvine usage`` do."""

import csv
import io
import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import click

from agentvine.cli import resolve
from agentvine.cli.actions.tasks import NothingToChange
from agentvine.cli.output import Column
from agentvine.cli.session import Session
from agentvine.kit.errors import Invalid
from agentvine.protocol.enums import AgentType, BudgetAction, BudgetPeriod, BudgetScope
from agentvine.protocol.usage import (
    BudgetCreateIn,
    BudgetEditIn,
    BudgetOut,
    CallFilter,
    CallOut,
    SumQuery,
    UsageBy,
    UsageSumOut,
)


class BudgetUnclear(Invalid):
    """It is not clear what the budget is about."""

    code = "budget_unclear"


def _limits(row: BudgetOut) -> str:
    parts = [
        (row.amount_usd, "USD"),
        (row.max_tokens, "tokens"),
        (row.max_runs, "runs"),
    ]
    return ", ".join(f"{most} {unit}" for most, unit in parts if most is not None)


def _used(row: BudgetOut) -> str:
    parts = [f"{_dollars(row.spent_usd)} USD"] if row.amount_usd is not None else []
    parts += [f"{row.spent_tokens} tokens"] if row.max_tokens is not None else []
    parts += [f"{row.spent_runs} runs"] if row.max_runs is not None else []
    return ", ".join(parts)


def _forecast(row: BudgetOut) -> str | None:
    """To what each limited figure will come."""
    parts = [
        (row.amount_usd, row.forecast_usd, "USD"),
        (row.max_tokens, row.forecast_tokens, "tokens"),
        (row.max_runs, row.forecast_runs, "runs"),
    ]
    told = [f"{then} {unit}" for most, then, unit in parts if None not in (most, then)]
    return ", ".join(told) or None


def _left(row: BudgetOut) -> str | None:
    return None if row.remaining_usd is None else _dollars(row.remaining_usd)


def _scope(row: BudgetOut) -> str:
    key = row.project_id or row.agent_id or row.agent_type
    word = row.scope.value.replace("_", " ")
    return "everything" if key is None else f"{word} {key}"


_BUDGET_COLUMNS = [
    Column[BudgetOut]("name", lambda row: row.name),
    Column[BudgetOut]("of", _scope),
    Column[BudgetOut]("limit", _limits),
    Column[BudgetOut]("period", lambda row: row.period.value),
    Column[BudgetOut]("used", _used),
    Column[BudgetOut]("reserved", lambda row: _dollars(row.reserved_usd)),
    Column[BudgetOut]("left", _left),
    Column[BudgetOut]("forecast", _forecast),
    Column[BudgetOut]("action", lambda row: row.action.value if row.is_active else "inactive"),
    Column[BudgetOut]("id", lambda row: row.id),
]


async def list_budgets(session: Session, *, limit: int | None) -> None:
    """All budgets one may see."""
    rows = await resolve.collect(session.client.budgets.list(), limit)
    session.out.table(rows, _BUDGET_COLUMNS, nothing="There are no budgets.")


async def show_budget(session: Session, *, name: str) -> None:
    """One budget."""
    row = await resolve.find_budget(session, name)
    session.out.record(
        row,
        [
            ("budget", row.name),
            ("id", row.id),
            ("of", _scope(row)),
            ("limit", f"{_limits(row)} {row.period.value}"),
            ("at the limit", "refuses calls" if row.action is BudgetAction.BLOCK else "only tells"),
            ("tells at", f"{row.alert_threshold:.0%}"),
            ("in force", row.is_active),
            ("period", f"{row.period_start} to {row.period_end - timedelta(days=1)}"),
            ("used", _used(row)),
            ("reserved", _dollars(row.reserved_usd)),
            ("left", _left(row)),
            ("forecast", _forecast(row)),
            ("told", row.alerted_at),
        ],
    )


async def create_budget(
    session: Session,
    *,
    name: str,
    amount: Decimal | None,
    tokens: int | None,
    runs: int | None,
    period: BudgetPeriod,
    project: str | None,
    agent: uuid.UUID | None,
    agent_type: AgentType | None,
    action: BudgetAction | None,
    alert_at: int | None,
) -> None:
    """A new budget.

    Raises:
        BudgetUnclear: It is to be about several things at once, or limits nothing.
    """
    project_id = await resolve.project_id(session, project) if project else None
    about = (
        (BudgetScope.PROJECT, project_id),
        (BudgetScope.AGENT, agent),
        (BudgetScope.AGENT_TYPE, agent_type),
    )
    if amount is tokens is runs is None:
        raise BudgetUnclear("Say how much: an amount, --tokens or --runs.")
    named = [scope for scope, key in about if key is not None]
    if len(named) > 1:
        raise BudgetUnclear("Name a project, an agent or a role: a budget is about one of them.")
    body = BudgetCreateIn(
        name=name,
        scope=named[0] if named else BudgetScope.GLOBAL,
        project_id=project_id,
        agent_id=agent,
        agent_type=agent_type,
        max_tokens=tokens,
        max_runs=runs,
        period=period,
        amount_usd=amount,
        **_given(action=action, alert_threshold=_share(alert_at)),
    )
    row = await session.client.budgets.create(body)
    session.out.done(f"{row.name}: {_limits(row)} {row.period.value}, {_scope(row)}", row)


async def edit_budget(
    session: Session,
    *,
    name: str,
    amount: Decimal | None,
    tokens: int | None,
    runs: int | None,
    new_name: str | None,
    action: BudgetAction | None,
    alert_at: int | None,
    active: bool | None,
) -> None:
    """Some fields of a budget.

    Raises:
        NothingToChange: None was named.
    """
    changes = _given(
        amount_usd=amount,
        max_tokens=tokens,
        max_runs=runs,
        name=new_name,
        action=action,
        alert_threshold=_share(alert_at),
        is_active=active,
    )
    if not changes:
        raise NothingToChange("Name what is to change; see `agentvine budget edit --help`.")
    known = await resolve.find_budget(session, name)
    row = await session.client.budgets.edit(known.id, BudgetEditIn(**changes))
    session.out.done(f"{row.name} is changed: {', '.join(changes)}", row)


async def delete_budget(session: Session, *, name: str, yes: bool) -> None:
    """Limit nothing by it."""
    row = await resolve.find_budget(session, name)
    session.confirm(f"Delete the budget {row.name}?", yes=yes)
    await session.client.budgets.delete(row.id)
    session.out.done(f"{row.name} limits nothing any more", row)


async def usage(
    session: Session,
    *,
    by: str,
    project: str | None,
    task: str | None,
    execution: uuid.UUID | None,
    user: str | None,
    agent: uuid.UUID | None,
    model: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int | None,
    as_csv: bool,
) -> None:
    """What was used, summed up."""
    wanted = SumQuery(
        by=UsageBy(by),
        project_id=await resolve.project_id(session, project) if project else None,
        task_id=await resolve.task_id(session, task, project) if task else None,
        execution_id=execution,
        user_id=(await resolve.find_user(session, user)).id if user else None,
        agent_id=agent,
        model=model,
        since=since.date() if since else None,
        until=until.date() + timedelta(days=1) if until else None,
        limit=min(limit or 1000, 1000),
    )
    found = await session.client.usage.sum(wanted)
    if as_csv:
        _print_csv(by, found.rows)
        return
    if session.out.as_json:
        session.out.data(found)
        return
    columns = [
        Column[UsageSumOut](by.replace("_", " "), lambda row: row.label or row.key),
        Column[UsageSumOut]("calls", lambda row: row.calls),
        Column[UsageSumOut]("tokens in", lambda row: row.tokens_in),
        Column[UsageSumOut]("cached", lambda row: row.tokens_cache_read),
        Column[UsageSumOut]("tokens out", lambda row: row.tokens_out),
        Column[UsageSumOut]("USD", lambda row: _dollars(row.cost_usd)),
    ]
    session.out.table(found.rows, columns, nothing="Nothing was used.")
    if found.rows:
        more = "" if found.is_complete else " (some are not shown; see --limit)"
        calls = "1 call" if found.total.calls == 1 else f"{found.total.calls} calls"
        session.out.line(f"in all: {calls}, {_dollars(found.total.cost_usd)} USD{more}")


async def list_calls(
    session: Session,
    *,
    project: str | None,
    task: str | None,
    execution: uuid.UUID | None,
    model: str | None,
    limit: int | None,
) -> None:
    """Calls, the newest first."""
    wanted = CallFilter(
        project_id=await resolve.project_id(session, project) if project else None,
        task_id=await resolve.task_id(session, task, project) if task else None,
        execution_id=execution,
        model=model,
    )
    rows = await resolve.collect(session.client.usage.calls(wanted), limit)
    columns = [
        Column[CallOut]("at", lambda row: row.timestamp),
        Column[CallOut]("model", lambda row: row.model),
        Column[CallOut]("tokens in", lambda row: row.tokens_in),
        Column[CallOut]("cached", lambda row: row.tokens_cache_read),
        Column[CallOut]("tokens out", lambda row: row.tokens_out),
        Column[CallOut]("USD", lambda row: _dollars(row.cost_usd)),
        Column[CallOut]("ms", lambda row: row.request_duration_ms),
        Column[CallOut]("request", lambda row: row.request_id),
    ]
    session.out.table(rows, columns, nothing="No calls were made.")


async def show_call(session: Session, *, request_id: str) -> None:
    """What was said in one."""
    found = await session.client.usage.bodies(request_id)
    if session.out.as_json:
        session.out.data(found)
        return
    session.out.line(found.request)
    session.out.line()
    session.out.line(found.response)
    if found.is_cut:
        session.out.note("Only the beginning of what was longer than 4 MiB is kept.")


def _print_csv(by: str, rows: list[UsageSumOut]) -> None:
    fields = [name for name in UsageSumOut.model_fields if name not in {"key", "label"}]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([by, "label", *fields])
    for row in rows:
        table.writerow([row.key, row.label, *(getattr(row, name) for name in fields)])
    click.echo(text.getvalue(), nl=False)


def _dollars(amount: Decimal) -> str:
    """To the micro-dollar where it is less than a cent, or not a whole number of them."""
    return f"{amount:.2f}" if amount == amount.quantize(Decimal("0.01")) else f"{amount:.6f}"


def _share(percent: int | None) -> Decimal | None:
    return None if percent is None else Decimal(percent) / 100


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
