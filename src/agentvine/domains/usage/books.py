"""The books: money is reserved before a call, and settled after it, exactly once.

Invariants: for a budget that blocks, spent and reserved together never pass its amount; every
counter's spent is the sum of the ledger's rows of its scope and period; with no call under way
nothing is reserved. Locks are taken in one order: the books (shared), the task, the counters by id.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from sqlalchemy import delete, select, update

from agentvine.db.base import table_of
from agentvine.db.session import Transaction
from agentvine.domains.conversations.models import Message
from agentvine.domains.identity import history
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.tasks.models import Task
from agentvine.domains.usage import counts
from agentvine.domains.usage.calls import Call, Outcome
from agentvine.domains.usage.errors import BudgetExceeded, CallUnknown
from agentvine.domains.usage.models import BudgetCounter, BudgetReservation, TokenUsage
from agentvine.domains.usage.prices import Tokens
from agentvine.domains.usage.purses import BOOKS, Purse, find_purses
from agentvine.kit.ids import new_id


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a call in the books."""

    is_new: bool
    """Whether it was counted now; a call that is told again changes nothing."""
    exceeded: tuple[str, ...]
    """Budgets that block and are used up, by name."""


async def reserve(
    tx: Transaction, call: Call, amount_usd: Decimal, *, lifetime: timedelta, owner: str
) -> None:
    """Set aside the most that a call can cost, or refuse it.

    Args:
        tx: The transaction.
        call: What is about to be called, and who pays.
        amount_usd: An upper bound of its cost.
        lifetime: After so long without a settlement the amount counts as spent.
        owner: The process that makes the call.

    Raises:
        BudgetExceeded: A budget that blocks has no room for it.
    """
    await tx.dialect.share_lock(tx, BOOKS)
    purses = await find_purses(tx, call.payer, call.usage_date)
    await counts.check(tx, call, purses)
    for purse in purses:
        await _reserve_in(tx, purse, amount_usd)
    tx.add(
        BudgetReservation(
            id=new_id(),
            request_id=call.request_id,
            execution_id=call.payer.execution_id,
            amount_usd=amount_usd,
            counter_ids=[str(purse.counter_id) for purse in purses],
            call=call.to_json(),
            owner=owner[:100],
            expires_at=tx.now + lifetime,
        )
    )
    await tx.flush()


