"""OpenAI Chat Completions, as many others speak it, too."""

from collections.abc import Mapping
from typing import Any, ClassVar

from agentvine.domains.gateway.enums import ModelWire
from agentvine.domains.gateway.wires.asked import (
    Asked,
    FeatureUnpriced,
    count_of,
    list_of,
    names_in,
    refuse_fields,
    text_of,
    walk,
)
from agentvine.domains.gateway.wires.used import Scanner, at
from agentvine.domains.gateway.wires.wire import Json, Wire

_UNPRICED = ("audio", "web_search_options")
_ERROR_TYPES = {
    401: "invalid_request_error",
    402: "billing_error",
    403: "invalid_request_error",
    429: "rate_limit_error",
}


class OpenAiChat(Wire):
    """``/v1/chat/completions``."""

    language: ClassVar[ModelWire] = ModelWire.OPENAI

    def read(self, raw: bytes, body: Json, path: str) -> Asked:
        """What a request asks."""
        refuse_fields(body, _UNPRICED)
        refuse_dear_tier(body)
        if "audio" in names_in(body.get("modalities")):
            raise FeatureUnpriced("Answers as audio have no price here.", feature="modalities")
        asked = Asked(
            body=body,
            raw=raw,
            model=text_of(body, "model"),
            is_streamed=body.get("stream") is True,
            max_output=count_of(body, "max_completion_tokens", count_of(body, "max_tokens")),
            answers=count_of(body, "n", 1) or 1,
            tools=len(list_of(body.get("tools"))) + len(list_of(body.get("functions"))),
        )
        walk(body.get("messages"), lambda part: _note_content(asked, part))
        return asked

    def limit_output(self, asked: Asked, tokens: int, *, is_compatible: bool) -> None:
        """Let each answer have so many tokens at most."""
        is_old = is_compatible or "max_tokens" in asked.body
        if is_old and "max_completion_tokens" not in asked.body:
            asked.put("max_tokens", tokens)
        else:
            asked.put("max_completion_tokens", tokens)

    def ask_for_usage(self, asked: Asked) -> None:
        """Streams tell their usage only to those who ask."""
        options = at(asked.body, "stream_options")
        if asked.is_streamed and options.get("include_usage") is not True:
            asked.put("stream_options", {**options, "include_usage": True})
            asked.hides_usage = True

    def target(self, asked: Asked, real_model: str) -> str:
        """The path below a provider's address, which holds the version."""
        return "/chat/completions"

    def scanner(self) -> Scanner:
        """A reader for one answer."""
        return _Scanner()

    def error_body(self, status: int, code: str, message: str, facts: Mapping[str, Any]) -> Json:
        """An error as this language has it."""
        return openai_error(status, code, message, facts)


class _Scanner(Scanner):
    """The usage comes in a last event without choices, or whole with a whole answer."""

    def read_event(self, data: Json) -> None:
        for choice in list_of(data.get("choices")):
            delta = at(choice, "delta")
            self.see(
                delta.get("content"),
                delta.get("reasoning_content") or delta.get("reasoning"),
                delta.get("refusal"),
            )
            for call in list_of(delta.get("tool_calls")):
                self.see(at(call, "function").get("name"), at(call, "function").get("arguments"))
        usage = at(data, "usage")
        if usage:
            self._count(usage)
            self.counts.is_final = not list_of(data.get("choices")) or self.counts.is_final

    def read_answer(self, body: Json) -> None:
        for choice in list_of(body.get("choices")):
            self.see(at(choice, "message").get("content"))
        self._count(at(body, "usage"))
        self.counts.is_final = self.counts.is_told

    def is_only_usage(self, data: Json) -> bool:
        return data.get("choices") == [] and bool(at(data, "usage"))

    def _count(self, usage: Json) -> None:
        inner, outer = at(usage, "prompt_tokens_details"), at(usage, "completion_tokens_details")
        self.counts.raise_to(
            input=usage.get("prompt_tokens"),
            output=usage.get("completion_tokens"),
            cache_read=inner.get("cached_tokens"),
            cache_write=inner.get("cache_write_tokens"),
            reasoning=outer.get("reasoning_tokens"),
        )


def refuse_dear_tier(body: Json) -> None:
    """Faster service costs more than the price table says.

    Raises:
        FeatureUnpriced: It is asked for.
    """
    if body.get("service_tier") not in (None, "auto", "default", "flex"):
        raise FeatureUnpriced(
            "This service_tier costs more than its price says; leave it out.",
            feature="service_tier",
        )


def openai_error(status: int, code: str, message: str, facts: Mapping[str, Any]) -> Json:
    """An error as OpenAI writes it, with what other clients look for."""
    kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    error = {"message": message, "type": kind, "param": None, "code": code, **facts}
    return {"error": error, "message": message, "detail": message}


def _note_content(asked: Asked, part: Json) -> None:
    kind = part.get("type")
    if kind == "image_url":
        asked.images += 1
    elif kind in ("file", "input_audio"):
        asked.is_open = True
