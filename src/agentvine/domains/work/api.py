"""Routes of the work slice: the queue as people see it, and the protocol of workers."""

import asyncio
import random
import uuid
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from agentvine.domains.conversations import chat_files
from agentvine.domains.conversations.attaching import AttachmentDesk
from agentvine.domains.conversations.errors import (
    AttachmentNotFound,
    AttachmentRefused,
    TooManyAttachments,
)
from agentvine.domains.conversations.storage import KeptFile
from agentvine.domains.identity.idempotency import CreateOnce
from agentvine.domains.identity.tokens import Credentials
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.errors import ProjectNotFound, ProjectReadOnly
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.tasks import service as task_service
from agentvine.domains.tasks.errors import TaskNotFound, TaskNotRunnable
from agentvine.domains.tasks.schemas import task_out  # lint: allow AV017 (answers with a task)
from agentvine.domains.work import bulk, claiming, controls, limiting, queries, why
from agentvine.domains.work.beats import Beats
from agentvine.domains.work.enums import LimitScope, OrderStatus
from agentvine.domains.work.errors import (
    ClaimStale,
    FilesUnsupported,
    LeaseLost,
    LimitNotFound,
    LimitTargetInvalid,
    OrderNotFound,
    OrderNotRunning,
    PauseUnsupported,
    SteeringUnsupported,
    TooManyMessages,
)
from agentvine.domains.work.grants import claim_answer
from agentvine.domains.work.listening import Listener
from agentvine.domains.work.reports import Reports
from agentvine.domains.work.waiting import WaitingRoom
from agentvine.domains.workers import service as worker_service
from agentvine.domains.workers.errors import WorkerNameTaken, WorkerNotFound, WorkerSuperseded
from agentvine.http.deps import Paging, Read, State, Tx, UnprovenWorker, Worker, require
from agentvine.http.disconnects import until_over
from agentvine.http.files import AttachmentTooLarge, read_file
from agentvine.http.problems import responses
from agentvine.kit.actor import UserActor
from agentvine.kit.errors import AppError
from agentvine.protocol.base import Input, PageOut
from agentvine.protocol.controls import ControlIn, RunMessageOut, SteerIn
from agentvine.protocol.conversations import AttachmentOut
from agentvine.protocol.enums import FailureClass
from agentvine.protocol.limits import (
    LimitIn,
    LimitOut,
    LimitTarget,
    PauseIn,
    ReasonIn,
    ResumeIn,
    StoppedOut,
)
from agentvine.protocol.queue import (
    BulkEnqueueIn,
    BulkEnqueueOut,
    BulkError,
    BulkItemOut,
    ClaimIn,
    ClaimOut,
    CompleteIn,
    DeadOrdersIn,
    EnqueueIn,
    FailIn,
    HeartbeatIn,
    HeartbeatOut,
    ListenIn,
    ListenOut,
    OrderOutcome,
    QueueStatusOut,
    ReleaseIn,
    ReportOut,
    ReportsIn,
    ReportsOut,
    WhyOut,
    WorkOrderOut,
)
from agentvine.protocol.tasks import TaskOut
from agentvine.protocol.workers import WorkerRegisteredOut, WorkerRegisterIn

router = APIRouter()

QueueReader = Annotated[UserActor, Depends(require("queue:read"))]
QueueWriter = Annotated[UserActor, Depends(require("queue:write"))]
QueueAdmin = Annotated[UserActor, Depends(require("queue:admin"))]
TaskWriter = Annotated[UserActor, Depends(require("tasks:write"))]
"""Who may cancel a run may also pause it and steer it."""

_OF_PROJECT = (ProjectNotFound, ProjectReadOnly)
_FENCED = responses(LeaseLost)
_CONTROLLED = responses(OrderNotFound, ProjectReadOnly, OrderNotRunning)
_PAUSED = _CONTROLLED | responses(PauseUnsupported)
_STEERED = _CONTROLLED | responses(
    SteeringUnsupported, FilesUnsupported, TooManyMessages, AttachmentNotFound
)
_NO_BODY = Input()
_SESSION = responses(WorkerNotFound, WorkerSuperseded)
# Spreads polls and retries; nothing secret hangs on it.
_draw = random.Random()  # noqa: S311


@router.get("/queue/status", tags=["queue"])
async def queue_status(actor: QueueReader, read: Read) -> list[QueueStatusOut]:
    """How many orders wait and run, by queue."""
    return await queries.queue_status(read, actor)


