"""Routes of the workers slice; registering is part of the queue protocol, in the work slice."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends

from agentvine.domains.identity.idempotency import CreateOnce
from agentvine.domains.workers import enrolment, queries, service
from agentvine.domains.workers.errors import EnrolmentInvalid, EnrolmentNotFound, WorkerNotFound
from agentvine.http.deps import Paging, Public, Read, State, Tx, require
from agentvine.http.problems import responses
from agentvine.kit.actor import SystemActor, UserActor
from agentvine.protocol.base import PageOut
from agentvine.protocol.workers import (
    EnrolIn,
    EnrolledOut,
    EnrolmentCreatedOut,
    EnrolmentCreateIn,
    EnrolmentOut,
    WorkerOut,
)

router = APIRouter(tags=["workers"])

WorkerReader = Annotated[UserActor, Depends(require("workers:read"))]
WorkerAdmin = Annotated[UserActor, Depends(require("workers:admin"))]
_ENROLMENT = SystemActor("enrolment")


@router.get("/workers")
async def list_workers(_: WorkerReader, read: Read, page: Paging) -> PageOut[WorkerOut]:
    """All workers by name."""
    found = await queries.list_workers(read, page)
    return PageOut(
        items=[WorkerOut.model_validate(worker) for worker in found.items],
        next_cursor=found.next_cursor,
    )


# Before the route of one worker, whose id this is not.
@router.get("/workers/invitations")
async def list_invitations(_: WorkerAdmin, read: Read, page: Paging) -> PageOut[EnrolmentOut]:
    """All invitations, newest first."""
    found = await enrolment.list_enrolments(read, page)
    return PageOut(
        items=[enrolment.enrolment_out(row) for row in found.items], next_cursor=found.next_cursor
    )


@router.get("/workers/{worker_id}", responses=responses(WorkerNotFound))
async def get_worker(worker_id: uuid.UUID, _: WorkerReader, read: Read) -> WorkerOut:
    """One worker."""
    return WorkerOut.model_validate(await queries.get_worker(read, worker_id))


@router.post("/workers/{worker_id}/drain", responses=responses(WorkerNotFound))
async def drain_worker(worker_id: uuid.UUID, _: WorkerAdmin, tx: Tx) -> WorkerOut:
    """Ask a worker to finish what it holds and claim no more."""
    worker = await queries.lock_worker(tx, worker_id)
    await service.set_draining(tx, worker, is_draining=True)
    await tx.flush()
    await tx.refresh(worker)
    return WorkerOut.model_validate(worker)


@router.delete("/workers/{worker_id}", status_code=204, responses=responses(WorkerNotFound))
async def retire_worker(worker_id: uuid.UUID, _: WorkerAdmin, tx: Tx) -> None:
    """Forget a worker; what it holds goes back to the queue at once."""
    await service.retire_worker(tx, await queries.lock_worker(tx, worker_id))


@router.post("/workers/{worker_id}/revoke", responses=responses(WorkerNotFound))
async def revoke_worker(worker_id: uuid.UUID, _: WorkerAdmin, tx: Tx) -> WorkerOut:
    """End a worker's key: what it holds is freed at once, and its next request is refused."""
    worker = await queries.lock_worker(tx, worker_id)
    await service.revoke_key(tx, worker)
    return WorkerOut.model_validate(worker)


@router.post("/workers/invitations", status_code=201)
async def invite_worker(
    body: EnrolmentCreateIn, actor: WorkerAdmin, tx: Tx, once: CreateOnce
) -> EnrolmentCreatedOut:
    """Invite one worker. The invitation is shown this once, and is good for one key."""

    async def create() -> EnrolmentCreatedOut:
        row, text = await enrolment.invite_worker(tx, actor, body)
        return EnrolmentCreatedOut(token=text, info=enrolment.enrolment_out(row))

    return await once.without_replay(create)


@router.delete(
    "/workers/invitations/{enrolment_id}", status_code=204, responses=responses(EnrolmentNotFound)
)
async def withdraw_invitation(enrolment_id: uuid.UUID, _: WorkerAdmin, tx: Tx) -> None:
    """Let nobody come by an invitation any more."""
    await enrolment.withdraw_invitation(tx, enrolment_id)


@router.post("/workers/enrol", dependencies=[Public], responses=responses(EnrolmentInvalid))
async def enrol_worker(body: EnrolIn, state: State) -> EnrolledOut:
    """Exchange an invitation for a key of the worker's own making. May be repeated."""
    async with state.database.transaction(_ENROLMENT) as tx:
        key = await enrolment.enrol_worker(tx, body)
        return EnrolledOut(worker_name=body.worker_name, scopes=list(key.scopes))
