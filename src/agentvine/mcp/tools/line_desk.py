"""People's assistants ask why a line is there."""

from pydantic import Field

from agentvine.domains.tracing.lines import LineTracer
from agentvine.mcp.calls import PersonCall
from agentvine.mcp.origins import origin_words
from agentvine.mcp.table import PersonTool
from agentvine.mcp.words import ToolInput, read_id


class ExplainLine(ToolInput):
    """Tell who wrote a line of a branch and why: the commit, change, run, task, plan and agent.

    Also what the agent was asked to do, and what that cost. Use it before you change code whose
    purpose you do not see.
    """

    repository_id: str = Field(min_length=1, max_length=40, description="See list_repositories.")
    path: str = Field(
        min_length=1, max_length=4096, description="The file, from the repository's top."
    )
    line: int = Field(ge=1, le=10_000_000)
    branch: str = Field(default="", max_length=255, description="Empty: the default branch.")


async def _explain(call: PersonCall, given: ExplainLine) -> str:
    repository_id = read_id(given.repository_id, "repository")
    row = await call.state.effect(LineTracer).trace(
        call.actor, repository_id, given.path, given.line, given.branch or None
    )
    return origin_words(row)


TOOLS = (
    PersonTool(
        name="explain_line",
        takes=ExplainLine,
        scope="modifications:read",
        do=_explain,
        is_read_only=True,
    ),
)
