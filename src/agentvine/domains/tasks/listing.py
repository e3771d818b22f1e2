"""Lists of tasks: what to show, in which order, a page at a time."""

import contextlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, or_, select

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession
from agentvine.domains.projects import queries as projects
from agentvine.domains.tasks.enums import TaskPriority, TaskStatus, TaskType
from agentvine.domains.tasks.models import Task
from agentvine.kit.actor import Actor
from agentvine.kit.pagination import Cursor, CursorInvalid, Page, PageRequest, encode_cursor

_URGENCY = {priority: rank for rank, priority in enumerate(TaskPriority)}
_BY_PRIORITY = "tasks by priority"


class TaskOrder(StrEnum):
    """How a list of tasks is ordered."""

    NEWEST = "newest"
    OLDEST = "oldest"
    PRIORITY = "priority"
    """The most urgent first, and among those the oldest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """Which tasks to list; what is left out does not matter."""

    project_id: uuid.UUID | None = None
    repository_id: uuid.UUID | None = None
    parent_id: uuid.UUID | None = None
    agent_id: uuid.UUID | None = None
    plan_id: uuid.UUID | None = None
    statuses: Sequence[TaskStatus] = ()
    types: Sequence[TaskType] = ()
    priorities: Sequence[TaskPriority] = ()


async def list_tasks(
    read: ReadSession,
    actor: Actor,
    page: PageRequest,
    wanted: TaskFilter,
    order: TaskOrder = TaskOrder.NEWEST,
) -> Page[Task]:
    """The tasks the actor may see."""
    query = _filtered(
        select(Task).where(
            Task.deleted_at.is_(None), Task.project_id.in_(projects.visible_projects(actor))
        ),
        wanted,
    )
    if order is TaskOrder.PRIORITY:
        return await _by_priority(read, query, page)
    return await fetch_page(read, query, Task.id, page, newest_first=order is TaskOrder.NEWEST)


def _filtered(query: Select[Task], wanted: TaskFilter) -> Select[Task]:
    single = (
        (Task.project_id, wanted.project_id),
        (Task.repository_id, wanted.repository_id),
        (Task.parent_task_id, wanted.parent_id),
        (Task.assigned_to_agent_id, wanted.agent_id),
        (Task.plan_id, wanted.plan_id),
    )
    several = (
        (Task.status, wanted.statuses),
        (Task.task_type, wanted.types),
        (Task.priority, wanted.priorities),
    )
    conditions: list[ColumnElement[bool]] = [
        column == value for column, value in single if value is not None
    ]
    conditions += [column.in_(values) for column, values in several if values]
    return query.where(*conditions)


async def _by_priority(read: ReadSession, query: Select[Task], page: PageRequest) -> Page[Task]:
    urgency: ColumnElement[Any] = case(
        *((Task.priority == priority, rank) for priority, rank in _URGENCY.items()), else_=0
    )
    if page.after is not None:
        rank, last_id = _parse(page.after)
        query = query.where(or_(urgency < rank, and_(urgency == rank, Task.id > last_id)))
    ordered = query.order_by(urgency.desc(), Task.id)
    rows = (await read.scalars(ordered.limit(page.limit + 1))).all()
    items = rows[: page.limit]
    if len(rows) <= page.limit:
        return Page(items)
    last = items[-1]
    return Page(items, encode_cursor(_BY_PRIORITY, f"{_URGENCY[last.priority]}/{last.id}"))


def _parse(cursor: Cursor) -> tuple[int, uuid.UUID]:
    rank, _, task_id = cursor.key.partition("/")
    if cursor.listed == _BY_PRIORITY:
        with contextlib.suppress(ValueError):
            return int(rank), uuid.UUID(task_id)
    raise CursorInvalid("The cursor belongs to another list.")
