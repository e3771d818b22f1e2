"""Reads of the workers slice."""

import uuid
from collections.abc import Mapping, Sequence

from sqlalchemy import select

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.workers.enums import CapabilityLevel, WorkerId
from agentvine.domains.workers.errors import WorkerNotFound, WorkerSuperseded
from agentvine.domains.workers.models import Worker, WorkerCapability
from agentvine.kit.actor import WorkerActor
from agentvine.kit.pagination import Page, PageRequest


async def get_worker(read: ReadSession, worker_id: uuid.UUID) -> Worker:
    """A worker by id.

    Raises:
        WorkerNotFound: There is none.
    """
    return _present(await read.get(Worker, worker_id), worker_id)


async def lock_worker(tx: Transaction, worker_id: uuid.UUID) -> Worker:
    """A worker as it is now, locked until the transaction ends.

    A registration, a claim, a beat and the end of one worker take turns on this lock, which comes
    first in the order of all locks.

    Raises:
        WorkerNotFound: There is none.
    """
    query = (
        select(Worker)
        .where(Worker.id == worker_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return _present(await tx.scalar(query), worker_id)


async def lock_calling_worker(
    tx: Transaction, actor: WorkerActor, worker_id: uuid.UUID, session_id: uuid.UUID
) -> Worker:
    """The worker a message comes from, locked; its token and process must be the registered ones.

    Raises:
        WorkerNotFound: It is not registered, or not by this token.
        WorkerSuperseded: A later process of the same worker has registered.
    """
    return _calling(await lock_worker(tx, worker_id), actor, session_id)


async def get_calling_worker(
    read: ReadSession, actor: WorkerActor, worker_id: uuid.UUID, session_id: uuid.UUID
) -> Worker:
    """Like ``lock_calling_worker``, for who only wants to know.

    Raises:
        WorkerNotFound: It is not registered, or not by this token.
        WorkerSuperseded: A later process of the same worker has registered.
    """
    return _calling(await get_worker(read, worker_id), actor, session_id)


def _calling(worker: Worker, actor: WorkerActor, session_id: uuid.UUID) -> Worker:
    if worker.token_id != actor.token_id:
        raise WorkerNotFound(f"This token registered no worker with the id {worker.id}.")
    if worker.session_id is None:
        raise WorkerSuperseded(f"{worker.name} was shut out: its key was revoked. Enrol it again.")
    if worker.session_id != session_id:
        raise WorkerSuperseded(f"A newer process of {worker.name} has registered.")
    return worker


async def list_workers(read: ReadSession, page: PageRequest) -> Page[Worker]:
    """All workers by name."""
    query = select(Worker).where(Worker.deleted_at.is_(None))
    return await fetch_page(read, query, Worker.name, page)


async def ids_by_token(read: ReadSession, token_id: uuid.UUID) -> Sequence[WorkerId]:
    """The workers that came with a token, in the order in which they are locked."""
    query = select(Worker.id).where(Worker.token_id == token_id, Worker.deleted_at.is_(None))
    return (await read.scalars(query.order_by(Worker.id))).all()


async def capabilities_of(read: ReadSession, worker_id: uuid.UUID) -> Mapping[str, CapabilityLevel]:
    """What a worker can do, and how well."""
    rows = await read.execute(
        select(WorkerCapability.capability_name, WorkerCapability.capability_level).where(
            WorkerCapability.worker_id == worker_id
        )
    )
    return {name: CapabilityLevel(level) for name, level in rows.all()}


def _present(worker: Worker | None, worker_id: uuid.UUID) -> Worker:
    if worker is None or worker.deleted_at is not None:
        raise WorkerNotFound(f"No worker has the id {worker_id}; it may have been deleted.")
    return worker
