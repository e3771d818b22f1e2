"""Reads of the modifications slice."""

import uuid
from collections.abc import Sequence

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import defer

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession
from agentvine.domains.modifications.enums import ModificationStatus
from agentvine.domains.modifications.errors import ContextNotFound, ModificationNotFound
from agentvine.domains.modifications.models import Modification
from agentvine.domains.modifications.states import OPEN
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.models import ProjectContext
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.tasks.models import Task
from agentvine.kit.actor import Actor
from agentvine.kit.pagination import Page, PageRequest

# Up to megabytes each: they are for who looks at one change.
_NOT_LISTED = (
    defer(Modification.diff, raiseload=True),
    defer(Modification.impact_analysis, raiseload=True),
    defer(Modification.foreseen, raiseload=True),
    defer(Modification.modified_files, raiseload=True),
    defer(Modification.test_results, raiseload=True),
)


def _visible_modifications(actor: Actor) -> Select[Modification]:
    """By their tasks' projects; a request that has none yet by that of its context."""
    visible = projects.visible_projects(actor)
    is_request = and_(Modification.task_id.is_(None), ProjectContext.project_id.in_(visible))
    return (
        select(Modification)
        .join(ProjectContext, ProjectContext.id == Modification.project_id)
        .outerjoin(Task, Task.id == Modification.task_id)
        .where(or_(Task.project_id.in_(visible), is_request))
    )


async def get_modification(
    read: ReadSession, actor: Actor, modification_id: uuid.UUID
) -> Modification:
    """A change in a project the actor may see.

    Raises:
        ModificationNotFound: There is none, or it is not theirs to see.
    """
    found = await read.scalar(
        _visible_modifications(actor).where(Modification.id == modification_id)
    )
    if found is None:
        raise ModificationNotFound(f"You can see no change with the id {modification_id}.")
    return found


async def get_modification_for_change(
    read: ReadSession, actor: Actor, modification_id: uuid.UUID
) -> Modification:
    """A change in a project the actor may work in, locked until the transaction ends.

    Raises:
        ModificationNotFound: It is not theirs to see.
        ProjectReadOnly: They may only look.
    """
    found = await get_modification_to_decide(read, actor, modification_id)
    return await lock_modification(read, found.id)


async def get_modification_to_decide(
    read: ReadSession, actor: Actor, modification_id: uuid.UUID
) -> Modification:
    """A change in a project the actor may work in, as it is now.

    Raises:
        ModificationNotFound: It is not theirs to see.
        ProjectReadOnly: They may only look.
    """
    found = await get_modification(read, actor, modification_id)
    project_id = (
        select(ProjectContext.project_id).where(ProjectContext.id == found.project_id)
        if found.task_id is None
        else select(Task.project_id).where(Task.id == found.task_id)
    )
    await projects.get_project_for_change(
        read, actor, (await read.execute(project_id)).scalar_one()
    )
    return found


async def lock_modification(read: ReadSession, modification_id: uuid.UUID) -> Modification:
    """A change by id, whoever asks, locked and as it is now; its task is locked before it."""
    task_id = await read.scalar(
        select(Modification.task_id).where(Modification.id == modification_id)
    )
    if task_id is not None:
        await tasks.lock_task(read, task_id)
    query = (
        select(Modification)
        .where(Modification.id == modification_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return (await read.execute(query)).scalar_one()


async def lock_open_changes(read: ReadSession, task_id: uuid.UUID) -> Sequence[Modification]:
    """A task's changes that may still be applied, locked; the task must be locked already."""
    query = (
        select(Modification)
        .where(
            Modification.task_id == task_id,
            Modification.status.in_(OPEN),
        )
        .order_by(Modification.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return (await read.scalars(query)).all()


async def lock_request_of(read: ReadSession, task_id: uuid.UUID) -> Modification | None:
    """The request that a task has to fulfil and has brought no change for, locked.

    The task must be locked already.
    """
    query = (
        select(Modification)
        .where(
            Modification.task_id == task_id,
            Modification.foreseen.is_not(None),
            Modification.head_commit.is_(None),
            Modification.status.in_([ModificationStatus.APPROVED, ModificationStatus.FAILED]),
        )
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return await read.scalar(query)


async def find_request_of(read: ReadSession, task_id: uuid.UUID) -> Modification | None:
    """The request that a task was made of, wherever it stands."""
    query = select(Modification).where(
        Modification.task_id == task_id, Modification.wanted.is_not(None)
    )
    return await read.scalar(query.order_by(Modification.id).limit(1))


async def repository_of_context(
    read: ReadSession, actor: Actor, context_id: uuid.UUID
) -> uuid.UUID:
    """The repository of a project context that the actor may see.

    Raises:
        ContextNotFound: There is none, or it is not theirs to see, or its repository is gone.
    """
    repository_id = await read.scalar(
        select(ProjectContext.repository_id).where(
            ProjectContext.id == context_id,
            ProjectContext.project_id.in_(projects.visible_projects(actor)),
        )
    )
    if repository_id is None:
        raise ContextNotFound(
            f"You can see no project context with the id {context_id} that has a repository."
        )
    return repository_id


async def lock_change_of(read: ReadSession, execution_id: uuid.UUID) -> Modification | None:
    """The change that an execution left, locked; its task must be locked already."""
    query = (
        select(Modification)
        .where(Modification.execution_id == execution_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return await read.scalar(query)


async def list_modifications(
    read: ReadSession,
    actor: Actor,
    page: PageRequest,
    *,
    task_id: uuid.UUID | None = None,
    statuses: Sequence[ModificationStatus] = (),
) -> Page[Modification]:
    """The changes the actor may see, newest first."""
    query = _visible_modifications(actor).options(*_NOT_LISTED)
    if task_id is not None:
        query = query.where(Modification.task_id == task_id)
    if statuses:
        query = query.where(Modification.status.in_(statuses))
    return await fetch_page(read, query, Modification.id, page, newest_first=True)


async def list_due(
    read: ReadSession, limit: int, *, besides: Sequence[uuid.UUID] = ()
) -> Sequence[uuid.UUID]:
    """Approved changes that wait to be applied, oldest request first."""
    query = (
        select(Modification.id)
        .where(
            Modification.status == ModificationStatus.APPROVED,
            Modification.apply_requested_at.is_not(None),
            Modification.id.not_in(besides),
        )
        .order_by(Modification.apply_requested_at, Modification.id)
        .limit(limit)
    )
    return (await read.scalars(query)).all()
