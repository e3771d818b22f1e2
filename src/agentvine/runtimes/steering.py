"""What people say to a run while it runs, on its way to the run.

Messages come from the server in order, perhaps several times; the run's runtime opens the mailbox
while its program can take them. What nobody could be given is left when the run ends.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager

from agentvine.protocol.controls import SteeringMessage

Taker = Callable[[SteeringMessage], Awaitable[None]]
"""Gives one message to the run; when it raises an OSError, the message is given again later."""


class Mailbox:
    """One run's. Use it from the loop's thread."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._waiting: deque[SteeringMessage] = deque()
        self._last = 0
        self._taker: Taker | None = None
        self.handed_to = 0
        """The number of the last message that the run was given."""
        self.on_change: Callable[[], None] = _nobody
        """Called when there may be something to hand over."""

    def put(self, messages: Iterable[SteeringMessage]) -> None:
        """Keep those that are new."""
        for message in messages:
            if message.number > self._last:
                self._last = message.number
                self._waiting.append(message)
        self.on_change()

    @contextmanager
    def open_to(self, taker: Taker) -> Generator[None]:
        """Let messages be handed over while the block runs."""
        self._taker = taker
        self.on_change()
        try:
            yield
        finally:
            self._taker = None

    async def hand_over(self) -> list[SteeringMessage]:
        """Give the run what waits, when it can take it; what it was given.

        Raises:
            OSError: It could not be given the next one, which waits on.
        """
        given: list[SteeringMessage] = []
        while self._waiting and self._taker is not None:
            await self._taker(self._waiting[0])
            given.append(self._waiting.popleft())
            self.handed_to = given[-1].number
        return given


def _nobody() -> None:
    """Nobody wants to know."""
