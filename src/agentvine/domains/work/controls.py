"""What people do to a run while it runs: let it stand still, let it go on, say something to it.

All of it is about one claim, named by its fence: the next attempt begins as any other. What is
wanted stands in the rows, and goes with every beat until the worker has said that it is done, so a
restart of either side loses nothing.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import func, select, tuple_, update

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.conversations import chat, chat_files
from agentvine.domains.conversations.chat import Place
from agentvine.domains.conversations.enums import ChatMessageType
from agentvine.domains.conversations.models import ChatAttachment
from agentvine.domains.conversations.storage import KeptFile
from agentvine.domains.identity import history
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.tasks import service as task_service
from agentvine.domains.tasks.models import Task
from agentvine.domains.work import queries, store
from agentvine.domains.work.enums import MessageState, OrderStatus
from agentvine.domains.work.errors import (
    FilesUnsupported,
    LeaseLost,
    OrderNotRunning,
    PauseUnsupported,
    SteeringUnsupported,
    TooManyMessages,
)
from agentvine.domains.work.models import RunMessage, WorkOrder
from agentvine.domains.workers.models import Worker
from agentvine.domains.workers.service import NEWS
from agentvine.kit.actor import Actor, UserActor, WorkerActor
from agentvine.kit.ids import new_id
from agentvine.protocol.controls import (
    MAX_UNREAD_MESSAGES,
    MESSAGES_PER_BEAT,
    ControlIn,
    ControlKnown,
    LeaseControl,
    RunMessageOut,
    SteerIn,
    SteeringMessage,
    WorkerControls,
)
from agentvine.protocol.conversations import AttachmentOut


async def pause_run(tx: Transaction, actor: Actor, order_id: uuid.UUID) -> WorkOrder:
    """Ask that an order's run stand still until ``resume_run``; a repeat changes nothing.

    Raises:
        OrderNotFound: There is none, or it is not theirs to see.
        ProjectReadOnly: They may only look.
        OrderNotRunning: No worker runs it, or it is being stopped.
        PauseUnsupported: Its worker is of an earlier version.
    """
    task, order = await _lock_running(tx, actor, order_id)
    worker, able = await _worker_of(tx, order)
    if able is None or not able.can_pause:
        raise PauseUnsupported(
            f"{worker.name} ({worker.version or 'of an unknown version'}) cannot pause its runs; "
            "update it, or cancel the task."
        )
    if order.pausing_since is None:
        _take_over(order)
        order.pause_requested_at = tx.now
        _tell(tx, task, order, "order.pause_requested")
    return order


async def resume_run(tx: Transaction, actor: Actor, order_id: uuid.UUID) -> WorkOrder:
    """Ask that a paused run go on; a repeat changes nothing.

    Raises:
        OrderNotFound: There is none, or it is not theirs to see.
        ProjectReadOnly: They may only look.
        OrderNotRunning: No worker runs it, or it is being stopped.
    """
    task, order = await _lock_running(tx, actor, order_id)
    if order.pausing_since is not None:
        order.pause_requested_at = None
        _tell(tx, task, order, "order.resume_requested")
    return order


async def put_file(
    tx: Transaction, actor: Actor, order_id: uuid.UUID, kept: KeptFile
) -> ChatAttachment:
    """Put a kept file on the control channel of an order's run, for a message to take along.

    Raises:
        OrderNotFound: There is none, or it is not theirs to see.
        ProjectReadOnly: They may only look.
        OrderNotRunning: No worker runs it, or it is being stopped.
        FilesUnsupported: Its worker is of an earlier version.
    """
    task, order = await _lock_running(tx, actor, order_id)
    await _check_takes_files(tx, order)
    place = Place(
        conversation_id=await task_service.ensure_conversation(tx, task),
        project_id=task.project_id,
        execution_id=order.execution_id,
    )
    line = chat.say(tx, place, chat.sender_of(actor), ChatMessageType.TEXT, kept.file_name)
    await tx.flush()  # the file refers to it
    return await chat_files.add_file(tx, line, kept)


async def steer_run(
    tx: Transaction, actor: UserActor, order_id: uuid.UUID, wanted: SteerIn
) -> RunMessageOut:
    """Send a message to an order's run, with the files that were put there for it.

    Raises:
        OrderNotFound: There is none, or it is not theirs to see.
        ProjectReadOnly: They may only look.
        OrderNotRunning: No worker runs it, or it is being stopped.
        SteeringUnsupported: Its worker is of an earlier version, or its runtime takes none.
        FilesUnsupported: Its worker fetches none, being of an earlier version.
        TooManyMessages: So many wait to be handed over that no more are taken.
        AttachmentNotFound: They have put no such file there for this run.
    """
    task, order = await _lock_running(tx, actor, order_id)
    worker, able = await _worker_of(tx, order)
    runtime = str(order.payload["runtime"])
    if able is None or runtime not in able.steers:
        why = "is too old for it" if able is None else f"cannot hand any to the runtime {runtime}"
        raise SteeringUnsupported(
            f"The run takes no messages: {worker.name} {why}. Cancel the task and say it in its "
            "description instead.",
            runtime=runtime,
        )
    if wanted.attachments:
        await _check_takes_files(tx, order)
    number, unread = await _count_messages(tx, order)
    if unread >= MAX_UNREAD_MESSAGES:
        raise TooManyMessages(
            f"{unread} messages wait to be handed to this run; send no more until it has them."
        )
    assert order.execution_id is not None, "a claimed order has its execution"
    files = await chat_files.find_given_files(
        tx, actor, task.conversation_id, order.execution_id, wanted.attachments
    )
    _take_over(order)
    message = RunMessage(
        id=new_id(),
        work_order_id=order.id,
        fence=order.fence,
        number=number + 1,
        execution_id=order.execution_id,
        author=tx.actor.label,
        text=wanted.text,
        attachments=[chat_files.file_out(file).model_dump(mode="json") for file in files],
        created_at=tx.now,
        delivered_at=None,
    )
    tx.add(message)
    _tell(tx, task, order, "order.steered", number=message.number)
    return _message_out(message, order)


async def check_attempt_takes_files(
    read: ReadSession, task_id: uuid.UUID, execution_id: uuid.UUID
) -> None:
    """See that files can reach an attempt, if it is under way; the next one is told in words.

    Raises:
        FilesUnsupported: Its worker is of an earlier version.
    """
    order = await read.scalar(
        select(WorkOrder).where(
            WorkOrder.task_id == task_id,
            WorkOrder.execution_id == execution_id,
            WorkOrder.status == OrderStatus.CLAIMED,
        )
    )
    if order is not None:
        await _check_takes_files(read, order)


async def note_done(tx: Transaction, actor: WorkerActor, message: ControlIn) -> None:
    """Take note of what a worker has done to its run. Repeating it changes nothing.

    Raises:
        LeaseLost: The claim is not the caller's any more.
    """
    task = await tasks.lock_task(
        tx, await queries.task_of_claim(tx, actor, message.order_id, message.fence)
    )
    order = await store.lock_order(tx, message.order_id)
    if order is None or order.fence != message.fence or order.status is not OrderStatus.CLAIMED:
        raise LeaseLost("Stop this run and discard it: the order was taken back, or has ended.")
    if message.is_paused is not None and message.is_paused is not (order.paused_since is not None):
        _take_over(order)
        order.paused_at = tx.now if message.is_paused else None
        event = "order.paused" if message.is_paused else "order.resumed"
        history.announce(tx, event, entity=("work_order", order.id), project_id=task.project_id)
    if message.messages_to is not None:
        await tx.execute(
            update(RunMessage)
            .where(
                RunMessage.work_order_id == order.id,
                RunMessage.fence == message.fence,
                RunMessage.number <= message.messages_to,
                RunMessage.delivered_at.is_(None),
            )
            .values(delivered_at=tx.now)
            .execution_options(synchronize_session=False)
        )


async def wanted_of(
    read: ReadSession, renewed: Mapping[store.Claim, store.Renewed]
) -> dict[store.Claim, LeaseControl]:
    """What is wanted of those claims of which anything is."""
    controlled = {claim: lease for claim, lease in renewed.items() if lease.is_controlled}
    unread = await _first_unread(read, list(controlled))
    return {
        claim: LeaseControl(is_paused=lease.is_to_pause, messages=unread[claim])
        for claim, lease in controlled.items()
    }


async def has_news(
    read: ReadSession, claims: Sequence[store.Claim], known: Iterable[ControlKnown]
) -> bool:
    """Whether a beat would tell a worker more about its claims than it says it knows."""
    heard = {(each.order_id, each.fence): each for each in known}
    query = select(WorkOrder.id, WorkOrder.fence, WorkOrder.pause_requested_at).where(
        WorkOrder.id.in_([order_id for order_id, _ in claims]),
        WorkOrder.status == OrderStatus.CLAIMED,
        WorkOrder.controlled_fence == WorkOrder.fence,
    )
    rows = (await read.execute(query)).all() if claims else ()
    unread = await _first_unread(read, [(row.id, row.fence) for row in rows])
    for row in rows:
        claim = (row.id, row.fence)
        told = heard.get(claim) or ControlKnown(order_id=row.id, fence=row.fence)
        if told.is_paused is not (row.pause_requested_at is not None):
            return True
        if any(message.number > told.messages_to for message in unread[claim]):
            return True
    return False


async def list_messages(
    read: ReadSession, actor: Actor, order_id: uuid.UUID
) -> list[RunMessageOut]:
    """All that was said to the runs of an order, oldest first.

    Raises:
        OrderNotFound: There is none, or it is not theirs to see.
    """
    order = await queries.get_order(read, actor, order_id)
    query = (
        select(RunMessage)
        .where(RunMessage.work_order_id == order.id)
        .order_by(RunMessage.fence, RunMessage.number)
    )
    return [_message_out(message, order) for message in (await read.scalars(query)).all()]


async def _lock_running(
    tx: Transaction, actor: Actor, order_id: uuid.UUID
) -> tuple[Task, WorkOrder]:
    """An order that is being run, locked after its task, for one who may change it."""
    seen = await queries.get_order(tx, actor, order_id)
    task = await tasks.get_task_for_change(tx, actor, seen.task_id)
    order = await store.lock_order(tx, order_id)
    assert order is not None, "its task is locked, so it is not deleted"
    if order.status is not OrderStatus.CLAIMED:
        raise OrderNotRunning(
            f"The order is {order.status}: only a run that is under way can be paused or steered. "
            "`agentvine queue pause` keeps work from beginning."
        )
    if order.cancel_requested_at is not None or order.stop_requested_at is not None:
        raise OrderNotRunning(f"The run of T-{task.number} is being stopped already.")
    return task, order


async def _check_takes_files(read: ReadSession, order: WorkOrder) -> None:
    # A worker that does not say so would pass the files over, and nobody would know.
    worker, able = await _worker_of(read, order)
    if able is None or not able.takes_files:
        raise FilesUnsupported(
            f"{worker.name} ({worker.version or 'of an unknown version'}) hands no files to its "
            "runs: say it in words, or update the worker."
        )


async def _worker_of(read: ReadSession, order: WorkOrder) -> tuple[Worker, WorkerControls | None]:
    worker = await read.get(Worker, order.worker_id)
    assert worker is not None, "a claimed order has its worker"
    return worker, worker.controls


def _take_over(order: WorkOrder) -> None:
    """Let the columns be about the current claim; what they said of an earlier one is over."""
    if order.controlled_fence != order.fence:
        order.controlled_fence = order.fence
        order.pause_requested_at = None
        order.paused_at = None


def _tell(tx: Transaction, task: Task, order: WorkOrder, action: str, **facts: object) -> None:
    history.record(
        tx,
        action,
        entity=("work_order", order.id),
        project_id=task.project_id,
        after={"task": f"T-{task.number}", "fence": order.fence, **facts},
    )
    tx.hint(NEWS, str(order.worker_id))


def _message_out(message: RunMessage, order: WorkOrder) -> RunMessageOut:
    """A message on the wire."""
    is_current = order.status is OrderStatus.CLAIMED and order.fence == message.fence
    state = MessageState.WAITING if is_current else MessageState.MISSED
    if message.delivered_at is not None:
        state = MessageState.DELIVERED
    return RunMessageOut(
        id=message.id,
        order_id=message.work_order_id,
        execution_id=message.execution_id,
        fence=message.fence,
        number=message.number,
        author=message.author,
        text=message.text,
        state=state,
        created_at=message.created_at,
        delivered_at=message.delivered_at,
        attachments=_files_of(message),
    )


def _files_of(message: RunMessage) -> list[AttachmentOut]:
    return [AttachmentOut.model_validate(file) for file in message.attachments]


async def _count_messages(tx: Transaction, order: WorkOrder) -> tuple[int, int]:
    """The number of the current run's last message, and how many are not handed over."""
    query = select(
        func.max(RunMessage.number),
        func.count().filter(RunMessage.delivered_at.is_(None)),
    ).where(RunMessage.work_order_id == order.id, RunMessage.fence == order.fence)
    last, unread = (await tx.execute(query)).one()
    return last or 0, unread


async def _first_unread(
    read: ReadSession, claims: Sequence[store.Claim]
) -> Mapping[store.Claim, list[SteeringMessage]]:
    """The messages that a beat brings: the first few of each claim that are not handed over."""
    found: defaultdict[store.Claim, list[SteeringMessage]] = defaultdict(list)
    if not claims:
        return found
    nth = func.row_number().over(partition_by=RunMessage.work_order_id, order_by=RunMessage.number)
    unread = (
        select(RunMessage.id, nth.label("nth"))
        .where(
            tuple_(RunMessage.work_order_id, RunMessage.fence).in_(list(claims)),
            RunMessage.delivered_at.is_(None),
        )
        .subquery()
    )
    query = (
        select(RunMessage)
        .join(unread, unread.c.id == RunMessage.id)
        .where(unread.c.nth <= MESSAGES_PER_BEAT)
        .order_by(RunMessage.work_order_id, RunMessage.number)
    )
    for row in (await read.scalars(query)).all():
        found[row.work_order_id, row.fence].append(
            SteeringMessage(
                number=row.number,
                author=row.author,
                text=row.text,
                created_at=row.created_at,
                attachments=_files_of(row),
            )
        )
    return found
