"""When something waits for people, or has failed: those whom it concerns are told.

Nothing is sent here. A notice is a row in the transaction of what it tells of, and comes after the
events that free what others wait for.
"""

import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog
from sqlalchemy.exc import DBAPIError

from agentvine.db.session import Transaction
from agentvine.domains.conversations.enums import QuestionState
from agentvine.domains.conversations.events import QuestionAsked
from agentvine.domains.conversations.models import ChatMessage, Conversation
from agentvine.domains.conversations.questions import Facts, facts_of
from agentvine.domains.modifications.enums import ModificationStatus
from agentvine.domains.modifications.events import ChangeNotApplicable, ChangeRecorded
from agentvine.domains.modifications.models import Modification
from agentvine.domains.notifications import service as notifications
from agentvine.domains.notifications.enums import NotificationType, Severity
from agentvine.domains.notifications.service import Notice
from agentvine.domains.plans.models import Plan
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.models import Project
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.events import TaskFinished
from agentvine.domains.tasks.models import Task
from agentvine.domains.team import queries as team
from agentvine.domains.usage.events import BudgetExhausted
from agentvine.domains.work.events import AttemptEnded
from agentvine.kit.actor import UserActor
from agentvine.kit.errors import Unavailable
from agentvine.kit.ids import short_id
from agentvine.kit.redaction import mask_shapes
from agentvine.protocol.enums import FailureClass, FailureHandling
from agentvine.protocol.questions import QuestionKind

_MAX_QUOTED = 500
_ASKS = {
    QuestionKind.QUESTION: "asks",
    QuestionKind.PERMISSION: "asks for permission",
    QuestionKind.PLAN: "asks you to approve its plan",
}

log = structlog.get_logger(__name__)


async def on_question_asked(tx: Transaction, event: QuestionAsked) -> None:
    """A question that no rule has answered, and no model is looking at, is for people."""
    question, facts = event.question, facts_of(event.question)
    is_open = question.question_state is QuestionState.OPEN
    if is_open and facts.adviser_until is None:
        async with _beside(tx):
            await _tell_question(tx, question, facts, event.project_id)


async def on_change_recorded(tx: Transaction, event: ChangeRecorded) -> None:
    """A change that is not applied by itself waits for somebody to look at it."""
    change = event.modification
    if change.status is ModificationStatus.PENDING and change.task_id is not None:
        task = await tx.get_one(Task, change.task_id)
        if task.status is TaskStatus.REVIEW:
            async with _beside(tx):
                await _tell_review(tx, change, task)


async def on_change_not_applicable(tx: Transaction, event: ChangeNotApplicable) -> None:
    """A change that is not tried again by itself needs somebody."""
    change = event.modification
    if change.apply_requested_at is None and change.task_id is not None:
        task = await tx.get_one(Task, change.task_id)
        async with _beside(tx):
            await _tell_not_applicable(tx, change, task, event.reason)


async def on_task_finished(tx: Transaction, event: TaskFinished) -> None:
    """A task that has failed is not tried again by itself."""
    if event.task.status is TaskStatus.FAILED:
        async with _beside(tx):
            await _tell_failure(tx, event.task)


async def on_attempt_ended(tx: Transaction, event: AttemptEnded) -> None:
    """A task that is blocked until a person has put something right tells of it."""
    failure = event.failure_class
    if event.will_retry or failure in {None, FailureClass.BUDGET_EXHAUSTED}:
        return
    if failure is not None and failure.handling is FailureHandling.WAIT:
        task = await tx.get_one(Task, event.order.task_id)
        if task.status is TaskStatus.BLOCKED:
            async with _beside(tx):
                await _tell_blocked(tx, task, event.order.id, event.message)


async def on_budget_exhausted(tx: Transaction, event: BudgetExhausted) -> None:
    """Each budget tells once in a period, however many tasks it stops, and again after a raise."""
    async with _beside(tx):
        await _tell_budget(tx, event)


@asynccontextmanager
async def _beside(tx: Transaction) -> AsyncGenerator[None, None]:
    """Let a failure to tell undo the telling alone: no report fails for it, today and for ever.

    A database that is busy or gone is no such failure: then all of it is tried again.
    """
    try:
        async with tx.begin_nested():
            yield
    # lint: allow AV007 (the boundary of telling; logged, and what it tells of goes on)
    except Exception as error:
        is_passing = isinstance(error, DBAPIError) and tx.dialect.trouble(error, is_writing=True)
        if is_passing or isinstance(error, Unavailable):
            raise
        log.exception("notice.failed", error=repr(error))


async def _tell_question(
    tx: Transaction, question: ChatMessage, facts: Facts, project_id: uuid.UUID
) -> None:
    task = await tasks.find_task_of_conversation(tx, question.conversation_id)
    if task is not None:
        who, creator, about = _ref(task), task.created_by, task.title
    else:
        conversation = await tx.get(Conversation, question.conversation_id)
        who, creator = "a team run", conversation and conversation.created_by_user_id
        about = facts.about.title if facts.about else ""
    asks = f"{_ASKS[facts.kind]}: {_line(question.message)}"
    name = short_id(question.id)
    notice = await _notice(
        tx,
        NotificationType.QUESTION_ASKED,
        str(question.id),
        Severity.WARNING,
        title=f"{who[:1].upper()}{who[1:]} {asks}",
        told=[about, _quoted(question.message)],
        act=[
            f"Look: agentvine question show {name}",
            f"Answer: agentvine answer {name} "
            + ("TEXT" if facts.kind is QuestionKind.QUESTION else "--allow (or --deny REASON)"),
        ],
        entity=("question", question.id),
        project_id=project_id,
    )
    await _tell(tx, notice, creator)


