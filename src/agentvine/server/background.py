"""The server's loops: each chore is tried again for ever, one failure never ends it.

On PostgreSQL several servers run the same chores; each step locks what it handles and passes over
what another one holds, so that no leader is needed for these.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from agentvine.db.session import Database
from agentvine.kit.clock import Clock

log = structlog.get_logger(__name__)

_STEP_SECONDS = 120.0
_OVERDUE_SECONDS = 60.0
_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Chore:
    """Something to do again and again; returns how much it did."""

    name: str
    run: Callable[[], Awaitable[int]]
    every_seconds: float
    channel: str | None = None
    """Hints on this channel run it at once."""
    deadline_seconds: float = _STEP_SECONDS
    """A step that takes longer is cancelled: a loop that hangs helps nobody."""


@dataclass(slots=True)
class Supervisor:
    """Runs chores until it is told to stop, and knows when each last succeeded."""

    database: Database
    clock: Clock
    chores: tuple[Chore, ...]
    last_success: dict[str, float] = field(default_factory=dict[str, float])
    """By chore, on the monotonic clock; its start where it has not succeeded yet."""
    _tasks: list[asyncio.Task[None]] = field(default_factory=list["asyncio.Task[None]"])
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self) -> None:
        """Start every loop."""
        self.last_success = {chore.name: self.clock.monotonic() for chore in self.chores}
        self._tasks = [
            asyncio.create_task(self._loop(chore), name=f"chore {chore.name}")
            for chore in self.chores
        ]

    async def stop(self) -> None:
        """End every loop, and wait until it has; a step under way is cancelled. Stops once."""
        self._stopping.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def overdue(self) -> list[str]:
        """The chores that have not succeeded for longer than they should."""
        now = self.clock.monotonic()
        return [
            chore.name
            for chore in self.chores
            if now - self.last_success.get(chore.name, now)
            > max(_OVERDUE_SECONDS, 3 * chore.every_seconds) + chore.deadline_seconds
        ]

    async def _loop(self, chore: Chore) -> None:
        while not self._stopping.is_set():
            try:
                await self._repeat(chore)
            except Exception as error:  # supervisor of a loop: log, and begin again
                log.warning("chore.died", chore=chore.name, error=repr(error), exc_info=error)
                await asyncio.sleep(min(chore.every_seconds, _AGAIN_SECONDS))

    async def _repeat(self, chore: Chore) -> None:
        async with self.database.hints.subscribe(chore.channel or chore.name) as hints:
            while not self._stopping.is_set():
                did = await self._step(chore)
                if not did:
                    spread = random.uniform(0.8, 1.2)  # noqa: S311  # spreads load, hides nothing
                    await hints.wait(chore.every_seconds * spread)

    async def _step(self, chore: Chore) -> int:
        try:
            async with asyncio.timeout(chore.deadline_seconds):
                did = await chore.run()
        except asyncio.CancelledError as error:
            if self._stopping.is_set():
                raise
            # Something that it waited for was cancelled; we were not.
            log.warning("chore.failed", chore=chore.name, error=repr(error), exc_info=error)
            return 0
        except Exception as error:  # supervisor of a loop: log, and try again
            log.warning("chore.failed", chore=chore.name, error=repr(error), exc_info=error)
            return 0
        self.last_success[chore.name] = self.clock.monotonic()
        return did
