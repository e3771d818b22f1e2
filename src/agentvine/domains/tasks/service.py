"""Commands of the tasks slice: create, edit, start, cancel, retry, delete, finish."""

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal

from pydantic_core import to_jsonable_python
from sqlalchemy import update

from agentvine.db.session import Transaction
from agentvine.domains.agents import queries as agents
from agentvine.domains.agents.enums import AgentId
from agentvine.domains.agents.models import Agent
from agentvine.domains.conversations.enums import ConversationId, ConversationType
from agentvine.domains.conversations.models import Conversation
from agentvine.domains.identity import history
from agentvine.domains.plans.enums import PlanId
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.models import Project, Repository
from agentvine.domains.tasks import dependencies, files, queries
from agentvine.domains.tasks.context import TaskContext, read_context, write_context
from agentvine.domains.tasks.enums import PermissionLevel, TaskFileSource, TaskStatus
from agentvine.domains.tasks.errors import (
    InvalidTransition,
    ProjectMissing,
    TaskAlreadyFinished,
    TaskNotRunnable,
    TaskRunning,
)
from agentvine.domains.tasks.events import (
    TaskCancelRequested,
    TaskEdited,
    TaskFinished,
    TaskHeldBack,
    TaskReady,
)
from agentvine.domains.tasks.models import Task
from agentvine.domains.tasks.states import FINAL, HELD, RUNNING, set_status
from agentvine.kit.actor import UserActor
from agentvine.kit.ids import new_id
from agentvine.protocol.tasks import TaskCreateIn, TaskEditIn, TaskRun

WAITS_FOR_START = "waits for somebody to start it"
_BEING_CANCELLED = "being cancelled: "


@dataclass(frozen=True, slots=True)
class StepOrigin:
    """The step of a plan version that a task is made of."""

    plan_id: PlanId
    key: str


async def create_task(
    tx: Transaction,
    actor: UserActor,
    wanted: TaskCreateIn,
    *,
    origin: StepOrigin | None = None,
    foreseen: Collection[str] = (),
) -> Task:
    """Make a task; queue it when it is to start and nothing holds it back.

    Args:
        tx: The transaction.
        actor: Whose task it is.
        wanted: What is asked for.
        origin: The step of a plan that it is made of.
        foreseen: Files that an analysis expects it to change.

    Raises:
        ProjectMissing: Neither a project nor a repository of one is named, or they differ, or
            the parent's is another.
        AgentUnusable: The agent is inactive, or another project's.
        TaskNotRunnable: It is to start but lacks what its runtime needs.
        DependencyElsewhere: It depends on a task of another project.
    """
    repository, project = await _place_of(tx, actor, wanted)
    parent = await queries.get_task(tx, actor, wanted.parent_id) if wanted.parent_id else None
    if parent is not None and parent.project_id != project.id:
        raise ProjectMissing(f"{parent.title!r}, the parent, belongs to another project.")
    run = wanted.run
    if wanted.agent_id is not None:
        agent = await agents.get_agent_for_task(tx, actor, wanted.agent_id, project.id)
        run = _run_by(agent, run)
    task = Task(
        id=new_id(),
        number=await _next_number(tx, project.id),
        title=wanted.title,
        description=wanted.description,
        status=TaskStatus.PENDING,
        task_type=wanted.type,
        permission_level=wanted.permission,
        priority=wanted.priority,
        project_id=project.id,
        repository_id=repository.id if repository else None,
        repository_url=(repository.git_url or repository.path)[:500] if repository else None,
        branch_name=wanted.target_branch or (repository.default_branch if repository else None),
        definition_of_done=wanted.definition_of_done,
        plan_id=origin.plan_id if origin else None,
        plan_step=origin.key if origin else None,
        parent_task_id=parent.id if parent else None,
        assigned_to_agent_id=AgentId(wanted.agent_id) if wanted.agent_id else None,
        metadata_=wanted.metadata,
        budget_usd=wanted.budget_usd,
        created_by=actor.user_id,
    )
    is_started = wanted.start and wanted.permission is not PermissionLevel.HUMAN_REQUIRED
    write_context(task, TaskContext(run=run, is_started=is_started))
    if is_started:
        check_runnable(task, run)
    _open_conversation(tx, task, by=actor.user_id)
    await tx.flush()  # the task refers to its conversation, and dependencies to the task
    tx.add(task)
    await tx.flush()
    told = {"ref": f"T-{task.number}", "title": task.title, "type": wanted.type.value}
    history.record(tx, "task.created", entity=("task", task.id), project_id=project.id, after=told)
    declared = TaskFileSource.PLAN if origin else TaskFileSource.DECLARED
    await _say_files(tx, task, {declared: wanted.touches, TaskFileSource.IMPACT: foreseen})
    await dependencies.add_new_tasks_blockers(tx, actor, task, set(wanted.depends_on))
    await tx.flush()  # the blockers just added are read back
    await settle(tx, task)
    await tx.flush()
    await tx.refresh(task)
    return task


