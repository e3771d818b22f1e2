"""The server's own tools, for the built-in agent: each call is one request, without a session."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from agentvine.llm.messages import Tool
from agentvine.protocol.tools import ASK_HUMAN
from agentvine.runtimes.base import McpAccess
from agentvine.runtimes.own_tools import headers_for

_KINDS = {"Accept": "application/json, text/event-stream"}
_SECONDS = 60.0
_NOT_OFFERED = (ASK_HUMAN, "record_usage")
"""It asks by a tool of its own, and what it uses is counted already."""
_NOT_SHOWN = "[A picture, which you cannot see here: ask what is on it, if you need to know.]"
_BROKEN = (httpx2.HTTPError, ValueError, KeyError, TypeError)


@dataclass(frozen=True, slots=True)
class OwnTools:
    """What the server offers to this run."""

    access: McpAccess
    http: httpx2.AsyncClient
    offered: Sequence[Tool]

    async def use(self, name: str, given: Mapping[str, Any]) -> tuple[str, bool]:
        """What a tool says, and whether it is an error."""
        params = {"name": name, "arguments": dict(given)}
        try:
            result = await _send(self.access, self.http, "tools/call", params)
            text = "\n".join(part.get("text", _NOT_SHOWN) for part in result["content"])
        except _BROKEN as error:
            return f"The tool could not be called: {error}. Go on without it.", True
        return text, bool(result.get("isError"))


async def find_own_tools(access: McpAccess, http: httpx2.AsyncClient) -> OwnTools | None:
    """The tools that the server offers; None where it does not tell."""
    try:
        result = await _send(access, http, "tools/list", {})
        offered = [
            Tool(name=each["name"], description=each["description"], schema=each["inputSchema"])
            for each in result["tools"]
            if each["name"] not in _NOT_OFFERED
        ]
    except _BROKEN:
        return None
    return OwnTools(access, http, offered)


async def _send(
    access: McpAccess, http: httpx2.AsyncClient, method: str, params: Mapping[str, Any]
) -> Any:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    headers = {**_KINDS, **headers_for(access)}
    response = await http.post(access.url, json=message, headers=headers, timeout=_SECONDS)
    response.raise_for_status()
    told = _message_in(response.text)
    if "error" in told:
        raise ValueError(told["error"].get("message"))
    return told["result"]


def _message_in(body: str) -> Any:
    """The message of an answer, which comes as JSON or as the data of an event."""
    lines = [line.removeprefix("data:") for line in body.splitlines() if line.startswith("data:")]
    return json.loads(lines[-1] if lines else body)
