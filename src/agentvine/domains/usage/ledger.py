"""The books, for who makes calls: steps that come at once are taken together."""

import asyncio
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

import structlog

from agentvine.db.session import Database
from agentvine.domains.usage import books
from agentvine.domains.usage.batch_sql import STATEMENTS
from agentvine.domains.usage.batches import Batch, NotPlain, Reserve, Settle, Shrink
from agentvine.domains.usage.calls import Call, Outcome
from agentvine.domains.usage.errors import BudgetExceeded
from agentvine.kit.actor import SystemActor
from agentvine.kit.errors import AppError

_ACTOR = SystemActor("gateway")
_TRIES = 5
_MOST_AT_ONCE = 64
_MOST_RUNS = 10_000
_QUIET_ROUNDS = 10
"""After so many rounds of the loop that brought no step more, nobody is about to come."""
_MOST_GATHERING_SECONDS = 0.01

log = structlog.get_logger(__name__)

Ask = Reserve | Settle | Shrink


@dataclass(slots=True)
class Ledger:
    """Reserves, settles and releases calls, for one process.

    While one batch is being written, the next one gathers, and where steps come together it waits
    for those that the loop is about to bring. What is not plain in a batch, and all of it where
    anything goes wrong, goes the long way, step by step.
    """

    database: Database
    owner: str
    """The process, for who looks at what a dead one has left."""
    lifetime: timedelta = timedelta(minutes=15)
    """After so long without a settlement a call counts as spent; a late one corrects that."""
    takes_shortcuts: bool = True
    _waiting: list[tuple[Ask, "asyncio.Future[None]"]] = field(
        default_factory=list[tuple[Ask, "asyncio.Future[None]"]]
    )
    _counted_runs: set[tuple[uuid.UUID | None, date]] = field(
        default_factory=set[tuple["uuid.UUID | None", date]]
    )
    _writing: "asyncio.Task[None] | None" = None
    _is_crowded: bool = False
    """Whether the last batch had several steps: then more are about to come."""
    _freed: asyncio.Event = field(default_factory=asyncio.Event)

    async def reserve(self, call: Call, most_usd: Decimal, least_usd: Decimal) -> Decimal:
        """Set aside what a call may cost; returns how much, which is less where less is left.

        Args:
            call: What is about to be called, and who pays.
            most_usd: An upper bound of its cost.
            least_usd: With less than this it is not worth calling.

        Raises:
            BudgetExceeded: A budget that blocks has no room even for the least.
        """
        ask = Reserve(call, most_usd, least_usd)
        await self._together(ask)
        if ask.granted_usd is not None:
            return ask.granted_usd
        return await self._reserve_alone(call, most_usd, least_usd)

    async def shrink(self, request_id: str, amount_usd: Decimal) -> None:
        """Give back what a call under way is now known not to need; nothing where it is over."""
        ask = Shrink(request_id, amount_usd)
        await self._together(ask)
        if not ask.is_done:
            try:
                async with self.database.transaction(_ACTOR) as tx:
                    await books.shrink(tx, request_id, amount_usd)
            except AppError as error:
                # The settlement gives it back in a moment; the answer goes on.
                log.info("usage.not_shrunk", request_id=request_id, error=error.detail)
        self._tell_of_room()

    async def release(self, request_id: str) -> None:
        """Free what was reserved for a call that no provider took.

        Raises:
            CallUnknown: Nothing is reserved for it.
        """
        async with self.database.transaction(_ACTOR) as tx:
            await books.release(tx, request_id)
        self._tell_of_room()

    async def settle(self, call: Call, outcome: Outcome) -> None:
        """Count a call: what it cost is spent, and the rest of what was reserved is free."""
        run = (call.payer.execution_id, call.usage_date)
        ask = Settle(call, outcome)
        # A run's first call of a day counts the run, too.
        if run[0] is None or run in self._counted_runs:
            await self._together(ask)
        if not ask.is_done:
            async with self.database.transaction(_ACTOR) as tx:
                await books.settle(tx, call, outcome)
            if len(self._counted_runs) >= _MOST_RUNS:
                self._counted_runs.clear()
            self._counted_runs.add(run)
        self._tell_of_room()

    async def wait_for_room(self, seconds: float) -> None:
        """Wait until a call of this process gives something back, or for so long."""
        freed = self._freed
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await freed.wait()

    def _tell_of_room(self) -> None:
        self._freed.set()
        self._freed = asyncio.Event()

    async def _reserve_alone(self, call: Call, most: Decimal, least: Decimal) -> Decimal:
        amount = most
        for turn in range(_TRIES):
            try:
                async with self.database.transaction(_ACTOR) as tx:
                    await books.reserve(tx, call, amount, lifetime=self.lifetime, owner=self.owner)
            except BudgetExceeded as error:
                # The last try is for the least: others may have taken the room again and again.
                room = least if turn == _TRIES - 2 else _room(error)
                if not least <= room < amount:
                    raise
                amount = room
            else:
                return amount
        raise AssertionError("the last try returns or raises")

    async def _together(self, ask: Ask) -> None:
        if not self.takes_shortcuts:
            return
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((ask, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await done

    async def _write(self) -> None:
        try:
            while self._waiting:
                if self._is_crowded:
                    await self._gather()
                chosen = self._choose()
                self._is_crowded = len(chosen) > 1
                await self._write_batch([ask for ask, _ in chosen])
                for _, done in chosen:
                    if not done.done():
                        done.set_result(None)
        finally:
            self._writing = None
            for _, done in self._waiting:
                done.cancel()
            self._waiting = []

    async def _gather(self) -> None:
        """Wait as long as the loop brings more steps: most of a batch costs the same for all.

        Like PostgreSQL's ``commit_delay``, but for as long as there is other work to do, not for
        some time: whoever is alone waits for nobody.
        """
        until = self.database.clock.monotonic() + _MOST_GATHERING_SECONDS
        known, quiet = len(self._waiting), 0
        while quiet < _QUIET_ROUNDS and known < _MOST_AT_ONCE:
            await asyncio.sleep(0)
            came = len(self._waiting) - known
            known, quiet = known + came, 0 if came else quiet + 1
            if self.database.clock.monotonic() >= until:
                break

    def _choose(self) -> "list[tuple[Ask, asyncio.Future[None]]]":
        """Take those of the first one's day, in their turn; what is given back is of any day."""
        days = (_day_of(ask) for ask, _ in self._waiting)
        first = next((day for day in days if day is not None), None)
        chosen: list[tuple[Ask, asyncio.Future[None]]] = []
        left: list[tuple[Ask, asyncio.Future[None]]] = []
        for each in self._waiting:
            is_next = len(chosen) < _MOST_AT_ONCE and _day_of(each[0]) in (None, first)
            (chosen if is_next else left).append(each)
        self._waiting = left
        return chosen

    async def _write_batch(self, asked: list[Ask]) -> None:
        now = self.database.clock.now()
        days = (_day_of(ask) for ask in asked)
        batch = Batch(
            day=next((day for day in days if day is not None), now.date()),
            now=now,
            lifetime=self.lifetime,
            owner=self.owner,
            reserves=[ask for ask in asked if isinstance(ask, Reserve)],
            settles=[ask for ask in asked if isinstance(ask, Settle)],
            shrinks=[ask for ask in asked if isinstance(ask, Shrink)],
        )
        try:
            await self.database.run_block(batch.steps(), STATEMENTS)
        except NotPlain:
            _undo(asked)
        except Exception:  # lint: allow AV007 (each of its steps goes the long way, and tells)
            log.exception("usage.batch_undone", steps=len(asked))
            _undo(asked)


def _day_of(ask: Ask) -> date | None:
    return None if isinstance(ask, Shrink) else ask.call.usage_date


def _undo(asked: list[Ask]) -> None:
    for ask in asked:
        if isinstance(ask, Reserve):
            ask.granted_usd = None
        else:
            ask.is_done = False


def _room(error: BudgetExceeded) -> Decimal:
    held = Decimal(error.extra["spent_usd"]) + Decimal(error.extra["reserved_usd"])
    return Decimal(error.extra["amount_usd"]) - held
