"""Commands on the relations between tasks. The graph of ``blocks`` has no circle, ever."""

import uuid
from collections.abc import Collection, Sequence

from sqlalchemy import select

from agentvine.db.session import Transaction
from agentvine.domains.identity import history
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.models import Project
from agentvine.domains.tasks import queries
from agentvine.domains.tasks.enums import DependencyType
from agentvine.domains.tasks.errors import (
    DependencyCycle,
    DependencyElsewhere,
    DependencyExists,
    DependencyNotFound,
    TaskNotFound,
)
from agentvine.domains.tasks.models import Task, TaskDependency
from agentvine.domains.tasks.states import FINAL
from agentvine.kit.actor import Actor
from agentvine.kit.ids import new_id
from agentvine.protocol.tasks import DependencyIn

_SHOWN = 20


async def add_dependency(
    tx: Transaction, actor: Actor, task_id: uuid.UUID, wanted: DependencyIn
) -> tuple[TaskDependency, Task, Task]:
    """Relate a task to another one of its project; the relation, the task and the other.

    Raises:
        TaskNotFound: One of them is not theirs to see.
        ProjectReadOnly: They may only look.
        DependencyCycle: It would close a circle; the path is in the error.
        DependencyElsewhere: The other task belongs to another project.
        DependencyExists: They are related already.
    """
    seen = await queries.get_task(tx, actor, task_id)
    await projects.get_project_for_change(tx, actor, seen.project_id)
    # One change of a project's graph at a time, so that two halves of a circle cannot both pass.
    # No task is locked yet: two of us would each wait for the other's.
    await tx.execute(
        select(Project.id).where(Project.id == seen.project_id).with_for_update(key_share=True)
    )
    other = await queries.get_task(tx, actor, wanted.depends_on)
    if other.project_id != seen.project_id:
        raise DependencyElsewhere(f"{other.title!r} belongs to another project.")
    if wanted.type is DependencyType.BLOCKS or other.id == task_id:
        await _refuse_a_circle(tx, seen, other)
    known = await tx.scalar(
        select(TaskDependency.id).where(
            TaskDependency.task_id == task_id, TaskDependency.depends_on_task_id == other.id
        )
    )
    if known is not None:
        raise DependencyExists(f"T-{seen.number} and T-{other.number} are related already.")
    other = await queries.lock_blocker(tx, other.id)
    task = await queries.lock_task(tx, task_id)
    if other.deleted_at is not None or task.deleted_at is not None:
        raise TaskNotFound("One of them was deleted just now.")
    relation = _relate(tx, task, other, wanted.type)
    await tx.flush()
    return relation, task, other


async def add_new_tasks_blockers(
    tx: Transaction, actor: Actor, task: Task, blocker_ids: Collection[uuid.UUID]
) -> None:
    """Make a task that nothing depends on yet wait for others; no circle is possible.

    Raises:
        TaskNotFound: One is not theirs to see.
        DependencyElsewhere: One belongs to another project.
    """
    for blocker_id in blocker_ids:
        other = await queries.get_task(tx, actor, blocker_id)
        if other.project_id != task.project_id:
            raise DependencyElsewhere(f"{other.title!r} belongs to another project.")
    for blocker_id in await queries.sort_by_waiting(tx, blocker_ids):
        other = await queries.lock_blocker(tx, blocker_id)
        if other.deleted_at is not None:
            raise TaskNotFound(f"T-{other.number} was deleted just now.")
        _relate(tx, task, other, DependencyType.BLOCKS)


async def remove_dependency(tx: Transaction, task: Task, other_id: uuid.UUID) -> None:
    """End a relation.

    Raises:
        DependencyNotFound: They are not related.
    """
    relation = await tx.scalar(
        select(TaskDependency).where(
            TaskDependency.task_id == task.id, TaskDependency.depends_on_task_id == other_id
        )
    )
    if relation is None:
        raise DependencyNotFound(f"T-{task.number} does not depend on {other_id}.")
    await tx.delete(relation)
    history.record(
        tx,
        "task.dependency_removed",
        entity=("task", task.id),
        project_id=task.project_id,
        before={"depends_on": str(other_id)},
    )
    await tx.flush()


def holds_back(relation: TaskDependency) -> bool:
    """Whether this relation makes one task wait for the other."""
    return relation.dependency_type is DependencyType.BLOCKS


def describe(blockers: Sequence[Task]) -> str:
    """Why a task is blocked, in one line."""
    deleted = [task for task in blockers if task.deleted_at is not None]
    ended = [task for task in blockers if task.status in FINAL and task not in deleted]
    told: list[str] = []
    if ended:
        states = ", ".join(f"T-{task.number} {task.status.value}" for task in ended)
        told.append(f"{states}: retry it, or remove the dependency")
    if deleted:
        told.append(f"{_refs(deleted)} was deleted: remove the dependency")
    if not told:
        told.append(f"waits for {_refs(blockers)}")
    return "; ".join(told)


def _refs(tasks: Sequence[Task]) -> str:
    shown = ", ".join(f"T-{task.number}" for task in tasks[:_SHOWN])
    more = len(tasks) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _relate(tx: Transaction, task: Task, other: Task, kind: DependencyType) -> TaskDependency:
    relation = TaskDependency(
        id=new_id(), task_id=task.id, depends_on_task_id=other.id, dependency_type=kind
    )
    tx.add(relation)
    history.record(
        tx,
        "task.dependency_added",
        entity=("task", task.id),
        project_id=task.project_id,
        after={"depends_on": f"T-{other.number}", "type": kind.value},
    )
    return relation


async def _refuse_a_circle(tx: Transaction, task: Task, other: Task) -> None:
    path = await queries.find_path(tx, other.id, task.id)
    if path is None:
        return
    rows = await tx.execute(select(Task.id, Task.number).where(Task.id.in_(path)))
    numbers: dict[uuid.UUID, int] = {row[0]: row[1] for row in rows.all()}
    refs = [f"T-{numbers[task_id]}" for task_id in [task.id, *path]]
    raise DependencyCycle(f"{' waits for '.join(refs)}: remove one of these first.", path=refs)
