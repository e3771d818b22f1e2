"""What a channel gets, and what it says became of it."""

from dataclasses import dataclass
from typing import Protocol

from agentvine.domains.notifications.enums import Channel

_MAX_REASON = 300


@dataclass(frozen=True, slots=True)
class Letter:
    """What one person is told at once."""

    id: str
    """The same for the same notifications, so that a second copy can be recognised."""
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Sent:
    """It was taken."""


@dataclass(frozen=True, slots=True)
class Later:
    """It was not taken, or nobody knows; it may be another time."""

    reason: str
    after_seconds: float | None = None
    """How long the other side asked to be left alone."""
    is_sure: bool = True
    """Whether it surely was not taken. Where it may have been, the same letter goes again."""
    is_for_all: bool = False
    """Whether nobody's letter would have been taken: the server is away, or refuses us."""


@dataclass(frozen=True, slots=True)
class Never:
    """It was refused for good."""

    reason: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """It was not tried: somebody else's turn, or not yet time."""

    seconds: float


Outcome = Sent | Later | Never | Waiting


class Sender(Protocol):
    """A way to reach people."""

    @property
    def channel(self) -> Channel:
        """Which way it is."""
        ...

    async def send(self, address: str, letter: Letter, seconds: float) -> Outcome:
        """Try once, for so many seconds at most."""
        ...

    async def close(self) -> None:
        """Let go of what is kept open."""
        ...


def plain(text: str, limit: int = _MAX_REASON) -> str:
    """A text of somebody else's in one bounded line, without what a terminal would act on."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(shown.split())[:limit]
