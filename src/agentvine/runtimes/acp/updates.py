"""What an agent tells while it works on a prompt, in our words.

Texts come in pieces, and are put together; a tool's call comes in several messages, of which the
first may lack what it is to work on: it is told once, when that is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from agentvine.runtimes.events import (
    AgentEvent,
    AssistantText,
    Notice,
    Thinking,
    ToolCall,
    ToolResult,
)
from agentvine.runtimes.json_rpc import Json
from agentvine.runtimes.own_tools import own_input, own_tool

_PIECES = {"agent_message_chunk": AssistantText, "agent_thought_chunk": Thinking}
_ENDS = {"completed", "failed"}


@dataclass(slots=True)
class KnownCall:
    """A tool's call, as far as it was told."""

    name: str = "tool"
    title: str = ""
    input: Mapping[str, Any] = field(default_factory=dict[str, Any])
    changes: Sequence[tuple[str, str, str]] = ()
    """Path, old and new text of each change that it would make."""
    is_told: bool = False
    is_over: bool = False


class Updates:
    """The translation of one session's updates; it has the state that it needs for that."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._pieces: list[str] = []
        self._kind: str | None = None
        self._message: object = None
        self._calls: dict[str, KnownCall] = {}
        self.last_text = ""
        """What the agent has said last."""
        self.is_last_anonymous = False
        """Whether that was no message with an id."""
        self.cost_usd: float | None = None
        """What the session costs so far, where the agent tells it."""

    def take(self, update: Json) -> list[AgentEvent]:
        """The events that an update comes to."""
        kind = update.get("sessionUpdate")
        if kind in _PIECES:
            return self._add_piece(str(kind), update)
        match kind:
            case "tool_call" | "tool_call_update":
                return [*self.flush(), *self._take_call(update)]
            case "usage_update":
                cost = update.get("cost")
                if isinstance(cost, dict) and cast("Json", cost).get("currency") == "USD":
                    self.cost_usd = float(cast("Json", cost)["amount"])
            case "notice":
                return [*self.flush(), Notice(text=str(update.get("title") or update))]
            case _:
                pass
        return []

    def flush(self) -> list[AgentEvent]:
        """What was said so far and not told."""
        text, kind = "".join(self._pieces), self._kind
        self._pieces.clear()
        self._kind = None
        if not text.strip() or kind is None:
            return []
        if _PIECES[kind] is AssistantText:
            self.last_text = text.strip()
            self.is_last_anonymous = self._message is None
        return [_PIECES[kind](text=text)]

    def call(self, told: Json) -> KnownCall:
        """What is known of a call, with what a message adds to it."""
        known = self._calls.setdefault(str(told["toolCallId"]), KnownCall())
        if name := _name_of(told):
            known.name = name
        if title := told.get("title"):
            known.title = str(title)
        given = told.get("rawInput")
        if isinstance(given, dict) and given:
            known.input = cast("Json", given)
        if changes := _changes_in(told):
            known.changes = changes
        if (own := own_tool(known.name, known.title, given=known.input)) is not None:
            known.name, known.input = own, own_input(known.input)
        return known

    def tell_call(self, told: Json) -> list[AgentEvent]:
        """The call as an event, unless it was told."""
        known = self.call(told)
        if known.is_told:
            return []
        known.is_told = True
        given = known.input or ({"description": known.title} if known.title else {})
        return [ToolCall(id=str(told["toolCallId"]), name=known.name, input=given)]

    def deny(self, call_id: str, why: str) -> list[AgentEvent]:
        """What comes of a call that was not allowed; not all agents tell it."""
        known = self._calls.setdefault(call_id, KnownCall())
        known.is_over = True
        return [ToolResult(id=call_id, output=why, is_error=True, is_denied=True)]

    def _add_piece(self, kind: str, update: Json) -> list[AgentEvent]:
        message = update.get("messageId")
        is_new = kind != self._kind or (message is not None and message != self._message)
        events = self.flush() if is_new else []
        self._kind, self._message = kind, message
        content = update.get("content")
        if isinstance(content, dict) and cast("Json", content).get("type") == "text":
            self._pieces.append(str(cast("Json", content)["text"]))
        return events

    def _take_call(self, told: Json) -> list[AgentEvent]:
        known, status = self.call(told), told.get("status")
        has_ended = status in _ENDS
        events = self.tell_call(told) if has_ended or known.input else []
        if not has_ended or known.is_over:
            return events
        known.is_over = True
        result = ToolResult(
            id=str(told["toolCallId"]),
            output=output_of(told),
            is_error=status == "failed",
        )
        return [*events, result]


def usage_counts(result: Json) -> dict[str, int] | None:
    """What the answer to a prompt says that it used: of this prompt alone, classes apart."""
    usage = result.get("usage")
    if not isinstance(usage, dict):
        return None
    found = cast("Json", usage)
    return {
        "input_tokens": int(found.get("inputTokens") or 0),
        "output_tokens": int(found.get("outputTokens") or 0),
        "cache_read_tokens": int(found.get("cachedReadTokens") or 0),
        "cache_write_tokens": int(found.get("cachedWriteTokens") or 0),
        "reasoning_tokens": int(found.get("thoughtTokens") or 0),
    }


def output_of(told: Json) -> str:
    """What a tool gave back."""
    raw = told.get("rawOutput")
    if isinstance(raw, str):
        return raw
    if isinstance(raw, dict):
        found = cast("Json", raw)
        for key in ("output", "text", "formatted_output", "message"):
            if isinstance(found.get(key), str):
                return found[key]
    texts = [_text_of(each) for each in told.get("content") or ()]
    return "\n".join(text for text in texts if text)


def _changes_in(told: Json) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    for each in told.get("content") or ():
        if isinstance(each, dict) and cast("Json", each).get("type") == "diff":
            part = cast("Json", each)
            found.append(
                (str(part["path"]), str(part.get("oldText") or ""), str(part.get("newText") or ""))
            )
    return found


def _name_of(told: Json) -> str | None:
    meta = cast("Json", told.get("_meta") or {})
    own = cast("Json", meta.get("claudeCode") or meta)
    for name in (told.get("name"), own.get("toolName"), told.get("kind")):
        if isinstance(name, str) and name:
            return name
    return None


def _text_of(content: object) -> str:
    if not isinstance(content, dict):
        return ""
    outer = cast("Json", content)
    inner = outer.get("content")
    if isinstance(inner, dict) and cast("Json", inner).get("type") == "text":
        return str(cast("Json", inner)["text"])
    return ""
