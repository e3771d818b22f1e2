"""What ``agentvine mcp`` does: passes on what an assistant asks, with its person's own token."""

from typing import Any

import httpx2
import mcp_types as types
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

from agentvine import __version__
from agentvine.cli.session import Session
from agentvine.client.transport import network_to

_PATH = "/mcp"
_CONNECT_SECONDS = 10.0
_CALL_SECONDS = 300.0
"""An approval merges, and may run long."""
Context = ServerRequestContext[Any, Any]


async def serve_stdio(session: Session) -> None:
    """Serve until the assistant closes our input."""
    # First by our own client, whose errors say what to do: no server, no sign-in.
    await session.client.auth.whoami()
    url = f"{session.client.base_url.rstrip('/')}{_PATH}"
    http = httpx2.AsyncClient(
        headers={"Authorization": f"Bearer {session.connection.token}"},
        timeout=httpx2.Timeout(_CALL_SECONDS, connect=_CONNECT_SECONDS),
        transport=network_to(url),
    )
    async with (
        http,
        Client(streamable_http_client(url, http_client=http)) as upstream,
        stdio_server() as (read, write),
    ):
        server = _passing_on(upstream)
        await server.run(read, write, server.create_initialization_options())


def _passing_on(upstream: Client) -> Server[Any]:
    async def list_tools(
        _: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return await upstream.list_tools(cursor=params.cursor if params else None)

    async def call_tool(_: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            return await upstream.call_tool(params.name, params.arguments)
        except (httpx2.HTTPError, MCPError) as error:
            told = f"The AgentVine server could not be asked: {error}. Try again in a moment."
            content = types.TextContent(type="text", text=told)
            return types.CallToolResult(content=[content], is_error=True)

    return Server(
        "agentvine",
        version=__version__,
        title="AgentVine",
        instructions=upstream.instructions,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
