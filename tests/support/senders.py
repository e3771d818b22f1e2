"""A channel for tests: it says what it is told to, and remembers what it was given."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from agentvine.domains.notifications.channels.port import Letter, Outcome, Sent
from agentvine.domains.notifications.enums import Channel

Answer = Callable[[str, Letter], Awaitable[Outcome]]


async def take(_address: str, _letter: Letter) -> Outcome:
    return Sent()


async def hang(_address: str, _letter: Letter) -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError("nothing sets it")


def always(outcome: Outcome) -> Answer:
    async def answer(_address: str, _letter: Letter) -> Outcome:
        return outcome

    return answer


@dataclass
class Recorder:
    """A sender that sends nothing."""

    channel: Channel = Channel.EMAIL
    answer: Answer = take
    given: list[tuple[str, Letter]] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0

    async def send(self, address: str, letter: Letter, seconds: float) -> Outcome:
        self.given.append((address, letter))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await self.answer(address, letter)
        finally:
            self.under_way -= 1

    async def close(self) -> None:
        """Nothing is open."""

    @property
    def letters(self) -> list[Letter]:
        return [letter for _, letter in self.given]
