"""Watchdogs: a program that does not begin, falls silent, or does not end is not waited for.

Each looks after one thing and has its own time. ``Watch`` holds the clocks of one run; it is told
of output, of events and of the result, and says who barked. While the run is paused, no clock
runs.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Watchdog(StrEnum):
    """What a run was ended for."""

    START_UP = "start_up"
    """It printed nothing at all."""
    FIRST_EVENT = "first_event"
    """It printed, but nothing that its runtime takes for an event."""
    SILENCE = "silence"
    """It had begun, and then printed nothing for too long."""
    AFTER_RESULT = "after_result"
    """It had told its result, and did not end."""
    TOTAL = "total"
    """It took too long as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchTimes:
    """How long each watchdog sleeps, in seconds; None: it is not there."""

    start_up: float | None = None
    first_event: float | None = None
    silence: float | None = None
    after_result: float | None = None
    total: float | None = None


class Watch:
    """The clocks of one run."""

    def __init__(self, times: WatchTimes, clock: Callable[[], float] = time.monotonic) -> None:
        """Start all clocks that run from the start."""
        self.times = times
        """How long each watchdog sleeps."""
        self._clock = clock
        self._started = clock()
        self._paused_at: float | None = None
        self._paused_for: set[str] = set()
        self._has_output = False
        self._has_event = False
        self._has_result = False
        self._last_output = self._started
        self._result_at = self._started
        self._changed = asyncio.Event()

    def note_output(self) -> None:
        """The program printed something."""
        self._last_output = self._now()
        if not self._has_output:
            # Another clock runs from here; later output only puts it off.
            self._has_output = True
            self._changed.set()

    def note_event(self) -> None:
        """The program said something that its runtime understands."""
        self.note_output()
        self._has_event = True

    def note_result(self) -> None:
        """The program has told its result; all that is left for it is to end."""
        self.note_event()
        if not self._has_result:
            self._has_result = True
            self._result_at = self._now()
            self._changed.set()

    def pause(self, reason: str = "asked") -> None:
        """Stop all clocks until each who paused has let them go on."""
        self._paused_for.add(reason)
        if self._paused_at is None:
            self._paused_at = self._clock()
            self._changed.set()

    def resume(self, reason: str = "asked") -> None:
        """Let them go on from where they stood, unless another holds them."""
        self._paused_for.discard(reason)
        if self._paused_at is not None and not self._paused_for:
            self._started += self._clock() - self._paused_at
            shift = self._clock() - self._paused_at
            self._last_output += shift
            self._result_at += shift
            self._paused_at = None
            self._changed.set()

    async def bark(self) -> Watchdog:
        """Wait until a watchdog's time is up."""
        while True:
            self._changed.clear()
            pending = self._pending()
            if pending is None:
                await self._changed.wait()
                continue
            watchdog, at = pending
            left = at - self._now()
            if left <= 0:
                return watchdog
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _now(self) -> float:
        return self._clock() if self._paused_at is None else self._paused_at

    def _pending(self) -> tuple[Watchdog, float] | None:
        """Who is to bark next, and when, should nothing happen meanwhile."""
        if self._paused_at is not None:
            return None
        times = self.times
        candidates = [(Watchdog.TOTAL, self._started, times.total)]
        if self._has_result:
            candidates.append((Watchdog.AFTER_RESULT, self._result_at, times.after_result))
        else:
            if not self._has_output:
                candidates.append((Watchdog.START_UP, self._started, times.start_up))
            else:
                candidates.append((Watchdog.SILENCE, self._last_output, times.silence))
            if not self._has_event:
                candidates.append((Watchdog.FIRST_EVENT, self._started, times.first_event))
        due = [(since + limit, dog) for dog, since, limit in candidates if limit is not None]
        if not due:
            return None
        at, watchdog = min(due)
        return watchdog, at


class PauseSwitch:
    """Says whether a run shall stand still, and whether it does. Use it from the loop's thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Let it run."""
        self._clock = clock
        self._stood_still_for = 0.0
        self._stopped_at = 0.0
        self.is_paused = False
        self.changed = asyncio.Event()
        self.stands_still = False
        """Whether all of the run's processes have been stopped."""
        self.on_settled: Callable[[], None] = _nobody
        """Called when the run has come to a stop, or goes on."""

    def pause(self) -> None:
        """Let the run stand still until ``resume``."""
        if not self.is_paused:
            self.is_paused = True
            self.changed.set()

    def resume(self) -> None:
        """Let it go on."""
        if self.is_paused:
            self.is_paused = False
            self.changed.set()

    def settle(self, *, stands_still: bool) -> None:
        """Take note that it has been stopped, or goes on."""
        if stands_still is self.stands_still:
            return
        self._stood_still_for = self.stood_still_seconds()
        self._stopped_at = self._clock()
        self.stands_still = stands_still
        self.on_settled()

    def stood_still_seconds(self) -> float:
        """How long it has stood still, all in all."""
        now = self._clock() - self._stopped_at if self.stands_still else 0.0
        return self._stood_still_for + now


def _nobody() -> None:
    """Nobody wants to know."""
