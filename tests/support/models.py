"""Scripted models on loopback, and requests to them in each wire format."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from agentvine.llm.scripted import Received, ScriptedUpstream, parse_script
from agentvine.llm.scripted.serving import serving

WRITE: dict[str, Any] = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
    "required": ["path", "content"],
}


@dataclass(frozen=True)
class Model:
    """A scripted model that is being served."""

    upstream: ScriptedUpstream
    url: str
    http: httpx2.AsyncClient

    @property
    def requests(self) -> list[Received]:
        return self.upstream.requests

    async def chat(self, *messages: dict[str, Any], key: str = "k", **more: Any) -> httpx2.Response:
        """One request for a chat completion; it offers the tool write_file."""
        tool = {"type": "function", "function": {"name": "write_file", "parameters": WRITE}}
        body = {"model": "m", "tools": [tool], "messages": list(messages), **more}
        headers = {"authorization": f"Bearer {key}"}
        return await self.http.post("/v1/chat/completions", json=body, headers=headers)


@asynccontextmanager
async def scripted_model(script: str) -> AsyncIterator[Model]:
    """Serve a script while the block runs."""
    async with (
        serving(parse_script(script)) as (upstream, url, _),
        httpx2.AsyncClient(base_url=url, timeout=60) as http,
    ):
        yield Model(upstream, url, http)


def user(text: str) -> dict[str, Any]:
    """What a person says."""
    return {"role": "user", "content": text}


def called(number: int = 1) -> list[dict[str, Any]]:
    """A reply with so many calls, and their results."""
    function = {"name": "write_file", "arguments": "{}"}
    calls = [{"id": str(each), "type": "function", "function": function} for each in range(number)]
    results = [{"role": "tool", "tool_call_id": str(each), "content": ""} for each in range(number)]
    return [{"role": "assistant", "tool_calls": calls}, *results]
