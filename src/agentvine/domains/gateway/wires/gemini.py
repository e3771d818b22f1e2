"""Google's Gemini: the model and the method are in the address."""

import json
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
    walk,
)
from agentvine.domains.gateway.wires.used import Scanner, at
from agentvine.domains.gateway.wires.wire import Json, Wire

_OWN_TOOLS = frozenset({"functionDeclarations", "function_declarations"})
_ELSEWHERE = frozenset({"fileData", "file_data"})
_INLINE = frozenset({"inlineData", "inline_data"})
_UNPRICED = ("cachedContent", "cached_content")
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}


class Gemini(Wire):
    """``models/{model}:generateContent`` and ``:streamGenerateContent``."""

    language: ClassVar[ModelWire] = ModelWire.GEMINI

    def read(self, raw: bytes, body: Json, path: str) -> Asked:
        """What a request asks; ``path`` is ``model:method``."""
        model, _, method = path.rpartition(":")
        refuse_fields(body, _UNPRICED)
        config = _config(body)
        kinds = names_in(config.get("responseModalities") or config.get("response_modalities"))
        if any(kind.upper() != "TEXT" for kind in kinds):
            raise FeatureUnpriced("Only answers as text have a price.", feature="modalities")
        asked = Asked(
            body=body,
            raw=raw,
            model=model,
            is_streamed=method == "streamGenerateContent",
            max_output=count_of(config, "maxOutputTokens", count_of(config, "max_output_tokens")),
            answers=count_of(config, "candidateCount", count_of(config, "candidate_count", 1)) or 1,
        )
        _take_out_tools(asked)
        walk(body.get("contents"), lambda part: _note_content(asked, part))
        return asked

    def limit_output(self, asked: Asked, tokens: int, *, is_compatible: bool) -> None:
        """Let each answer have so many tokens at most; what is thought counts among them."""
        name = "generation_config" if "generation_config" in asked.body else "generationConfig"
        config = dict(_config(asked.body))
        config.pop("max_output_tokens", None)
        asked.put(name, {**config, "maxOutputTokens": tokens})

    def rename(self, asked: Asked, real_model: str) -> None:
        """The model's name is in the address."""

    def target(self, asked: Asked, real_model: str) -> str:
        """The path below a provider's address."""
        method = "streamGenerateContent" if asked.is_streamed else "generateContent"
        return f"/v1beta/models/{real_model}:{method}"

    def counting(self, asked: Asked, real_model: str) -> tuple[str, Json]:
        """Path and body of the question how many tokens go in."""
        whole = {"model": f"models/{real_model}", **asked.body}
        return f"/v1beta/models/{real_model}:countTokens", {"generateContentRequest": whole}

    def counted(self, told: Json) -> int | None:
        """The answer to that question."""
        return count_of(told, "totalTokens")

    def scanner(self) -> Scanner:
        """A reader for one answer."""
        return _Scanner()

    def error_body(self, status: int, code: str, message: str, facts: Mapping[str, Any]) -> Json:
        """An error as Google writes it."""
        reason = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": code.upper(),
            "domain": "agentvine",
            "metadata": {name: _text(value) for name, value in facts.items()},
        }
        kind = _STATUSES.get(status, "INTERNAL")
        error = {"code": status, "message": message, "status": kind, "details": [reason]}
        return {"error": error}


class _Scanner(Scanner):
    """Every event tells the sums so far."""

    def read_event(self, data: Json) -> None:
        self._read(data)

    def read_answer(self, body: Json) -> None:
        self._read(body)

    def _read(self, data: Json) -> None:
        is_end = False
        for candidate in list_of(data.get("candidates")):
            is_end = is_end or candidate.get("finishReason") is not None
            for part in list_of(at(candidate, "content").get("parts")):
                self.see(part.get("text"))
                if call := part.get("functionCall"):
                    self.see(json.dumps(call, ensure_ascii=False))
        usage = at(data, "usageMetadata")
        if not usage:
            return
        thought = _number(usage, "thoughtsTokenCount")
        self.counts.raise_to(
            input=_number(usage, "promptTokenCount") + _number(usage, "toolUsePromptTokenCount"),
            output=_number(usage, "candidatesTokenCount") + thought,
            cache_read=_number(usage, "cachedContentTokenCount"),
            reasoning=thought,
        )
        is_blocked = bool(at(data, "promptFeedback").get("blockReason"))
        self.counts.is_final = self.counts.is_final or is_end or is_blocked


def _config(body: Json) -> Json:
    return at(body, "generationConfig") or at(body, "generation_config")


def _number(usage: Json, name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _take_out_tools(asked: Asked) -> None:
    tools = list_of(asked.body.get("tools"))
    kept: list[Json] = []
    removed: list[str] = []
    for tool in tools:
        own = {name: value for name, value in tool.items() if name in _OWN_TOOLS}
        removed += [name for name in tool if name not in _OWN_TOOLS]
        if own:
            kept.append(own)
            asked.tools += sum(len(list_of(value)) for value in own.values())
    if removed:
        asked.removed = tuple(removed)
        asked.put("tools", kept)


def _note_content(asked: Asked, part: Json) -> None:
    if _ELSEWHERE & part.keys():
        asked.is_open = True
    elif inline := _INLINE & part.keys():
        asked.images += 1
        kind = str(at(part, *inline).get("mimeType") or at(part, *inline).get("mime_type") or "")
        # Sound, film and documents are counted by their length, which nobody sees from here.
        asked.is_open = asked.is_open or not kind.startswith("image/")
