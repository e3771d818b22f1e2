"""People's assistants give goals to teams, say how they stand, and pass on what people decide."""

from decimal import Decimal
from typing import Literal

from pydantic import Field

from agentvine.domains.team import queries, service, words
from agentvine.domains.team.models import TeamRun
from agentvine.domains.team.schemas import team_run_detail
from agentvine.mcp.calls import PersonCall
from agentvine.mcp.table import PersonTool
from agentvine.mcp.words import Paged, ToolInput, listed, read_id
from agentvine.protocol.enums import PermissionLevel
from agentvine.protocol.team import MAX_ROUNDS, TeamApproveIn, TeamRunCreateIn, TeamRunStatus


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
        default=3, ge=0, le=MAX_ROUNDS, description="Of rework, until a person is asked."
    )


class ShowTeamRun(ToolInput):
    """Say how a team run stands: its steps, what testers and reviewers said, what it cost."""

    team_run_id: str = Field(min_length=1, max_length=40)


class ListTeamRuns(Paged):
    """Show the goals that teams of agents work on, newest first, and how each stands."""

    status: Literal["", "awaiting_approval", "waiting", "completed", "failed", "cancelled"] = Field(
        default="", description="awaiting_approval and waiting are those that a person is asked of."
    )


class ApproveTeamRun(ToolInput):
    """Let a team run go on as the person has decided: with its plan, more rounds, or more money.

    Show them the plan, the last verdict or the cost first; the decision is theirs.
    """

    team_run_id: str = Field(min_length=1, max_length=40)
    rounds: int = Field(
        default=1, ge=1, le=MAX_ROUNDS, description="More rounds of rework, where it has none left."
    )
    as_it_is: bool = Field(
        default=False, description="Deliver what is there, whatever the last verdict says."
    )
    budget_usd: float = Field(
        default=0, ge=0, description="A new budget for all of it, in dollars; 0: as it is."
    )


class CancelTeamRun(ToolInput):
    """End a team run and its tasks that are not over. What was merged stays."""

    team_run_id: str = Field(min_length=1, max_length=40)
    reason: str = Field(default="", max_length=2000)


async def _list(call: PersonCall, given: ListTeamRuns) -> str:
    statuses = [TeamRunStatus(given.status)] if given.status else []
    async with call.state.database.read() as read:
        found = await queries.list_team_runs(read, call.actor, given.page, statuses=statuses)
    return listed([_line(run) for run in found.items], found.next_cursor, "There are none.")


async def _approve(call: PersonCall, given: ApproveTeamRun) -> str:
    run_id = read_id(given.team_run_id, "team run")
    budget = Decimal(str(given.budget_usd)) if given.budget_usd else None
    wanted = TeamApproveIn(rounds=given.rounds, as_it_is=given.as_it_is, budget_usd=budget)
    async with call.state.database.transaction(call.actor) as tx:
        run = await queries.get_team_run_for_change(tx, call.actor, run_id)
        await service.approve_run(tx, run, wanted)
        return f"It goes on: {words.goal_line(run)} (id {run.id})"


async def _cancel(call: PersonCall, given: CancelTeamRun) -> str:
    run_id = read_id(given.team_run_id, "team run")
    async with call.state.database.transaction(call.actor) as tx:
        run = await queries.get_team_run_for_change(tx, call.actor, run_id)
        await service.cancel_run(tx, run, given.reason)
        return _line(run)


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
        f"{step.status.value if step.status else 'answered' if step.answered_at else 'asked'}, "
        f"{step.tokens} tokens, ${step.cost_usd}"
        for step in shown.steps
    ]
    cost = f"so far ${shown.total_cost_usd}, {shown.total_tokens} tokens"
    return "\n".join([_line(run), cost, "steps:", *steps, *said])


def _line(run: TeamRun) -> str:
    why = f": {run.status_reason}" if run.status_reason else ""
    return f"[{run.status.value}{why}] {words.goal_line(run)} (id {run.id})"


TOOLS = (
    PersonTool(
        name="list_team_runs", takes=ListTeamRuns, scope="tasks:read", do=_list, is_read_only=True
    ),
    PersonTool(name="start_team_run", takes=StartTeamRun, scope="tasks:write", do=_start),
    PersonTool(
        name="show_team_run", takes=ShowTeamRun, scope="tasks:read", do=_show, is_read_only=True
    ),
    PersonTool(name="approve_team_run", takes=ApproveTeamRun, scope="tasks:write", do=_approve),
    PersonTool(name="cancel_team_run", takes=CancelTeamRun, scope="tasks:write", do=_cancel),
)
