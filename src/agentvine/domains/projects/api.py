"""Routes of the projects slice."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends

from agentvine.domains.identity.idempotency import CreateOnce
from agentvine.domains.identity.models import User
from agentvine.domains.projects import queries, service
from agentvine.domains.projects.errors import (
    BranchUnknown,
    CredentialsInUrl,
    MemberIsOwner,
    MemberUnknown,
    ProjectArchived,
    ProjectNotFound,
    ProjectNotYours,
    ProjectReadOnly,
    RepositoryEmpty,
    RepositoryNotFound,
    RepositoryPathForbidden,
    RepositoryRegistered,
)
from agentvine.domains.projects.inspection import RepositoryInspector
from agentvine.domains.projects.models import ProjectMember
from agentvine.git.errors import NotARepository, RemoteUnreachable, RepositoryUrlInvalid
from agentvine.http.deps import (
    ExpectedVersion,
    Paging,
    Read,
    StaleVersion,
    State,
    Tx,
    check_version,
    require,
)
from agentvine.http.problems import responses
from agentvine.kit.actor import UserActor
from agentvine.protocol.base import PageOut
from agentvine.protocol.projects import (
    MemberIn,
    MemberOut,
    ProjectCreateIn,
    ProjectEditIn,
    ProjectOut,
    RepositoryCreateIn,
    RepositoryEditIn,
    RepositoryOut,
)

router = APIRouter()

ProjectReader = Annotated[UserActor, Depends(require("projects:read"))]
ProjectWriter = Annotated[UserActor, Depends(require("projects:write"))]

_READ = responses(ProjectNotFound)
_WRITE = responses(ProjectNotFound, ProjectReadOnly, ProjectNotYours)


@router.get("/projects", tags=["projects"])
async def list_projects(actor: ProjectReader, read: Read, page: Paging) -> PageOut[ProjectOut]:
    """The projects you may see."""
    found = await queries.list_projects(read, actor, page)
    return PageOut(
        items=[ProjectOut.model_validate(project) for project in found.items],
        next_cursor=found.next_cursor,
    )


@router.post("/projects", status_code=201, tags=["projects"])
async def create_project(
    body: ProjectCreateIn, actor: ProjectWriter, tx: Tx, once: CreateOnce
) -> ProjectOut:
    """Make a project of your own."""

    async def create() -> ProjectOut:
        return ProjectOut.model_validate(await service.create_project(tx, actor, body))

    return await once.run(tx, body, ProjectOut, create)


@router.get("/projects/{project_id}", tags=["projects"], responses=_READ)
async def get_project(project_id: uuid.UUID, actor: ProjectReader, read: Read) -> ProjectOut:
    """One project."""
    return ProjectOut.model_validate(await queries.get_project(read, actor, project_id))


@router.patch(
    "/projects/{project_id}",
    tags=["projects"],
    responses=responses(ProjectNotFound, ProjectReadOnly, StaleVersion),
)
async def edit_project(
    project_id: uuid.UUID,
    body: ProjectEditIn,
    actor: ProjectWriter,
    tx: Tx,
    expected: ExpectedVersion,
) -> ProjectOut:
    """Change a project."""
    project = await queries.get_project_for_change(tx, actor, project_id)
    check_version(project.row_version, expected)
    return ProjectOut.model_validate(await service.edit_project(tx, project, body))


@router.delete("/projects/{project_id}", status_code=204, tags=["projects"], responses=_WRITE)
async def delete_project(project_id: uuid.UUID, actor: ProjectWriter, tx: Tx) -> None:
    """Delete a project, with all that is in it."""
    await service.delete_project(tx, await queries.get_own_project(tx, actor, project_id))


@router.get("/projects/{project_id}/members", tags=["projects"], responses=_READ)
async def list_members(
    project_id: uuid.UUID, actor: ProjectReader, read: Read
) -> PageOut[MemberOut]:
    """Who may see or work in a project, beside its owner and the admins."""
    project = await queries.get_project(read, actor, project_id)
    rows = await queries.list_members(read, project.id)
    return PageOut(items=[_member_out(member, user) for member, user in rows])


@router.put(
    "/projects/{project_id}/members",
    tags=["projects"],
    responses=responses(ProjectNotFound, ProjectNotYours, MemberUnknown, MemberIsOwner),
)
async def set_member(
    project_id: uuid.UUID, body: MemberIn, actor: ProjectWriter, tx: Tx
) -> MemberOut:
    """Let somebody in, or change what they may do."""
    project = await queries.get_own_project(tx, actor, project_id)
    return _member_out(*await service.set_member(tx, project, body))


@router.delete(
    "/projects/{project_id}/members/{username}",
    status_code=204,
    tags=["projects"],
    responses=responses(ProjectNotFound, ProjectNotYours, MemberUnknown),
)
async def remove_member(project_id: uuid.UUID, username: str, actor: ProjectWriter, tx: Tx) -> None:
    """End somebody's membership."""
    project = await queries.get_own_project(tx, actor, project_id)
    await service.remove_member(tx, project, username)


