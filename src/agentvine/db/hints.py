"""Hints: "something changed, look now". Never the truth: a lost hint costs one poll interval.

On SQLite, where one process serves, a hint stays inside the process. On PostgreSQL the others
hear it too, by LISTEN and NOTIFY, or by way of Redis where one is named: one dedicated connection
listens, and at most one message per channel goes out every 20 ms, after the commit it tells of.
"""

import asyncio
import contextlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from agentvine.kit.guards import outside_transaction

_MAX_PAYLOADS = 256
_MANY_HINTS = 200
_MAX_CHANNELS = 4096
_MAX_MESSAGE_BYTES = 7900  # PostgreSQL takes less than 8000
_INTERVAL_SECONDS = 0.02
_PING_SECONDS = 5.0
_READY_SECONDS = 2.0
_FIRST_PAUSE_SECONDS = 0.1
_LAST_PAUSE_SECONDS = 10.0
_log = logging.getLogger(__name__)


class Subscription:
    """One waiter on one channel. Hints that come while nobody waits are kept, not lost."""

    def __init__(self) -> None:
        """Start with nothing heard."""
        self._woken = asyncio.Event()
        self._payloads: dict[str, None] = {}

    async def wait(self, timeout: float) -> bool:  # noqa: ASYNC109  # a timeout is an answer here
        """Wait for a hint: True when there was one since the last wait, False on time-out."""
        try:
            async with asyncio.timeout(timeout):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True

    def take(self) -> list[str]:
        """The distinct payloads heard since the last call, oldest first; may have lost some."""
        payloads = list(self._payloads)
        self._payloads.clear()
        return payloads

    def wake(self, payload: str) -> None:
        """Hear one hint."""
        if payload and len(self._payloads) < _MAX_PAYLOADS:
            self._payloads[payload] = None
        self._woken.set()


