"""One channel as it is used: a few letters at once, none to somebody who is being told already.

A server that is away is not asked again for each person: after a failure that is nobody's in
particular, the whole channel rests for a while, and what would have gone is told why.
"""

import asyncio
from dataclasses import dataclass, field

import structlog

from agentvine.domains.notifications.channels.port import (
    Later,
    Letter,
    Outcome,
    Sender,
    Sent,
    Waiting,
)
from agentvine.kit.clock import Clock

_AT_ONCE = 8
_SOON_SECONDS = 5.0
_FIRST_REST_SECONDS = 5.0
_LONGEST_REST_SECONDS = 300.0
_MAX_PAUSES = 10_000

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Line:
    """A sender, and who may use it now."""

    sender: Sender
    clock: Clock
    attempt_seconds: float
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))
    _under_way: set[str] = field(default_factory=set[str])
    _pauses: dict[str, float] = field(default_factory=dict[str, float])
    """Until when an address is to be left alone, as the other side asked."""
    _failures: int = 0
    _rests_until: float = 0.0
    _trouble: str = ""

    async def send(self, address: str, letter: Letter, by: float) -> Outcome:
        """Send a letter, unless it cannot be begun in time.

        Args:
            address: Where it goes.
            letter: What is told.
            by: When it must have begun, on the monotonic clock.
        """
        if (left := self._pauses.get(address, 0.0) - self.clock.monotonic()) > 0:
            return Waiting(left)
        if address in self._under_way:
            return Waiting(_SOON_SECONDS)
        self._under_way.add(address)
        try:
            return await self._take_turn(address, letter, by)
        finally:
            self._under_way.discard(address)

    async def _take_turn(self, address: str, letter: Letter, by: float) -> Outcome:
        try:
            async with asyncio.timeout(max(0.0, by - self.clock.monotonic())):
                await self._turns.acquire()
        except TimeoutError:
            return Waiting(_SOON_SECONDS)
        try:
            now = self.clock.monotonic()
            if now < self._rests_until:
                return Later(self._trouble, is_for_all=True)
            if now > by:
                return Waiting(_SOON_SECONDS)
            outcome = await self.sender.send(address, letter, self.attempt_seconds)
        finally:
            self._turns.release()
        self._learn(address, outcome)
        return outcome

    def _learn(self, address: str, outcome: Outcome) -> None:
        now = self.clock.monotonic()
        self._pauses.pop(address, None)
        if isinstance(outcome, Later) and outcome.after_seconds:
            if len(self._pauses) >= _MAX_PAUSES:
                self._pauses.pop(next(iter(self._pauses)))
            self._pauses[address] = now + outcome.after_seconds
        if isinstance(outcome, Later) and outcome.is_for_all:
            if now < self._rests_until:
                return  # begun before it was known
            rest = min(_LONGEST_REST_SECONDS, _FIRST_REST_SECONDS * 2.0 ** min(self._failures, 16))
            if self._failures == 0:
                log.warning(
                    "notification.channel_fails",
                    channel=self.sender.channel.value,
                    reason=outcome.reason,
                )
            self._failures += 1
            self._rests_until, self._trouble = now + rest, outcome.reason
        elif isinstance(outcome, Sent):
            if self._failures:
                log.info("notification.channel_works", channel=self.sender.channel.value)
            self._failures, self._rests_until = 0, 0.0
