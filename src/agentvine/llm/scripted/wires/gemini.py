"""Gemini's generateContent."""

import re
from collections.abc import Iterator
from typing import Any

from agentvine.llm.scripted.asked import (
    Asked,
    Json,
    Offered,
    Transcript,
    as_count,
    as_dict,
    as_list,
    texts_of,
)
from agentvine.llm.scripted.script import Fault
from agentvine.llm.scripted.wires.base import Counts, Incoming, Reply, Told, compact, sse

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}
_STOPS = {"done": "STOP", "max_tokens": "MAX_TOKENS", "refusal": "SAFETY"}


class GenerateContent:
    """``POST /v1beta/models/{model}:generateContent`` and ``:streamGenerateContent``."""

    name = "gemini"

    def read(self, incoming: Incoming) -> Asked:
        """What is asked; the model stands in the path."""
        body, told = incoming.body, Transcript()
        match = re.search(r"/models/([^/:]+):(\w+)", incoming.path)
        for content in map(as_dict, as_list(body.get("contents"))):
            parts = [as_dict(part) for part in as_list(content.get("parts"))]
            results = sum("functionResponse" in part for part in parts)
            if content.get("role") == "model":
                told.add_reply()
            else:
                told.add_results(results)
                told.add_prompt(texts_of(parts))
        system = as_dict(body.get("systemInstruction") or body.get("system_instruction"))
        settings = as_dict(body.get("generationConfig") or body.get("generation_config"))
        return Asked(
            wire=self.name,
            model=match[1] if match else "",
            is_stream=match is not None and match[2] == "streamGenerateContent",
            is_sse=incoming.query.get("alt") == "sse",
            system="\n".join(texts_of(system.get("parts"))),
            transcript=told,
            tools=tuple(_offered(body)),
            key=incoming.key,
            size=incoming.size,
            max_output=as_count(settings.get("maxOutputTokens")),
        )

    def told(self, counts: Counts) -> Told:
        """Input comes with what the caches held, output without what was thought."""
        return Told(counts.input, counts.output + counts.reasoning, counts.cache_read, 0)

    def whole(self, reply: Reply) -> Json:
        """The response."""
        return _response(reply, list(_parts(reply)), is_last=True)

    def events(self, reply: Reply) -> Iterator[bytes]:
        """Pieces of the response; without ``alt=sse`` they are the elements of one list."""
        pieces: list[list[Json]] = []
        for part in _parts(reply):
            if "text" in part:
                pieces += [[{**part, "text": piece}] for piece in reply.pieces(part["text"])]
            else:
                pieces.append([part])
        pieces = pieces or [[]]
        for index, parts in enumerate(pieces):
            chunk = _response(reply, parts, is_last=index == len(pieces) - 1)
            if reply.asked.is_sse:
                yield sse(chunk, end="\r\n\r\n")
            else:
                yield f"{',' if index else '['}{compact(chunk)}\r\n".encode()
        if not reply.asked.is_sse:
            yield b"]"

    def error(self, status: int, fault: Fault) -> Json:
        """A refusal."""
        kind = fault.type or _STATUSES.get(status, "INTERNAL")
        details: list[Json] = []
        if fault.code is not None:
            kind_of_detail = "type.googleapis.com/google.rpc.ErrorInfo"
            details.append({"@type": kind_of_detail, "reason": fault.code})
        error: Json = {"code": status, "message": fault.message, "status": kind}
        return {"error": error | ({"details": details} if details else {})}

    def error_event(self, fault: Fault) -> bytes:
        """A failure in the middle of a stream."""
        return sse(self.error(500, fault), end="\r\n\r\n")


def _offered(body: Json) -> Iterator[Offered]:
    for tool in map(as_dict, as_list(body.get("tools"))):
        declared = tool.get("functionDeclarations") or tool.get("function_declarations")
        for function in map(as_dict, as_list(declared)):
            schema = function.get("parametersJsonSchema") or function.get("parameters")
            yield Offered(str(function.get("name", "")), _small_types(as_dict(schema)))


def _small_types(schema: Json) -> Json:
    """A schema with JSON's names of types, which Gemini writes in capitals."""
    properties = {
        name: {**as_dict(each), "type": str(as_dict(each).get("type", "string")).lower()}
        for name, each in as_dict(schema.get("properties")).items()
    }
    return {**schema, "properties": properties}


def _parts(reply: Reply) -> Iterator[Json]:
    if reply.thinking:
        yield {"text": reply.thinking, "thought": True}
    if reply.text:
        yield {"text": reply.text}
    for number, call in enumerate(reply.calls):
        function: Json = {"name": call.tool, "args": call.input}
        yield {"functionCall": {"id": f"call_{reply.id}_{number}", **function}}


def _response(reply: Reply, parts: list[Json], *, is_last: bool) -> Json:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if is_last:
        candidate["finishReason"] = _STOPS[reply.stop]
    return {
        "candidates": [candidate],
        "usageMetadata": _usage(reply.counts, is_last=is_last),
        "modelVersion": reply.asked.model,
        "responseId": reply.id,
    }


def _usage(counts: Counts, *, is_last: bool) -> Json:
    """Every piece tells the usage so far; the input is known from the beginning."""
    usage: Json = {
        "promptTokenCount": counts.input,
        "cachedContentTokenCount": counts.cache_read,
        "totalTokenCount": counts.input,
    }
    if is_last:
        usage["candidatesTokenCount"] = counts.output
        usage["thoughtsTokenCount"] = counts.reasoning
        usage["totalTokenCount"] = counts.input + counts.output + counts.reasoning
    return usage
