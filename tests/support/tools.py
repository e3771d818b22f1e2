"""Our own tools as an agent or a person's assistant uses them: by the protocol's own client."""

import asyncio
import base64
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import uvicorn
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.support.api import Api, Caller
from tests.support.space import Json, claim_of


@dataclass
class Tools:
    """The tools that a token is offered."""

    client: Client

    async def names(self) -> list[str]:
        return [tool.name for tool in (await self.client.list_tools()).tools]

    async def call(self, name: str, /, **given: Any) -> tuple[bool, str]:
        """Whether it is an error, and what it says."""
        result = await self.client.call_tool(name, given)
        [content] = result.content
        assert content.type == "text"
        return result.is_error, content.text

    async def look(self, name: str, /, **given: Any) -> tuple[str, str, bytes]:
        """The line, the kind and the content of a picture that a tool shows."""
        result = await self.client.call_tool(name, given)
        line, picture = result.content
        assert not result.is_error
        assert line.type == "text"
        assert picture.type == "image"
        return line.text, picture.mime_type, base64.b64decode(picture.data)

    async def use(self, name: str, /, **given: Any) -> str:
        """What a call that must succeed says."""
        is_error, text = await self.call(name, **given)
        assert not is_error, text
        return text

    async def refused(self, name: str, /, **given: Any) -> str:
        """What a call that must fail says."""
        is_error, text = await self.call(name, **given)
        assert is_error, text
        return text


@asynccontextmanager
async def using_tools(
    api: Api, token: str, mode: Any = "auto", **headers: str
) -> AsyncGenerator[Tools]:
    """Connect with this token."""
    transport = httpx2.ASGITransport(app=api.app)
    given = {"Authorization": f"Bearer {token}", **headers}
    async with (
        httpx2.AsyncClient(transport=transport, headers=given, timeout=120) as http,
        Client(streamable_http_client("http://test/mcp", http_client=http), mode=mode) as client,
    ):
        yield Tools(client)


async def tool_key(worker: Caller, order: Json) -> str:
    """The key of a claimed order's run."""
    path = f"/executions/{order['execution_id']}/tool-access"
    return (await worker.post(path, claim_of(order)))["key"]


@asynccontextmanager
async def listening(api: Api) -> AsyncGenerator[str]:
    """The application on a real socket, in this loop."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(api.app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
