"""People's assistants see to tasks."""

import uuid
from typing import Literal

from pydantic import Field

from agentvine.domains.projects import queries as projects
from agentvine.domains.tasks import listing, queries, service
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.listing import TaskFilter
from agentvine.domains.work import why
from agentvine.kit.pagination import PageRequest
from agentvine.mcp.calls import PersonCall
from agentvine.mcp.table import PersonTool
from agentvine.mcp.words import Paged, ToolInput, find_task, listed, read_id, task_line, task_words
from agentvine.protocol.enums import PermissionLevel, TaskType
from agentvine.protocol.paths import FilePatterns
from agentvine.protocol.tasks import TaskCreateIn, TaskRun

_MAX_REPOSITORIES = 50


class ListRepositories(ToolInput):
    """List the repositories in which tasks can be made, with their ids and projects.

    Use it before create_task, to find the repository that is meant.
    """


class ListTasks(Paged):
    """List tasks, newest first. Use it to say how the work stands, or to find a task."""

    status: list[
        Literal[
            "pending",
            "blocked",
            "queued",
            "in_progress",
            "testing",
            "review",
            "completed",
            "failed",
            "cancelled",
        ]
    ] = Field(
        default_factory=list,
        description="Only those; none: all. review: a change waits for approval.",
    )
    project_id: str = Field(default="", max_length=40, description="Only this project's.")


class GetTask(ToolInput):
    """Read a task in full, with why it stands where it stands, its dependencies and sub-tasks."""

    task: str = Field(min_length=1, max_length=60, description="Such as T-12, or an id.")


class CreateTask(ToolInput):
    """Make a task for a coding agent. It begins at once, unless start is false.

    The agent knows the repository, and nothing else: say all that it needs to know, and how to see
    that it is done.
    """

    title: str = Field(min_length=1, max_length=300)
    description: str = Field(min_length=1, max_length=100_000)
    repository_id: str = Field(min_length=1, max_length=40, description="See list_repositories.")
    definition_of_done: str = Field(default="", max_length=10_000)
    type: Literal["feature", "bugfix", "refactor", "test", "docs", "review"] = "feature"
    permission: Literal["human_required", "supervised", "autonomous"] = Field(
        default="supervised",
        description="supervised: a person approves the change; autonomous: nobody is asked; "
        "human_required: a person starts it, and allows each command.",
    )
    runtime: str = Field(
        default="claude-code",
        min_length=1,
        max_length=50,
        description="The agent's program: claude-code, codex, opencode, gemini, qwen, llm, ...",
    )
    model: str = Field(default="", max_length=100, description="Empty: the usual one.")
    test_command: str = Field(
        default="", max_length=10_000, description="Empty: the repository's own."
    )
    touches: FilePatterns = Field(
        default_factory=list[str],
        description="Files and patterns that it will change; it waits for others that do, too.",
    )
    start: bool = True


class ControlTask(ToolInput):
    """Start a task that waits for somebody, stop one, or run a failed or stopped one again."""

    task: str = Field(min_length=1, max_length=60, description="Such as T-12, or an id.")
    action: Literal["start", "cancel", "retry"]
    reason: str = Field(default="", max_length=2000, description="Why it is stopped.")


async def _list_repositories(call: PersonCall, _: ListRepositories) -> str:
    async with call.state.database.read() as read:
        page = PageRequest(limit=_MAX_REPOSITORIES)
        found = await projects.list_repositories(read, call.actor, page)
        names = {
            project.id: project.name
            for project in (await projects.list_projects(read, call.actor, page)).items
        }
    lines = [
        f"{row.name}: {row.path} (id {row.id}, branch {row.default_branch}, project "
        f"{names.get(row.project_id, 'of another page') if row.project_id else 'none'} "
        f"{row.project_id or ''})"
        for row in found.items
    ]
    nothing = "There is none: a person registers one with `agentvine repo register PATH`."
    return "\n".join(lines) or nothing


async def _list(call: PersonCall, given: ListTasks) -> str:
    project_id = read_id(given.project_id, "project") if given.project_id else None
    wanted = TaskFilter(
        project_id=project_id, statuses=tuple(TaskStatus(each) for each in given.status)
    )
    async with call.state.database.read() as read:
        found = await listing.list_tasks(read, call.actor, given.page, wanted)
    lines = [task_line(task) for task in found.items]
    return listed(lines, found.next_cursor, "There are none.")


async def _get(call: PersonCall, given: GetTask) -> str:
    async with call.state.database.read() as read:
        task = await find_task(read, call.actor, given.task)
        reasons = await why.explain(read, task, await why.newest_order(read, task.id))
        waits = [other for _, other in await queries.list_dependencies(read, task.id)]
        children = await queries.list_sub_tasks(read, task)
    parts = [task_words(task)]
    if reasons.reasons:
        parts.append("\n".join(["why:", *(f"- {each.message}" for each in reasons.reasons)]))
    for title, others in (("depends on or relates to", waits), ("sub-tasks", children)):
        if others:
            parts.append("\n".join([f"{title}:", *map(task_line, others)]))
    return "\n\n".join(parts)


async def _create(call: PersonCall, given: CreateTask) -> str:
    repository_id: uuid.UUID = read_id(given.repository_id, "repository")
    fields = {"runtime": given.runtime, "model": given.model or None}
    fields |= {"test_command": given.test_command} if given.test_command else {}
    wanted = TaskCreateIn(
        title=given.title,
        description=given.description,
        definition_of_done=given.definition_of_done or None,
        repository_id=repository_id,
        type=TaskType(given.type),
        permission=PermissionLevel(given.permission),
        run=TaskRun.model_validate(fields),
        touches=given.touches,
        start=given.start,
    )
    async with call.state.database.transaction(call.actor) as tx:
        return f"Made: {task_line(await service.create_task(tx, call.actor, wanted))}"


async def _control(call: PersonCall, given: ControlTask) -> str:
    async with call.state.database.transaction(call.actor) as tx:
        found = await find_task(tx, call.actor, given.task)
        task = await queries.get_task_for_change(tx, call.actor, found.id)
        match given.action:
            case "start":
                await service.start_task(tx, task)
            case "retry":
                await service.retry_task(tx, task)
            case "cancel":
                await service.cancel_task(tx, task, given.reason)
        await tx.flush()
        return task_line(task)


TOOLS = (
    PersonTool(
        name="list_repositories",
        takes=ListRepositories,
        scope="projects:read",
        do=_list_repositories,
        is_read_only=True,
    ),
    PersonTool(name="list_tasks", takes=ListTasks, scope="tasks:read", do=_list, is_read_only=True),
    PersonTool(name="get_task", takes=GetTask, scope="tasks:read", do=_get, is_read_only=True),
    PersonTool(name="create_task", takes=CreateTask, scope="tasks:write", do=_create),
    PersonTool(name="control_task", takes=ControlTask, scope="tasks:write", do=_control),
)
