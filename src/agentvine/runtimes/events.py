"""What agents say, in our words: every agent runtime turns its program's own lines into these.

Each is written to the run's log as one JSON object with its ``type``, on the stream ``events``; the
program's own lines are kept beside it on ``raw``. Counts are totals of the run so far, never
steps: a newer total replaces the older one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar, cast

from pydantic import BaseModel

from agentvine.protocol.enums import FailureClass
from agentvine.runtimes.asking import RunQuestion

MAX_TEXT = 12_000
"""Of one event in the log; the raw line has the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStarted:
    """The agent has a session, by whose id it can be resumed."""

    type: ClassVar[str] = "session_started"
    session_id: str
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantText:
    """The agent says something."""

    type: ClassVar[str] = "assistant_text"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking:
    """The agent thinks, as far as it shows that."""

    type: ClassVar[str] = "thinking"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """The agent uses a tool."""

    type: ClassVar[str] = "tool_call"
    id: str
    name: str
    input: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What the tool gave back."""

    type: ClassVar[str] = "tool_result"
    id: str
    output: str = ""
    is_error: bool = False
    is_denied: bool = False
    """It was not run: it was not allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUsage:
    """What a run has used of one model; classes of input do not overlap."""

    input_tokens: int = 0
    """Neither read from a cache nor written to it."""
    output_tokens: int = 0
    """Reasoning is part of it."""
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = None
    """What the program says that it cost; None when it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotals:
    """What the run has used so far of each model it named."""

    type: ClassVar[str] = "usage_totals"
    models: Mapping[str, ModelUsage]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitNotice:
    """The provider tells of one of its limits."""

    type: ClassVar[str] = "limit_notice"
    text: str
    is_reached: bool = False
    resets_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something else worth a line: a retry, a warning."""

    type: ClassVar[str] = "notice"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The agent waits for an answer."""

    type: ClassVar[str] = "asked"
    question: RunQuestion


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """The agent does not wait for that answer any more."""

    type: ClassVar[str] = "withdrawn"
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The terminal event of a run that went well: nothing else counts as success."""

    type: ClassVar[str] = "finished"
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The terminal event of one that did not."""

    type: ClassVar[str] = "failed"
    failure_class: FailureClass
    message: str
    retry_at: datetime | None = None
    retry_after_seconds: float | None = None


AgentEvent = (
    SessionStarted
    | AssistantText
    | Thinking
    | ToolCall
    | ToolResult
    | UsageTotals
    | LimitNotice
    | Notice
    | Asked
    | Withdrawn
    | Finished
    | Failed
)


def event_line(event: AgentEvent) -> str:
    """An event as it is kept in the log: JSON on one line, long texts cut."""
    return json.dumps({"type": event.type, **_plain(event)}, ensure_ascii=False, default=str)


def readable(event: AgentEvent) -> str | None:
    """An event for people who follow the run; None when it is nothing for them."""
    text: str | None = None
    match event:
        case AssistantText():
            text = event.text.strip()
        case ToolCall():
            text = f"[{event.name}] {_gist(event.input)}"
        case ToolResult(is_error=True) | ToolResult(is_denied=True):
            text = f"[{'denied' if event.is_denied else 'failed'}] {_first_line(event.output)}"
        case Asked():
            text = f"[asks] {event.question.text}"
        case LimitNotice() | Notice():
            text = f"[note] {event.text}"
        case Failed():
            text = f"[error] {event.message}"
        case _:
            pass
    return (text or "").rstrip() or None


def _plain(event: object) -> dict[str, Any]:
    # Not dataclasses.asdict: it copies deeply, and an input may be large.
    return {each.name: _shown(getattr(event, each.name)) for each in fields(event)}  # pyright: ignore[reportArgumentType] - every one is a dataclass


def _shown(value: Any) -> Any:
    match value:
        case str():
            return value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]} ..."
        case Mapping():
            items = cast("Mapping[Any, Any]", value).items()
            return {str(key): _shown(inner) for key, inner in items}
        case list() | tuple():
            return [_shown(inner) for inner in cast("Sequence[Any]", value)]
        case ModelUsage() | RunQuestion():
            return _plain(value)
        case BaseModel():
            return _shown(value.model_dump(mode="json"))
        case _:
            return value


def _gist(given: Mapping[str, Any]) -> str:
    """What a tool is to work on, in one line."""
    for name in ("command", "cmd", "file_path", "path", "pattern", "url", "query", "description"):
        value = given.get(name)
        if isinstance(value, str) and value:
            return _first_line(value)
    return _first_line(json.dumps(given, ensure_ascii=False, default=str)) if given else ""


def _first_line(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= 300 else f"{line[:300]} ..."
