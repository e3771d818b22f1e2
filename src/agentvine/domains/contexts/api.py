"""Routes of the contexts slice: snapshots, their files and variables, and comparing them."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from agentvine.domains.contexts import queries, service, telling
from agentvine.domains.contexts.errors import (
    ContentNotKept,
    ContextDeleted,
    ContextIsCurrent,
    ContextNotFound,
    ContextsUnrelated,
    RepositoryWithoutProject,
    TooManyVariables,
    VariableNameInvalid,
    VariableNotFound,
)
from agentvine.domains.contexts.queries import Wanted as WantedContexts
from agentvine.domains.contexts.taking import SnapshotTaker, Wanted
from agentvine.domains.contexts.vault import ContextVault
from agentvine.domains.identity.idempotency import CreateOnce
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.enums import ContextStatus
from agentvine.domains.projects.errors import (
    ProjectArchived,
    ProjectReadOnly,
    RepositoryNotFound,
)
from agentvine.git.errors import RefNotFound, RemoteUnreachable
from agentvine.http.deps import Paging, Read, State, Tx, require
from agentvine.http.problems import responses
from agentvine.kit.actor import UserActor
from agentvine.protocol.base import PageOut
from agentvine.protocol.contexts import (
    ContextComparisonOut,
    ContextContentOut,
    ContextCreateIn,
    ContextFileOut,
    ContextOut,
    ContextSummaryOut,
    VariableIn,
)

router = APIRouter(tags=["contexts"])

ContextReader = Annotated[UserActor, Depends(require("projects:read"))]
ContextWriter = Annotated[UserActor, Depends(require("projects:write"))]

_WRITE = (ContextNotFound, ProjectReadOnly)


async def _wanted(
    project_id: uuid.UUID | None = None,
    repository_id: uuid.UUID | None = None,
    status: ContextStatus | None = None,
    variable: Annotated[str | None, Query(max_length=128)] = None,
    path: Annotated[str | None, Query(max_length=1000)] = None,
) -> WantedContexts:
    return WantedContexts(
        project_id=project_id,
        repository_id=repository_id,
        status=status,
        variable=variable,
        path=path,
    )


Filter = Annotated[WantedContexts, Depends(_wanted)]


@router.get("/contexts")
async def list_contexts(
    actor: ContextReader, read: Read, page: Paging, wanted: Filter
) -> PageOut[ContextSummaryOut]:
    """The snapshots you may see, newest first; those with a variable, or a file, of some name."""
    found = await queries.list_contexts(read, actor, page, wanted)
    items = [telling.summary_out(row) for row in found.items]
    return PageOut(items=items, next_cursor=found.next_cursor)


@router.post(
    "/contexts",
    status_code=201,
    responses=responses(
        RepositoryNotFound,
        ProjectReadOnly,
        ProjectArchived,
        RefNotFound,
        RemoteUnreachable,
        RepositoryWithoutProject,
    ),
)
async def create_context(
    body: ContextCreateIn, actor: ContextWriter, state: State, once: CreateOnce
) -> ContextOut:
    """Take a snapshot of a repository; it is the repository's current context from then on."""
    async with state.database.read() as read:
        known = await once.find_answer(read, actor, body, ContextOut)
        if known is not None:
            return known
        repository = await projects.get_repository_for_change(read, actor, body.repository_id)
        if repository.project_id is not None:
            await projects.get_active_project_for_change(read, actor, repository.project_id)
    wanted = Wanted(name=body.name, branch=body.branch, reports=body.reports)
    taken = await state.effect(SnapshotTaker).take(actor, repository, wanted)
    async with state.database.transaction(actor) as tx:

        async def create() -> ContextOut:
            return telling.context_out(taken)

        return await once.run(tx, body, ContextOut, create)


