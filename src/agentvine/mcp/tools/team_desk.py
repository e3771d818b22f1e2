"""People's assistants give goals to teams, and say how they stand."""

from typing import Literal

from pydantic import Field

from agentvine.domains.team import queries, service, words
from agentvine.domains.team.models import TeamRun
from agentvine.domains.team.schemas import team_run_detail
from agentvine.mcp.calls import PersonCall
from agentvine.mcp.table import PersonTool
from agentvine.mcp.words import ToolInput, read_id
from agentvine.protocol.enums import PermissionLevel
from agentvine.protocol.team import TeamRunCreateIn


class StartTeamRun(ToolInput):
    """Give a goal to a team of agents: it plans, builds, tests, reviews and merges.

    Use it for goals of several steps; for one change, create_task is quicker. The project needs
    agents: a coder and a tester at least.
    """

    goal: str = Field(min_length=1, max_length=100_000, description="What is to be there.")
    repository_id: str = Field(min_length=1, max_length=40, description="See list_repositories.")
    permission: Literal["autonomous", "supervised", "human_required"] = Field(
        default="supervised",
        description="supervised: a person approves the plan, and what is merged in the end.",
    )
    max_rounds: int = Field(
        default=3, ge=0, le=20, description="Of rework, until a person is asked."
    )


class ShowTeamRun(ToolInput):
    """Say how a team run stands: its steps, what testers and reviewers said, what it cost."""

    team_run_id: str = Field(min_length=1, max_length=40)


async def _start(call: PersonCall, given: StartTeamRun) -> str:
    wanted = TeamRunCreateIn(
        goal=given.goal,
        repository_id=read_id(given.repository_id, "repository"),
        permission=PermissionLevel(given.permission),
        max_rounds=given.max_rounds,
    )
    async with call.state.database.transaction(call.actor) as tx:
        return f"Begun: {_line(await service.begin_run(tx, call.actor, wanted))}"


async def _show(call: PersonCall, given: ShowTeamRun) -> str:
    run_id = read_id(given.team_run_id, "team run")
    async with call.state.database.read() as read:
        run = await queries.get_team_run(read, call.actor, run_id)
        shown = await team_run_detail(read, run)
        said = [words.verdict_line(each) for each in await queries.list_verdicts(read, run)]
    steps = [
        f"- round {step.round}, {step.role.value}: {step.ref or step.model or 'a model'} "
        f"{step.status.value if step.status else 'answered' if step.answered_at else 'asked'}"
        for step in shown.steps
    ]
    cost = f"so far ${shown.total_cost_usd}, {shown.total_tokens} tokens"
    return "\n".join([_line(run), cost, "steps:", *steps, *said])


def _line(run: TeamRun) -> str:
    why = f": {run.status_reason}" if run.status_reason else ""
    return f"[{run.status.value}{why}] {words.goal_line(run)} (id {run.id})"


TOOLS = (
    PersonTool(name="start_team_run", takes=StartTeamRun, scope="tasks:write", do=_start),
    PersonTool(
        name="show_team_run", takes=ShowTeamRun, scope="tasks:read", do=_show, is_read_only=True
    ),
)
