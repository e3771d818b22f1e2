"""Reads of the contexts slice, and the one place that decides who may see a snapshot."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import defer

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.contexts.errors import (
    ContentNotKept,
    ContextNotFound,
    ContextsUnrelated,
)
from agentvine.domains.contexts.models import ContextBlob, ContextRequest
from agentvine.domains.contexts.telling import compare, file_out
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.enums import ContextStatus, RepositoryId
from agentvine.domains.projects.models import ProjectContext
from agentvine.kit.actor import Actor, UserActor
from agentvine.kit.pagination import Page, PageRequest
from agentvine.protocol.contexts import ContextComparisonOut


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which snapshots are meant."""

    project_id: uuid.UUID | None = None
    repository_id: uuid.UUID | None = None
    status: ContextStatus | None = None
    variable: str | None = None
    """The name of an environment variable that they have."""
    path: str | None = None
    """A file that they have."""


def visible_contexts(actor: Actor) -> Select[ProjectContext]:
    """Contexts of projects that the actor may see, and their own that are of none; none deleted."""
    is_visible = ProjectContext.project_id.in_(projects.visible_projects(actor))
    if isinstance(actor, UserActor):
        is_own = ProjectContext.owner_id == str(actor.user_id)
        is_visible = or_(is_visible, and_(ProjectContext.project_id.is_(None), is_own))
    return select(ProjectContext).where(is_visible, ProjectContext.status != ContextStatus.DELETED)


async def get_context(
    read: ReadSession, actor: Actor, context_id: uuid.UUID, *, with_files: bool = False
) -> ProjectContext:
    """A context the actor may see; its ``codebase`` only where it is asked for.

    Raises:
        ContextNotFound: There is none, or it is not theirs to see.
    """
    query = visible_contexts(actor).where(ProjectContext.id == context_id)
    if not with_files:
        query = query.options(defer(ProjectContext.codebase, raiseload=True))
    found = await read.scalar(query)
    if found is None:
        raise ContextNotFound(f"You can see no project context with the id {context_id}.")
    return found


async def lock_context(tx: Transaction, actor: UserActor, context_id: uuid.UUID) -> ProjectContext:
    """A context whose project the actor may work in, as it is now.

    Raises:
        ContextNotFound: It is not theirs to see.
        ProjectReadOnly: They may only look.
    """
    seen = await get_context(tx, actor, context_id)
    if seen.project_id is not None:
        await projects.get_project_for_change(tx, actor, seen.project_id)
    query = (
        visible_contexts(actor)
        .where(ProjectContext.id == context_id)
        .options(defer(ProjectContext.codebase, raiseload=True))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    found = await tx.scalar(query)
    if found is None or found.repository_id is None:
        raise ContextNotFound(f"There is no repository behind the context {context_id} any more.")
    return found


async def list_contexts(
    read: ReadSession, actor: Actor, page: PageRequest, wanted: Wanted
) -> Page[ProjectContext]:
    """The contexts the actor may see, newest first, without their files."""
    query = visible_contexts(actor).options(defer(ProjectContext.codebase, raiseload=True))
    if wanted.project_id is not None:
        query = query.where(ProjectContext.project_id == wanted.project_id)
    if wanted.repository_id is not None:
        query = query.where(ProjectContext.repository_id == wanted.repository_id)
    if wanted.status is not None:
        query = query.where(ProjectContext.status == wanted.status)
    contains = read.dialect.json_contains
    if wanted.variable is not None:
        names: Mapping[str, Any] = {wanted.variable: {}}
        query = query.where(contains(ProjectContext.environment_vars.expression, names))
    if wanted.path is not None:
        paths: Mapping[str, Any] = {wanted.path: {}}
        query = query.where(contains(ProjectContext.codebase.expression, paths))
    return await fetch_page(read, query, ProjectContext.id, page, newest_first=True)


async def get_content(read: ReadSession, context: ProjectContext, path: str) -> ContextBlob:
    """A file's text as it was.

    Raises:
        ContentNotKept: There is no such file, or it is known by its hash alone.
    """
    facts = context.codebase.get(path)
    if facts is None:
        raise ContentNotKept(f"{context.name} has no file {path}.")
    found = await read.get(ContextBlob, (context.project_id, file_out(path, facts).hash))
    if found is None or found.content is None:
        raise ContentNotKept(
            f"{path} is known by its hash alone: it is binary, large, or may hold secrets."
        )
    return found


async def get_comparison(
    read: ReadSession, actor: Actor, before_id: uuid.UUID, after_id: uuid.UUID
) -> ContextComparisonOut:
    """What differs from one context to another one of the same repository.

    Raises:
        ContextNotFound: One of them is not theirs to see.
        ContextsUnrelated: They are of two repositories.
    """
    before = await get_context(read, actor, before_id, with_files=True)
    after = await get_context(read, actor, after_id, with_files=True)
    if before.repository_id != after.repository_id:
        raise ContextsUnrelated("Compare snapshots of one repository.")
    return compare(before, after)


async def list_requests(
    read: ReadSession, limit: int, *, besides: Collection[uuid.UUID]
) -> Sequence[RepositoryId]:
    """Repositories of which a snapshot is wanted, who waits longest first."""
    query = (
        select(ContextRequest.repository_id)
        .where(ContextRequest.repository_id.not_in(besides))
        .order_by(ContextRequest.requested_at)
        .limit(limit)
    )
    return (await read.scalars(query)).all()
