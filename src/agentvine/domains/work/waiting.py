"""Long polls: who waits for orders in this process, and who is woken for which.

One look at the database per kind of waiter finds what is ready. For each order found, the one that
has waited longest and can take it is woken, and makes a claim of its own; nobody else is. Who comes
too late waits on in its old place. Looks follow hints; one every poll interval is the truth.
"""

import asyncio
import itertools
import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import func, select

from agentvine.config.settings import QueueSettings
from agentvine.db.session import Database, ReadSession
from agentvine.domains.work import claiming, limits, lines, store
from agentvine.domains.work.grants import Grant
from agentvine.domains.work.models import CapabilitySet
from agentvine.domains.work.settling import CHANNEL
from agentvine.domains.work.shortcuts import Shortcuts
from agentvine.kit.actor import WorkerActor
from agentvine.protocol.queue import ClaimIn


@dataclass(eq=False, slots=True)
class _Waiter:
    """A request that found nothing, and waits to try again."""

    worker_id: uuid.UUID
    place: int
    """Who has waited longest has the lowest."""
    wanted: store.ClaimFilter | None = None
    """None: it can take nothing at present, whatever is ready."""
    free_slots: int = 0
    tried_at: float = 0.0
    is_ended: bool = False
    woken: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class WaitingRoom:
    """The long polls of one server process."""

    database: Database
    settings: QueueSettings
    shortcuts: Shortcuts | None = None
    _waiters: dict[uuid.UUID, _Waiter] = field(default_factory=dict[uuid.UUID, _Waiter])
    """By worker: a second request of a worker takes the place of the first, whose client has
    most likely gone."""
    _promised: dict[uuid.UUID, _Waiter] = field(default_factory=dict[uuid.UUID, _Waiter])
    """Orders for which somebody has been woken who has not tried yet."""
    _places: "itertools.count[int]" = field(default_factory=itertools.count)
    _look_count: int = 0
    _known_set_count: int = 0

    async def claim(self, actor: WorkerActor, message: ClaimIn, over: asyncio.Event) -> list[Grant]:
        """Claim, waiting for the first order; an empty list when none came in time.

        Args:
            actor: Whose token it is.
            message: What is asked.
            over: Set when nobody waits for the answer any more, or the server stops.

        Raises:
            WorkerNotFound: It is not registered, or not by this token.
            WorkerSuperseded: A later process of the same worker has registered.
            ClaimStale: What this claim got has ended, or a later one was granted.
        """
        clock = self.database.clock
        deadline = clock.monotonic() + message.wait_seconds
        waiter = _Waiter(message.worker_id, next(self._places))
        try:
            while True:
                looks_before = self._look_count
                result = await self._claim_once(actor, message)
                self._settle_promises(waiter)
                remaining = deadline - clock.monotonic()
                if result.granted or remaining <= 0 or over.is_set():
                    return result.granted
                waiter.wanted, waiter.free_slots = result.wanted, result.free_slots
                waiter.tried_at = clock.monotonic()
                self._sit_down(waiter)
                if self._look_count != looks_before:
                    # An order may have become ready after our claim, and been looked for before
                    # we sat down.
                    self._stir()
                if not await _woken_in_time(waiter, over, remaining) or waiter.is_ended:
                    return []
        finally:
            self._leave(waiter)

    async def _claim_once(self, actor: WorkerActor, message: ClaimIn) -> claiming.ClaimResult:
        if self.shortcuts is not None:
            result = await self.shortcuts.claim(actor, message)
            if result is not None:
                return result
        async with self.database.transaction(actor) as tx:
            result = await claiming.claim_orders(tx, actor, message, self.settings)
        if self.shortcuts is not None and result.wanted is not None:
            self.shortcuts.learn(message, result.wanted)
        return result

    async def look(self) -> int:
        """Wake those for whom something is ready. Returns 0: there is nothing to repeat."""
        self._look_count += 1
        kinds: dict[store.ClaimFilter, list[_Waiter]] = defaultdict(list)
        now = self.database.clock.monotonic()
        for waiter in self._seated():
            if waiter.wanted is not None:
                kinds[waiter.wanted].append(waiter)
            elif now - waiter.tried_at >= self.settings.poll_interval_seconds:
                waiter.woken.set()
        if not kinds:
            return 0
        async with self.database.read() as read:
            if await self._has_new_requirements(read):
                # What the waiters can take was found out without these: let them look again.
                self._wake(waiter for waiters in kinds.values() for waiter in waiters)
                return 0
            book = await limits.read_book(read)
            found = {
                wanted: await lines.find_claimable(
                    read, wanted, book, sum(w.free_slots for w in waiters) + len(self._promised)
                )
                for wanted, waiters in kinds.items()
            }
        for waiter in self._seated():
            ready = found.get(waiter.wanted, ()) if waiter.wanted is not None else ()
            mine = [order_id for order_id in ready if order_id not in self._promised]
            if mine:
                self._promised |= dict.fromkeys(mine[: waiter.free_slots], waiter)
                waiter.woken.set()
        return 0

    def _seated(self) -> list[_Waiter]:
        """Who sits and has not been woken, longest waiting first."""
        seated = [waiter for waiter in self._waiters.values() if not waiter.woken.is_set()]
        return sorted(seated, key=lambda waiter: waiter.place)

    def _sit_down(self, waiter: _Waiter) -> None:
        waiter.woken.clear()
        before = self._waiters.get(waiter.worker_id)
        if before is not None and before is not waiter:
            before.is_ended = True
            before.woken.set()
        self._waiters[waiter.worker_id] = waiter

    def _leave(self, waiter: _Waiter) -> None:
        if self._waiters.get(waiter.worker_id) is waiter:
            del self._waiters[waiter.worker_id]
        if self._settle_promises(waiter):
            # It was woken for something, and went without trying: that is somebody else's now.
            self._stir()

    def _settle_promises(self, waiter: _Waiter) -> bool:
        mine = [order_id for order_id, whose in self._promised.items() if whose is waiter]
        for order_id in mine:
            del self._promised[order_id]
        return bool(mine)

    def _stir(self) -> None:
        self.database.hints.wake(CHANNEL, "")

    async def _has_new_requirements(self, read: ReadSession) -> bool:
        count = await read.scalar(select(func.count()).select_from(CapabilitySet)) or 0
        is_new, self._known_set_count = count != self._known_set_count, count
        return is_new

    @staticmethod
    def _wake(waiters: Iterable[_Waiter]) -> None:
        for waiter in waiters:
            waiter.woken.set()


async def _woken_in_time(waiter: _Waiter, over: asyncio.Event, seconds: float) -> bool:
    """Whether there is reason to try again: not time-out, nor the end of the request."""
    signals = [asyncio.ensure_future(event.wait()) for event in (waiter.woken, over)]
    try:
        await asyncio.wait(signals, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for signal in signals:
            signal.cancel()
    return waiter.woken.is_set() and not over.is_set()