@router.post("/queue/enqueue", tags=["queue"], responses=responses(TaskNotFound, TaskNotRunnable))
async def enqueue(body: EnqueueIn, actor: QueueWriter, tx: Tx) -> TaskOut:
    """Start a task: it is queued as soon as nothing holds it back."""
    task = await tasks.get_task_for_change(tx, actor, body.task_id)
    await task_service.start_task(tx, task)
    await tx.flush()
    await tx.refresh(task)
    return task_out(task)


@router.post("/queue/enqueue-many", tags=["queue"])
async def enqueue_many(body: BulkEnqueueIn, actor: QueueWriter, tx: Tx) -> BulkEnqueueOut:
    """Make and start many tasks in one transaction; each may be refused alone."""
    return _bulk_out(await bulk.start_many(tx, actor, body.items))


@router.get("/queue/dead", tags=["queue"])
async def list_dead_orders(
    actor: QueueReader,
    read: Read,
    page: Paging,
    project_id: uuid.UUID | None = None,
    queue_name: str | None = None,
    failure_class: FailureClass | None = None,
) -> PageOut[WorkOrderOut]:
    """The last orders of tasks that have failed, newest first."""
    wanted = DeadOrdersIn(project_id=project_id, queue_name=queue_name, failure_class=failure_class)
    found = await bulk.list_dead(read, actor, wanted, page)
    return PageOut(
        items=[WorkOrderOut.model_validate(order) for order in found.items],
        next_cursor=found.next_cursor,
    )


@router.post("/queue/dead/retry", tags=["queue"])
async def retry_dead_orders(body: DeadOrdersIn, actor: QueueWriter, tx: Tx) -> BulkEnqueueOut:
    """Try the dead orders again that match all that is given, oldest first."""
    return _bulk_out(await bulk.retry_dead(tx, actor, body))


@router.get("/queue/orders/{order_id}/why", tags=["queue"], responses=responses(OrderNotFound))
async def why_order(order_id: uuid.UUID, actor: QueueReader, read: Read) -> WhyOut:
    """Why an order does not run, or that it does."""
    order = await queries.get_order(read, actor, order_id)
    return await why.explain(read, await tasks.get_task(read, actor, order.task_id), order)


@router.get("/tasks/{task_id}/why", tags=["queue"], responses=responses(TaskNotFound))
async def why_task(task_id: uuid.UUID, actor: QueueReader, read: Read) -> WhyOut:
    """Why a task does not run, whether it is queued or not."""
    task = await tasks.get_task(read, actor, task_id)
    return await why.explain(read, task, await why.newest_order(read, task.id))


@router.get("/queue/orders", tags=["queue"])
async def list_orders(
    actor: QueueReader,
    read: Read,
    page: Paging,
    task_id: uuid.UUID | None = None,
    queue_name: str | None = None,
    status: Annotated[list[OrderStatus] | None, Query()] = None,
) -> PageOut[WorkOrderOut]:
    """The orders you may see, newest first."""
    found = await queries.list_orders(
        read, actor, page, task_id=task_id, queue_name=queue_name, statuses=status or ()
    )
    return PageOut(
        items=[WorkOrderOut.model_validate(order) for order in found.items],
        next_cursor=found.next_cursor,
    )


@router.get("/queue/orders/{order_id}", tags=["queue"], responses=responses(OrderNotFound))
async def get_order(order_id: uuid.UUID, actor: QueueReader, read: Read) -> WorkOrderOut:
    """One order."""
    return WorkOrderOut.model_validate(await queries.get_order(read, actor, order_id))


@router.post("/queue/orders/{order_id}/pause", tags=["queue"], responses=_PAUSED)
async def pause_run(
    order_id: uuid.UUID, actor: TaskWriter, tx: Tx, once: CreateOnce
) -> WorkOrderOut:
    """Let the run of an order stand still; its worker keeps it until it is to go on.

    The answer comes before the worker has done it: `paused_since` tells when it has.
    """

    async def pause() -> WorkOrderOut:
        return WorkOrderOut.model_validate(await controls.pause_run(tx, actor, order_id))

    return await once.run(tx, _NO_BODY, WorkOrderOut, pause)


@router.post("/queue/orders/{order_id}/resume", tags=["queue"], responses=_CONTROLLED)
async def resume_run(
    order_id: uuid.UUID, actor: TaskWriter, tx: Tx, once: CreateOnce
) -> WorkOrderOut:
    """Let a run that stands still go on."""

    async def resume() -> WorkOrderOut:
        return WorkOrderOut.model_validate(await controls.resume_run(tx, actor, order_id))

    return await once.run(tx, _NO_BODY, WorkOrderOut, resume)


@router.get("/queue/orders/{order_id}/messages", tags=["queue"], responses=responses(OrderNotFound))
async def list_messages(order_id: uuid.UUID, actor: QueueReader, read: Read) -> list[RunMessageOut]:
    """What was said to the runs of an order, oldest first, and whether they have it."""
    return await controls.list_messages(read, actor, order_id)


