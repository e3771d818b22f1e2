"""Commands of the projects slice."""

import uuid
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, or_, select
from sqlalchemy.exc import IntegrityError

from agentvine.db.base import table_of
from agentvine.db.session import Transaction
from agentvine.domains.identity import history
from agentvine.domains.identity import queries as identity
from agentvine.domains.identity.models import User
from agentvine.domains.projects import queries
from agentvine.domains.projects.enums import ContextStatus, MemberRole
from agentvine.domains.projects.errors import MemberIsOwner, MemberUnknown, RepositoryRegistered
from agentvine.domains.projects.models import Project, ProjectContext, ProjectMember, Repository
from agentvine.kit.actor import UserActor
from agentvine.kit.ids import new_id
from agentvine.protocol.projects import (
    MemberIn,
    ProjectCreateIn,
    ProjectEditIn,
    RepositoryEditIn,
)

DELETED = "projects.deleted"
"""Hints when what waits for a project, or a repository, waits in vain."""


async def create_project(tx: Transaction, actor: UserActor, wanted: ProjectCreateIn) -> Project:
    """Make a project owned by the actor."""
    project = Project(
        id=new_id(),
        name=wanted.name,
        description=wanted.description,
        github_repo=wanted.github_repo,
        owner_id=actor.user_id,
    )
    tx.add(project)
    history.record(
        tx,
        "project.created",
        entity=("project", project.id),
        project_id=project.id,
        after={"name": project.name},
    )
    await tx.flush()
    await tx.refresh(project)
    return project


async def edit_project(tx: Transaction, project: Project, change: ProjectEditIn) -> Project:
    """Change what is given."""
    fields = change.model_dump(exclude_unset=True)
    before = {name: getattr(project, name) for name in fields}
    for name, value in fields.items():
        setattr(project, name, value)
    history.record(
        tx,
        "project.edited",
        entity=("project", project.id),
        project_id=project.id,
        before=before,
        after=fields,
    )
    await tx.flush()
    await tx.refresh(project)
    return project


async def delete_project(tx: Transaction, project: Project) -> None:
    """Hide a project and all that is in it; its rows stay until retention takes them."""
    tx.hint(DELETED)
    project.deleted_at = tx.now
    project.is_active = False
    history.record(tx, "project.deleted", entity=("project", project.id), project_id=project.id)


async def set_member(
    tx: Transaction, project: Project, wanted: MemberIn
) -> tuple[ProjectMember, User]:
    """Let a user into a project, or change what they may do there.

    Raises:
        MemberUnknown: No user has that name.
        MemberIsOwner: The project is theirs.
    """
    user = await identity.find_user_by_name(tx, wanted.username)
    if user is None:
        raise MemberUnknown(f"No user is called {wanted.username}.")
    if user.id == project.owner_id:
        raise MemberIsOwner(f"{project.name} is theirs; they may do everything in it.")
    known = await tx.get(ProjectMember, (project.id, user.id))
    row = {
        "project_id": project.id,
        "user_id": user.id,
        "role": MemberRole(wanted.role),
        "created_at": tx.now,
    }
    keys = ("project_id", "user_id")
    # One statement: two who let the same person in at once are both right.
    await tx.execute(tx.dialect.upsert(table_of(ProjectMember), row, keys=keys, update=["role"]))
    history.record(
        tx,
        "project.member_set",
        entity=("project", project.id),
        project_id=project.id,
        before={"username": user.username, "role": known.role.value} if known else None,
        after={"username": user.username, "role": wanted.role},
    )
    member = await tx.get_one(ProjectMember, (project.id, user.id), populate_existing=True)
    return member, user


async def remove_member(tx: Transaction, project: Project, username: str) -> None:
    """End a user's membership.

    Raises:
        MemberUnknown: They are not a member.
    """
    user = await identity.find_user_by_name(tx, username)
    removed = (
        await tx.execute(
            delete(ProjectMember)
            .where(ProjectMember.project_id == project.id, ProjectMember.user_id == user.id)
            .returning(ProjectMember.user_id)
        )
        if user is not None
        else None
    )
    if user is None or removed is None or removed.first() is None:
        raise MemberUnknown(f"{username} is not a member of {project.name}.")
    history.record(
        tx,
        "project.member_removed",
        entity=("project", project.id),
        project_id=project.id,
        before={"username": user.username},
    )


