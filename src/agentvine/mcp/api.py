"""How a run gets its key for our tools."""

import uuid

from fastapi import APIRouter

from agentvine.domains.gateway.keys import make_tool_key
from agentvine.domains.work.errors import LeaseLost
from agentvine.http.deps import Tx, Worker
from agentvine.http.problems import responses
from agentvine.mcp.door import PATH
from agentvine.protocol.tools import ToolAccessIn, ToolAccessOut

router = APIRouter()


@router.post(
    "/executions/{execution_id}/tool-access", tags=["protocol"], responses=responses(LeaseLost)
)
async def give_tool_access(
    execution_id: uuid.UUID, body: ToolAccessIn, actor: Worker, tx: Tx
) -> ToolAccessOut:
    """A key for the MCP server, good as long as the claim is; an earlier one is dead."""
    key = await make_tool_key(tx, actor, execution_id, body.order_id, body.fence)
    return ToolAccessOut(key=key, path=PATH)
