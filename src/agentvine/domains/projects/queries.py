"""Reads of the projects slice, and the one place that decides who may see a project's rows."""

import uuid

from sqlalchemy import ColumnElement, Select, and_, exists, false, or_, select, true
from sqlalchemy.orm import defer

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession
from agentvine.domains.identity.enums import UserRole
from agentvine.domains.identity.models import User
from agentvine.domains.projects.enums import MemberRole, ProjectId, RepositoryId
from agentvine.domains.projects.errors import (
    ProjectArchived,
    ProjectNotFound,
    ProjectNotYours,
    ProjectReadOnly,
    RepositoryNotFound,
)
from agentvine.domains.projects.models import Project, ProjectContext, ProjectMember, Repository
from agentvine.kit.actor import Actor, UserActor
from agentvine.kit.errors import Forbidden
from agentvine.kit.pagination import Page, PageRequest


def visible_projects(actor: Actor) -> Select[ProjectId]:
    """Ids of the projects an actor may see: the only membership filter there is.

    Admins, workers and the server itself see all; a user sees what is theirs and where they are a
    member. Other slices filter with ``column.in_(visible_projects(actor))``.
    """
    return select(Project.id).where(Project.deleted_at.is_(None), _is_visible(actor))


def visible_own_projects(actor: UserActor) -> Select[ProjectId]:
    """Ids of the projects that are the actor's own, whatever else an admin may see."""
    return select(Project.id).where(Project.deleted_at.is_(None), Project.owner_id == actor.user_id)


def visible_repositories(actor: Actor) -> Select[RepositoryId]:
    """Ids of the repositories an actor may see; those of no project are for admins.

    Workers and the server itself see those of deleted projects too: what runs there must end.
    """
    query = select(Repository.id)
    if not isinstance(actor, UserActor):
        return query
    is_visible = Repository.project_id.in_(visible_projects(actor))
    if actor.is_admin:
        is_visible = or_(is_visible, Repository.project_id.is_(None))
    return query.where(is_visible)


def visible_involved(project_id: uuid.UUID, *others: uuid.UUID | None) -> Select[User]:
    """The owner of a project, and who else of these may see it; active people only, by their id."""
    is_member = exists().where(
        ProjectMember.project_id == Project.id, ProjectMember.user_id == User.id
    )
    may_see = or_(User.role == UserRole.ADMIN, is_member)
    named = [each for each in others if each is not None]
    return (
        select(User)
        .join(Project, or_(Project.owner_id == User.id, and_(User.id.in_(named), may_see)))
        .where(Project.id == project_id, Project.deleted_at.is_(None), User.is_active.is_(True))
        .order_by(User.id)
    )


def _is_visible(actor: Actor) -> ColumnElement[bool]:
    if not isinstance(actor, UserActor) or actor.is_admin:
        return true()
    theirs = or_(Project.owner_id == actor.user_id, _is_member(actor))
    return _within(actor, theirs)


def _within(actor: UserActor, theirs: ColumnElement[bool]) -> ColumnElement[bool]:
    """What is theirs, and no more of it than the one project that they are held to, if any."""
    if actor.only_project is None:
        return theirs
    own = Project.id == actor.only_project
    return own if actor.role == "admin" else and_(own, theirs)


def _is_member(actor: UserActor, role: MemberRole | None = None) -> ColumnElement[bool]:
    condition = and_(ProjectMember.project_id == Project.id, ProjectMember.user_id == actor.user_id)
    if role is not None:
        condition = and_(condition, ProjectMember.role == role)
    return exists().where(condition)


def _is_writable(actor: Actor) -> ColumnElement[bool]:
    if not isinstance(actor, UserActor) or actor.is_admin:
        return true()
    if not actor.may_write:
        return false()
    theirs = or_(Project.owner_id == actor.user_id, _is_member(actor, MemberRole.DEVELOPER))
    return _within(actor, theirs)


async def get_project(read: ReadSession, actor: Actor, project_id: uuid.UUID) -> Project:
    """A project the actor may see.

    Raises:
        ProjectNotFound: There is none, or it is not theirs to see.
    """
    project = await read.scalar(
        select(Project).where(Project.id == project_id, Project.id.in_(visible_projects(actor)))
    )
    if project is None:
        raise ProjectNotFound(f"You can see no project with the id {project_id}.")
    return project


async def get_project_for_change(read: ReadSession, actor: Actor, project_id: uuid.UUID) -> Project:
    """A project the actor may work in.

    Raises:
        ProjectNotFound: It is not theirs to see.
        ProjectReadOnly: They may only look.
    """
    project = await get_project(read, actor, project_id)
    is_writable = await read.scalar(
        select(Project.id).where(Project.id == project_id, _is_writable(actor))
    )
    if is_writable is None:
        raise ProjectReadOnly(f"Ask the owner of {project.name} to make you a developer there.")
    return project


