"""A provider that answers at once: Anthropic Messages, whole or as a stream of 50 parts."""

import json
from typing import Any

_USAGE = {
    "input_tokens": 100,
    "cache_read_input_tokens": 20,
    "cache_creation_input_tokens": 0,
    "output_tokens": 50,
}
_MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "hello " * 40}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": _USAGE,
}
WHOLE = json.dumps(_MESSAGE).encode()


def _event(body: dict[str, Any]) -> bytes:
    return f"event: {body['type']}\ndata: {json.dumps(body)}\n\n".encode()


_DELTA = {
    "type": "content_block_delta",
    "index": 0,
    "delta": {"type": "text_delta", "text": "word "},
}
_START = {
    "type": "message_start",
    "message": _MESSAGE
    | {"content": [], "stop_reason": None, "usage": _USAGE | {"output_tokens": 1}},
}
_BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
_END = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
    "usage": {"output_tokens": 50},
}
PARTS = [
    _event(_START),
    _event(_BLOCK),
    *[_event(_DELTA)] * 50,
    _event({"type": "content_block_stop", "index": 0}),
    _event(_END),
    _event({"type": "message_stop"}),
]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Serve one request."""
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    is_streamed = b'"stream":true' in body.replace(b" ", b"")
    kind = b"text/event-stream" if is_streamed else b"application/json"
    headers = [(b"content-type", kind)]
    if not is_streamed:
        headers.append((b"content-length", str(len(WHOLE)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for part in PARTS if is_streamed else ():
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b"" if is_streamed else WHOLE})