@router.post(
    "/queue/orders/{order_id}/messages", tags=["queue"], status_code=201, responses=_STEERED
)
async def steer_run(
    order_id: uuid.UUID, body: SteerIn, actor: TaskWriter, tx: Tx, once: CreateOnce
) -> RunMessageOut:
    """Say something to the run of an order."""

    async def create() -> RunMessageOut:
        return await controls.steer_run(tx, actor, order_id, body)

    return await once.run(tx, body, RunMessageOut, create)


@router.post(
    "/queue/orders/{order_id}/attachments",
    tags=["queue"],
    status_code=201,
    responses=responses(
        OrderNotFound,
        OrderNotRunning,
        FilesUnsupported,
        ProjectReadOnly,
        AttachmentTooLarge,
        AttachmentRefused,
        TooManyAttachments,
    ),
)
async def attach_to_run(
    order_id: uuid.UUID,
    request: Request,
    actor: TaskWriter,
    state: State,
    name: Annotated[str, Query(min_length=1, max_length=1000)],
) -> AttachmentOut:
    """Put a file there for the run of an order; a message that names it takes it along."""
    async with state.database.read() as read:
        await queries.get_order(read, actor, order_id)

    async def name_it(kept: KeptFile) -> AttachmentOut:
        async with state.database.transaction(actor) as tx:
            return chat_files.file_out(await controls.put_file(tx, actor, order_id, kept))

    return await state.effect(AttachmentDesk).take_in(
        name_it,
        name=name,
        type_=request.headers.get("content-type", ""),
        content=await read_file(request),
    )


@router.post(
    "/workers/register",
    tags=["protocol"],
    responses=responses(WorkerNameTaken, WorkerSuperseded),
)
async def register_worker(
    body: WorkerRegisterIn, actor: Worker, tx: Tx, state: State
) -> WorkerRegisteredOut:
    """A worker's process introduces itself, and frees what an earlier one held."""
    settings = state.settings.queue
    worker = await worker_service.register_worker(tx, actor, body)
    released = await claiming.take_back_from_earlier_process(
        tx, worker, still_held=body.held, settings=settings, draw=_draw
    )
    return WorkerRegisteredOut(
        worker_id=worker.id,
        lease_seconds=settings.lease_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        long_poll_seconds=settings.long_poll_seconds,
        released=released,
    )


@router.post(
    "/queue/claim",
    tags=["protocol"],
    response_model=ClaimOut,
    responses=responses(WorkerNotFound, WorkerSuperseded, ClaimStale),
)
async def claim(body: ClaimIn, actor: Worker, state: State, request: Request) -> Response:
    """Ask for orders, waiting for the first; an empty list when none came in time."""
    room = state.effect(WaitingRoom)
    if not body.wait_seconds:
        grants = await room.claim(actor, body, asyncio.Event())
    else:
        async with until_over(request, state.stopping) as over:
            grants = await room.claim(actor, body, over)
    return Response(claim_answer(grants), media_type="application/json")


@router.post("/queue/heartbeat", tags=["protocol"], responses=_SESSION)
async def heartbeat(body: HeartbeatIn, caller: UnprovenWorker, state: State) -> HeartbeatOut:
    """One beat for all claims of a worker."""
    beats = state.effect(Beats)
    answer = await beats.take_plain(Credentials.of(caller.token), body)
    return answer or await beats.take(await caller.prove(), body)


@router.post("/queue/listen", tags=["protocol"], responses=_SESSION)
async def listen(body: ListenIn, actor: Worker, state: State, request: Request) -> ListenOut:
    """Wait until a beat would tell something new, such as that a run is to be cancelled."""
    async with until_over(request, state.stopping) as over:
        return ListenOut(news=await state.effect(Listener).listen(actor, body, over))


@router.post("/queue/control", tags=["protocol"], status_code=204, responses=_FENCED)
async def note_control(body: ControlIn, actor: Worker, tx: Tx) -> None:
    """The run stands still or goes on, or has got messages, as people wanted."""
    await controls.note_done(tx, actor, body)


@router.post("/queue/complete", tags=["protocol"], responses=_FENCED)
async def complete(body: CompleteIn, actor: Worker, state: State) -> OrderOutcome:
    """The attempt succeeded."""
    return await state.effect(Reports).take(actor, body)


@router.post("/queue/fail", tags=["protocol"], responses=_FENCED)
async def fail(body: FailIn, actor: Worker, state: State) -> OrderOutcome:
    """The attempt failed."""
    return await state.effect(Reports).take(actor, body)


