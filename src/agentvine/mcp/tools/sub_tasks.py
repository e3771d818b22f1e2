"""A run's agent makes tasks of what is not for this run, and says what waits for what."""

import uuid
from typing import Literal

from pydantic import Field

from agentvine.domains.tasks import offspring
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.models import Task
from agentvine.mcp.calls import RunCall
from agentvine.mcp.table import RunTool
from agentvine.mcp.words import ToolInput, find_task, task_line
from agentvine.protocol.enums import DependencyType, TaskType
from agentvine.protocol.tasks import DependencyIn, TaskCreateIn

_WAITS = "It waits until somebody starts it."
_STARTS = "It begins by itself, as soon as nothing holds it back."


class CreateTask(ToolInput):
    """Make a sub-task of your own task, for work that is worth doing and is not part of yours.

    Use it for what you find on the way, or to split work that is too large for one run. It is done
    by another run, in a work tree of its own, which sees nothing of what you have not finished: say
    all that it needs to know. Do not make a task of what you are to do yourself. The same title
    makes no second task.
    """

    title: str = Field(min_length=1, max_length=300, description="What is to be done, in a line.")
    description: str = Field(
        min_length=1, max_length=50_000, description="All that is needed to do it: where, why, how."
    )
    definition_of_done: str = Field(
        default="", max_length=10_000, description="How to see that it is done."
    )
    type: Literal["feature", "bugfix", "refactor", "test", "docs"] = "feature"
    waits_for: list[str] = Field(
        default_factory=list[str],
        max_length=20,
        description="Tasks, such as T-12, that must be completed before it begins.",
    )


class LinkTasks(ToolInput):
    """Let a sub-task of yours wait for another task, or note that two have to do with each other.

    Use it after create_task, when you see later what must come first. Only your own sub-tasks can
    be made to wait.
    """

    task: str = Field(min_length=1, max_length=60, description="Such as T-12.")
    other: str = Field(min_length=1, max_length=60, description="The other task, such as T-9.")
    relation: Literal["waits_for", "relates_to"] = "waits_for"


async def _create(call: RunCall, given: CreateTask) -> str:
    async with call.state.database.read() as read:
        person = await call.person(read)
    async with call.state.database.transaction(person) as tx:
        task = await tx.get_one(Task, call.run.task_id)
        blockers: list[uuid.UUID] = [
            (await find_task(tx, person, named, call.run.project_id)).id
            for named in given.waits_for
        ]
        wanted = TaskCreateIn(
            title=given.title,
            description=given.description,
            definition_of_done=given.definition_of_done or None,
            type=TaskType(given.type),
            depends_on=blockers,
        )
        made, is_new = await offspring.create_sub_task(
            tx, person, task, call.run.execution_id, wanted
        )
        await call.check_held(tx)
        line = task_line(made)
        is_waiting = made.status is TaskStatus.PENDING
    if not is_new:
        return f"You have made it already: {line}"
    return f"Made: {line}\n{_WAITS if is_waiting else _STARTS}"


async def _link(call: RunCall, given: LinkTasks) -> str:
    async with call.state.database.read() as read:
        person = await call.person(read)
    kind = DependencyType.BLOCKS if given.relation == "waits_for" else DependencyType.RELATED
    async with call.state.database.transaction(person) as tx:
        own = await tx.get_one(Task, call.run.task_id)
        waiting = await find_task(tx, person, given.task, call.run.project_id)
        other = await find_task(tx, person, given.other, call.run.project_id)
        await offspring.link_sub_task(
            tx, person, own, waiting.id, DependencyIn(depends_on=other.id, type=kind)
        )
        await call.check_held(tx)
        words = "waits for" if kind is DependencyType.BLOCKS else "relates to"
        return f"T-{waiting.number} {words} T-{other.number} now."


TOOLS = (
    RunTool(name="create_task", takes=CreateTask, do=_create),
    RunTool(name="link_tasks", takes=LinkTasks, do=_link),
)
