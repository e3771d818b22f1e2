"""OpenAI Responses."""

from collections.abc import Mapping
from typing import Any, ClassVar

from agentvine.domains.gateway.enums import ModelWire
from agentvine.domains.gateway.wires.asked import (
    Asked,
    count_of,
    list_of,
    refuse_fields,
    text_of,
    walk,
)
from agentvine.domains.gateway.wires.openai_chat import openai_error, refuse_dear_tier
from agentvine.domains.gateway.wires.used import Scanner, at
from agentvine.domains.gateway.wires.wire import Json, Wire

_UNPRICED = ("background",)
_OWN_TOOLS = (
    "function",
    "custom",
    "local_shell",
    "shell",
    "apply_patch",
    "namespace",
    "tool_search",
)
"""Tools that the caller runs; all others run at the provider's, for a price of their own."""
_ENDS = ("response.completed", "response.incomplete", "response.failed")
_ELSEWHERE = ("previous_response_id", "conversation", "prompt")


class OpenAiResponses(Wire):
    """``/v1/responses``."""

    language: ClassVar[ModelWire] = ModelWire.OPENAI

    def read(self, raw: bytes, body: Json, path: str) -> Asked:
        """What a request asks."""
        refuse_fields(body, _UNPRICED)
        refuse_dear_tier(body)
        asked = Asked(
            body=body,
            raw=raw,
            model=text_of(body, "model"),
            is_streamed=body.get("stream") is True,
            max_output=count_of(body, "max_output_tokens"),
            is_open=any(body.get(name) for name in _ELSEWHERE),
        )
        _take_out_tools(asked)
        walk(body.get("input"), lambda part: _note_content(asked, part))
        return asked

    def limit_output(self, asked: Asked, tokens: int, *, is_compatible: bool) -> None:
        """Let the answer have so many tokens at most; what is thought counts among them."""
        asked.put("max_output_tokens", tokens)

    def target(self, asked: Asked, real_model: str) -> str:
        """The path below a provider's address, which holds the version."""
        return "/responses"

    def scanner(self) -> Scanner:
        """A reader for one answer."""
        return _Scanner()

    def error_body(self, status: int, code: str, message: str, facts: Mapping[str, Any]) -> Json:
        """An error as this language has it."""
        return openai_error(status, code, message, facts)


class _Scanner(Scanner):
    """The last event holds the whole answer, with its usage."""

    text_events: ClassVar[tuple[bytes, ...]] = (
        b"event: response.output_text.delta\n",
        b"event: response.function_call_arguments.delta\n",
    )

    def read_event(self, data: Json) -> None:
        kind = data.get("type")
        if isinstance(kind, str) and kind.endswith(".delta"):
            self.see(data.get("delta"))
        elif kind in _ENDS:
            self._count(at(data, "response", "usage"))
            self.counts.is_final = self.counts.is_told

    def read_answer(self, body: Json) -> None:
        self._count(at(body, "usage"))
        self.counts.is_final = self.counts.is_told

    def _count(self, usage: Json) -> None:
        inner, outer = at(usage, "input_tokens_details"), at(usage, "output_tokens_details")
        self.counts.raise_to(
            input=usage.get("input_tokens"),
            output=usage.get("output_tokens"),
            cache_read=inner.get("cached_tokens"),
            cache_write=inner.get("cache_write_tokens"),
            reasoning=outer.get("reasoning_tokens"),
        )


def _take_out_tools(asked: Asked) -> None:
    tools = list_of(asked.body.get("tools"))
    kept = [tool for tool in tools if tool.get("type") in _OWN_TOOLS]
    asked.tools = len(kept)
    if len(kept) == len(tools):
        return
    asked.removed = tuple(str(tool.get("type")) for tool in tools if tool not in kept)
    asked.put("tools", kept)
    if not kept or at(asked.body, "tool_choice").get("type") in asked.removed:
        asked.body.pop("tool_choice", None)


def _note_content(asked: Asked, part: Json) -> None:
    kind = part.get("type")
    if kind in ("input_image", "computer_screenshot"):
        asked.images += 1
    elif kind in ("input_file", "input_audio", "item_reference"):
        asked.is_open = True
