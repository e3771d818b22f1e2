"""Answers as providers give them, with the tokens that each of them tells."""

from dataclasses import dataclass, field
from typing import Any

from agentvine.domains.gateway.routes import ANTHROPIC, CHAT, GEMINI, RESPONSES
from agentvine.domains.gateway.wires.wire import Wire
from agentvine.domains.usage.prices import Tokens
from tests.support.upstream import sse


@dataclass(frozen=True)
class Recording:
    """One streamed answer."""

    name: str
    wire: Wire
    path: str
    request: dict[str, Any]
    events: list[bytes]
    tokens: Tokens
    reasoning: int = 0
    content_type: str = field(default="text/event-stream")

    @property
    def whole(self) -> bytes:
        return b"".join(self.events)

    def __str__(self) -> str:
        return self.name


def _delta(index: int, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def _anthropic() -> Recording:
    usage = {
        "input_tokens": 1111,
        "cache_read_input_tokens": 333,
        "cache_creation_input_tokens": 44,
        "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 40},
        "output_tokens": 1,
    }
    events = sse(
        {"type": "message_start", "message": {"id": "msg_1", "model": "x", "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking"}},
        _delta(0, type="thinking_delta", thinking="Ärger: 考え中 🤔"),
        {"type": "content_block_stop", "index": 0},
        {"type": "ping"},
        _delta(1, type="text_delta", text='Zwei "Werkzeuge" auf einmal'),
        _delta(2, type="input_json_delta", partial_json='{"a":'),
        _delta(3, type="input_json_delta", partial_json='{"b": "usage"}'),
        # Server tools have several of these; each tells the sum so far.
        {"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 9}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 22, "input_tokens": 1112},
        },
        {"type": "message_stop"},
    )
    request = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 4000,
        "stream": True,
        "messages": [{"role": "user", "content": "hallo"}],
    }
    tokens = Tokens(1112 + 333 + 44, 22, 333, 44, 40)
    return Recording("anthropic", ANTHROPIC, "/anthropic/v1/messages", request, events, tokens)


def _chat_chunk(**delta: Any) -> dict[str, Any]:
    return {"id": "c1", "choices": [{"index": 0, "delta": delta}], "usage": None}


def _chat() -> Recording:
    usage = {
        "prompt_tokens": 1111,
        "completion_tokens": 44,
        "prompt_tokens_details": {"cached_tokens": 333},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    second = {"id": "c1", "choices": [{"index": 1, "delta": {"content": "другой"}}]}
    call = {"index": 0, "function": {"name": "bash", "arguments": '{"usage":'}}
    events = sse(
        _chat_chunk(role="assistant", content=""),
        _chat_chunk(reasoning_content="hm 🤔"),
        _chat_chunk(content="erste Ant"),
        second,
        _chat_chunk(tool_calls=[call]),
        _chat_chunk(tool_calls=[{"index": 1, "function": {"arguments": "1}"}}]),
        {"id": "c1", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        {"id": "c1", "choices": [], "usage": usage},
        "[DONE]",
    )
    request = {
        "model": "gpt-4.1-mini",
        "max_completion_tokens": 2000,
        "n": 2,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "hallo"}],
    }
    return Recording(
        "chat",
        CHAT,
        "/openai/v1/chat/completions",
        request,
        events,
        Tokens(1111, 44, 333, reasoning=5),
        5,
    )


def _responses() -> Recording:
    usage = {
        "input_tokens": 1111,
        "input_tokens_details": {"cached_tokens": 333},
        "output_tokens": 22,
        "output_tokens_details": {"reasoning_tokens": 5},
    }
    events = sse(
        {"type": "response.created", "response": {"id": "r1", "usage": None}},
        {"type": "response.output_text.delta", "delta": "größer "},
        {"type": "response.function_call_arguments.delta", "delta": '{"cmd": "ls"}'},
        {"type": "response.completed", "response": {"id": "r1", "output": [], "usage": usage}},
        ends="\r\n\r\n",
    )
    request = {
        "model": "gpt-4.1-mini",
        "max_output_tokens": 2000,
        "stream": True,
        "input": [{"role": "user", "content": "hallo"}],
    }
    tokens = Tokens(1111, 22, 333, reasoning=5)
    return Recording("responses", RESPONSES, "/openai/v1/responses", request, events, tokens, 5)


def _gemini() -> Recording:
    def part(usage: dict[str, int], text: str, **more: Any) -> dict[str, Any]:
        content = {"role": "model", "parts": [{"text": text}]}
        return {"candidates": [{"content": content, **more}], "usageMetadata": usage}

    start = {"promptTokenCount": 1111, "cachedContentTokenCount": 333}
    events = sse(
        part({**start, "thoughtsTokenCount": 5}, "denke 🤔"),
        part({**start, "thoughtsTokenCount": 5, "candidatesTokenCount": 9}, "Antw"),
        part(
            {**start, "thoughtsTokenCount": 5, "candidatesTokenCount": 17},
            "ort",
            finishReason="STOP",
        ),
        ends="\r\n\r\n",
    )
    request = {
        "contents": [{"role": "user", "parts": [{"text": "hallo"}]}],
        "generationConfig": {"maxOutputTokens": 2000},
    }
    path = "/gemini/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    return Recording("gemini", GEMINI, path, request, events, Tokens(1111, 22, 333, reasoning=5), 5)


RECORDINGS = (_anthropic(), _chat(), _responses(), _gemini())
