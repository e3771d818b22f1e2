"""What a run's agent may read: its own task, and the other tasks of the project."""

from typing import Literal

from pydantic import Field

from agentvine.db.session import ReadSession
from agentvine.domains.conversations import questions
from agentvine.domains.tasks import listing, queries
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.listing import TaskFilter
from agentvine.domains.tasks.models import Task
from agentvine.mcp.calls import RunCall
from agentvine.mcp.table import RunTool
from agentvine.mcp.words import Paged, ToolInput, find_task, listed, task_line, task_words

_MAX_ANSWERS = 20


class ReadTask(ToolInput):
    """Read a task in full: what is wanted, when it is done, what it waits for, what was answered.

    Without a name it is the task that you work on. Use it when you are not sure what is wanted, or
    to see what another task of the project is about.
    """

    task: str = Field(default="", max_length=60, description="Such as T-12; empty for your own.")


class ListTasks(Paged):
    """List the tasks of this project, newest first.

    Use it before you make a task, to see whether there is one already.
    """

    status: Literal["", "open", "done"] = Field(
        default="", description="open: not over yet; done: completed; empty: all."
    )


async def _read(call: RunCall, given: ReadTask) -> str:
    async with call.state.database.read() as read:
        if given.task:
            actor = await call.person(read)
            task = await find_task(read, actor, given.task, call.run.project_id)
        else:
            task = await read.get_one(Task, call.run.task_id)
        parts = [task_words(task), *await _related(read, task)]
        parts += [await _answers(read, task)]
    return "\n\n".join(part for part in parts if part)


async def _list(call: RunCall, given: ListTasks) -> str:
    async with call.state.database.read() as read:
        actor = await call.person(read)
        wanted = TaskFilter(project_id=call.run.project_id, statuses=_STATUSES[given.status])
        found = await listing.list_tasks(read, actor, given.page, wanted)
    lines = [task_line(task) for task in found.items]
    return listed(lines, found.next_cursor, "There are none.")


_STATUSES: dict[str, tuple[TaskStatus, ...]] = {
    "": (),
    "done": (TaskStatus.COMPLETED,),
    "open": tuple(
        status
        for status in TaskStatus
        if status not in {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED}
    ),
}


async def _related(read: ReadSession, task: Task) -> list[str]:
    waits = [other for _, other in await queries.list_dependencies(read, task.id)]
    children = await queries.list_sub_tasks(read, task)
    told: list[str] = []
    for title, others in (("depends on or relates to", waits), ("sub-tasks", children)):
        if others:
            told.append("\n".join([f"{title}:", *map(task_line, others)]))
    return told


async def _answers(read: ReadSession, task: Task) -> str:
    answered = await questions.list_answered(read, task.conversation_id, limit=_MAX_ANSWERS)
    lines: list[str] = []
    for question in answered:
        answer = questions.facts_of(question).answer
        if answer is not None:
            said = ", ".join([*answer.choices, answer.text]).strip(", ") or answer.decision.value
            lines.append(f"- {question.message}\n  {answer.author}: {said}")
    return "\n".join(["answered so far:", *lines]) if lines else ""


TOOLS = (
    RunTool(name="read_task", takes=ReadTask, do=_read, is_read_only=True),
    RunTool(name="list_tasks", takes=ListTasks, do=_list, is_read_only=True),
)
