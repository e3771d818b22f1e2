"""The queue: what workers say, and what people ask about it. Every message may be repeated."""

import uuid
from collections.abc import Sequence

from pydantic import TypeAdapter

from agentvine.client.pages import Listing
from agentvine.client.transport import Call, Transport, get, post, send_file
from agentvine.protocol.base import PageOut
from agentvine.protocol.controls import ControlIn, RunMessageOut, SteerIn
from agentvine.protocol.conversations import AttachmentOut
from agentvine.protocol.enums import FailureClass, OrderStatus
from agentvine.protocol.queue import (
    BulkEnqueueIn,
    BulkEnqueueOut,
    BulkItemIn,
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
    ReportIn,
    ReportOut,
    ReportsIn,
    ReportsOut,
    WhyOut,
    WorkOrderOut,
)
from agentvine.protocol.tasks import TaskOut

_ANSWER_SECONDS = 15.0
_STATUS = TypeAdapter(list[QueueStatusOut])
_MESSAGES = TypeAdapter(list[RunMessageOut])


class QueueApi:
    """``queue/``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    async def status(self) -> Sequence[QueueStatusOut]:
        """Numbers for each queue."""
        return await self._transport.fetch_as(get("queue/status"), _STATUS)

    def orders(
        self,
        *,
        status: Sequence[OrderStatus] = (),
        queue_name: str | None = None,
        task_id: uuid.UUID | None = None,
    ) -> Listing[WorkOrderOut]:
        """Work orders, newest first."""
        params = {"status": status, "queue_name": queue_name, "task_id": task_id}
        return Listing(self._transport, "queue/orders", params, PageOut[WorkOrderOut])

    async def order(self, order_id: uuid.UUID) -> WorkOrderOut:
        """One work order."""
        return await self._transport.fetch(get(f"queue/orders/{order_id}"), WorkOrderOut)

    async def pause(self, order_id: uuid.UUID) -> WorkOrderOut:
        """Let the run of an order stand still; `paused_since` tells when it does."""
        call = post(f"queue/orders/{order_id}/pause").with_key(None)
        return await self._transport.fetch(call, WorkOrderOut)

    async def resume(self, order_id: uuid.UUID) -> WorkOrderOut:
        """Let a run that stands still go on."""
        call = post(f"queue/orders/{order_id}/resume").with_key(None)
        return await self._transport.fetch(call, WorkOrderOut)

    async def steer(
        self,
        order_id: uuid.UUID,
        text: str,
        *,
        attachments: Sequence[uuid.UUID] = (),
        idempotency_key: str | None = None,
    ) -> RunMessageOut:
        """Say something to the run of an order, with files that ``attach`` has put there."""
        body = SteerIn(text=text, attachments=list(attachments))
        call = post(f"queue/orders/{order_id}/messages", body)
        return await self._transport.fetch(call.with_key(idempotency_key), RunMessageOut)

    async def attach(
        self,
        order_id: uuid.UUID,
        name: str,
        content: bytes,
        *,
        type_: str = "application/octet-stream",
    ) -> AttachmentOut:
        """Put a file there for the run of an order."""
        call = send_file(f"queue/orders/{order_id}/attachments", name, content, type_)
        return await self._transport.fetch(call, AttachmentOut)

    async def messages(self, order_id: uuid.UUID) -> Sequence[RunMessageOut]:
        """What was said to the runs of an order, and whether they have it."""
        return await self._transport.fetch_as(get(f"queue/orders/{order_id}/messages"), _MESSAGES)

    async def enqueue(self, task_id: uuid.UUID) -> TaskOut:
        """Start a task: it is queued as soon as nothing holds it back."""
        call = post("queue/enqueue", EnqueueIn(task_id=task_id))
        return await self._transport.fetch(call, TaskOut)

    async def enqueue_many(self, items: Sequence[BulkItemIn]) -> BulkEnqueueOut:
        """Make and start many tasks in one transaction; each may be refused alone."""
        call = post("queue/enqueue-many", BulkEnqueueIn(items=list(items)))
        return await self._transport.fetch(call, BulkEnqueueOut)

    def dead(
        self,
        *,
        project_id: uuid.UUID | None = None,
        queue_name: str | None = None,
        failure_class: FailureClass | None = None,
    ) -> Listing[WorkOrderOut]:
        """The last orders of tasks that have failed, newest first."""
        params = {
            "project_id": project_id,
            "queue_name": queue_name,
            "failure_class": failure_class.value if failure_class else None,
        }
        return Listing(self._transport, "queue/dead", params, PageOut[WorkOrderOut])

    async def retry_dead(self, wanted: DeadOrdersIn) -> BulkEnqueueOut:
        """Try dead orders again."""
        return await self._transport.fetch(post("queue/dead/retry", wanted), BulkEnqueueOut)

    async def why(self, order_id: uuid.UUID) -> WhyOut:
        """Why an order does not run."""
        return await self._transport.fetch(get(f"queue/orders/{order_id}/why"), WhyOut)

    async def why_task(self, task_id: uuid.UUID) -> WhyOut:
        """Why a task does not run, whether it is queued or not."""
        return await self._transport.fetch(get(f"tasks/{task_id}/why"), WhyOut)

    async def claim(self, body: ClaimIn) -> ClaimOut:
        """Take orders, waiting for the first as long as the body says."""
        call = Call(
            "POST",
            "queue/claim",
            body=body,
            is_repeatable=True,
            read_timeout=body.wait_seconds + _ANSWER_SECONDS,
        )
        return await self._transport.fetch(call, ClaimOut)

    async def heartbeat(self, body: HeartbeatIn) -> HeartbeatOut:
        """Extend the leases of all claims held."""
        call = post("queue/heartbeat", body, is_repeatable=True)
        return await self._transport.fetch(call, HeartbeatOut)

    async def listen(self, body: ListenIn) -> ListenOut:
        """Wait until a beat would tell something new, as long as the body says."""
        call = Call(
            "POST",
            "queue/listen",
            body=body,
            is_repeatable=True,
            read_timeout=body.wait_seconds + _ANSWER_SECONDS,
        )
        return await self._transport.fetch(call, ListenOut)

    async def control(self, body: ControlIn) -> None:
        """Tell what has become of a pause, a resumption or messages."""
        await self._transport.send(post("queue/control", body, is_repeatable=True))

    async def complete(self, body: CompleteIn) -> OrderOutcome:
        """Report success."""
        call = post("queue/complete", body, is_repeatable=True)
        return await self._transport.fetch(call, OrderOutcome)

    async def fail(self, body: FailIn) -> OrderOutcome:
        """Report failure."""
        return await self._transport.fetch(
            post("queue/fail", body, is_repeatable=True), OrderOutcome
        )

    async def release(self, body: ReleaseIn) -> OrderOutcome:
        """Give an order back untouched."""
        call = post("queue/release", body, is_repeatable=True)
        return await self._transport.fetch(call, OrderOutcome)

    async def report_many(self, reports: Sequence[ReportIn]) -> Sequence[ReportOut]:
        """Report on up to 100 claims at once; each is taken or refused as if it had come alone."""
        body = ReportsIn(reports=list(reports))
        call = post("queue/report-many", body, is_repeatable=True)
        return (await self._transport.fetch(call, ReportsOut)).items
