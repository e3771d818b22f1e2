"""Workers."""

import uuid

from agentvine.client.pages import Listing
from agentvine.client.transport import Call, Transport, get, post
from agentvine.protocol.base import PageOut
from agentvine.protocol.workers import (
    EnrolIn,
    EnrolledOut,
    EnrolmentCreatedOut,
    EnrolmentCreateIn,
    EnrolmentOut,
    WorkerOut,
    WorkerRegisteredOut,
    WorkerRegisterIn,
)


class WorkersApi:
    """``workers/``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    async def register(self, body: WorkerRegisterIn) -> WorkerRegisteredOut:
        """Introduce a worker's process; repeating it is harmless."""
        call = post("workers/register", body, is_repeatable=True)
        return await self._transport.fetch(call, WorkerRegisteredOut)

    async def enrol(self, body: EnrolIn) -> EnrolledOut:
        """Exchange an invitation for the worker's own key; repeating it is harmless."""
        call = post("workers/enrol", body, is_repeatable=True)
        return await self._transport.fetch(call, EnrolledOut)

    async def invite(self, body: EnrolmentCreateIn) -> EnrolmentCreatedOut:
        """Invite one worker; the invitation is shown this once."""
        return await self._transport.fetch(post("workers/invitations", body), EnrolmentCreatedOut)

    def invitations(self) -> Listing[EnrolmentOut]:
        """All invitations, newest first."""
        return Listing(self._transport, "workers/invitations", {}, PageOut[EnrolmentOut])

    async def withdraw(self, enrolment_id: uuid.UUID) -> None:
        """Let nobody come by an invitation any more."""
        await self._transport.send(Call("DELETE", f"workers/invitations/{enrolment_id}"))

    async def revoke(self, worker_id: uuid.UUID) -> WorkerOut:
        """End a worker's key, and free what it holds."""
        call = post(f"workers/{worker_id}/revoke", is_repeatable=True)
        return await self._transport.fetch(call, WorkerOut)

    def list(self) -> Listing[WorkerOut]:
        """All workers."""
        return Listing(self._transport, "workers", {}, PageOut[WorkerOut])

    async def get(self, worker_id: uuid.UUID) -> WorkerOut:
        """One worker."""
        return await self._transport.fetch(get(f"workers/{worker_id}"), WorkerOut)

    async def drain(self, worker_id: uuid.UUID) -> WorkerOut:
        """Ask a worker to finish what it runs and take no more."""
        return await self._transport.fetch(post(f"workers/{worker_id}/drain"), WorkerOut)

    async def delete(self, worker_id: uuid.UUID) -> None:
        """Forget a worker that does not come back."""
        await self._transport.send(Call("DELETE", f"workers/{worker_id}"))