async def _say_files(
    tx: Transaction, task: Task, said: Mapping[TaskFileSource, Collection[str]]
) -> None:
    for source, patterns in said.items():
        if patterns:
            await files.set_files(tx, task, patterns, source)


def _run_by(agent: Agent, run: TaskRun) -> TaskRun:
    """The agent's own runtime where the task does not say."""
    runtime = agent.model_config.get("runtime")
    if runtime and "runtime" not in run.model_fields_set:
        return run.model_copy(update={"runtime": runtime})
    return run


async def ensure_conversation(tx: Transaction, task: Task) -> ConversationId:
    """The task's conversation, made where there is none: its row may have been deleted."""
    if task.conversation_id is None:
        _open_conversation(tx, task, by=task.created_by)
        await tx.flush()
    assert task.conversation_id is not None
    return task.conversation_id


def _open_conversation(tx: Transaction, task: Task, *, by: uuid.UUID | None) -> None:
    conversation = Conversation(
        id=ConversationId(new_id()),
        title=task.title[:200],
        type=ConversationType.TASK,
        project_id=task.project_id,
        created_by_user_id=by,
    )
    tx.add(conversation)
    task.conversation_id = conversation.id


async def settle(tx: Transaction, task: Task) -> None:
    """Move a task that has not begun to where it belongs: pending, blocked or queued."""
    if task.status not in HELD:
        return
    if not read_context(task).is_started:
        if task.status is not TaskStatus.BLOCKED:
            set_status(tx, task, TaskStatus.PENDING, reason=WAITS_FOR_START)
        return
    told = await _what_holds_back(tx, task)
    if told is not None:
        set_status(tx, task, TaskStatus.BLOCKED, reason=told)
        return
    set_status(tx, task, TaskStatus.QUEUED)
    tx.emit(TaskReady(task))


async def hold_back(tx: Transaction, task: Task) -> None:
    """Settle a task after it got something more to wait for.

    Raises:
        TaskRunning: It runs already.
    """
    if task.status in RUNNING:
        raise TaskRunning(f"T-{task.number} runs already; what it waits for cannot change now.")
    if task.status is not TaskStatus.QUEUED:
        await settle(tx, task)
        return
    told = await _what_holds_back(tx, task)
    if told is not None:
        set_status(tx, task, TaskStatus.BLOCKED, reason=told)
        tx.emit(TaskHeldBack(task))


async def _what_holds_back(tx: Transaction, task: Task) -> str | None:
    """Tasks that must be completed first, or others that are at work on its files."""
    blockers = await queries.list_blockers(tx, task.id)
    if blockers:
        task.waits_for_files_since = None
        return dependencies.describe(blockers)
    told = await files.hold_files(tx, task)
    if told is not None and task.waits_for_files_since is None:
        task.waits_for_files_since = tx.now
    return told


async def edit_task(tx: Transaction, task: Task, change: TaskEditIn) -> Task:
    """Change what is given. A waiting order follows; a running attempt is not touched.

    Raises:
        TaskRunning: ``run`` cannot change while an attempt runs.
        TaskAlreadyFinished: A finished task's run is history.
        AgentNotFound: There is no such agent, or it is not theirs to see.
        AgentUnusable: It is inactive, or another project's.
    """
    fields = change.model_dump(exclude_unset=True)
    before = {name: _field(task, name) for name in fields if name != "touches"}
    if "run" in fields and change.run is not None:
        if task.status in RUNNING:
            raise TaskRunning("Cancel it first, or wait until this attempt has ended.")
        if task.status in FINAL:
            raise TaskAlreadyFinished("Retry it with `agentvine task retry`, then change it.")
        context = read_context(task)
        if context.is_started:
            check_runnable(task, change.run)
        write_context(task, context.model_copy(update={"run": change.run}))
        fields.pop("run")
    if "touches" in fields:
        await files.set_files(tx, task, fields.pop("touches"), TaskFileSource.DECLARED)
        # Somebody knows better than what was foreseen.
        await files.set_files(tx, task, (), TaskFileSource.IMPACT)
    if "agent_id" in fields:
        await _assign(tx, task, fields.pop("agent_id"))
    if "permission" in fields:
        _change_permission(tx, task, PermissionLevel(fields.pop("permission")))
    for name, value in fields.items():
        setattr(task, name, value)
    history.record(
        tx,
        "task.edited",
        entity=("task", task.id),
        project_id=task.project_id,
        before=before,
        after=change.model_dump(mode="json", exclude_unset=True),
    )
    tx.emit(TaskEdited(task))
    await tx.flush()
    if change.touches is not None and task.status in HELD | {TaskStatus.QUEUED}:
        await hold_back(tx, task)
        await tx.flush()
    await tx.refresh(task)
    return task


