"""Reads of the executions slice."""

import uuid
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import defer

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession
from agentvine.domains.executions.errors import BundleNotFound, ExecutionNotFound
from agentvine.domains.executions.models import ChangeBundle, Execution
from agentvine.domains.projects import queries as projects
from agentvine.domains.tasks.models import Task
from agentvine.impact.analysis import Findings
from agentvine.kit.actor import Actor
from agentvine.kit.pagination import Page, PageRequest


async def get_execution(read: ReadSession, actor: Actor, execution_id: uuid.UUID) -> Execution:
    """An execution of a project the actor may see.

    Raises:
        ExecutionNotFound: There is none, or it is not theirs to see.
    """
    execution = await read.scalar(
        select(Execution)
        .join(Task, Task.id == Execution.task_id)
        .where(
            Execution.id == execution_id,
            Task.project_id.in_(projects.visible_projects(actor)),
        )
    )
    if execution is None:
        raise ExecutionNotFound(f"You can see no execution with the id {execution_id}.")
    return execution


async def list_executions(
    read: ReadSession, actor: Actor, page: PageRequest, *, task_id: uuid.UUID | None = None
) -> Page[Execution]:
    """The executions the actor may see, newest first."""
    query = (
        select(Execution)
        .join(Task, Task.id == Execution.task_id)
        .where(Task.project_id.in_(projects.visible_projects(actor)))
        .options(defer(Execution.report, raiseload=True))
    )
    if task_id is not None:
        query = query.where(Execution.task_id == task_id)
    return await fetch_page(read, query, Execution.id, page, newest_first=True)


async def get_bundle(read: ReadSession, execution_id: uuid.UUID) -> ChangeBundle:
    """An execution's bundle with its content.

    Raises:
        BundleNotFound: It left none.
    """
    bundle = await read.get(ChangeBundle, execution_id)
    if bundle is None:
        raise BundleNotFound("A run that changed nothing leaves no bundle.")
    return bundle


async def find_findings(read: ReadSession, execution_id: uuid.UUID) -> Findings | None:
    """What the server found in an execution's commits; None until it has looked at them."""
    stored = await read.scalar(
        select(ChangeBundle.findings).where(ChangeBundle.execution_id == execution_id)
    )
    return None if stored is None else Findings.model_validate(stored)


async def list_bundles_to_import(
    read: ReadSession, limit: int, *, besides: Sequence[uuid.UUID] = ()
) -> Sequence[uuid.UUID]:
    """Executions whose commits are not in their repository yet, oldest first."""
    query = (
        select(ChangeBundle.execution_id)
        .join(Execution, Execution.id == ChangeBundle.execution_id)
        .join(Task, Task.id == Execution.task_id)
        .where(
            ChangeBundle.imported_at.is_(None),
            Task.repository_id.is_not(None),
            ChangeBundle.execution_id.not_in(besides),
        )
        .order_by(ChangeBundle.execution_id)
        .limit(limit)
    )
    return (await read.scalars(query)).all()
