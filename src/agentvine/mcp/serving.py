"""The Model Context Protocol itself, by its own SDK: every request stands alone, none has state.

Importing this takes half a second, most of it for the shapes of the protocol's messages. That is
why ``door`` does it when the first caller comes.
"""

import base64
from contextlib import AbstractAsyncContextManager
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.types import Receive, Scope, Send

from agentvine import __version__
from agentvine.mcp.calls import PersonCall, RunCall
from agentvine.mcp.table import Tool, Toolbox, description_of, schema_of

_CALL = "agentvine_call"
"""Where a request's state has who calls."""
_MAX_BODY_BYTES = 4 * 1024 * 1024
_ABOUT = (
    "AgentVine gives coding agents work and takes care of what comes of it. Tasks are named T-1, "
    "T-2 and so on. A tool that fails says what to do instead."
)
Context = ServerRequestContext[Any, Any]


class McpServer:
    """Answers requests whose caller is known."""

    def __init__(self, toolbox: Toolbox) -> None:
        """Offer these tools."""
        self._toolbox = toolbox
        server: Server[Any] = Server(
            "agentvine",
            version=__version__,
            title="AgentVine",
            instructions=_ABOUT,
            get_tool_input_schema=lambda _: None,
            on_list_tools=self._list,
            on_call_tool=self._call,
        )
        # As streams: a call that waits for a person is kept alive by comments meanwhile.
        self._manager = StreamableHTTPSessionManager(
            server, stateless=True, max_request_body_size=_MAX_BODY_BYTES
        )

    def running(self) -> AbstractAsyncContextManager[None]:
        """Hold what requests need; it can be entered once."""
        return self._manager.run()

    async def serve(
        self, call: RunCall | PersonCall, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer one request of this caller's."""
        scope["state"][_CALL] = call
        await self._manager.handle_request(scope, receive, send)

    async def _list(
        self, context: Context, _: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        offered = self._toolbox.offered(_caller(context)).values()
        return types.ListToolsResult(tools=[_told(tool) for tool in offered])

    async def _call(
        self, context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        done = await self._toolbox.use(_caller(context), params.name, params.arguments)
        content: list[types.ContentBlock] = [types.TextContent(type="text", text=done.text)]
        if done.picture is not None:
            data = base64.b64encode(done.picture.content).decode()
            kind = done.picture.media_type
            content.append(types.ImageContent(type="image", data=data, mime_type=kind))
        return types.CallToolResult(content=content, is_error=done.is_error)


def _told(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        description=description_of(tool),
        input_schema=schema_of(tool),
        annotations=types.ToolAnnotations(
            read_only_hint=tool.is_read_only, destructive_hint=False, open_world_hint=False
        ),
    )


def _caller(context: Context) -> RunCall | PersonCall:
    assert context.request is not None, "every request comes by HTTP"
    return context.request.scope["state"][_CALL]
