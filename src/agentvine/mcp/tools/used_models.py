"""A run's agent tells of calls to models that nobody else has counted."""

from decimal import Decimal

from pydantic import Field

from agentvine.domains.usage import reports
from agentvine.mcp.calls import RunCall
from agentvine.mcp.table import RunTool
from agentvine.mcp.words import ToolInput
from agentvine.protocol.usage import MAX_TOKENS_PER_CALL, CallIn, UsageReportIn


class RecordUsage(ToolInput):
    """Count a call to a language model that you made yourself, past AgentVine.

    Only for calls of a script or a service with a key of its own: what you think with yourself is
    counted already, and would be counted twice. Give each call an id; the same id counts once.
    """

    id: str = Field(min_length=1, max_length=50, description="An id of the call, unique here.")
    model: str = Field(min_length=1, max_length=100)
    tokens_in: int = Field(ge=0, le=MAX_TOKENS_PER_CALL)
    tokens_out: int = Field(ge=0, le=MAX_TOKENS_PER_CALL)
    cost_usd: float = Field(
        default=0.0, ge=0, le=9999, description="What it cost; 0: what the price table says."
    )


async def _record(call: RunCall, given: RecordUsage) -> str:
    cost = Decimal(str(given.cost_usd)).quantize(Decimal("0.000001")) if given.cost_usd else None
    told = CallIn(
        request_id=f"mcp {given.id}",
        model=given.model,
        tokens_in=given.tokens_in,
        tokens_out=given.tokens_out,
        cost_usd=cost,
    )
    report = UsageReportIn(order_id=call.run.order_id, fence=call.run.fence, calls=[told])
    async with call.state.database.transaction(call.run.worker) as tx:
        result = await reports.record_report(
            tx, call.run.worker, call.run.execution_id, report, call.state.settings.zone
        )
    if result.exceeded:
        return f"Counted. Used up: {', '.join(result.exceeded)}. Call no more models."
    return "Counted." if result.counted else "It was counted before."


TOOLS = (RunTool(name="record_usage", takes=RecordUsage, do=_record),)