async def _tell_review(tx: Transaction, change: Modification, task: Task) -> None:
    if await _is_teams(tx, task):
        return
    notice = await _notice(
        tx,
        NotificationType.CHANGE_TO_REVIEW,
        f"{change.id}:{change.execution_id}",
        Severity.INFO,
        title=f"{_ref(task)} has a change for you to approve: {task.title}",
        told=[task.title, task.status_reason or ""],
        act=[
            f"Look: agentvine modification show {_ref(task)}",
            f"Decide: agentvine approve {_ref(task)}, or agentvine reject {_ref(task)}",
        ],
        entity=("modification", change.id),
        project_id=task.project_id,
    )
    await _tell(tx, notice, task.created_by)


async def _tell_not_applicable(
    tx: Transaction, change: Modification, task: Task, reason: str
) -> None:
    if change.conflicting_files and await _is_teams(tx, task):
        return  # its coder begins anew
    notice = await _notice(
        tx,
        NotificationType.CHANGE_TO_REVIEW,
        f"{change.id}:{change.execution_id}:not applied",
        Severity.WARNING,
        title=f"{_ref(task)}: its change could not be applied: {_line(reason)}",
        told=[task.title, _quoted(reason)],
        act=[
            f"Look: agentvine modification show {_ref(task)}",
            f"Try again: agentvine modification apply {_ref(task)}",
        ],
        entity=("modification", change.id),
        project_id=task.project_id,
    )
    await _tell(tx, notice, task.created_by)


async def _tell_failure(tx: Transaction, task: Task) -> None:
    assert task.completed_at is not None, "it is over"
    ended = int(task.completed_at.timestamp() * 1000)
    reason = task.status_reason or ""
    notice = await _notice(
        tx,
        NotificationType.TASK_FAILED,
        f"{task.id}:{ended}",
        Severity.WARNING,
        title=f"{_ref(task)} has failed: {task.title}",
        told=[task.title, _quoted(reason)],
        act=[
            f"Look: agentvine logs {_ref(task)}",
            f"Try again: agentvine task retry {_ref(task)}",
        ],
        entity=("task", task.id),
        project_id=task.project_id,
    )
    await _tell(tx, notice, task.created_by)


async def _tell_blocked(tx: Transaction, task: Task, order_id: uuid.UUID, reason: str) -> None:
    notice = await _notice(
        tx,
        NotificationType.TASK_FAILED,
        f"{task.id}:{order_id}",
        Severity.WARNING,
        title=f"{_ref(task)} waits until you have put something right: {_line(reason)}",
        told=[task.title, _quoted(reason)],
        act=[f"Then: agentvine task start {_ref(task)}"],
        entity=("task", task.id),
        project_id=task.project_id,
    )
    await _tell(tx, notice, task.created_by)


async def _tell_budget(tx: Transaction, event: BudgetExhausted) -> None:
    task = event.task
    notice = await _notice(
        tx,
        NotificationType.BUDGET_EXHAUSTED,
        event.key,
        Severity.CRITICAL if event.is_shared else Severity.WARNING,
        title=f"{_ref(task)} was stopped by {_budget(event)}",
        told=[task.title, event.told],
        act=[f"Go on at once: agentvine task resume {_ref(task)}"],
        entity=("task", task.id),
        project_id=task.project_id,
    )
    await _tell(tx, notice, task.created_by)


def _budget(event: BudgetExhausted) -> str:
    return f"the budget {event.name}" if event.is_shared else event.name


async def _notice(  # keyword-only facts of one event
    tx: Transaction,
    type_: NotificationType,
    key: str,
    severity: Severity,
    *,
    title: str,
    told: list[str],
    act: list[str],
    entity: tuple[str, uuid.UUID],
    project_id: uuid.UUID,
) -> Notice:
    project = await tx.get_one(Project, project_id)
    facts = [f"Project: {project.name}", *dict.fromkeys(line for line in told if line)]
    return Notice(
        type=type_,
        key=key,
        severity=severity,
        title=_line(title),
        message="\n".join([*facts, "", *act]),
        entity=entity,
        project_id=project_id,
    )


async def _tell(tx: Transaction, notice: Notice, creator: uuid.UUID | None) -> None:
    """Tell whoever began it, and the project's owner; not who has just done it themselves."""
    assert notice.project_id is not None, "it is of a project"
    people = await tx.scalars(projects.visible_involved(notice.project_id, creator))
    await notifications.notify(tx, notice, [each for each in people if each.id != _doer(tx)])


def _doer(tx: Transaction) -> uuid.UUID | None:
    actor = tx.actor
    if isinstance(actor, UserActor) and not actor.through:
        return actor.user_id
    return None


async def _is_teams(tx: Transaction, task: Task) -> bool:
    """Whether a team is at work on its plan, and sees to the change itself."""
    if task.plan_id is None:
        return False
    open_plans = team.plans_of_open_runs().where(Plan.id == task.plan_id)
    return await tx.scalar(open_plans) is not None


def _ref(task: Task) -> str:
    return f"T-{task.number}"


def _line(text: str) -> str:
    return " ".join(mask_shapes(text[:_MAX_QUOTED]).split())


def _quoted(text: str) -> str:
    return mask_shapes(text) if len(text) <= _MAX_QUOTED else f"{mask_shapes(text)[:_MAX_QUOTED]}…"
