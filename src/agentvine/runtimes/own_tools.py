"""What runtimes know of our own tools, which agents use over MCP, past their runtime."""

import re
from collections.abc import Mapping
from typing import Any, cast

from agentvine.protocol.tools import WAIT_HEADER
from agentvine.runtimes.base import McpAccess

SERVER = "agentvine"
"""Under which name agents know the server of our tools."""
_PREFIX = f"mcp__{SERVER}__"
_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"mcp__{SERVER}__(\w+)",
        rf"mcp_{SERVER}_(\w+)",
        rf"{SERVER}_(\w+)",
        rf"(\w+) \({SERVER} MCP Server\)",
    )
)
MAX_WAIT_SECONDS = 3600
"""How long a call takes at most, where the agent's program waits as long as it is told."""


def headers_for(access: McpAccess, wait_seconds: int | None = None) -> dict[str, str]:
    """What an agent's program sends with each call.

    Args:
        access: Where our tools are.
        wait_seconds: How long the program waits for an answer; None: for a minute, as most do.
    """
    headers = {"Authorization": f"Bearer {access.key}"}
    return headers if wait_seconds is None else {**headers, WAIT_HEADER: str(wait_seconds)}


def tools_setting(access: McpAccess | None) -> dict[str, Any]:
    """Our tools, as Gemini CLI and those that come from it have them in their settings."""
    if access is None:
        return {}
    server = {
        "httpUrl": access.url,
        "headers": headers_for(access, MAX_WAIT_SECONDS),
        "timeout": (MAX_WAIT_SECONDS + 60) * 1000,
        # They ask for themselves, where there is something to ask.
        "trust": True,
    }
    return {"mcpServers": {SERVER: server}}


def own_tool(*told: str, given: Mapping[str, Any]) -> str | None:
    """One of our tools under the one name that rules and the log have for it; None for any other.

    Args:
        told: What the agent's program calls it: names, titles.
        given: The call's input; some programs name server and tool there.
    """
    if given.get("server") == SERVER and isinstance(given.get("tool"), str):
        return f"{_PREFIX}{given['tool']}"
    for text in told:
        for form in _FORMS:
            if (found := form.fullmatch(text.strip())) is not None:
                return f"{_PREFIX}{found[1]}"
    return None


def own_input(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """What one of our tools is given, without what some programs wrap around it."""
    inner = given.get("arguments")
    if given.get("server") == SERVER and isinstance(inner, dict):
        return cast("Mapping[str, Any]", inner)
    return given
