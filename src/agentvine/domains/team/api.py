"""Routes of the team slice."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from agentvine.domains.agents.errors import AgentNotFound, AgentUnusable
from agentvine.domains.identity.idempotency import CreateOnce
from agentvine.domains.projects.errors import (
    ProjectArchived,
    ProjectReadOnly,
    RepositoryNotFound,
)
from agentvine.domains.tasks.errors import ProjectMissing
from agentvine.domains.team import queries, service
from agentvine.domains.team.enums import TeamRunStatus
from agentvine.domains.team.errors import (
    NothingToApprove,
    TeamIncomplete,
    TeamRunNotFound,
    TeamRunOver,
)
from agentvine.domains.team.schemas import team_run_detail, team_run_out
from agentvine.http.deps import (
    ExpectedVersion,
    Paging,
    Read,
    StaleVersion,
    Tx,
    check_version,
    require,
)
from agentvine.http.problems import responses
from agentvine.kit.actor import UserActor
from agentvine.protocol.base import PageOut
from agentvine.protocol.team import (
    TeamApproveIn,
    TeamCancelIn,
    TeamRunCreateIn,
    TeamRunDetailOut,
    TeamRunOut,
)

router = APIRouter(tags=["team"])

TaskReader = Annotated[UserActor, Depends(require("tasks:read"))]
TaskWriter = Annotated[UserActor, Depends(require("tasks:write"))]

_WRITE = (TeamRunNotFound, ProjectReadOnly, TeamRunOver, StaleVersion)


@router.get("/team-runs")
async def list_team_runs(
    actor: TaskReader,
    read: Read,
    page: Paging,
    project_id: uuid.UUID | None = None,
    status: Annotated[list[TeamRunStatus] | None, Query()] = None,
) -> PageOut[TeamRunOut]:
    """The team runs you may see, newest first."""
    found = await queries.list_team_runs(
        read, actor, page, project_id=project_id, statuses=status or ()
    )
    return PageOut(items=[team_run_out(run) for run in found.items], next_cursor=found.next_cursor)


@router.post(
    "/team-runs",
    status_code=201,
    responses=responses(
        RepositoryNotFound,
        ProjectReadOnly,
        ProjectArchived,
        ProjectMissing,
        AgentNotFound,
        AgentUnusable,
        TeamIncomplete,
    ),
)
async def begin_team_run(
    body: TeamRunCreateIn, actor: TaskWriter, tx: Tx, once: CreateOnce
) -> TeamRunOut:
    """Give a team a goal: it plans, builds, tests, reviews and merges, as far as it may."""

    async def create() -> TeamRunOut:
        return team_run_out(await service.begin_run(tx, actor, body))

    return await once.run(tx, body, TeamRunOut, create)


@router.get("/team-runs/{run_id}", responses=responses(TeamRunNotFound))
async def get_team_run(run_id: uuid.UUID, actor: TaskReader, read: Read) -> TeamRunDetailOut:
    """A team run with its steps, its verdicts, and what it came to."""
    return await team_run_detail(read, await queries.get_team_run(read, actor, run_id))


@router.post("/team-runs/{run_id}/approve", responses=responses(*_WRITE, NothingToApprove))
async def approve_team_run(
    run_id: uuid.UUID, body: TeamApproveIn, actor: TaskWriter, tx: Tx, expected: ExpectedVersion
) -> TeamRunOut:
    """Say yes to what a team run waits for: its plan, more rounds, more money."""
    run = await queries.get_team_run_for_change(tx, actor, run_id)
    check_version(run.row_version, expected)
    await service.approve_run(tx, run, body)
    return team_run_out(run)


@router.post("/team-runs/{run_id}/cancel", responses=responses(*_WRITE))
async def cancel_team_run(
    run_id: uuid.UUID, body: TeamCancelIn, actor: TaskWriter, tx: Tx, expected: ExpectedVersion
) -> TeamRunOut:
    """End a team run, with its tasks that are not over. Again changes nothing."""
    run = await queries.get_team_run_for_change(tx, actor, run_id)
    check_version(run.row_version, expected)
    await service.cancel_run(tx, run, body.reason)
    return team_run_out(run)
