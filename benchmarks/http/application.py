"""The least that answers a beat: reads its bytes, and sends those of an answer."""

from typing import Any

from benchmarks.http.messages import ANSWER_JSON

_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(ANSWER_JSON)).encode()),
    ],
}


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Serve one request."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send(_START)
    await send({"type": "http.response.body", "body": ANSWER_JSON})
