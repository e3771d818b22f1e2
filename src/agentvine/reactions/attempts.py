"""When an order is claimed, advances or ends: its execution, its task and its change follow."""

from agentvine.db.session import Transaction
from agentvine.domains.conversations import chat
from agentvine.domains.conversations.chat import Place, Sender
from agentvine.domains.conversations.enums import ChatMessageType, SenderType
from agentvine.domains.executions import service as executions
from agentvine.domains.executions.models import Execution
from agentvine.domains.modifications import requests
from agentvine.domains.modifications import service as modifications
from agentvine.domains.modifications.models import Modification
from agentvine.domains.projects import queries as projects
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.tasks import service as task_service
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.models import Task
from agentvine.domains.tasks.states import FINAL, RUNNING, set_status
from agentvine.domains.work.events import (
    AttemptAdvanced,
    AttemptEnded,
    OrderClaimed,
    OrderCompleted,
)
from agentvine.domains.workers.enums import WorkerId
from agentvine.kit.actor import SYSTEM
from agentvine.protocol.enums import ExecutionPhase, FailureClass, FailureHandling
from agentvine.protocol.queue import ExecutionReport, TestReport
from agentvine.reactions.changes import learn_files

CHANGED_NOTHING = "done: there was nothing to change"
CANCELLED_LATE = "cancelled; the run had ended before it heard of it, and its change is kept"
REPOSITORY_GONE = "its repository was deleted while it ran"


async def on_order_claimed(tx: Transaction, event: OrderClaimed) -> None:
    """The attempt is recorded, and the task is in progress."""
    execution = await executions.begin_execution(
        tx, event.order, worker_id=event.worker_id, execution_id=event.execution_id
    )
    task = await tasks.lock_task(tx, event.order.task_id)
    task.assigned_to = WorkerId(event.worker_id)
    if task.assigned_to_agent_id is not None:
        execution.agent_id = task.assigned_to_agent_id
    set_status(tx, task, TaskStatus.IN_PROGRESS)


async def on_attempt_advanced(tx: Transaction, event: AttemptAdvanced) -> None:
    """The task shows when its change is being tested.

    Whoever is at work on the task is not waited for, because the beat holds its order's lock: the
    next beat tells the same again.
    """
    if not await executions.is_news(tx, event.execution_id, event.phase):
        return
    task = await tasks.try_lock_task(tx, event.task_id)
    if task is None:
        return
    await executions.advance_execution(tx, event.execution_id, event.phase)
    if event.phase is ExecutionPhase.TESTING and task.status is TaskStatus.IN_PROGRESS:
        set_status(tx, task, TaskStatus.TESTING, reason=task.status_reason)


async def on_order_completed(tx: Transaction, event: OrderCompleted) -> None:
    """The change goes to review, or straight on when nobody needs to look."""
    task = await tasks.lock_task(tx, event.order.task_id)
    change = event.report.change
    if change is not None:
        await executions.check_bundle_is_here(tx, event.execution_id, change)
    execution = await executions.end_execution(
        tx, event.execution_id, failure_class=None, message=None, report=event.report
    )
    is_unwanted = event.order.cancel_requested_at is not None
    modification = await _keep_change(tx, task, execution, event.report, is_failed=is_unwanted)
    if change is not None:
        await _tell(tx, task, execution, ChatMessageType.STATUS, _summary(event.report))
    if task.status in FINAL:
        return
    if is_unwanted:
        await task_service.finish_task(tx, task, TaskStatus.CANCELLED, reason=CANCELLED_LATE)
    elif change is None:
        await task_service.finish_task(tx, task, TaskStatus.COMPLETED, reason=CHANGED_NOTHING)
        await requests.end_request(tx, task, CHANGED_NOTHING)
    elif modification is None:
        await task_service.finish_task(tx, task, TaskStatus.FAILED, reason=REPOSITORY_GONE)
    elif modifications.may_apply_by_itself(
        task, event.report, must_be_tested=bool(event.order.payload.get("test_command"))
    ):
        set_status(tx, task, TaskStatus.REVIEW, reason="is being applied")
        modifications.approve(tx, modification, reason="autonomous, and no test says no")
    else:
        set_status(tx, task, TaskStatus.REVIEW, reason=_why_review(event.report.tests))
    await learn_files(tx, modification)