async def get_active_project_for_change(
    read: ReadSession, actor: Actor, project_id: uuid.UUID
) -> Project:
    """A project the actor may begin something in.

    Raises:
        ProjectNotFound: It is not theirs to see.
        ProjectReadOnly: They may only look.
        ProjectArchived: Nothing new begins there.
    """
    project = await get_project_for_change(read, actor, project_id)
    check_is_active(project)
    return project


async def check_may_change_what_is_of(
    read: ReadSession, actor: UserActor, project_id: uuid.UUID | None, refusal: Forbidden
) -> None:
    """See that an actor may change what belongs to a project; to all of them, where it is None.

    Raises:
        ProjectNotFound: It is not theirs to see.
        ProjectReadOnly: They may only look.
        ProjectArchived: Nothing new begins there.
        Forbidden: The refusal: only admins change what belongs to all.
    """
    if project_id is not None:
        await get_active_project_for_change(read, actor, project_id)
    elif not actor.is_admin:
        raise refusal


def check_is_active(project: Project) -> None:
    """Nothing new begins in an archived project; what is there can be looked at, and ended.

    Raises:
        ProjectArchived: It is archived.
    """
    if not project.is_active:
        raise ProjectArchived(
            f"{project.name} is archived: `agentvine project edit --active` takes it up again."
        )


async def get_own_project(read: ReadSession, actor: Actor, project_id: uuid.UUID) -> Project:
    """A project the actor owns (or any, for an admin).

    Raises:
        ProjectNotFound: It is not theirs to see.
        ProjectNotYours: They may not administer it.
    """
    project = await get_project_for_change(read, actor, project_id)
    if isinstance(actor, UserActor) and not actor.is_admin and project.owner_id != actor.user_id:
        raise ProjectNotYours(f"Ask the owner of {project.name}, or an admin.")
    return project


async def list_projects(read: ReadSession, actor: Actor, page: PageRequest) -> Page[Project]:
    """The projects the actor may see, oldest first."""
    query = select(Project).where(Project.id.in_(visible_projects(actor)))
    return await fetch_page(read, query, Project.id, page)


async def list_members(
    read: ReadSession, project_id: uuid.UUID
) -> list[tuple[ProjectMember, User]]:
    """A project's members by name."""
    query = (
        select(ProjectMember, User)
        .join(User, User.id == ProjectMember.user_id)
        .where(ProjectMember.project_id == project_id)
        .order_by(User.username)
    )
    return [(member, user) for member, user in await read.execute(query)]


async def get_repository(read: ReadSession, actor: Actor, repository_id: uuid.UUID) -> Repository:
    """A repository the actor may see.

    Raises:
        RepositoryNotFound: There is none, or it is not theirs to see.
    """
    repository = await read.scalar(
        select(Repository).where(
            Repository.id == repository_id, Repository.id.in_(visible_repositories(actor))
        )
    )
    if repository is None:
        raise RepositoryNotFound(f"You can see no repository with the id {repository_id}.")
    return repository


async def get_repository_for_change(
    read: ReadSession, actor: Actor, repository_id: uuid.UUID
) -> Repository:
    """A repository whose project the actor may work in.

    Raises:
        RepositoryNotFound: It is not theirs to see.
        ProjectReadOnly: They may only look.
    """
    repository = await get_repository(read, actor, repository_id)
    if repository.project_id is not None:
        await get_project_for_change(read, actor, repository.project_id)
    return repository


async def find_repository_by_path(read: ReadSession, path: str) -> Repository | None:
    """The repository registered under a path or URL, whoever may see it."""
    return await read.scalar(select(Repository).where(Repository.path == path))


async def list_repositories(
    read: ReadSession, actor: Actor, page: PageRequest, *, project_id: uuid.UUID | None = None
) -> Page[Repository]:
    """The repositories the actor may see, oldest first."""
    query = select(Repository).where(Repository.id.in_(visible_repositories(actor)))
    if project_id is not None:
        query = query.where(Repository.project_id == project_id)
    return await fetch_page(read, query, Repository.id, page)


async def get_current_context(read: ReadSession, repository: Repository) -> ProjectContext:
    """The repository's newest context; there is one from its registration on."""
    context = await read.scalar(
        select(ProjectContext)
        .where(ProjectContext.repository_id == repository.id)
        .order_by(ProjectContext.id.desc())
        .limit(1)
        .options(defer(ProjectContext.codebase, raiseload=True))  # large, and asked for apart
    )
    assert context is not None, "registering a repository makes its first context"
    return context
