"""Following a task to its end: states, log lines, and servers that come and go."""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from agentvine.cli.session import Session
from agentvine.cli.verdict import Verdict, judge
from agentvine.kit.clock import Clock, SystemClock
from agentvine.kit.errors import LimitReached, Unauthenticated, Unavailable
from agentvine.protocol.enums import TaskStatus
from agentvine.protocol.executions import DETAIL_STREAMS, ExecutionOut, LogLineOut
from agentvine.protocol.modifications import ModificationOut
from agentvine.protocol.tasks import TaskOut

_LOOK_SECONDS = 0.3
_LATER_LOOK_SECONDS = 1.0
_LATER = 15.0
HINT_SECONDS = 5.0
_LAST_LINES_SECONDS = 5.0
GIVE_UP_SECONDS = 300.0


class Display(Protocol):
    """Shows what a watched task does."""

    def task(self, task: TaskOut) -> None:
        """It stands somewhere else, or for another reason."""
        ...

    def execution(self, execution: ExecutionOut) -> None:
        """An attempt has begun, or is in another phase."""
        ...

    def line(self, line: LogLineOut) -> None:
        """An attempt has printed a line."""
        ...

    def note(self, text: str) -> None:
        """Something else that one should know."""
        ...


Reconnect = Callable[[], Awaitable[bool]]
"""Looks for the server at a new address; whether it found one."""


@dataclass(slots=True)
class Watcher:
    """One task on its way."""

    session: Session
    display: Display
    reconnect: Reconnect
    clock: Clock = field(default_factory=SystemClock)
    give_up_seconds: float = GIVE_UP_SECONDS
    hint_seconds: float = HINT_SECONDS
    """So long nobody need have begun before we look why."""
    _task: TaskOut | None = None
    _execution: ExecutionOut | None = None
    _tail: asyncio.Task[None] | None = None
    _after: int = 0
    _has_hinted: bool = False
    _blocked_by: str | None = None

    async def watch(self, task_id: uuid.UUID) -> Verdict:
        """Show all that happens to a task until it needs no more watching.

        Raises:
            Unavailable: No server has answered for ``give_up_seconds``.
        """
        began = last_answer = self.clock.monotonic()
        is_lost = False
        try:
            while True:
                try:
                    verdict = await self._look(task_id)
                    last_answer = self.clock.monotonic()
                    if is_lost:
                        self.display.note("the server is back")
                    is_lost = False
                    if verdict is not None:
                        await self._last_lines()
                        return verdict
                    await self._hint(self.clock.monotonic() - began)
                except (Unavailable, LimitReached, Unauthenticated) as error:
                    is_permanent = isinstance(error, Unauthenticated)
                    has_moved = await self._try_to_reconnect()
                    waited = self.clock.monotonic() - last_answer
                    if not has_moved and (is_permanent or waited > self.give_up_seconds):
                        raise
                    if not is_lost:
                        self.display.note(f"the server does not answer; waiting ({error.title})")
                    is_lost = True
                waited = self.clock.monotonic() - began
                await asyncio.sleep(_LOOK_SECONDS if waited < _LATER else _LATER_LOOK_SECONDS)
        finally:
            await self._stop_tail()

    async def _look(self, task_id: uuid.UUID) -> Verdict | None:
        client = self.session.client
        task = await client.tasks.get(task_id)
        found = await client.executions.list(task_id=task_id).page(limit=1)
        if found.items and task.status is TaskStatus.QUEUED:
            # It was claimed between the two answers: first things first.
            task = await client.tasks.get(task_id)
        known = self._task
        if known is None or (known.status, known.status_reason) != (
            task.status,
            task.status_reason,
        ):
            self.display.task(task)
            self._blocked_by = await self._what_blocks(task)
        self._task = task
        if found.items:
            self._follow(found.items[0])
        change = await self._newest_change(task)
        return judge(task, change, blocked_by=self._blocked_by)

    async def _what_blocks(self, task: TaskOut) -> str | None:
        if task.status is not TaskStatus.BLOCKED:
            return None
        why = await self.session.client.queue.why_task(task.id)
        return why.reasons[0].code if why.reasons else None

    async def _newest_change(self, task: TaskOut) -> ModificationOut | None:
        if task.status not in (TaskStatus.REVIEW, TaskStatus.COMPLETED, TaskStatus.FAILED):
            return None
        found = await self.session.client.modifications.list(task_id=task.id).page(limit=1)
        return found.items[0] if found.items else None

    def _follow(self, execution: ExecutionOut) -> None:
        known = self._execution
        if known is None or known.id != execution.id:
            self._after = 0
            self._tail = asyncio.create_task(self._show_lines(execution.id, self._tail))
        if known is None or (known.id, known.phase) != (execution.id, execution.phase):
            self.display.execution(execution)
        self._execution = execution

    async def _show_lines(
        self, execution_id: uuid.UUID, earlier: asyncio.Task[None] | None
    ) -> None:
        if earlier is not None:
            await asyncio.wait({earlier}, timeout=_LAST_LINES_SECONDS)
            earlier.cancel()
        # The watch itself decides when to give up; a tail that ended early is begun again.
        with contextlib.suppress(Unavailable, LimitReached, Unauthenticated):
            async for item in self.session.client.executions.tail(execution_id, after=self._after):
                if isinstance(item, LogLineOut):
                    self._after = item.id
                    if item.stream not in DETAIL_STREAMS:
                        self.display.line(item)

    async def _last_lines(self) -> None:
        if self._tail is not None:
            await asyncio.wait({self._tail}, timeout=_LAST_LINES_SECONDS)

    async def _stop_tail(self) -> None:
        if self._tail is not None:
            self._tail.cancel()
            await asyncio.gather(self._tail, return_exceptions=True)
            self._tail = None

    async def _try_to_reconnect(self) -> bool:
        if not await self.reconnect():
            return False
        await self._stop_tail()
        if self._execution is not None:
            self._tail = asyncio.create_task(self._show_lines(self._execution.id, None))
        return True

    async def _hint(self, waited: float) -> None:
        task = self._task
        if self._has_hinted or self._execution is not None or waited < self.hint_seconds:
            return
        if task is not None and task.status is TaskStatus.QUEUED:
            self._has_hinted = True
            found = await self.session.client.queue.why_task(task.id)
            said = "; ".join(reason.message for reason in found.reasons)
            others = "others are first, or the workers are busy"
            self.display.note(f"nobody has begun yet: {said or others}")
