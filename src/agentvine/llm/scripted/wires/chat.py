"""OpenAI's Chat Completions, which most other servers speak, too."""

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
from agentvine.llm.scripted.wires.base import Counts, Incoming, Reply, Told, sse

_STOPS = {"max_tokens": "length", "refusal": "content_filter"}


class ChatCompletions:
    """``POST /v1/chat/completions``."""

    name = "chat"

    def read(self, incoming: Incoming) -> Asked:
        """What is asked."""
        body, told = incoming.body, Transcript()
        system: list[str] = []
        for message in map(as_dict, as_list(body.get("messages"))):
            texts = texts_of(message.get("content"))
            match message.get("role"):
                case "assistant":
                    told.add_reply()
                case "tool" | "function":
                    told.add_results()
                case "system" | "developer":
                    system += texts
                case _:
                    told.add_prompt(texts)
        return Asked(
            wire=self.name,
            model=str(body.get("model", "")),
            is_stream=body.get("stream") is True,
            wants_usage=as_dict(body.get("stream_options")).get("include_usage") is True,
            system="\n".join(system),
            transcript=told,
            tools=tuple(_offered(as_dict(tool)) for tool in as_list(body.get("tools"))),
            key=incoming.key,
            size=incoming.size,
            max_output=as_count(body.get("max_completion_tokens"), body.get("max_tokens")),
        )

    def told(self, counts: Counts) -> Told:
        """Input comes with what the caches held; there is no writing into them."""
        return Told(counts.input, counts.output, counts.cache_read, 0)

    def whole(self, reply: Reply) -> Json:
        """The completion."""
        message: Json = {"role": "assistant", "content": reply.text or None}
        if reply.thinking:
            message["reasoning_content"] = reply.thinking
        if reply.calls:
            message["tool_calls"] = _calls(reply)
        choice = {"index": 0, "message": message, "finish_reason": _finish(reply)}
        return {
            **_head(reply, "chat.completion"),
            "choices": [{**choice, "logprobs": None}],
            "usage": _usage(reply.counts),
        }

    def events(self, reply: Reply) -> Iterator[bytes]:
        """Deltas, and at the end the usage, if it was asked for."""
        yield self._chunk(reply, {"role": "assistant", "content": ""})
        for piece in reply.pieces(reply.thinking):
            yield self._chunk(reply, {"reasoning_content": piece})
        for piece in reply.pieces(reply.text):
            yield self._chunk(reply, {"content": piece})
        for index, call in enumerate(_calls(reply)):
            kind = call["type"]
            field = "input" if kind == "custom" else "arguments"
            whole = call[kind][field]
            start: Json = {**call, "index": index, kind: {**call[kind], field: ""}}
            yield self._chunk(reply, {"tool_calls": [start]})
            for piece in reply.pieces(whole):
                yield self._chunk(reply, {"tool_calls": [{"index": index, kind: {field: piece}}]})
        yield self._chunk(reply, {}, finish=_finish(reply))
        if reply.asked.wants_usage:
            usage = _usage(reply.counts)
            yield sse({**_head(reply, "chat.completion.chunk"), "choices": [], "usage": usage})
        yield b"data: [DONE]\n\n"

    def _chunk(self, reply: Reply, delta: Json, *, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk: Json = {**_head(reply, "chat.completion.chunk"), "choices": [choice]}
        if reply.asked.wants_usage:
            chunk["usage"] = None
        return sse(chunk)

    def error(self, status: int, fault: Fault) -> Json:
        """A refusal."""
        return openai_error(status, fault)

    def error_event(self, fault: Fault) -> bytes:
        """A failure in the middle of a stream."""
        return sse(openai_error(500, fault))


def openai_error(status: int, fault: Fault) -> Json:
    """A refusal, as all of OpenAI's formats have it."""
    kinds = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_exceeded"}
    kind = fault.type or kinds.get(status, "server_error" if status >= 500 else "invalid_request")
    error: dict[str, Any] = {"message": fault.message, "type": kind, "param": None}
    return {"error": {**error, "code": fault.code}}


def _offered(tool: Json) -> Offered:
    if tool.get("type") == "custom":
        return Offered(str(as_dict(tool.get("custom")).get("name", "")), is_custom=True)
    function = as_dict(tool.get("function"))
    return Offered(str(function.get("name", "")), as_dict(function.get("parameters")))


def _head(reply: Reply, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{reply.id}",
        "object": kind,
        "created": reply.created,
        "model": reply.asked.model,
    }


def _calls(reply: Reply) -> list[Json]:
    calls: list[Json] = []
    for number, call in enumerate(reply.calls):
        kind, field = ("custom", "input") if call.is_custom else ("function", "arguments")
        inner = {"name": call.tool, field: call.arguments}
        calls.append({"id": f"call_{reply.id}_{number}", "type": kind, kind: inner})
    return calls


def _finish(reply: Reply) -> str:
    if reply.stop != "done":
        return _STOPS[reply.stop]
    return "tool_calls" if reply.calls else "stop"


def _usage(counts: Counts) -> Json:
    return {
        "prompt_tokens": counts.input,
        "completion_tokens": counts.output,
        "total_tokens": counts.input + counts.output,
        "prompt_tokens_details": {"cached_tokens": counts.cache_read, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": counts.reasoning, "audio_tokens": 0},
    }
