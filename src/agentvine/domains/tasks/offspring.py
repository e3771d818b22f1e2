"""Tasks that a run makes, and how they may hang together: its task's own sub-tasks, within bounds.

A run may do no more by a task that it makes than its own task lets it do: the new one has the same
permission level, runtime and model, starts by itself only where nobody need be asked, and is the
same person's. What has a budget makes nothing that starts by itself, since that would spend past
it.
"""

import uuid

from sqlalchemy import func, select

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.tasks import dependencies, queries, service
from agentvine.domains.tasks.context import read_context
from agentvine.domains.tasks.enums import PermissionLevel
from agentvine.domains.tasks.models import Task, TaskDependency
from agentvine.kit.actor import UserActor
from agentvine.kit.errors import Forbidden, LimitReached
from agentvine.protocol.tasks import DependencyIn, TaskCreateIn

MAX_PER_RUN = 20
MAX_DEPTH = 5
_MADE_BY = "created_by_execution"


class RunMayNot(Forbidden):
    """A run of this task may not do this."""

    code = "run_may_not"


class TooManySubTasks(LimitReached):
    """This run has made as many tasks as it may."""

    code = "too_many_sub_tasks"


async def create_sub_task(
    tx: Transaction, actor: UserActor, task: Task, execution_id: uuid.UUID, wanted: TaskCreateIn
) -> tuple[Task, bool]:
    """A task that a run of another one makes, and whether it is new: its title is made once.

    Args:
        tx: The transaction, in the name of the person whom the run works for.
        actor: The same person, held to the task's project.
        task: The run's own task.
        execution_id: The run.
        wanted: Title, description, type, definition of done and what it waits for; the rest is
            the run's own task's.

    Raises:
        RunMayNot: Its task's permission level says no, or it is a sub-task of too many others.
        TooManySubTasks: It has made so many already.
        ProjectReadOnly: The person may only look there by now.
    """
    _check_level(task)
    made = (
        Task.parent_task_id == task.id,
        Task.metadata_[_MADE_BY].as_string() == str(execution_id),
    )
    known = await tx.scalar(
        select(Task).where(*made, Task.title == wanted.title, Task.deleted_at.is_(None)).limit(1)
    )
    if known is not None:
        return known, False
    if (await tx.scalar(select(func.count()).select_from(Task).where(*made)) or 0) >= MAX_PER_RUN:
        raise TooManySubTasks(f"A run may make {MAX_PER_RUN} tasks; describe the rest in one.")
    if await _depth(tx, task) >= MAX_DEPTH:
        raise RunMayNot(
            f"T-{task.number} is the {MAX_DEPTH}th in a chain of tasks that made each other: do "
            "the work in this run, or say at its end what is left."
        )
    is_started = task.permission_level is PermissionLevel.AUTONOMOUS and task.budget_usd is None
    run = read_context(task).run.model_copy(
        update={"command": None, "not_before": None, "expires_in_seconds": None}
    )
    fields = wanted.model_copy(
        update={
            "project_id": task.project_id,
            "repository_id": task.repository_id,
            "permission": task.permission_level,
            "target_branch": task.branch_name,
            "parent_id": task.id,
            "agent_id": task.assigned_to_agent_id,
            "run": run,
            "metadata": {_MADE_BY: str(execution_id)},
            "start": is_started,
        }
    )
    return await service.create_task(tx, actor, fields), True


async def link_sub_task(
    tx: Transaction, actor: UserActor, task: Task, waiting_id: uuid.UUID, wanted: DependencyIn
) -> tuple[TaskDependency, Task, Task]:
    """Relate a sub-task of the run's task, or the task itself, to another one of the project.

    Raises:
        RunMayNot: Its task's permission level says no, or the task is not its own.
    """
    _check_level(task)
    seen = await queries.get_task(tx, actor, waiting_id)
    if task.id not in {seen.id, seen.parent_task_id}:
        raise RunMayNot(
            f"T-{seen.number} is not yours: a run may let its own sub-tasks wait, and no others. "
            "Say in your report what should wait for what."
        )
    relation, waiting, other = await dependencies.add_dependency(tx, actor, waiting_id, wanted)
    if dependencies.holds_back(relation):
        await service.hold_back(tx, waiting)
    return relation, waiting, other


def _check_level(task: Task) -> None:
    if task.permission_level is PermissionLevel.HUMAN_REQUIRED:
        raise RunMayNot(
            f"T-{task.number} needs a person for every step, so its runs make and link no tasks: "
            "say at the end which are needed, or ask with ask_human."
        )


async def _depth(read: ReadSession, task: Task) -> int:
    """How many tasks stand in the line of parents, this one included; no more than matter."""
    depth, parent_id = 1, task.parent_task_id
    while parent_id is not None and depth < MAX_DEPTH:
        depth += 1
        parent_id = await read.scalar(select(Task.parent_task_id).where(Task.id == parent_id))
    return depth
