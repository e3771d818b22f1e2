"""How a run reaches our own tools: its key, and where they are."""

import uuid

from pydantic import Field

from agentvine.protocol.base import Input, Output

ASK_HUMAN = "ask_human"
"""The tool by which an agent asks a person."""
TOOL_QUESTION = "mcp-"
"""How the keys of the questions begin that are asked by it."""
WAIT_HEADER = "AgentVine-Wait-Seconds"
"""How long a call of a tool may take, as far as the caller knows its own time limit."""


class ToolAccessIn(Input):
    """Which claim asks."""

    order_id: uuid.UUID
    fence: int = Field(ge=0)


class ToolAccessOut(Output):
    """A key for our own tools, good as long as the claim is."""

    key: str = Field(repr=False)
    """Sent as ``Authorization: Bearer``."""
    path: str
    """Where the MCP server is below the server's address; it speaks streamable HTTP."""
