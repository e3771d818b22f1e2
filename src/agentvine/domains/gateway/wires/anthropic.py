"""Anthropic Messages."""

from collections.abc import Mapping
from typing import Any, ClassVar

from agentvine.domains.gateway.enums import ModelWire
from agentvine.domains.gateway.wires.asked import (
    Asked,
    FeatureUnpriced,
    count_of,
    list_of,
    refuse_fields,
    text_of,
    walk,
)
from agentvine.domains.gateway.wires.used import Scanner, at
from agentvine.domains.gateway.wires.wire import Json, Wire

_OWN_TOOLS = ("bash_", "text_editor_", "computer_", "memory_")
"""Tools that Anthropic names and the caller runs; others run there, for a price of their own."""
_UNPRICED = ("mcp_servers", "container", "fallbacks")
_COUNTED = ("messages", "system", "tools", "tool_choice", "thinking")
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}


class AnthropicMessages(Wire):
    """``/v1/messages``."""

    language: ClassVar[ModelWire] = ModelWire.ANTHROPIC

    def read(self, raw: bytes, body: Json, path: str) -> Asked:
        """What a request asks."""
        refuse_fields(body, _UNPRICED)
        _refuse_dear(body)
        asked = Asked(
            body=body,
            raw=raw,
            model=text_of(body, "model"),
            is_streamed=body.get("stream") is True,
            max_output=count_of(body, "max_tokens"),
        )
        _take_out_tools(asked)
        walk([body.get("messages"), body.get("system")], lambda part: _note_content(asked, part))
        return asked

    def limit_output(self, asked: Asked, tokens: int, *, is_compatible: bool) -> None:
        """Let an answer have so many tokens at most; what is thought counts among them."""
        asked.put("max_tokens", tokens)
        thinking = at(asked.body, "thinking")
        budget = thinking.get("budget_tokens")
        if isinstance(budget, int) and budget >= tokens:
            # It must be smaller than the limit; the least that is taken is 1024.
            is_enough = tokens > 1024
            asked.body["thinking"] = (
                {**thinking, "budget_tokens": max(1024, tokens // 2)}
                if is_enough
                else {"type": "disabled"}
            )

    def target(self, asked: Asked, real_model: str) -> str:
        """The path below a provider's address."""
        return "/v1/messages"

    def counting(self, asked: Asked, real_model: str) -> tuple[str, Json]:
        """Path and body of the question how many tokens go in, which takes no other fields."""
        body = {name: asked.body[name] for name in _COUNTED if name in asked.body}
        return "/v1/messages/count_tokens", body | {"model": real_model}

    def counted(self, told: Json) -> int | None:
        """The answer to that question."""
        return count_of(told, "input_tokens")

    def scanner(self) -> Scanner:
        """A reader for one answer."""
        return _Scanner()

    def error_body(self, status: int, code: str, message: str, facts: Mapping[str, Any]) -> Json:
        """An error as this language has it, with what other clients look for."""
        kind = _ERROR_TYPES.get(status, "api_error")
        error = {"type": kind, "code": code, "message": message, **facts}
        return {"type": "error", "error": error, "message": message, "detail": message}


class _Scanner(Scanner):
    """``message_start`` tells what goes in, ``message_delta`` what came out so far, as a sum."""

    text_events: ClassVar[tuple[bytes, ...]] = (b"event: content_block_delta\n",)

    def __init__(self) -> None:
        super().__init__()
        self._fresh = 0
        self._read = 0
        self._written = 0

    def read_event(self, data: Json) -> None:
        kind = data.get("type")
        if kind == "content_block_delta":
            delta = at(data, "delta")
            self.see(delta.get("text"), delta.get("partial_json"), delta.get("thinking"))
        elif kind == "message_start":
            self._count(at(data, "message", "usage"))
        elif kind == "message_delta":
            self._count(at(data, "usage"))
            if at(data, "delta").get("stop_reason") is not None:
                self.counts.is_final = self.counts.is_told
        elif kind == "error":
            self.counts.is_final = False

    def read_answer(self, body: Json) -> None:
        for block in list_of(body.get("content")):
            self.see(block.get("text"), block.get("thinking"))
        self._count(at(body, "usage"))
        self.counts.is_final = self.counts.is_told

    def _count(self, usage: Json) -> None:
        self._fresh = _higher(self._fresh, usage.get("input_tokens"))
        self._read = _higher(self._read, usage.get("cache_read_input_tokens"))
        self._written = _higher(self._written, usage.get("cache_creation_input_tokens"))
        hour = at(usage, "cache_creation").get("ephemeral_1h_input_tokens")
        brief = at(usage, "cache_creation").get("ephemeral_5m_input_tokens")
        self._written = _higher(self._written, _sum(hour, brief))
        if usage:
            self.counts.raise_to(
                input=self._fresh + self._read + self._written,
                output=usage.get("output_tokens"),
                cache_read=self._read,
                cache_write=self._written,
                cache_write_hour=hour,
            )


def _higher(known: int, told: object) -> int:
    return max(known, told) if isinstance(told, int) else known


def _sum(*told: object) -> int:
    return sum(each for each in told if isinstance(each, int))


def _refuse_dear(body: Json) -> None:
    speed, place = body.get("speed"), body.get("inference_geo")
    if speed not in (None, "standard") or place not in (None, "global", "not_available"):
        raise FeatureUnpriced(
            "speed and inference_geo change the price of every token; leave them out.",
            feature="speed" if speed not in (None, "standard") else "inference_geo",
        )
    for edit in list_of(at(body, "context_management").get("edits")):
        if str(edit.get("type", "")).startswith("compact"):
            raise FeatureUnpriced(
                "Compaction on the provider's side asks the model several times; leave it out.",
                feature="context_management.compact",
            )


def _take_out_tools(asked: Asked) -> None:
    tools = list_of(asked.body.get("tools"))
    kept = [tool for tool in tools if _is_own(tool.get("type"))]
    asked.tools = len(kept)
    if len(kept) < len(tools):
        asked.removed = tuple(str(tool.get("type")) for tool in tools if tool not in kept)
        asked.put("tools", kept)
        if not kept or at(asked.body, "tool_choice").get("type") == "tool":
            asked.body.pop("tool_choice", None)
        if not kept:
            asked.body.pop("tools")


def _is_own(kind: object) -> bool:
    return kind in (None, "custom") or (isinstance(kind, str) and kind.startswith(_OWN_TOOLS))


def _note_content(asked: Asked, part: Json) -> None:
    kind = part.get("type")
    where = at(part, "source").get("type")
    if kind == "image":
        asked.images += 1
    if kind in ("container_upload", "document") or where in ("url", "file"):
        # A document's pages are counted as pictures, too.
        asked.is_open = asked.is_open or kind != "image"
