"""Many plain steps in the books at once: what is read, what is decided, and what is written.

The long way (``books``) takes a transaction for each step, and a dozen statements in it. Calls to
models come many at once, and almost all are plain: their counters are there, nobody is to be told
of a limit, there is room, and their run is counted already. Those are done together, in one
transaction of a few statements. What is not plain is left untouched, and goes the long way; so
every doubt is decided there.

The order of locks is that of ``books``: the books (shared), the tasks, the reservations, the
counters by id. The statements themselves are in ``batch_sql``.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import cast

from pydantic_core import to_json

from agentvine.db.blocks import Row, Statement, Steps
from agentvine.domains.usage.calls import Call, Outcome, Payer
from agentvine.domains.usage.enums import BudgetPeriod
from agentvine.domains.usage.periods import period_of
from agentvine.kit.ids import new_id

_NOTHING = Decimal(0)


@dataclass(slots=True, eq=False)
class Reserve:
    """To set aside what a call may cost."""

    call: Call
    most_usd: Decimal
    least_usd: Decimal
    granted_usd: Decimal | None = None
    """None where it is not plain."""
    purses: "_Purses | None" = None


@dataclass(slots=True, eq=False)
class Settle:
    """To count a call."""

    call: Call
    outcome: Outcome
    is_done: bool = False
    """False where it is not plain."""
    purses: "_Purses | None" = None


@dataclass(slots=True, eq=False)
class Shrink:
    """To give back what a call under way is now known not to need."""

    request_id: str
    amount_usd: Decimal
    """What it may still cost."""
    is_done: bool = False


class NotPlain(Exception):
    """The batch is undone, and each of its steps goes the long way."""


@dataclass(slots=True)
class _Counter:
    id: uuid.UUID
    spent: Decimal
    reserved: Decimal
    more_spent: Decimal = _NOTHING
    more_reserved: Decimal = _NOTHING
    more_tokens: int = 0


@dataclass(slots=True)
class _Purse:
    counter: _Counter
    amount_usd: Decimal
    is_hard: bool
    threshold_usd: Decimal | None
    """What is spent when somebody is to be told; None where nobody is."""


@dataclass(slots=True)
class _Purses:
    """All that a call draws on."""

    purses: list[_Purse]
    counter_ids: tuple[str, ...]
    """As a reservation keeps them."""


@dataclass(slots=True)
class _Held:
    amount: Decimal
    counter_ids: list[str]


@dataclass(slots=True)
class Batch:
    """Steps of one day that are tried together."""

    day: date
    now: datetime
    lifetime: timedelta
    owner: str
    reserves: list[Reserve]
    settles: list[Settle]
    shrinks: list[Shrink] = field(default_factory=list[Shrink])
    _purses: dict[Payer, _Purses | None] = field(default_factory=dict["Payer", "_Purses | None"])
    _counters: dict[str, _Counter] = field(default_factory=dict["str", "_Counter"])
    """By their ids, as reservations keep them: texts are found several times as fast as UUIDs."""

    def steps(self) -> Steps:
        """All of it, between BEGIN and COMMIT.

        Raises:
            NotPlain: Somebody is to be told of a limit.
        """
        asked = [*self.settles, *self.reserves]
        task_ids = {ask.call.payer.task_id for ask in self.settles}
        if locked := sorted(task_id for task_id in task_ids if task_id is not None):
            yield Statement("lock_tasks", (locked,))
        if asked:
            yield from self._find_purses({ask.call.payer for ask in asked})
        settles = [ask for ask in self.settles if self._is_plain(ask)]
        reserves = [ask for ask in self.reserves if self._is_plain(ask)]
        held: dict[str, _Held] = {}
        if settles:
            taken = yield Statement("take", ([ask.call.request_id for ask in settles],))
            held = {str(row[0]): _held(row) for row in taken}
            settles = [ask for ask in settles if ask.call.request_id in held]
        kept: dict[str, _Held] = {}
        if self.shrinks:
            # What is settled by now has given back all.
            found = yield Statement("keep", (sorted(ask.request_id for ask in self.shrinks),))
            kept = {str(row[0]): _held(row) for row in found}
        yield from self._lock_counters(settles, reserves, [*held.values(), *kept.values()])
        for ask in settles:
            self._settle(ask, held[ask.call.request_id])
        for ask in self.shrinks:
            self._shrink(ask, kept.get(ask.request_id))
        granted = [ask for ask in reserves if self._reserve(ask)]
        yield from self._write(settles, granted, kept)

    def _is_plain(self, ask: Reserve | Settle) -> bool:
        ask.purses = self._purses[ask.call.payer]
        return ask.purses is not None and ask.call.payer.message_id is None

    def _find_purses(self, payers: set[Payer]) -> Steps:
        scopes = {each.project_id for each in payers} | {each.agent_id for each in payers}
        kinds = sorted({each.agent_type for each in payers if each.agent_type is not None})
        starts = [period_of(kind, self.day).start for kind in _PERIODS]
        ids = sorted(each for each in scopes if each is not None)
        budgets = yield Statement("budgets", (*starts, ids, kinds))
        task_ids = {each.task_id for each in payers}
        of_tasks: dict[object, Row] = {}
        if known := sorted(task_id for task_id in task_ids if task_id is not None):
            of_tasks = {row[0]: row for row in (yield Statement("tasks", (known,)))}
        for *_, counter_id, spent, reserved in [*budgets, *of_tasks.values()]:
            if counter_id is not None:
                self._keep_counter(counter_id, spent, reserved)
        for payer in payers:
            self._purses[payer] = self._purses_of(payer, budgets, of_tasks)

    def _keep_counter(self, counter_id: object, spent: object, reserved: object) -> None:
        assert isinstance(counter_id, uuid.UUID)
        assert isinstance(spent, Decimal)
        assert isinstance(reserved, Decimal)
        text = str(counter_id)
        counter = self._counters.get(text)
        if counter is None:
            self._counters[text] = _Counter(counter_id, spent, reserved)
        else:
            counter.spent, counter.reserved = spent, reserved

    def _purses_of(
        self, payer: Payer, budgets: Sequence[Row], of_tasks: dict[object, Row]
    ) -> _Purses | None:
        """The counters that a call draws on; None where one is still to be made, or limits more."""
        purses: dict[str, _Purse] = {}
        for row in budgets:
            scope, scope_id, agent_type, amount, threshold, is_hard, is_told, counts, *counter = row
            if not _is_about(payer, scope, scope_id, agent_type):
                continue
            counter_id = counter[0]
            if counts or counter_id is None:
                return None
            assert isinstance(amount, Decimal)
            assert isinstance(threshold, Decimal)
            told_at = None if is_told else amount * threshold
            text = str(counter_id)
            purses[text] = _Purse(self._counters[text], amount, bool(is_hard), told_at)
        task = of_tasks.get(payer.task_id)
        if task is not None:
            _, budget_usd, counter_id, *_ = task
            if counter_id is not None:
                has_limit = isinstance(budget_usd, Decimal)
                amount = budget_usd if isinstance(budget_usd, Decimal) else _NOTHING
                text = str(counter_id)
                purses[text] = _Purse(self._counters[text], amount, has_limit, None)
            elif budget_usd is not None:
                return None
        return _Purses(list(purses.values()), tuple(purses))

    def _lock_counters(
        self, settles: Sequence[Settle], reserves: Sequence[Reserve], held: Sequence[_Held]
    ) -> Steps:
        ids: set[str] = set()
        for ask in (*settles, *reserves):
            ids.update(_purses(ask).counter_ids)
        for each in held:
            ids.update(each.counter_ids)
        for text in ids.difference(self._counters):
            # That of an earlier period is only given back to.
            self._counters[text] = _Counter(uuid.UUID(text), _NOTHING, _NOTHING)
        if ids:
            # Where several write at once, what was read before may be true no more.
            locked = [self._counters[text].id for text in sorted(ids)]
            for row in (yield Statement("lock_counters", (locked,))):
                self._keep_counter(*row)

    def _settle(self, ask: Settle, held: _Held) -> None:
        for counter_id in held.counter_ids:
            self._counters[counter_id].more_reserved -= held.amount
        for purse in _purses(ask).purses:
            counter = purse.counter
            counter.more_spent += ask.outcome.cost_usd
            counter.more_tokens += ask.outcome.tokens.total
            spent = counter.spent + counter.more_spent
            if purse.threshold_usd is not None and spent >= purse.threshold_usd:
                raise NotPlain
        ask.is_done = True

    def _shrink(self, ask: Shrink, kept: _Held | None) -> None:
        ask.is_done = True
        if kept is None or kept.amount <= ask.amount_usd:
            return
        for counter_id in kept.counter_ids:
            self._counters[counter_id].more_reserved -= kept.amount - ask.amount_usd
        kept.amount = ask.amount_usd

    def _reserve(self, ask: Reserve) -> bool:
        amount = ask.most_usd
        purses = _purses(ask).purses
        for purse in purses:
            counter = purse.counter
            if purse.is_hard:
                used = counter.spent + counter.more_spent + counter.reserved + counter.more_reserved
                amount = min(amount, purse.amount_usd - used)
        if amount < ask.least_usd:
            return False
        for purse in purses:
            purse.counter.more_reserved += amount
        ask.granted_usd = amount
        return True

    def _write(
        self, settles: Sequence[Settle], granted: Sequence[Reserve], kept: dict[str, _Held]
    ) -> Steps:
        moved = [
            (counter.id, counter.more_spent, counter.more_reserved, counter.more_tokens)
            for _, counter in sorted(self._counters.items())
            if counter.more_spent or counter.more_reserved or counter.more_tokens
        ]
        if moved:
            yield Statement("move", rows=moved)
        if kept:
            amounts = [(request_id, kept[request_id].amount) for request_id in sorted(kept)]
            yield Statement("shrink", rows=amounts)
        if granted:
            yield Statement("reserve", rows=[self._reservation(ask) for ask in granted])
        if settles:
            yield Statement("count", rows=[self._usage(ask) for ask in settles])
        if totals := _totals(settles):
            yield Statement("totals", rows=totals)

    def _reservation(self, ask: Reserve) -> tuple[object, ...]:
        return (
            new_id(),
            ask.call.request_id,
            ask.call.payer.execution_id,
            ask.granted_usd,
            _purses(ask).counter_ids,
            ask.call.to_text(),
            self.owner[:100],
            self.now + self.lifetime,
            self.now,
        )

    def _usage(self, ask: Settle) -> tuple[object, ...]:
        call, outcome, payer = ask.call, ask.outcome, ask.call.payer
        tokens = outcome.tokens
        notes = {"is_estimated": outcome.is_estimated, **(outcome.notes or {})}
        return (
            new_id(),
            self.now,
            call.usage_date,
            payer.user_id,
            payer.agent_id,
            payer.agent_type,
            payer.conversation_id,
            payer.project_id,
            payer.task_id,
            payer.execution_id,
            call.request_id,
            call.model,
            tokens.input,
            tokens.output,
            tokens.cache_read,
            tokens.cache_write,
            outcome.cost_usd,
            outcome.duration_ms,
            tokens.cache_read > 0,
            to_json(notes).decode(),
        )


_PERIODS = (BudgetPeriod.DAILY, BudgetPeriod.WEEKLY, BudgetPeriod.MONTHLY)


def _held(row: Row) -> _Held:
    _, amount, counter_ids = row
    assert isinstance(amount, Decimal)
    return _Held(amount, cast("list[str]", counter_ids))


def _purses(ask: Reserve | Settle) -> _Purses:
    assert ask.purses is not None, "only what is plain comes so far"
    return ask.purses


def _is_about(payer: Payer, scope: object, scope_id: object, agent_type: object) -> bool:
    return {
        "global": True,
        "project": scope_id == payer.project_id,
        "agent": scope_id == payer.agent_id and payer.agent_id is not None,
        "agent_type": agent_type == payer.agent_type and payer.agent_type is not None,
    }[str(scope)]


def _totals(settles: Sequence[Settle]) -> list[tuple[object, ...]]:
    sums: dict[uuid.UUID, tuple[int, Decimal]] = {}
    for ask in settles:
        task_id = ask.call.payer.task_id
        if task_id is not None:
            tokens, cost = sums.get(task_id, (0, _NOTHING))
            sums[task_id] = (
                tokens + ask.outcome.tokens.total,
                cost + ask.outcome.cost_usd,
            )
    return [(task_id, *sums[task_id]) for task_id in sorted(sums)]