async def on_attempt_ended(tx: Transaction, event: AttemptEnded) -> None:
    """The work of a failed attempt is kept; the task waits for the next one, or is over."""
    task = await tasks.lock_task(tx, event.order.task_id)
    if event.execution_id is not None:
        execution = await executions.end_execution(
            tx,
            event.execution_id,
            failure_class=event.failure_class or FailureClass.WORKER_STOPPED,
            message=event.message,
            report=event.report,
        )
        if event.report is not None:
            await learn_files(
                tx, await _keep_change(tx, task, execution, event.report, is_failed=True)
            )
        if event.failure_class is not None:
            await _tell(tx, task, execution, *_told_failure(event))
    if task.status in FINAL:
        return
    if event.will_retry:
        if task.status in RUNNING:
            set_status(tx, task, TaskStatus.QUEUED, reason=_why_again(event))
        return
    failure = event.failure_class
    if failure is FailureClass.BUDGET_EXHAUSTED:
        return  # see ``budgets``
    if failure is not None and failure.handling is FailureHandling.WAIT:
        task_service.block_for_person(tx, task, reason=event.message)
        return
    is_cancelled = event.failure_class is FailureClass.CANCELLED
    await requests.end_request(tx, task, event.message)
    await task_service.finish_task(
        tx,
        task,
        TaskStatus.CANCELLED if is_cancelled else TaskStatus.FAILED,
        reason=(task_service.why_cancelled(task) if is_cancelled else None) or event.message,
    )


async def _keep_change(
    tx: Transaction, task: Task, execution: Execution, report: ExecutionReport, *, is_failed: bool
) -> Modification | None:
    """Record the change, if there is one; without its repository there is no place for it."""
    if report.change is None or task.repository_id is None:
        return None
    repository = await projects.get_repository(tx, SYSTEM, task.repository_id)
    return await modifications.record_change(
        tx, task, repository, execution, report, is_failed=is_failed
    )


async def _tell(
    tx: Transaction, task: Task, execution: Execution, kind: ChatMessageType, text: str
) -> None:
    """Say in the task's conversation what came of an attempt, in its worker's name."""
    place = Place(
        conversation_id=await task_service.ensure_conversation(tx, task),
        project_id=task.project_id,
        execution_id=execution.id,
    )
    sender = Sender(SenderType.WORKER, execution.worker_id)
    chat.say(tx, place, sender, kind, f"Attempt {execution.attempt}: {text}")


def _told_failure(event: AttemptEnded) -> tuple[ChatMessageType, str]:
    calm = (FailureClass.CANCELLED, FailureClass.WAITING_FOR_ANSWER, FailureClass.WORKER_STOPPED)
    is_calm = event.failure_class in calm
    assert event.failure_class is not None, "an attempt that is told of has ended as something"
    text = event.message or event.failure_class.meaning
    return (ChatMessageType.STATUS if is_calm else ChatMessageType.ERROR), text


def _summary(report: ExecutionReport) -> str:
    assert report.change is not None, "what changed nothing is no news"
    count, tests = len(report.change.files), report.tests
    told = f"changed {count} file{'' if count == 1 else 's'}"
    if tests is None:
        return f"{told}; no tests were run."
    return f"{told}; its tests {'passed' if tests.passed else 'failed'}."


def _why_again(event: AttemptEnded) -> str:
    waits = event.failure_class is FailureClass.WAITING_FOR_ANSWER
    return f"waits for an answer: {event.message}" if waits else f"is tried again: {event.message}"


def _why_review(tests: TestReport | None) -> str:
    if tests is None:
        return "waits for approval; no tests were run"
    return f"waits for approval; its tests {'passed' if tests.passed else 'failed'}"
