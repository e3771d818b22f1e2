"""What every wire format can do: read a request, and write an answer, whole or streamed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from agentvine.llm.scripted.asked import Asked, Json
from agentvine.llm.scripted.neutral import Played
from agentvine.llm.scripted.script import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """A script's usage with every number known."""

    input: int
    output: int
    cache_read: int
    cache_write: int
    reasoning: int


@dataclass(frozen=True, slots=True)
class Told:
    """A turn's usage as the ledger counts it: input with caches, output with thoughts."""

    tokens_in: int
    tokens_out: int
    tokens_cache_read: int
    tokens_cache_write: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the model says, ready to be written."""

    id: str
    """Unique; ids of calls are made from it."""
    asked: Asked
    text: str
    thinking: str
    calls: tuple[Played, ...]
    counts: Counts
    stop: str
    chunk: int
    created: int
    """Seconds since the epoch."""

    def pieces(self, text: str) -> Iterator[str]:
        """A text in the pieces that a stream has."""
        for begin in range(0, len(text), self.chunk):
            yield text[begin : begin + self.chunk]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A request before it is read."""

    path: str
    query: dict[str, str]
    body: Json
    size: int
    key: str


class Wire(Protocol):
    """One format."""

    name: str

    def read(self, incoming: Incoming) -> Asked:
        """What is asked."""
        ...

    def told(self, counts: Counts) -> Told:
        """What these numbers mean to the ledger, when they are sent in this format."""
        ...

    def whole(self, reply: Reply) -> Json:
        """The answer in one piece."""
        ...

    def events(self, reply: Reply) -> Iterator[bytes]:
        """The answer as a stream."""
        ...

    def error(self, status: int, fault: Fault) -> Json:
        """The body of a refusal."""
        ...

    def error_event(self, fault: Fault) -> bytes:
        """A failure in the middle of a stream."""
        ...


def sse(data: Json, *, event: str | None = None, end: str = "\n\n") -> bytes:
    """One event of a stream."""
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {compact(data)}{end}".encode()


def compact(value: object) -> str:
    """JSON without blanks, as providers send it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def given(**members: object) -> Json:
    """The members that are not None."""
    return {name: value for name, value in members.items() if value is not None}