async def start_task(tx: Transaction, task: Task) -> None:
    """Say go: queue the task as soon as nothing holds it back.

    Raises:
        TaskAlreadyFinished: It is over; retry it instead.
        TaskNotRunnable: It lacks what its runtime needs.
        ProjectArchived: Nothing new begins in its project.
    """
    if task.status in FINAL:
        raise TaskAlreadyFinished(
            f"T-{task.number} is {task.status}; `agentvine task retry` runs it again."
        )
    projects.check_is_active(await tx.get_one(Project, task.project_id))
    context = read_context(task)
    check_runnable(task, context.run)
    write_context(task, context.model_copy(update={"is_started": True, "budget_room": None}))
    await settle(tx, task)


async def retry_task(tx: Transaction, task: Task) -> None:
    """Run a failed or cancelled task again, as a new work order.

    Raises:
        InvalidTransition: It is not over, or it is completed.
        TaskNotRunnable: It lacks what its runtime needs.
    """
    if task.status not in {TaskStatus.FAILED, TaskStatus.CANCELLED}:
        raise InvalidTransition(
            f"T-{task.number} is {task.status}; only a failed or cancelled task is tried again.",
            status=task.status.value,
        )
    set_status(tx, task, TaskStatus.PENDING)
    await start_task(tx, task)
    await _settle_dependants(tx, task)


async def redo_task(tx: Transaction, task: Task, *, description: str, reason: str) -> None:
    """Run a task again whose change is not taken, as a new work order with another description.

    Args:
        tx: The transaction.
        task: In review, and locked.
        description: What it is told now.
        reason: Why its change is not taken.

    Raises:
        TaskNotRunnable: It lacks what its runtime needs.
        ProjectArchived: Nothing new begins in its project.
    """
    await edit_task(tx, task, TaskEditIn(description=description))
    set_status(tx, task, TaskStatus.PENDING, reason=reason)
    await start_task(tx, task)


async def cancel_task(tx: Transaction, task: Task, reason: str) -> None:
    """Stop a task. One that runs is told to stop, and is cancelled when it has.

    Raises:
        TaskAlreadyFinished: It is over.
    """
    if task.status is TaskStatus.CANCELLED:
        return
    if task.status in FINAL:
        raise TaskAlreadyFinished(f"T-{task.number} is {task.status} already.")
    why = reason or f"cancelled by {tx.actor.label}"
    if task.status in RUNNING:
        task.status_reason = f"{_BEING_CANCELLED}{why}"
    else:
        await finish_task(tx, task, TaskStatus.CANCELLED, reason=why)
    tx.emit(TaskCancelRequested(task, why))


def why_cancelled(task: Task) -> str | None:
    """Why a task that ran was told to stop; None when it was not."""
    said = task.status_reason or ""
    return said.removeprefix(_BEING_CANCELLED) if said.startswith(_BEING_CANCELLED) else None


async def delete_task(tx: Transaction, task: Task) -> None:
    """Hide a task that is not running; its history stays, and a change of it is turned down.

    Raises:
        TaskRunning: Cancel it first.
    """
    if task.status in RUNNING or task.status is TaskStatus.QUEUED:
        raise TaskRunning("Cancel it first; then it can be deleted.")
    task.deleted_at = tx.now
    history.record(tx, "task.deleted", entity=("task", task.id), project_id=task.project_id)
    if task.status in FINAL:
        await _settle_dependants(tx, task)
    else:
        await cancel_task(tx, task, "deleted")


def block_for_person(tx: Transaction, task: Task, *, reason: str) -> None:
    """Let a task wait until a person has put something right and says go again."""
    told = f"{reason.rstrip('.')}; put it right, then `agentvine task start T-{task.number}`"
    _block(tx, task, told, None)


