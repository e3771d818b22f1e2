"""What an answer used, put together while it passes by."""

import json
import re
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from agentvine.domains.usage.prices import Tokens

Json = dict[str, Any]

MAX_EVENT_BYTES = 32 * 1024 * 1024
"""A longer part of a stream, or a longer whole answer, is passed on but not read."""
_MOST_UNREAD_BYTES = 128 * 1024
_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r|\r\n\n|\n\r\n")


@dataclass(slots=True)
class Counts:
    """Tokens as the provider told them. It tells sums, again and again: the highest one holds."""

    input: int = 0
    """All that went in, with what the caches held."""
    output: int = 0
    """All that came out, with what was thought."""
    cache_read: int = 0
    cache_write: int = 0
    cache_write_hour: int = 0
    """Of what was written into the cache: what stays there for an hour, which costs more."""
    reasoning: int = 0
    """Of the output: what was thought."""
    is_told: bool = False
    """Whether the provider has told anything at all."""
    is_final: bool = False
    """Whether what it has told is the end of the account."""

    def raise_to(self, **counts: object) -> None:
        """Take over whatever is higher; what is no number says nothing."""
        for name, value in counts.items():
            if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                self.is_told = True
                if value > getattr(self, name):
                    setattr(self, name, value)

    def tokens(self) -> Tokens:
        """For the books."""
        return Tokens(
            input=max(self.input, self.cache_read + self.cache_write),
            output=max(self.output, self.reasoning),
            cache_read=self.cache_read,
            cache_write=self.cache_write,
            cache_write_hour=min(self.cache_write_hour, self.cache_write),
            reasoning=self.reasoning,
        )


class EventSplitter:
    """Cuts a stream of server-sent events into events, wherever its chunks begin and end.

    It works on bytes: a chunk may end inside a character, or between CR and LF.
    """

    def __init__(self) -> None:
        """Begin at the start of a stream."""
        self._rest = bytearray()
        self.is_lost = False
        """An event was too long to be kept."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events that this chunk completes, with the empty lines that end them."""
        self._rest += chunk
        if b"\n" not in chunk and b"\r" not in chunk:
            self._shorten()
            return []
        events: list[bytes] = []
        start = 0
        for end in _EVENT_END.finditer(self._rest):
            events.append(bytes(self._rest[start : end.end()]))
            start = end.end()
        del self._rest[:start]
        self._shorten()
        return events

    def flush(self) -> bytes:
        """What is left of a stream that ended without an empty line."""
        rest = bytes(self._rest)
        self._rest.clear()
        return rest

    def _shorten(self) -> None:
        if len(self._rest) > MAX_EVENT_BYTES:
            self._rest.clear()
            self.is_lost = True


def data_of(event: bytes) -> Json | None:
    """The JSON object of an event; None where it has none."""
    lines = [line[5:].lstrip(b" ") for line in event.splitlines() if line.startswith(b"data:")]
    if not lines or lines[0][:1] != b"{":
        return None
    found = parse(b"\n".join(lines))
    return cast("Json", found) if isinstance(found, dict) else None


def parse(text: bytes) -> object:
    """JSON that a provider sent; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def at(value: object, *path: str) -> Json:
    """An object inside an object; an empty one where there is none."""
    for name in path:
        value = cast("Json", value).get(name) if isinstance(value, dict) else None
    return cast("Json", value) if isinstance(value, dict) else {}


class Scanner(ABC):
    """Reads the usage out of an answer while its bytes pass by unchanged."""

    text_events: ClassVar[tuple[bytes, ...]] = ()
    """How events begin that only bring a part of the answer."""

    def __init__(self) -> None:
        """Before the first byte."""
        self.counts = Counts()
        self._seen_bytes = 0
        # How long the answer was, matters only where its usage is never told: until then nobody
        # reads the many small parts of it.
        self._unread: deque[bytes] = deque()
        self._unread_bytes = 0

    @property
    def text_bytes(self) -> int:
        """How much of the answer has been seen, without what is wrapped around it."""
        self._read_parts(0)
        return self._seen_bytes

    @text_bytes.setter
    def text_bytes(self, seen: int) -> None:
        self._seen_bytes = seen

    def take(self, event: bytes) -> Json | None:
        """Look at one event as it came; returns its data where it was read at once."""
        if event.startswith(self.text_events):
            self._unread.append(event)
            self._unread_bytes += len(event)
            self._read_parts(_MOST_UNREAD_BYTES)
            return None
        data = data_of(event)
        if data is not None:
            self.read_event(data)
        return data

    def _read_parts(self, left: int) -> None:
        while self._unread_bytes > left:
            event = self._unread.popleft()
            self._unread_bytes -= len(event)
            if (data := data_of(event)) is not None:
                self.read_event(data)

    def read_whole(self, body: bytes) -> None:
        """Look at an answer that came in one piece."""
        found = parse(body)
        for part in cast("list[object]", found) if isinstance(found, list) else [found]:
            if isinstance(part, dict):
                self.read_answer(cast("Json", part))

    @abstractmethod
    def read_event(self, data: Json) -> None:
        """Look at one event of a stream."""

    @abstractmethod
    def read_answer(self, body: Json) -> None:
        """Look at a whole answer."""

    def is_only_usage(self, data: Json) -> bool:  # one language has such events
        """Whether the event is there only because the relay asked for the usage."""
        return False

    def see(self, *texts: object) -> None:
        """Count what was seen of the answer itself."""
        for text in texts:
            if isinstance(text, str):
                self._seen_bytes += len(text) if text.isascii() else len(text.encode())