@router.post("/queue/release", tags=["protocol"], responses=_FENCED)
async def release(body: ReleaseIn, actor: Worker, state: State) -> OrderOutcome:
    """The worker gives the order back untouched."""
    return await state.effect(Reports).take(actor, body)


@router.post("/queue/report-many", tags=["protocol"])
async def report_many(body: ReportsIn, actor: Worker, state: State) -> ReportsOut:
    """Several reports in one request; each is taken or refused as if it had come alone."""
    reports = [report.message for report in body.reports]
    outcomes = await state.effect(Reports).take_many(actor, reports)
    return ReportsOut(items=[_reported(outcome) for outcome in outcomes])


@router.get("/queue/limits", tags=["queue"])
async def list_limits(actor: QueueReader, read: Read) -> list[LimitOut]:
    """What is limited or paused, and how much of it runs."""
    return await limiting.list_limits(read, actor)


@router.put("/queue/limits", tags=["queue"], responses=responses(LimitTargetInvalid))
async def set_limit(body: LimitIn, _: QueueAdmin, tx: Tx) -> LimitOut:
    """Let at most so many orders of a kind run at a time."""
    return limiting.limit_out(await limiting.set_limit(tx, body, body.capacity))


@router.delete("/queue/limits", tags=["queue"], status_code=204, responses=responses(LimitNotFound))
async def remove_limit(
    _: QueueAdmin,
    tx: Tx,
    scope: LimitScope,
    key: Annotated[str, Query(max_length=100)] = "",
) -> None:
    """Let as many run as there are slots."""
    await limiting.remove_limit(tx, LimitTarget(scope=scope, key=key))


@router.post("/queue/pause", tags=["queue"], responses=responses(LimitTargetInvalid))
async def pause(body: PauseIn, _: QueueAdmin, tx: Tx) -> LimitOut:
    """Let nothing of a kind begin, or nothing at all; what runs goes on."""
    limit, _stopped = await limiting.pause(tx, body, body.reason)
    return limiting.limit_out(limit)


@router.post("/queue/resume", tags=["queue"], status_code=204, responses=responses(LimitNotFound))
async def resume(body: ResumeIn, _: QueueAdmin, tx: Tx) -> None:
    """Let it begin again."""
    await limiting.resume(tx, body, body.reason)


@router.post("/queue/stop", tags=["queue"])
async def stop(body: ReasonIn, _: QueueAdmin, tx: Tx) -> StoppedOut:
    """Emergency stop: nothing begins, and what runs is told to stop at once.

    The orders wait again, at no cost of a retry; `resume` of the fleet lets them begin.
    """
    fleet = LimitTarget(scope=LimitScope.FLEET)
    limit, stopped = await limiting.pause(tx, fleet, body.reason, stops_runs=True)
    return StoppedOut(limit=limiting.limit_out(limit), stopping=stopped)


@router.post("/projects/{project_id}/pause", tags=["queue"], responses=responses(*_OF_PROJECT))
async def pause_project(
    project_id: uuid.UUID, body: ReasonIn, actor: QueueWriter, tx: Tx
) -> LimitOut:
    """Let nothing of your project begin; what runs goes on."""
    project = await projects.get_project_for_change(tx, actor, project_id)
    limit, _stopped = await limiting.pause(tx, _of_project(project.id), body.reason)
    return limiting.limit_out(limit)


@router.post(
    "/projects/{project_id}/resume",
    tags=["queue"],
    status_code=204,
    responses=responses(*_OF_PROJECT, LimitNotFound),
)
async def resume_project(project_id: uuid.UUID, body: ReasonIn, actor: QueueWriter, tx: Tx) -> None:
    """Let your project's work begin again."""
    project = await projects.get_project_for_change(tx, actor, project_id)
    await limiting.resume(tx, _of_project(project.id), body.reason)


def _of_project(project_id: uuid.UUID) -> LimitTarget:
    return LimitTarget(scope=LimitScope.PROJECT, key=str(project_id))


def _reported(outcome: OrderOutcome | AppError) -> ReportOut:
    if isinstance(outcome, AppError):
        return ReportOut(error=BulkError(code=outcome.code, detail=outcome.detail))
    return ReportOut(outcome=outcome)


def _bulk_out(outcomes: Sequence[bulk.Outcome]) -> BulkEnqueueOut:
    items = [
        BulkItemOut(error=BulkError(code=outcome.code, detail=outcome.detail))
        if isinstance(outcome, AppError)
        else BulkItemOut(task=task_out(outcome))
        for outcome in outcomes
    ]
    refused = sum(item.error is not None for item in items)
    return BulkEnqueueOut(items=items, queued=len(items) - refused, refused=refused)
