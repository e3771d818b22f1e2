"""Doing one job for many things, again and again: a few at once, and later what fails."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from agentvine.kit.clock import Clock

_MAX_ENTRIES = 10_000


@dataclass(slots=True)
class Postponed:
    """Things put off, each for twice as long as the last time.

    In memory only: after a restart everything is tried at once, which is what one wants then.
    """

    clock: Clock
    first_seconds: float = 5.0
    longest_seconds: float = 600.0
    _entries: dict[uuid.UUID, tuple[int, float]] = field(
        default_factory=dict[uuid.UUID, tuple[int, float]]
    )

    def put_off(self, key: uuid.UUID) -> float:
        """Do not try this again for a while; returns how many seconds."""
        count, _ = self._entries.pop(key, (0, 0.0))
        if len(self._entries) >= _MAX_ENTRIES:
            self._entries.pop(next(iter(self._entries)))
        seconds = min(self.longest_seconds, self.first_seconds * 2.0 ** min(count, 32))
        self._entries[key] = (count + 1, self.clock.monotonic() + seconds)
        return seconds

    def forget(self, key: uuid.UUID) -> None:
        """It went well: the next failure is the first again."""
        self._entries.pop(key, None)

    def current(self) -> list[uuid.UUID]:
        """What is put off at this moment."""
        now = self.clock.monotonic()
        return [key for key, (_, until) in self._entries.items() if until > now]


Job = Callable[[uuid.UUID], Awaitable[object]]
OnFailure = Callable[[uuid.UUID, Exception, float], None]
"""Told which one failed, why, and after how many seconds it is tried again."""


class JobPool:
    """Runs a job for each key at most once at a time; a slow or failing one holds up no other."""

    def __init__(
        self,
        job: Job,
        on_failure: OnFailure,
        postponed: Postponed,
        *,
        at_once: int = 8,
        limit_seconds: float = 1800.0,
    ) -> None:
        """Prepare.

        Args:
            job: What to do; raises where it does not succeed.
            on_failure: For the log.
            postponed: Keeps what failed.
            at_once: How many may be under way.
            limit_seconds: How long one may take.
        """
        self._job = job
        self._on_failure = on_failure
        self._postponed = postponed
        self._turns = asyncio.Semaphore(at_once)
        self._limit_seconds = limit_seconds
        self._tasks: dict[uuid.UUID, asyncio.Task[bool]] = {}

    def unavailable(self) -> list[uuid.UUID]:
        """What is under way, or put off: not to be given to ``run``."""
        return [*self._tasks, *self._postponed.current()]

    async def run(self, keys: Iterable[uuid.UUID], *, patience_seconds: float = 1.0) -> int:
        """Start what is not under way, and wait a moment. Returns how many have succeeded.

        What takes longer goes on by itself.
        """
        started = [self._start(key) for key in keys if key not in self._tasks]
        if not started:
            return 0
        done, _ = await asyncio.wait(started, timeout=patience_seconds)
        return sum(not task.cancelled() and task.result() for task in done)

    async def close(self) -> None:
        """Give up what is under way, and wait until it has ended."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, key: uuid.UUID) -> "asyncio.Task[bool]":
        task = asyncio.create_task(self._attempt(key), name=f"job {key}")
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._tasks.pop(key, None))
        return task

    async def _attempt(self, key: uuid.UUID) -> bool:
        try:
            async with self._turns, asyncio.timeout(self._limit_seconds):
                await self._job(key)
        except Exception as error:  # noqa: BLE001  # the boundary of a job: it is tried again later
            self._on_failure(key, error, self._postponed.put_off(key))
            return False
        self._postponed.forget(key)
        return True