@dataclass(frozen=True, slots=True)
class RepositoryFacts:
    """What git said about a repository, before any transaction was opened."""

    name: str
    path: str
    git_url: str | None
    default_branch: str
    test_command: str | None = None
    sandbox: dict[str, Any] | None = None
    limits: dict[str, Any] = field(default_factory=dict[str, Any])
    workspace: dict[str, Any] = field(default_factory=dict[str, Any])
    overlap_waits: bool = True
    trial_merges: bool = True
    notes: tuple[str, ...] = ()
    """What is worth knowing before the first run, in sentences."""


async def register_repository(
    tx: Transaction, actor: UserActor, facts: RepositoryFacts, project_id: uuid.UUID | None
) -> Repository:
    """Register a repository that git has been asked about, with its first context.

    Raises:
        RepositoryRegistered: Its path is taken.
        ProjectReadOnly: The named project is not the actor's to work in.
        ProjectArchived: Nothing new begins in the named project.
    """
    if project_id is not None:
        project = await queries.get_active_project_for_change(tx, actor, project_id)
    else:
        project = await _project_called(tx, actor, facts.name)
    await _forget_what_nobody_has(tx, facts.path)
    repository = Repository(
        id=new_id(),
        project_id=project.id,
        name=facts.name,
        path=facts.path,
        git_url=facts.git_url,
        default_branch=facts.default_branch,
        test_command=facts.test_command,
        sandbox=facts.sandbox,
        limits=facts.limits,
        workspace=facts.workspace,
        overlap_waits=facts.overlap_waits,
        trial_merges=facts.trial_merges,
    )
    try:
        async with tx.begin_nested():
            tx.add(repository)
            await tx.flush()  # the unique path decides between two registrations at once
    except IntegrityError:
        raise await _registered_already(tx, actor, facts.path) from None
    tx.add(
        ProjectContext(
            id=new_id(),
            name=facts.name,
            type="repository",
            status=ContextStatus.ACTIVE,
            owner_id=str(actor.user_id),
            project_id=project.id,
            repository_id=repository.id,
        )
    )
    history.record(
        tx,
        "repository.registered",
        entity=("repository", repository.id),
        project_id=project.id,
        after={"name": facts.name, "path": facts.path, "default_branch": facts.default_branch},
    )
    await tx.flush()
    await tx.refresh(repository)
    return repository


async def edit_repository(
    tx: Transaction, repository: Repository, change: RepositoryEditIn
) -> Repository:
    """Change what is given."""
    fields = change.model_dump(mode="json", exclude_unset=True)
    before = {name: getattr(repository, name) for name in fields}
    for name, value in fields.items():
        setattr(repository, name, value)
    history.record(
        tx,
        "repository.edited",
        entity=("repository", repository.id),
        project_id=repository.project_id,
        before=before,
        after=fields,
    )
    await tx.flush()
    await tx.refresh(repository)
    return repository


async def delete_repository(tx: Transaction, repository: Repository) -> None:
    """Forget a repository and its plans; its tasks and changes stay readable without it."""
    tx.hint(DELETED)
    history.record(
        tx,
        "repository.deleted",
        entity=("repository", repository.id),
        project_id=repository.project_id,
        before={"name": repository.name, "path": repository.path},
    )
    await tx.delete(repository)


async def _project_called(tx: Transaction, actor: UserActor, name: str) -> Project:
    # One's own only: that an admin sees a project, or somebody is a member there, does not mean
    # that they want this repository shown to its people.
    found = await tx.scalar(
        select(Project)
        .where(
            Project.name == name[:100],
            Project.is_active.is_(True),
            Project.id.in_(queries.visible_own_projects(actor)),
        )
        .order_by(Project.id)
        .limit(1)
    )
    return found or await create_project(tx, actor, ProjectCreateIn(name=name[:100]))


async def _forget_what_nobody_has(tx: Transaction, path: str) -> None:
    """Free a path whose repository went with its project."""
    repository = await tx.scalar(
        select(Repository)
        .outerjoin(Project, Project.id == Repository.project_id)
        .where(
            Repository.path == path,
            or_(Repository.project_id.is_(None), Project.deleted_at.is_not(None)),
        )
    )
    if repository is not None:
        await delete_repository(tx, repository)
        await tx.flush()  # the path is unique


async def _registered_already(tx: Transaction, actor: UserActor, path: str) -> RepositoryRegistered:
    visible = await tx.scalar(
        select(Repository.id).where(
            Repository.path == path, Repository.id.in_(queries.visible_repositories(actor))
        )
    )
    if visible is None:
        return RepositoryRegistered(
            "It is in a project you cannot see; ask an admin to let you in there."
        )
    return RepositoryRegistered(
        "Use that one; `agentvine repo list` shows it.", repository_id=str(visible)
    )
