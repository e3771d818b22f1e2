"""An event loop in which time is a number, and every node of the system can be held or killed.

Nothing here waits: when no callback is ready, the clock jumps to the next timer. Callbacks run in
the order asyncio promises; what differs from seed to seed are the delays of networks, disks and
databases. Every task belongs to a *node* (the server, one worker, the test), by a context variable.
"""

import asyncio
import heapq
import itertools
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

NODE: ContextVar[str] = ContextVar("simulated_node", default="test")
_EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
_DISK_SECONDS = 0.005


class Stuck(Exception):
    """Nothing is ready and no timer runs: everybody waits for somebody."""


class _NumberedTask(asyncio.Task[Any]):
    """asyncio keeps tasks in sets, and walks those by hash: by a number, not by an address."""

    def __init__(self, coro: Any, *, number: int, loop: "SimulatedLoop", context: Any) -> None:
        self._number = number
        super().__init__(coro, loop=loop, context=context)

    def __hash__(self) -> int:
        return self._number


class _NumberedFuture(asyncio.Future[Any]):
    """The same for what is not a task."""

    def __init__(self, *, number: int, loop: "SimulatedLoop") -> None:
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class SimulatedLoop(asyncio.BaseEventLoop):
    """Virtual time; no sockets, no threads."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._ready: deque[asyncio.Handle]
        self._scheduled: list[asyncio.TimerHandle]
        self.random = Random(seed)
        self._virtual_time = 0.0
        self._held: dict[str, list[asyncio.Handle]] = {}
        self._dead: set[str] = set()
        # In the order they were made: a set of them has another order in every course of things.
        self._tasks: dict[str, dict[asyncio.Task[Any], None]] = defaultdict(dict)
        self._numbers = itertools.count()
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self._virtual_time

    def revive(self, node: str) -> None:
        """A node that was killed may do things again."""
        self._dead.discard(node)

    def run_on(self, node: str, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run something as a part of a node."""
        context = copy_context()
        context.run(NODE.set, node)
        return self.create_task(work, context=context)

    def is_dead(self, node: str) -> bool:
        """Whether the node was killed and not started again."""
        return node in self._dead

    def hold(self, node: str) -> None:
        """Let nothing of a node run until ``release``, as SIGSTOP does."""
        self._held.setdefault(node, [])

    def release(self, node: str) -> None:
        """Let a node go on; all that has become due meanwhile comes at once."""
        self._ready.extend(self._held.pop(node, []))

    async def kill(self, node: str) -> None:
        """End a node's tasks. From here on, its disk and network calls come to nothing."""
        self._dead.add(node)
        self.release(node)
        while tasks := [task for task in self._tasks[node] if not task.done()]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=0.001)
        del self._tasks[node]

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """What a thread would do, after a moment of a busy disk; never for a dead node."""
        node, future = NODE.get(), self.create_future()

        def work() -> None:
            if future.done() or self.is_dead(node):
                future.cancel()
                return
            try:
                future.set_result(func(*args))
            except Exception as error:  # noqa: BLE001  # handed on to whoever waits
                future.set_exception(error)

        self.call_later(self.random.uniform(0, _DISK_SECONDS), work)
        return future

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        """Fail: whoever looks up a name is about to leave the simulated network."""
        raise AssertionError(f"{NODE.get()} looked up {host}:{port} in the real world")

    def create_future(self) -> asyncio.Future[Any]:
        return _NumberedFuture(number=next(self._numbers), loop=self)

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coro: Any, *, context: Any = None
    ) -> "asyncio.Task[Any]":
        number = next(self._numbers)
        task = _NumberedTask(coro, number=number, loop=self, context=context)
        node = NODE.get() if context is None else context.get(NODE, "test")
        tasks = self._tasks[node]
        tasks[task] = None
        task.add_done_callback(lambda done: tasks.pop(done, None))
        return task

    def _run_once(self) -> None:
        timers: list[asyncio.TimerHandle] = self._scheduled
        while timers and timers[0].cancelled():
            heapq.heappop(timers)._scheduled = False
        if not self._ready:
            if not timers:
                raise Stuck
            self._virtual_time = max(self._virtual_time, timers[0].when())
        while timers and timers[0].when() <= self._virtual_time:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            self._ready.append(timer)
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            held = self._held.get(handle._context.get(NODE, "test")) if self._held else None
            if held is not None:
                held.append(handle)
            elif not handle.cancelled():
                handle._run()

    def _write_to_self(self) -> None:
        """There is no thread to be woken by."""

    def _process_events(self, event_list: Any) -> None:
        """There are no sockets."""


class SimulatedClock:
    """A machine's clocks; the one on the wall may be wrong."""

    def __init__(self, loop: SimulatedLoop, wrong_by_seconds: float = 0.0) -> None:
        self._loop = loop
        self.wrong_by_seconds = wrong_by_seconds

    def now(self) -> datetime:
        return _EPOCH + timedelta(seconds=self._loop.time() + self.wrong_by_seconds)

    def monotonic(self) -> float:
        return self._loop.time()
