"""Lets a run follow what people want of it, and tells the server what has been done.

What is wanted comes with the beats, again and again. What is done is told until the server has
heard it; nothing waits for that, neither the run nor the beats.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable

import structlog

from agentvine.client import Client, RetryPolicy
from agentvine.kit.errors import AppError, Conflict
from agentvine.protocol.controls import ControlIn, LeaseControl, SteeringMessage
from agentvine.worker.files import FileFetcher
from agentvine.worker.leases import Lease
from agentvine.worker.tools import StopSwitch

_RETRY = RetryPolicy(base_seconds=0.5, cap_seconds=10.0)
_LAST_WORDS_SECONDS = 2.0

log = structlog.get_logger(__name__)


class Steward:
    """One run's. Use it from the loop's thread."""

    def __init__(
        self,
        client: Client,
        lease: Lease,
        switch: StopSwitch,
        files: FileFetcher,
        say: Callable[[str, str], Awaitable[None]],
    ) -> None:
        """Prepare; ``run`` does the work.

        Args:
            client: Reaches the server.
            lease: The run's.
            switch: What the run lives by.
            files: Gets what comes with messages.
            say: Writes a line into the run's log, and its step into the timeline.
        """
        self._client = client
        self._lease = lease
        self._switch = switch
        self._files = files
        self._say = say
        self._changed = asyncio.Event()
        self._arrived: deque[SteeringMessage] = deque()
        """Messages from the first one on whose files are still to be fetched."""
        self._said_paused = False
        self._told_paused = False
        self._told_to = 0
        switch.pause.on_settled = self._changed.set
        switch.mailbox.on_change = self._changed.set

    def take(self, wanted: LeaseControl) -> None:
        """Let the run follow."""
        if wanted.is_paused:
            self._switch.pause.pause()
        else:
            self._switch.pause.resume()
        if not self._arrived and not any(each.attachments for each in wanted.messages):
            self._switch.mailbox.put(wanted.messages)
            return
        known = self._arrived[-1].number if self._arrived else 0
        self._arrived.extend(each for each in wanted.messages if each.number > known)
        self._changed.set()

    async def run(self) -> None:
        """Hand over what there is, and tell what was done, until cancelled."""
        failures = 0
        while True:
            self._changed.clear()
            try:
                await self._fetch_files()
                await self._hand_over()
                await self._say_what_it_does()
                await self._tell()
            except Conflict:
                # The lease was lost: the next beat says so, too.
                return
            except (AppError, OSError) as error:
                log.warning("control.not_done", problem=str(error))
                await asyncio.sleep(_RETRY.pause(failures, None))
                failures += 1
            else:
                failures = 0
                await self._changed.wait()

    async def close(self) -> None:
        """Tell, once, what was handed over at the very end; call it when ``run`` has ended."""
        with contextlib.suppress(AppError, TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                await self._tell()

    async def _fetch_files(self) -> None:
        while self._arrived:
            message = self._arrived[0]
            text = await self._files.with_files(message.text, message.attachments)
            self._switch.mailbox.put([message.model_copy(update={"text": text})])
            self._arrived.popleft()

    async def _hand_over(self) -> None:
        for message in await self._switch.mailbox.hand_over():
            text = f"Message {message.number}, from {message.author}, was handed over."
            await self._say(text, "steered")

    async def _say_what_it_does(self) -> None:
        is_paused = self._switch.pause.stands_still
        if is_paused is not self._said_paused:
            self._said_paused = is_paused
            if is_paused:
                await self._say("The run stands still, as asked.", "paused")
            else:
                await self._say("The run goes on.", "resumed")

    async def _tell(self) -> None:
        is_paused, to = self._switch.pause.stands_still, self._switch.mailbox.handed_to
        done: dict[str, object] = {}
        if is_paused is not self._told_paused:
            done["is_paused"] = is_paused
        if to > self._told_to:
            done["messages_to"] = to
        if not done:
            return
        claim = {"order_id": self._lease.order_id, "fence": self._lease.fence}
        await self._client.queue.control(ControlIn.model_validate(claim | done))
        self._told_paused, self._told_to = is_paused, to
