"""Reads of the tasks slice."""

import uuid
from collections.abc import Collection, Sequence
from graphlib import CycleError, TopologicalSorter

from sqlalchemy import Select, exists, select
from sqlalchemy.orm import aliased

from agentvine.db.session import ReadSession
from agentvine.domains.projects import queries as projects
from agentvine.domains.tasks.enums import DependencyType, TaskStatus
from agentvine.domains.tasks.errors import TaskNotFound
from agentvine.domains.tasks.models import Task, TaskDependency
from agentvine.kit.actor import Actor
from agentvine.protocol.tasks import DependencyOut

Relation = tuple[TaskDependency, Task]
_MAX_NUMBERED = 20


async def get_task(read: ReadSession, actor: Actor, task_id: uuid.UUID) -> Task:
    """A task the actor may see.

    Raises:
        TaskNotFound: There is none, it is deleted, or it is not theirs to see.
    """
    task = await read.scalar(
        select(Task).where(
            Task.id == task_id,
            Task.deleted_at.is_(None),
            Task.project_id.in_(projects.visible_projects(actor)),
        )
    )
    if task is None:
        raise TaskNotFound(f"You can see no task with the id {task_id}.")
    return task


async def list_numbered(
    read: ReadSession, actor: Actor, number: int, project_id: uuid.UUID | None = None
) -> Sequence[Task]:
    """The tasks of a number that the actor may see: in one project there is one, in all several."""
    query = select(Task).where(
        Task.number == number,
        Task.deleted_at.is_(None),
        Task.project_id.in_(projects.visible_projects(actor)),
    )
    if project_id is not None:
        query = query.where(Task.project_id == project_id)
    return (await read.scalars(query.order_by(Task.id).limit(_MAX_NUMBERED))).all()


async def get_task_for_change(read: ReadSession, actor: Actor, task_id: uuid.UUID) -> Task:
    """A task of a project the actor may work in, locked until the transaction ends.

    Raises:
        TaskNotFound: It is not theirs to see.
        ProjectReadOnly: They may only look.
    """
    task = await get_task(read, actor, task_id)
    await projects.get_project_for_change(read, actor, task.project_id)
    return await lock_task(read, task.id)


async def lock_task(read: ReadSession, task_id: uuid.UUID) -> Task:
    """A task by id, whoever asks, locked and as it is now; for reactions and chores.

    A task is locked before its order, its execution and its change, everywhere; otherwise two
    that need the same rows would wait for each other.
    """
    await read.flush()  # what this command has changed is not to be overwritten by what is read
    return (await read.execute(_locked(task_id))).scalar_one()


async def find_task_of_conversation(
    read: ReadSession, conversation_id: uuid.UUID | None
) -> Task | None:
    """The task that a conversation is about; None where it is about something else."""
    return await read.scalar(select(Task).where(Task.conversation_id == conversation_id))


async def try_lock_task(read: ReadSession, task_id: uuid.UUID) -> Task | None:
    """Like ``lock_task``, but None when somebody else holds it: for what may be left out."""
    await read.flush()
    return await read.scalar(_locked(task_id, skip_locked=True))


async def lock_blocker(read: ReadSession, task_id: uuid.UUID) -> Task:
    """A task by id, kept from ending until this transaction is over.

    Who makes a task wait for another must know that its end has not been told yet. Tasks are locked
    in the direction of waiting: a blocker before what it blocks.
    """
    await read.flush()
    query = select(Task).where(Task.id == task_id).with_for_update(read=True)
    return (await read.execute(query.execution_options(populate_existing=True))).scalar_one()


def _locked(task_id: uuid.UUID, *, skip_locked: bool = False) -> Select[Task]:
    # A key share: rows that refer to the task may be inserted meanwhile.
    return (
        select(Task)
        .where(Task.id == task_id)
        .with_for_update(key_share=True, skip_locked=skip_locked)
        .execution_options(populate_existing=True)
    )


async def list_sub_tasks(read: ReadSession, task: Task) -> Sequence[Task]:
    """A task's direct sub-tasks, oldest first."""
    query = select(Task).where(Task.parent_task_id == task.id, Task.deleted_at.is_(None))
    return (await read.scalars(query.order_by(Task.id))).all()


async def list_dependencies(read: ReadSession, task_id: uuid.UUID) -> list[Relation]:
    """What a task waits for or relates to, with those tasks."""
    other = aliased(Task)
    query = (
        select(TaskDependency, other)
        .join(other, other.id == TaskDependency.depends_on_task_id)
        .where(TaskDependency.task_id == task_id)
        .order_by(other.number)
    )
    return [(relation, task) for relation, task in await read.execute(query)]