def _member_out(member: ProjectMember, user: User) -> MemberOut:
    return MemberOut(
        user_id=user.id,
        username=user.username,
        role=member.role.value,
        created_at=member.created_at,
    )


@router.get("/repositories", tags=["repositories"])
async def list_repositories(
    actor: ProjectReader, read: Read, page: Paging, project_id: uuid.UUID | None = None
) -> PageOut[RepositoryOut]:
    """The repositories you may see."""
    found = await queries.list_repositories(read, actor, page, project_id=project_id)
    return PageOut(
        items=[RepositoryOut.model_validate(row) for row in found.items],
        next_cursor=found.next_cursor,
    )


@router.post(
    "/repositories",
    status_code=201,
    tags=["repositories"],
    responses=responses(
        ProjectNotFound,
        ProjectReadOnly,
        RepositoryRegistered,
        RepositoryPathForbidden,
        RepositoryEmpty,
        NotARepository,
        RepositoryUrlInvalid,
        RemoteUnreachable,
        CredentialsInUrl,
        BranchUnknown,
        ProjectArchived,
    ),
)
async def register_repository(
    body: RepositoryCreateIn, actor: ProjectWriter, state: State, once: CreateOnce
) -> RepositoryOut:
    """Register a git repository by path or URL; git is asked before anything is stored."""
    async with state.database.read() as read:
        known = await once.find_answer(read, actor, body, RepositoryOut)
    if known is not None:
        return known
    facts = await state.effect(RepositoryInspector).inspect(actor, body)
    async with state.database.transaction(actor) as tx:

        async def create() -> RepositoryOut:
            made = await service.register_repository(tx, actor, facts, body.project_id)
            row = RepositoryOut.model_validate(made)
            return row.model_copy(update={"notes": list(facts.notes)})

        return await once.run(tx, body, RepositoryOut, create)


@router.get(
    "/repositories/{repository_id}", tags=["repositories"], responses=responses(RepositoryNotFound)
)
async def get_repository(
    repository_id: uuid.UUID, actor: ProjectReader, read: Read
) -> RepositoryOut:
    """One repository."""
    return RepositoryOut.model_validate(await queries.get_repository(read, actor, repository_id))


@router.patch(
    "/repositories/{repository_id}",
    tags=["repositories"],
    responses=responses(RepositoryNotFound, ProjectReadOnly, BranchUnknown, StaleVersion),
)
async def edit_repository(
    repository_id: uuid.UUID,
    body: RepositoryEditIn,
    actor: ProjectWriter,
    state: State,
    expected: ExpectedVersion,
) -> RepositoryOut:
    """Change a repository's name, default branch or test command."""
    if body.default_branch is not None:
        async with state.database.read() as read:
            seen = await queries.get_repository_for_change(read, actor, repository_id)
        await state.effect(RepositoryInspector).check_branch(seen.path, body.default_branch)
    async with state.database.transaction(actor) as tx:
        repository = await queries.get_repository_for_change(tx, actor, repository_id)
        check_version(repository.row_version, expected)
        return RepositoryOut.model_validate(await service.edit_repository(tx, repository, body))


@router.delete(
    "/repositories/{repository_id}",
    status_code=204,
    tags=["repositories"],
    responses=responses(RepositoryNotFound, ProjectReadOnly),
)
async def delete_repository(repository_id: uuid.UUID, actor: ProjectWriter, tx: Tx) -> None:
    """Forget a repository; the repository itself is not touched."""
    repository = await queries.get_repository_for_change(tx, actor, repository_id)
    await service.delete_repository(tx, repository)