async def heard_of(
    subscription: Subscription, what: str | None, over: asyncio.Event, seconds: float
) -> bool:
    """Whether there was a hint about this before the time was over, or the wait.

    Args:
        subscription: To the channel of such things.
        what: The payload to wait for; None: any hint will do.
        over: Ends the wait.
        seconds: The longest to wait.
    """
    ending = asyncio.ensure_future(over.wait())
    try:
        async with asyncio.timeout(seconds):
            while not over.is_set():
                hint = asyncio.ensure_future(subscription.wait(seconds))
                try:
                    await asyncio.wait([hint, ending], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    hint.cancel()
                heard = subscription.take()
                # With none, or very many, it is not clear what they were about.
                is_clear = what is not None and 0 < len(heard) < _MANY_HINTS
                if not over.is_set() and (what in heard or not is_clear):
                    return True
    except TimeoutError:
        return False
    finally:
        ending.cancel()
    return False


class Hints(ABC):
    """Publish and subscribe by channel name."""

    def __init__(self) -> None:
        """Start with no subscriber."""
        # Woken in the order in which they came; a set has another order in every process.
        self._subscriptions: dict[str, dict[Subscription, None]] = {}

    @abstractmethod
    def publish(self, channel: str, payload: str = "") -> None:
        """Wake every subscriber of the channel. Returns at once, and never fails.

        Call it after the commit, from a running event loop (``Transaction.hint`` does both).
        """

    @asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncGenerator[Subscription, None]:
        """Listen to a channel for the length of the block.

        Look at the database once after entering: what happened before is not told.
        """
        subscription = Subscription()
        self._subscriptions.setdefault(channel, {})[subscription] = None
        try:
            await self.ready()
            yield subscription
        finally:
            self._subscriptions[channel].pop(subscription, None)
            if not self._subscriptions[channel]:
                del self._subscriptions[channel]

    @abstractmethod
    async def ready(self) -> None:
        """Wait until other processes can be heard, or until it is clear that they cannot yet."""

    def wake(self, channel: str, payload: str) -> None:
        """Wake the subscribers in this process."""
        for subscription in self._subscriptions.get(channel, ()):
            subscription.wake(payload)

    def wake_all(self) -> None:
        """Wake everybody, where hints may have been missed."""
        for channel in self._subscriptions:
            self.wake(channel, "")

    @abstractmethod
    async def close(self) -> None:
        """Stop; safe to call twice."""


class LocalHints(Hints):
    """Hints inside one process."""

    def publish(self, channel: str, payload: str = "") -> None:
        """Wake every subscriber of the channel."""
        self.wake(channel, payload)

    async def ready(self) -> None:
        """There are no other processes."""

    async def close(self) -> None:
        """Wake everybody a last time."""
        self.wake_all()


Send = Callable[[list[str]], Awaitable[None]]
"""Tells the other processes of some messages; with none, asks for a sign of life."""


class RelayedHints(Hints):
    """Hints between processes: one connection that listens, tells and is pinged.

    Subscribers in this process are woken at once, without it. The connection is opened with the
    first hint or subscriber, and again, ever more slowly, when it breaks; afterwards everybody is
    woken, for hints may have been missed.
    """

    def __init__(self) -> None:
        """Prepare; nothing is opened yet."""
        super().__init__()
        self._outgoing: dict[str, dict[str, None]] = {}
        self._stirred = asyncio.Event()
        self._flushed = asyncio.Event()
        self._listening = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    @abstractmethod
    def _connected(self) -> AbstractAsyncContextManager[Send]:
        """A connection that listens: ``_heard`` is called with what comes, from this event loop.

        When it breaks, ``_stir`` is called, and the next ``Send`` raises.
        """

    def publish(self, channel: str, payload: str = "") -> None:
        """Wake the subscribers here, and tell the other processes soon."""
        self.wake(channel, payload)
        if self._is_closed or len(self._outgoing) >= _MAX_CHANNELS:
            return
        payloads = self._outgoing.setdefault(channel, {})
        payloads[payload] = None
        self._flushed.clear()
        self._stirred.set()
        self._start()

    async def ready(self) -> None:
        """Wait a moment for the connection that listens."""
        self._start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_READY_SECONDS):
                await self._listening.wait()

    async def close(self) -> None:
        """Send what is due, and stop."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._outgoing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_READY_SECONDS):
                    await self._flushed.wait()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.wake_all()

    def _stir(self) -> None:
        self._stirred.set()

    def _heard(self, message: str) -> None:
        channel, *payloads = json.loads(message)
        for payload in payloads or [""]:
            self.wake(channel, payload)

    def _start(self) -> None:
        if self._task is None and not self._is_closed:
            # Not part of the command that happens to give the first hint.
            with outside_transaction():
                self._task = asyncio.create_task(self._supervise(), name="hints")

    async def _supervise(self) -> None:
        failures = 0
        while True:
            try:
                async with self._connected() as send:
                    self._listening.set()
                    if failures:
                        self.wake_all()
                    failures = 0
                    await self._serve(send)
            except Exception as error:  # noqa: BLE001  # supervisor of a loop: hints may fail
                self._listening.clear()
                failures += 1
                pause = min(_FIRST_PAUSE_SECONDS * 2 ** (failures - 1), _LAST_PAUSE_SECONDS)
                _log.warning("hints: connection lost (%s); again in %.1f s", error, pause)
                await asyncio.sleep(pause)

    async def _serve(self, send: Send) -> None:
        """Send what is due, at most every 20 ms; ask for a sign of life where nothing is."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PING_SECONDS):
                    await self._stirred.wait()
            self._stirred.clear()
            async with asyncio.timeout(_PING_SECONDS):
                await self._send_due(send)
            await asyncio.sleep(_INTERVAL_SECONDS)

    async def _send_due(self, send: Send) -> None:
        due = self._outgoing
        self._outgoing = {}
        try:
            await send([_message(channel, list(payloads)) for channel, payloads in due.items()])
        except BaseException:
            self._outgoing = {**due, **self._outgoing}
            raise
        if not self._outgoing:
            self._flushed.set()


def _message(channel: str, payloads: list[str]) -> str:
    message = json.dumps([channel, *payloads], separators=(",", ":"))
    if len(message.encode()) > _MAX_MESSAGE_BYTES:
        return json.dumps([channel])  # "look yourself"
    return message
