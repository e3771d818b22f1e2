"""A run's agent says how it goes, to those who follow the task."""

from pydantic import Field

from agentvine.domains.conversations import chat
from agentvine.domains.conversations.enums import ChatMessageType
from agentvine.kit.errors import LimitReached
from agentvine.kit.redaction import mask_shapes
from agentvine.mcp.calls import RunCall
from agentvine.mcp.table import RunTool
from agentvine.mcp.words import ToolInput

MAX_REPORTS = 200
_MAX_MESSAGE = 4000


class TooManyReports(LimitReached):
    """This run has said enough."""

    code = "too_many_reports"


class ReportProgress(ToolInput):
    """Tell the people who follow the task how it goes.

    Use it when a part is done, when you change your plan, or when something takes long; not after
    every step. Nobody answers: to ask something use ask_human.
    """

    message: str = Field(
        min_length=1, max_length=_MAX_MESSAGE, description="One or two sentences for people."
    )
    percent: int = Field(default=0, ge=0, le=100, description="How much is done; 0: not known.")


async def _report(call: RunCall, given: ReportProgress) -> str:
    async with call.holding_task() as (tx, task):
        place = await call.place(tx, task)
        count = await chat.count_said(tx, call.run.execution_id, ChatMessageType.STATUS)
        if count >= MAX_REPORTS:
            raise TooManyReports(f"A run may report {MAX_REPORTS} times; say the rest at its end.")
        facts = {"percent": given.percent} if given.percent else {}
        chat.say(
            tx,
            place,
            chat.sender_of(call.run.worker),
            ChatMessageType.STATUS,
            mask_shapes(given.message),
            metadata={"by": "agent", **facts},
        )
    return "Told."


TOOLS = (RunTool(name="report_progress", takes=ReportProgress, do=_report),)
