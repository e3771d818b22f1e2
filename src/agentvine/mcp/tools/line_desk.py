"""People's assistants ask why a line is there."""

from pydantic import Field

from agentvine.domains.tracing.lines import LineTracer
from agentvine.mcp.calls import PersonCall
from agentvine.mcp.table import PersonTool
from agentvine.mcp.words import ToolInput, read_id
from agentvine.protocol.tracing import LineOriginOut

_PROMPT_CHARACTERS = 4000


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
    return "\n".join(_lines(row))


def _lines(row: LineOriginOut) -> list[str]:
    commit, change, task, used = row.commit, row.modification, row.task, row.usage
    lines = [
        f"line: {row.text}",
        f"commit {commit.id} of {commit.author}, {commit.authored_at:%Y-%m-%d}: {commit.subject}",
    ]
    if change:
        lines.append(f"change {change.id} [{change.status}] asked by {change.requested_by}")
    if task:
        lines.append(f"task {task.ref} [{task.status}] {task.title} (id {task.id})")
    if row.plan:
        lines.append(f"plan {row.plan.name}, version {row.plan.version}, step {row.plan.step}")
    if row.execution:
        lines.append(f"run {row.execution.id}, attempt {row.execution.attempt}")
    if row.agent:
        lines.append(f"agent {row.agent.name} ({row.agent.type})")
    if used:
        lines.append(f"used {used.tokens_in} tokens in, {used.tokens_out} out, ${used.cost_usd}")
    if not task:
        lines += [f"{name}: {value}" for name, value in row.trailers.items()]
    if row.prompt:
        lines.append(f"asked to:\n{row.prompt[:_PROMPT_CHARACTERS]}")
    return [*lines, *row.notes]


TOOLS = (
    PersonTool(
        name="explain_line",
        takes=ExplainLine,
        scope="modifications:read",
        do=_explain,
        is_read_only=True,
    ),
)
