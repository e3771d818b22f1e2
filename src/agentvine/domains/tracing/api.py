"""Routes of the tracing slice."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from agentvine.domains.projects.errors import RepositoryNotFound
from agentvine.domains.tracing.lines import LineTracer
from agentvine.git.errors import FileNotInCommit, LineNotInFile, RefNotFound
from agentvine.http.deps import State, require
from agentvine.http.problems import responses
from agentvine.kit.actor import UserActor
from agentvine.protocol.tracing import LineOriginOut

router = APIRouter(tags=["modifications"])

ChangeReader = Annotated[UserActor, Depends(require("modifications:read"))]


@router.get(
    "/repositories/{repository_id}/blame",
    responses=responses(RepositoryNotFound, RefNotFound, FileNotInCommit, LineNotInFile),
)
async def trace_line(
    repository_id: uuid.UUID,
    actor: ChangeReader,
    state: State,
    path: Annotated[str, Query(min_length=1, max_length=4096)],
    line: Annotated[int, Query(ge=1, le=10_000_000)],
    branch: Annotated[str | None, Query(max_length=255)] = None,
) -> LineOriginOut:
    """Who wrote a line and why: commit, change, run, task, plan, agent, prompt, tokens and cost."""
    return await state.effect(LineTracer).trace(actor, repository_id, path, line, branch)