@router.get("/contexts/{context_id}", responses=responses(ContextNotFound))
async def get_context(context_id: uuid.UUID, actor: ContextReader, read: Read) -> ContextOut:
    """One snapshot: dependencies, deployment, names of variables, metrics; without its files."""
    return telling.context_out(await queries.get_context(read, actor, context_id))


@router.get("/contexts/{context_id}/files", responses=responses(ContextNotFound))
async def list_context_files(
    context_id: uuid.UUID,
    actor: ContextReader,
    read: Read,
    page: Paging,
    under: Annotated[str, Query(max_length=1000)] = "",
) -> PageOut[ContextFileOut]:
    """A snapshot's files by path, those whose paths begin with `under`."""
    context = await queries.get_context(read, actor, context_id, with_files=True)
    found = telling.list_files(context, page, under=under)
    return PageOut(items=list(found.items), next_cursor=found.next_cursor)


@router.get("/contexts/{context_id}/content", responses=responses(ContextNotFound, ContentNotKept))
async def get_context_content(
    context_id: uuid.UUID,
    actor: ContextReader,
    read: Read,
    path: Annotated[str, Query(min_length=1, max_length=4000)],
) -> ContextContentOut:
    """The text of a file as it was."""
    context = await queries.get_context(read, actor, context_id, with_files=True)
    found = await queries.get_content(read, context, path)
    return ContextContentOut(path=path, hash=found.hash, content=found.content or "")


@router.get(
    "/contexts/{context_id}/compare", responses=responses(ContextNotFound, ContextsUnrelated)
)
async def compare_contexts(
    context_id: uuid.UUID, actor: ContextReader, read: Read, to: uuid.UUID
) -> ContextComparisonOut:
    """What differs from this snapshot to another one of the same repository."""
    return await queries.get_comparison(read, actor, context_id, to)


@router.post(
    "/contexts/{context_id}/archive",
    responses=responses(*_WRITE, ContextIsCurrent, ContextDeleted),
)
async def archive_context(context_id: uuid.UUID, actor: ContextWriter, tx: Tx) -> ContextSummaryOut:
    """Put a snapshot aside; it stays readable."""
    context = await queries.lock_context(tx, actor, context_id)
    await service.archive_context(tx, context)
    return telling.summary_out(context)


@router.post("/contexts/{context_id}/activate", responses=responses(*_WRITE, ContextDeleted))
async def activate_context(
    context_id: uuid.UUID, actor: ContextWriter, tx: Tx
) -> ContextSummaryOut:
    """Take an archived snapshot out again."""
    context = await queries.lock_context(tx, actor, context_id)
    await service.activate_context(tx, context)
    return telling.summary_out(context)


@router.delete(
    "/contexts/{context_id}", status_code=204, responses=responses(*_WRITE, ContextIsCurrent)
)
async def delete_context(context_id: uuid.UUID, actor: ContextWriter, tx: Tx) -> None:
    """Delete a snapshot and its variables; changes that refer to it stay."""
    await service.delete_context(tx, await queries.lock_context(tx, actor, context_id))


@router.put(
    "/contexts/{context_id}/environment/{name}",
    status_code=204,
    responses=responses(*_WRITE, VariableNameInvalid, TooManyVariables),
)
async def set_context_variable(
    context_id: uuid.UUID, name: str, body: VariableIn, actor: ContextWriter, state: State, tx: Tx
) -> None:
    """Give a snapshot an environment variable; the next snapshots have it, too."""
    context = await queries.lock_context(tx, actor, context_id)
    await service.set_variable(tx, state.effect(ContextVault), context, name, body.value)


@router.delete(
    "/contexts/{context_id}/environment/{name}",
    status_code=204,
    responses=responses(*_WRITE, VariableNotFound),
)
async def unset_context_variable(
    context_id: uuid.UUID, name: str, actor: ContextWriter, tx: Tx
) -> None:
    """Take an environment variable from a snapshot."""
    await service.unset_variable(tx, await queries.lock_context(tx, actor, context_id), name)