async def shrink(tx: Transaction, request_id: str, amount_usd: Decimal) -> None:
    """Give back what a call under way is now known not to need; never reserves more.

    One that is settled by now has given back all.
    """
    reservation = await tx.scalar(
        select(BudgetReservation)
        .where(BudgetReservation.request_id == request_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    freed = reservation.amount_usd - amount_usd if reservation else Decimal(0)
    if reservation is None or freed <= 0:
        return
    reservation.amount_usd = amount_usd
    for counter_id in sorted(reservation.counter_ids):
        await _move(tx, uuid.UUID(counter_id), spent=Decimal(0), reserved=-freed)
    await tx.flush()


async def release(tx: Transaction, request_id: str) -> None:
    """Free what was reserved for a call that the provider never took.

    Raises:
        CallUnknown: Nothing is reserved for it.
    """
    reservation = await _take_reservation(tx, request_id)
    if reservation is None:
        raise CallUnknown(f"Nothing is reserved for the call {request_id}.")
    for counter_id in sorted(reservation.counter_ids):
        await _move(tx, uuid.UUID(counter_id), spent=Decimal(0), reserved=-reservation.amount_usd)


async def settle(tx: Transaction, call: Call, outcome: Outcome) -> Settled:
    """Count a call: what was reserved for it is free, what it cost is spent, its row is written.

    A call that was reserved nowhere is counted all the same. One that was counted with an estimate,
    because its process died, is corrected; any other repetition changes nothing.
    """
    await tx.dialect.share_lock(tx, BOOKS)
    if call.payer.task_id is not None:
        await tasks.lock_task(tx, call.payer.task_id)
    reservation = await _take_reservation(tx, call.request_id)
    # A counter that begins now sums up the ledger as it is without this call.
    purses = await find_purses(tx, call.payer, call.usage_date)
    runs = await counts.new_runs(tx, call, purses)
    change = await _write_row(tx, call, outcome)
    if change is not None:
        await _add_to_totals(tx, call, change)
    await _settle_counters(tx, purses, reservation, change or _NONE, runs)
    if change is None:
        return Settled(is_new=False, exceeded=())
    return Settled(is_new=True, exceeded=await _tell_of_limits(tx, call, purses))


async def expire(tx: Transaction, reservation: BudgetReservation) -> None:
    """Count a call whose process is gone as what was reserved for it, marked as an estimate."""
    call = Call.from_json(reservation.request_id, reservation.call)
    notes = {"expired": True, "owner": reservation.owner}
    await settle(tx, call, Outcome(Tokens(), reservation.amount_usd, None, True, notes))


@dataclass(frozen=True, slots=True)
class _Change:
    """By how much the ledger has grown."""

    tokens: Tokens
    cost_usd: Decimal


_NONE = _Change(Tokens(), Decimal(0))
"""Of a call that was counted before."""


async def _take_reservation(tx: Transaction, request_id: str) -> BudgetReservation | None:
    # The row's own lock decides between two that settle the same call at once.
    return await tx.scalar(
        delete(BudgetReservation)
        .where(BudgetReservation.request_id == request_id)
        .returning(BudgetReservation)
        .execution_options(synchronize_session=False)
    )


async def _write_row(tx: Transaction, call: Call, outcome: Outcome) -> _Change | None:
    tokens, payer = outcome.tokens, call.payer
    counted = {
        "tokens_in": tokens.input,
        "tokens_out": tokens.output,
        "tokens_cache_read": tokens.cache_read,
        "tokens_cache_write": tokens.cache_write,
        "cost_usd": outcome.cost_usd,
        "request_duration_ms": outcome.duration_ms,
        "was_cached": tokens.cache_read > 0,
        "metadata": {"is_estimated": outcome.is_estimated, **(outcome.notes or {})},
    }
    row = {
        "id": new_id(),
        "timestamp": tx.now,
        "usage_date": call.usage_date,
        "request_id": call.request_id,
        "model": call.model,
        "user_id": payer.user_id,
        "agent_id": payer.agent_id,
        "agent_type": payer.agent_type,
        "conversation_id": payer.conversation_id,
        "message_id": payer.message_id,
        "project_id": payer.project_id,
        "task_id": payer.task_id,
        "execution_id": payer.execution_id,
    }
    table = table_of(TokenUsage)
    insert = tx.dialect.upsert(table, row | counted, keys=("request_id",)).returning(table.c.id)
    if (await tx.execute(insert)).first() is not None:
        return _Change(tokens, outcome.cost_usd)
    known = (
        await tx.execute(
            select(TokenUsage)
            .where(TokenUsage.request_id == call.request_id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
    ).scalar_one()
    if outcome.is_estimated or not (known.metadata_ or {}).get("is_estimated"):
        return None
    change = _Change(
        Tokens(tokens.input - known.tokens_in, tokens.output - known.tokens_out),
        outcome.cost_usd - known.cost_usd,
    )
    await tx.execute(update(table).where(table.c.id == known.id).values(**counted))
    return change


async def name_message(
    tx: Transaction, request_ids: Collection[str], message_id: uuid.UUID
) -> None:
    """Let counted calls name the message that came of them; its own totals are the caller's."""
    table = table_of(TokenUsage)
    await tx.execute(
        update(table).where(table.c.request_id.in_(request_ids)).values(message_id=message_id)
    )


async def _add_to_totals(tx: Transaction, call: Call, change: _Change) -> None:
    """What a task and a message used in all, kept in the same transaction."""
    if call.payer.task_id is not None:
        table = table_of(Task)
        await tx.execute(
            update(table)
            .where(table.c.id == call.payer.task_id)
            .values(
                total_tokens_used=table.c.total_tokens_used + change.tokens.total,
                total_cost_usd=table.c.total_cost_usd + change.cost_usd,
            )
        )
    if call.payer.message_id is not None:
        messages = table_of(Message)
        await tx.execute(
            update(messages)
            .where(messages.c.id == call.payer.message_id)
            .values(
                tokens_in=messages.c.tokens_in + change.tokens.input,
                tokens_out=messages.c.tokens_out + change.tokens.output,
                cost_usd=messages.c.cost_usd + change.cost_usd,
                model_used=call.model,
            )
        )


async def _settle_counters(
    tx: Transaction,
    purses: Sequence[Purse],
    reservation: BudgetReservation | None,
    change: _Change,
    new_runs: Collection[uuid.UUID],
) -> None:
    ids = reservation.counter_ids if reservation else []
    held = {uuid.UUID(text) for text in ids}
    drawn: set[uuid.UUID] = {purse.counter_id for purse in purses}
    for counter_id in sorted(held | drawn):
        await _move(
            tx,
            counter_id,
            spent=change.cost_usd if counter_id in drawn else Decimal(0),
            tokens=change.tokens.total if counter_id in drawn else 0,
            runs=int(change is not _NONE and counter_id in new_runs),
            reserved=-reservation.amount_usd if reservation and counter_id in held else Decimal(0),
        )


async def _move(
    tx: Transaction,
    counter_id: uuid.UUID,
    *,
    spent: Decimal,
    reserved: Decimal,
    tokens: int = 0,
    runs: int = 0,
) -> None:
    counters = table_of(BudgetCounter)
    await tx.execute(
        update(counters)
        .where(counters.c.id == counter_id)
        .values(
            spent_usd=counters.c.spent_usd + spent,
            reserved_usd=counters.c.reserved_usd + reserved,
            spent_tokens=counters.c.spent_tokens + tokens,
            spent_runs=counters.c.spent_runs + runs,
        )
    )


async def _reserve_in(tx: Transaction, purse: Purse, amount_usd: Decimal) -> None:
    counters = table_of(BudgetCounter)
    grant = update(counters).where(counters.c.id == purse.counter_id)
    if purse.is_hard:
        used = counters.c.spent_usd + counters.c.reserved_usd
        grant = grant.where(used + amount_usd <= purse.amount_usd)
    granted = await tx.execute(
        grant.values(reserved_usd=counters.c.reserved_usd + amount_usd).returning(counters.c.id)
    )
    if granted.first() is None:
        raise await _refusal(tx, purse, amount_usd)


async def _refusal(tx: Transaction, purse: Purse, amount_usd: Decimal) -> BudgetExceeded:
    counter = await tx.get_one(BudgetCounter, purse.counter_id, populate_existing=True)
    until = f"until {purse.period_end}" if purse.period_end else "for the task"
    left = max(Decimal(0), purse.amount_usd - counter.spent_usd - counter.reserved_usd)
    return BudgetExceeded(
        f"{purse.name}: {left} of {purse.amount_usd} USD are left {until}, the call may cost "
        f"{amount_usd}; {purse.way_out}.",
        budget_id=str(purse.budget.id) if purse.budget else None,
        amount_usd=str(purse.amount_usd),
        spent_usd=str(counter.spent_usd),
        reserved_usd=str(counter.reserved_usd),
        asked_usd=str(amount_usd),
        period_end=purse.period_end.isoformat() if purse.period_end else None,
    )


async def _tell_of_limits(tx: Transaction, call: Call, purses: Sequence[Purse]) -> tuple[str, ...]:
    """Say once in a period that a budget's threshold was passed; which hard ones are used up."""
    query = select(BudgetCounter).where(
        BudgetCounter.id.in_([purse.counter_id for purse in purses])
    )
    found = await tx.scalars(query.execution_options(populate_existing=True))
    now = {counter.id: counter for counter in found}
    exceeded: list[str] = []
    for purse in purses:
        counter = now[purse.counter_id]
        is_told = purse.budget is not None and purse.budget.is_active
        is_near = counter.spent_usd >= purse.threshold_usd or counts.is_near(purse, counter)
        if is_told and counter.alerted_at is None and is_near:
            counter.alerted_at = tx.now
            _announce(tx, call, purse, counter)
        if purse.is_hard and (
            counter.spent_usd >= purse.amount_usd or counts.is_used_up(purse, counter)
        ):
            exceeded.append(purse.name)
    return tuple(exceeded)


def _announce(tx: Transaction, call: Call, purse: Purse, counter: BudgetCounter) -> None:
    assert purse.budget is not None
    history.announce(
        tx,
        "budget.threshold_passed",
        entity=("budget", purse.budget.id),
        project_id=call.payer.project_id if purse.budget.scope_id else None,
        payload={
            "name": purse.name,
            "amount_usd": str(purse.amount_usd),
            "spent_usd": str(counter.spent_usd),
            "max_tokens": purse.max_tokens,
            "spent_tokens": counter.spent_tokens,
            "max_runs": purse.max_runs,
            "spent_runs": counter.spent_runs,
            "period_end": purse.period_end.isoformat() if purse.period_end else None,
        },
    )