def block_for_budget(tx: Transaction, task: Task, *, reason: str, room: Decimal) -> None:
    """Let a task wait until more of its budgets is left than this part of the tightest one."""
    told = f"{reason}; it goes on by itself then, at once with `agentvine task resume"
    _block(tx, task, f"{told} T-{task.number}`", room)


def _block(tx: Transaction, task: Task, reason: str, budget_room: Decimal | None) -> None:
    # Not started any more: what it depends on must not set it going.
    change = {"is_started": False, "budget_room": budget_room}
    write_context(task, read_context(task).model_copy(update=change))
    set_status(tx, task, TaskStatus.BLOCKED, reason=reason)


async def finish_task(
    tx: Transaction, task: Task, status: TaskStatus, *, reason: str | None = None
) -> None:
    """End a task, and tell those that wait for it: they go on, or learn why they cannot."""
    set_status(tx, task, status, reason=reason)
    await files.release_files(tx, task)
    await _settle_dependants(tx, task)
    tx.emit(TaskFinished(task))


async def _settle_dependants(tx: Transaction, task: Task) -> None:
    await tx.flush()  # the dependants' blockers are read with this task's new status
    waiting = [
        other.id
        for relation, other in await queries.list_dependants(tx, task.id)
        if dependencies.holds_back(relation) and other.status is not TaskStatus.COMPLETED
    ]
    # Each is looked at under its lock, whatever it was just now: somebody may be starting it, and
    # have found that this task has not ended.
    for task_id in await queries.sort_by_waiting(tx, waiting):
        other = await queries.lock_task(tx, task_id)
        if other.status is TaskStatus.BLOCKED:
            await settle(tx, other)


def check_runnable(task: Task, run: TaskRun) -> None:
    """See that a worker would know what to do.

    Raises:
        TaskNotRunnable: What is missing is named.
    """
    if task.repository_id is None:
        raise TaskNotRunnable("Name a repository: `--repo PATH`, or `repository_id`.")
    check_run(run)


def check_run(run: TaskRun) -> None:
    """See that a runtime is told what it needs.

    Raises:
        TaskNotRunnable: What is missing is named.
    """
    if run.runtime == "command" and not (run.command or "").strip():
        raise TaskNotRunnable("The command runtime needs a command: `--command '...'`.")


def _change_permission(tx: Transaction, task: Task, level: PermissionLevel) -> None:
    """Change how much happens without a person; one who must be asked is asked before the run."""
    is_stricter = level is not task.permission_level and level is PermissionLevel.HUMAN_REQUIRED
    task.permission_level = level
    if is_stricter and task.status in HELD | {TaskStatus.QUEUED}:
        write_context(task, read_context(task).model_copy(update={"is_started": False}))
        was_queued = task.status is TaskStatus.QUEUED
        set_status(tx, task, TaskStatus.PENDING, reason=WAITS_FOR_START)
        if was_queued:
            tx.emit(TaskHeldBack(task))


async def _place_of(
    tx: Transaction, actor: UserActor, wanted: TaskCreateIn
) -> tuple[Repository | None, Project]:
    repository = (
        await projects.get_repository(tx, actor, wanted.repository_id)
        if wanted.repository_id
        else None
    )
    project_id = wanted.project_id or (repository.project_id if repository else None)
    if project_id is None:
        raise ProjectMissing("Name a project, or a repository that belongs to one.")
    if repository is not None and repository.project_id != project_id:
        raise ProjectMissing(f"{repository.name} belongs to another project.")
    return repository, await projects.get_active_project_for_change(tx, actor, project_id)


async def _next_number(tx: Transaction, project_id: uuid.UUID) -> int:
    taken = await tx.scalar(
        update(Project)
        .where(Project.id == project_id)
        .values(next_task_number=Project.next_task_number + 1)
        .returning(Project.next_task_number)
        .execution_options(synchronize_session=False)
    )
    assert taken is not None, "the project was just read in this transaction"
    return int(taken) - 1


async def _assign(tx: Transaction, task: Task, agent_id: uuid.UUID | None) -> None:
    if agent_id is not None:
        await agents.get_agent_for_task(tx, tx.actor, agent_id, task.project_id)
    task.assigned_to_agent_id = AgentId(agent_id) if agent_id else None


def _field(task: Task, name: str) -> object:
    if name == "agent_id":
        return to_jsonable_python(task.assigned_to_agent_id)
    if name == "run":
        return read_context(task).run.model_dump(mode="json")
    if name == "permission":
        return task.permission_level.value
    return to_jsonable_python(getattr(task, name))  # money is exact, and no JSON number
