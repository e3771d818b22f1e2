"""Routes of the tasks slice."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from agentvine.domains.agents.errors import AgentNotFound, AgentUnusable
from agentvine.domains.identity.idempotency import CreateOnce
from agentvine.domains.projects.errors import (
    ProjectNotFound,
    ProjectReadOnly,
    RepositoryNotFound,
)
from agentvine.domains.tasks import dependencies, listing, queries, service
from agentvine.domains.tasks.enums import TaskPriority, TaskStatus, TaskType
from agentvine.domains.tasks.errors import (
    DependencyCycle,
    DependencyElsewhere,
    DependencyExists,
    DependencyNotFound,
    InvalidTransition,
    ProjectMissing,
    TaskAlreadyFinished,
    TaskNotFound,
    TaskNotRunnable,
    TaskRunning,
)
from agentvine.domains.tasks.listing import TaskFilter, TaskOrder
from agentvine.domains.tasks.schemas import task_detail_out, task_out
from agentvine.http.deps import ExpectedVersion, Paging, Read, Tx, check_version, require
from agentvine.http.problems import responses
from agentvine.kit.actor import UserActor
from agentvine.protocol.base import PageOut
from agentvine.protocol.tasks import (
    DependencyIn,
    DependencyOut,
    TaskCancelIn,
    TaskCreateIn,
    TaskDetailOut,
    TaskEditIn,
    TaskOut,
)

router = APIRouter(tags=["tasks"])

TaskReader = Annotated[UserActor, Depends(require("tasks:read"))]
TaskWriter = Annotated[UserActor, Depends(require("tasks:write"))]

_WRITE = (TaskNotFound, ProjectReadOnly)


async def task_filter(  # the query parameters of a list
    *,
    project_id: uuid.UUID | None = None,
    repository_id: uuid.UUID | None = None,
    parent_id: uuid.UUID | None = None,
    agent_id: uuid.UUID | None = None,
    plan_id: uuid.UUID | None = None,
    status: Annotated[list[TaskStatus] | None, Query()] = None,
    type: Annotated[list[TaskType] | None, Query()] = None,  # noqa: A002  # as clients call it
    priority: Annotated[list[TaskPriority] | None, Query()] = None,
) -> TaskFilter:
    """Which tasks to list; a parameter that is repeated lets through any of its values."""
    return TaskFilter(
        project_id=project_id,
        repository_id=repository_id,
        parent_id=parent_id,
        agent_id=agent_id,
        plan_id=plan_id,
        statuses=status or (),
        types=type or (),
        priorities=priority or (),
    )


@router.get("/tasks")
async def list_tasks(
    actor: TaskReader,
    read: Read,
    page: Paging,
    wanted: Annotated[TaskFilter, Depends(task_filter)],
    sort: TaskOrder = TaskOrder.NEWEST,
) -> PageOut[TaskOut]:
    """The tasks you may see, newest first unless told otherwise."""
    found = await listing.list_tasks(read, actor, page, wanted, sort)
    return PageOut(items=[task_out(task) for task in found.items], next_cursor=found.next_cursor)


@router.post(
    "/tasks",
    status_code=201,
    responses=responses(
        ProjectNotFound,
        ProjectReadOnly,
        RepositoryNotFound,
        ProjectMissing,
        TaskNotRunnable,
        DependencyElsewhere,
        AgentNotFound,
        AgentUnusable,
    ),
)
async def create_task(body: TaskCreateIn, actor: TaskWriter, tx: Tx, once: CreateOnce) -> TaskOut:
    """Make a task; it is queued at once when nothing holds it back."""

    async def create() -> TaskOut:
        return task_out(await service.create_task(tx, actor, body))

    return await once.run(tx, body, TaskOut, create)


@router.get("/tasks/{task_id}", responses=responses(TaskNotFound))
async def get_task(task_id: uuid.UUID, actor: TaskReader, read: Read) -> TaskDetailOut:
    """One task with its relations."""
    return await task_detail_out(read, await queries.get_task(read, actor, task_id))


@router.patch(
    "/tasks/{task_id}",
    responses=responses(
        *_WRITE, TaskRunning, TaskAlreadyFinished, TaskNotRunnable, AgentNotFound, AgentUnusable
    ),
)
async def edit_task(
    task_id: uuid.UUID, body: TaskEditIn, actor: TaskWriter, tx: Tx, expected: ExpectedVersion
) -> TaskOut:
    """Change a task."""
    task = await queries.get_task_for_change(tx, actor, task_id)
    check_version(task.row_version, expected)
    return task_out(await service.edit_task(tx, task, body))


@router.delete("/tasks/{task_id}", status_code=204, responses=responses(*_WRITE, TaskRunning))
async def delete_task(task_id: uuid.UUID, actor: TaskWriter, tx: Tx) -> None:
    """Delete a task that is not running; its history stays."""
    await service.delete_task(tx, await queries.get_task_for_change(tx, actor, task_id))


@router.post(
    "/tasks/{task_id}/start", responses=responses(*_WRITE, TaskAlreadyFinished, TaskNotRunnable)
)
async def start_task(task_id: uuid.UUID, actor: TaskWriter, tx: Tx) -> TaskOut:
    """Say go: the task is queued as soon as nothing holds it back."""
    task = await queries.get_task_for_change(tx, actor, task_id)
    await service.start_task(tx, task)
    await tx.flush()
    await tx.refresh(task)
    return task_out(task)


@router.post(
    "/tasks/{task_id}/retry", responses=responses(*_WRITE, InvalidTransition, TaskNotRunnable)
)
async def retry_task(task_id: uuid.UUID, actor: TaskWriter, tx: Tx) -> TaskOut:
    """Run a failed or cancelled task again."""
    task = await queries.get_task_for_change(tx, actor, task_id)
    await service.retry_task(tx, task)
    await tx.flush()
    await tx.refresh(task)
    return task_out(task)


@router.post("/tasks/{task_id}/cancel", responses=responses(*_WRITE, TaskAlreadyFinished))
async def cancel_task(
    task_id: uuid.UUID, actor: TaskWriter, tx: Tx, body: TaskCancelIn | None = None
) -> TaskOut:
    """Stop a task; one that runs is cancelled when its worker has stopped it."""
    task = await queries.get_task_for_change(tx, actor, task_id)
    await service.cancel_task(tx, task, body.reason if body else "")
    await tx.flush()
    await tx.refresh(task)
    return task_out(task)


@router.get("/tasks/{task_id}/dependencies", responses=responses(TaskNotFound))
async def list_dependencies(
    task_id: uuid.UUID, actor: TaskReader, read: Read
) -> PageOut[DependencyOut]:
    """What a task waits for or relates to."""
    task = await queries.get_task(read, actor, task_id)
    rows = await queries.list_dependencies(read, task.id)
    return PageOut(items=[queries.relation_out(relation, other) for relation, other in rows])


@router.post(
    "/tasks/{task_id}/dependencies",
    status_code=201,
    responses=responses(
        *_WRITE, DependencyCycle, DependencyExists, DependencyElsewhere, TaskRunning
    ),
)
async def add_dependency(
    task_id: uuid.UUID, body: DependencyIn, actor: TaskWriter, tx: Tx, once: CreateOnce
) -> DependencyOut:
    """Make a task wait for another, or relate them."""

    async def create() -> DependencyOut:
        relation, task, other = await dependencies.add_dependency(tx, actor, task_id, body)
        if dependencies.holds_back(relation):
            await service.hold_back(tx, task)
        return queries.relation_out(relation, other)

    return await once.run(tx, body, DependencyOut, create)


@router.delete(
    "/tasks/{task_id}/dependencies/{depends_on}",
    status_code=204,
    responses=responses(*_WRITE, DependencyNotFound),
)
async def remove_dependency(
    task_id: uuid.UUID, depends_on: uuid.UUID, actor: TaskWriter, tx: Tx
) -> None:
    """End a relation; the task goes on when nothing else holds it back."""
    task = await queries.get_task_for_change(tx, actor, task_id)
    await dependencies.remove_dependency(tx, task, depends_on)
    await service.settle(tx, task)
