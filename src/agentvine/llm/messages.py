"""A conversation with a model, in words that belong to no provider."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """What the model may call."""

    name: str
    description: str
    """Written for the model."""
    schema: Json
    """JSON schema of its input, an object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """The model wants a tool to be used."""

    id: str
    name: str
    input: Mapping[str, Any]
    problem: str | None = None
    """Why the input cannot be read, when it is no JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What came of a call."""

    call: ToolCall
    text: str
    is_error: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What one call used, as the ledger counts it."""

    input: int = 0
    """All that went in, with what the caches held."""
    output: int = 0
    """All that came out, with what was thought."""
    cache_read: int = 0
    cache_write: int = 0


class Stop(StrEnum):
    """Why a reply ended."""

    DONE = "done"
    CALLS = "calls"
    """It waits for the results of its calls."""
    TOO_LONG = "too_long"
    """The limit of its length was reached."""
    REFUSED = "refused"
    """The provider's filter, or the model itself, does not answer this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the model said."""

    text: str
    thinking: str = ""
    calls: Sequence[ToolCall] = ()
    stop: Stop = Stop.DONE
    used: Used = Used()
    model: str = ""
    native: object = field(default=None, repr=False, compare=False)
    """The library's own form, with what a provider wants back unchanged."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the user said."""

    text: str


@dataclass(frozen=True, slots=True)
class Results:
    """The results of all calls of the reply before."""

    items: Sequence[ToolResult]


class Conversation:
    """All that was said so far. It grows only by its methods."""

    def __init__(self, system: str = "", *said: str) -> None:
        """Begin with the system's words, and the user's."""
        self.system = system
        self.entries: list[Said | Reply | Results] = [Said(text) for text in said]

    def say(self, text: str) -> None:
        """The user says something."""
        self.entries.append(Said(text))

    def add(self, reply: Reply) -> None:
        """The model has answered."""
        self.entries.append(reply)

    def give(self, results: Sequence[ToolResult]) -> None:
        """Its calls are done."""
        self.entries.append(Results(results))

    @property
    def size(self) -> int:
        """Bytes of all texts; no provider counts more tokens than that for them."""
        return len(self.system.encode()) + sum(_size(entry) for entry in self.entries)

    def shorten(self, max_bytes: int, *, keep: int = 4, to: int = 400) -> int:
        """Cut old results of tools until all is small enough; how many were cut.

        Args:
            max_bytes: What the conversation may have.
            keep: So many of the last entries stay as they are.
            to: Characters that are left of a result.
        """
        cut = 0
        for index, entry in enumerate(self.entries[:-keep]):
            if self.size <= max_bytes:
                break
            if isinstance(entry, Results):
                items = [_cut(item, to) for item in entry.items]
                cut += sum(new is not old for new, old in zip(items, entry.items, strict=True))
                self.entries[index] = Results(items)
        return cut


def _size(entry: Said | Reply | Results) -> int:
    if isinstance(entry, Said):
        return len(entry.text.encode())
    if isinstance(entry, Results):
        return sum(len(item.text.encode()) for item in entry.items)
    calls = sum(len(str(call.input).encode()) for call in entry.calls)
    return len(entry.text.encode()) + len(entry.thinking.encode()) + calls


def _cut(item: ToolResult, to: int) -> ToolResult:
    if len(item.text) <= to * 2:
        return item
    gone = len(item.text) - to
    return replace(item, text=f"{item.text[:to]}\n[{gone} more characters were here]")
