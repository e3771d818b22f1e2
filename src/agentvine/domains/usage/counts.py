"""Tokens and runs in budgets: what is limited where a login has no price.

They are counted when a call is settled, so what is under way may pass such a limit; dollars are
reserved before and cannot. A run is an attempt that has called a model in the period.
"""

from collections.abc import Sequence

from sqlalchemy import exists, select

from agentvine.db.session import ReadSession
from agentvine.domains.usage.calls import Call
from agentvine.domains.usage.enums import BudgetCounterId
from agentvine.domains.usage.errors import BudgetExceeded
from agentvine.domains.usage.models import BudgetCounter, TokenUsage
from agentvine.domains.usage.purses import Purse


async def check(read: ReadSession, call: Call, purses: Sequence[Purse]) -> None:
    """Refuse a call when a budget that blocks has no tokens left, or none for one run more.

    Raises:
        BudgetExceeded: One has none.
    """
    new: set[BudgetCounterId] | None = None
    for purse in purses:
        if not purse.is_hard:
            continue
        if purse.max_tokens is not None and purse.spent_tokens >= purse.max_tokens:
            raise _refusal(purse, f"all {purse.max_tokens} tokens are used")
        if purse.max_runs is not None and purse.spent_runs >= purse.max_runs:
            new = await new_runs(read, call, purses) if new is None else new
            if purse.counter_id in new or purse.spent_runs > purse.max_runs:
                raise _refusal(purse, f"all {purse.max_runs} runs are used")


async def new_runs(read: ReadSession, call: Call, purses: Sequence[Purse]) -> set[BudgetCounterId]:
    """In which counters the call's attempt is not counted yet; ask before its row is written.

    Who settles holds the task's lock, so that an attempt's first calls do not both count it.
    """
    if call.payer.execution_id is None or not purses:
        return set()
    starts = sorted({purse.period_start for purse in purses})
    known = [
        exists().where(
            TokenUsage.execution_id == call.payer.execution_id, TokenUsage.usage_date >= start
        )
        for start in starts
    ]
    is_known = dict(zip(starts, (await read.execute(select(*known))).one(), strict=True))
    return {purse.counter_id for purse in purses if not is_known[purse.period_start]}


def is_used_up(purse: Purse, counter: BudgetCounter) -> bool:
    """Whether no tokens are left, or more runs were begun than may be."""
    tokens, runs = purse.max_tokens, purse.max_runs
    return (tokens is not None and counter.spent_tokens >= tokens) or (
        runs is not None and counter.spent_runs > runs
    )


def is_near(purse: Purse, counter: BudgetCounter) -> bool:
    """Whether the part is used at which somebody is told."""
    if purse.budget is None:
        return False
    share = purse.budget.alert_threshold
    return any(
        most is not None and used >= most * share
        for most, used in (
            (purse.max_tokens, counter.spent_tokens),
            (purse.max_runs, counter.spent_runs),
        )
    )


def _refusal(purse: Purse, what: str) -> BudgetExceeded:
    until = f" until {purse.period_end}" if purse.period_end else ""
    return BudgetExceeded(
        f"{purse.name}: {what}{until}; {purse.way_out}.",
        budget_id=str(purse.budget.id) if purse.budget else None,
        max_tokens=purse.max_tokens,
        spent_tokens=purse.spent_tokens,
        max_runs=purse.max_runs,
        spent_runs=purse.spent_runs,
        period_end=purse.period_end.isoformat() if purse.period_end else None,
    )