async def list_dependants(read: ReadSession, task_id: uuid.UUID) -> list[Relation]:
    """Which tasks wait for or relate to a task, with those tasks."""
    other = aliased(Task)
    query = (
        select(TaskDependency, other)
        .join(other, other.id == TaskDependency.task_id)
        .where(TaskDependency.depends_on_task_id == task_id)
        .order_by(other.number)
    )
    return [(relation, task) for relation, task in await read.execute(query)]


async def list_blockers(read: ReadSession, task_id: uuid.UUID) -> list[Task]:
    """The unfinished tasks that hold a task back."""
    return [
        other
        for relation, other in await list_dependencies(read, task_id)
        if relation.dependency_type is DependencyType.BLOCKS
        and other.status is not TaskStatus.COMPLETED
    ]


async def list_unblocked(read: ReadSession, limit: int) -> Sequence[uuid.UUID]:
    """Ids of blocked tasks that nothing holds back any more."""
    blocker = aliased(Task)
    is_held = exists().where(
        TaskDependency.task_id == Task.id,
        TaskDependency.dependency_type == DependencyType.BLOCKS,
        TaskDependency.depends_on_task_id == blocker.id,
        blocker.status != TaskStatus.COMPLETED,
    )
    query = select(Task.id).where(
        Task.status == TaskStatus.BLOCKED,
        Task.deleted_at.is_(None),
        # Who waits for files is let go by the chore of the files.
        Task.waits_for_files_since.is_(None),
        # What waits for a person, or for its budget, waits for no task.
        Task.context["is_started"].as_boolean(),
        ~is_held,
    )
    return (await read.scalars(query.limit(limit))).all()


async def list_waiting_for_budget(read: ReadSession, limit: int) -> Sequence[Task]:
    """Blocked tasks that go on when more is left of their budgets."""
    query = select(Task).where(
        Task.status == TaskStatus.BLOCKED,
        Task.deleted_at.is_(None),
        Task.context["budget_room"].as_string().is_not(None),
    )
    return (await read.scalars(query.order_by(Task.id).limit(limit))).all()


async def sort_by_waiting(read: ReadSession, task_ids: Collection[uuid.UUID]) -> list[uuid.UUID]:
    """The ids in an order in which none waits, directly or not, for one that comes later."""
    wanted = sorted(set(task_ids))
    if len(wanted) < 2:
        return wanted
    sorter: TopologicalSorter[uuid.UUID] = TopologicalSorter(dict.fromkeys(wanted, ()))
    seen, frontier = set(wanted), wanted
    while frontier:
        query = select(TaskDependency.task_id, TaskDependency.depends_on_task_id).where(
            TaskDependency.depends_on_task_id.in_(frontier),
            TaskDependency.dependency_type == DependencyType.BLOCKS,
        )
        edges = [(after, before) for after, before in (await read.execute(query)).all()]
        for after, before in edges:
            sorter.add(after, before)
        frontier = list({after for after, _ in edges} - seen)
        seen.update(frontier)
    try:
        return [task_id for task_id in sorter.static_order() if task_id in set(wanted)]
    except CycleError:
        return wanted  # somebody wrote a circle with SQL of their own; any order is as good


async def find_path(
    read: ReadSession, origin: uuid.UUID, target: uuid.UUID
) -> list[uuid.UUID] | None:
    """A chain of ``blocks`` dependencies from one task to another, both included."""
    came_from: dict[uuid.UUID, uuid.UUID] = {origin: origin}
    frontier = [origin]
    while frontier and target not in came_from:
        reached = {
            after: before
            for before, after in await _steps_from(read, frontier)
            if after not in came_from
        }
        came_from.update(reached)
        frontier = list(reached)
    if target not in came_from:
        return None
    path = [target]
    while path[-1] != origin:
        path.append(came_from[path[-1]])
    return path[::-1]


async def _steps_from(
    read: ReadSession, tasks: Sequence[uuid.UUID]
) -> list[tuple[uuid.UUID, uuid.UUID]]:
    query = select(TaskDependency.task_id, TaskDependency.depends_on_task_id).where(
        TaskDependency.task_id.in_(tasks), TaskDependency.dependency_type == DependencyType.BLOCKS
    )
    return [(before, after) for before, after in (await read.execute(query)).all()]


def relation_out(relation: TaskDependency, blocker: Task) -> DependencyOut:
    """A dependency as clients see it; ``blocker`` is the task depended on."""
    return DependencyOut(
        task_id=relation.task_id,
        depends_on=relation.depends_on_task_id,
        type=relation.dependency_type,
        depends_on_ref=f"T-{blocker.number}",
        depends_on_title=blocker.title,
        depends_on_status=blocker.status,
    )
