"""When the login that a worker's runtime has of its own reaches its provider's limit.

The limit is kept with the worker, whose claims leave that runtime out until it is lifted. So the
order is not held up: a worker with another login may take it, and with none it waits in the queue.
A run that called its models through the gateway says nothing about a login: there the limit is kept
with the provider's key.
"""

import uuid
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import exists, select

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.identity.enums import TokenKind
from agentvine.domains.identity.models import ApiToken
from agentvine.domains.identity.tokens import RUN_KEY
from agentvine.domains.tasks.models import Task
from agentvine.domains.work.models import WorkOrder
from agentvine.domains.workers import queries as workers
from agentvine.domains.workers import service as worker_service
from agentvine.domains.workers.models import Worker
from agentvine.kit.actor import WorkerActor
from agentvine.protocol.enums import FailureHandling
from agentvine.protocol.queue import FailIn
from agentvine.protocol.workers import RuntimeLimit

_WITHOUT_LOGIN = (None, "command")
"""A command may be anything: what one has met says nothing about the next."""
_MAX_REASON = 500


async def note_login_limit(tx: Transaction, actor: WorkerActor, message: FailIn) -> bool:
    """Keep the limit that a run has met, if a login met it; whether one did.

    Takes the worker's lock, so it comes before the task's and the order's.
    """
    until = lifted_at(message, tx.now)
    if message.failure_class.handling is not FailureHandling.DELAY or until is None:
        return False
    query = (
        select(Worker.id, WorkOrder.runtime)
        .join(WorkOrder, WorkOrder.worker_id == Worker.id)
        .where(
            WorkOrder.id == message.order_id,
            WorkOrder.fence == message.fence,
            Worker.token_id == actor.token_id,
        )
    )
    found = (await tx.execute(query)).one_or_none()
    if found is None or found.runtime in _WITHOUT_LOGIN or await _asked_the_gateway(tx, message):
        return False
    worker = await workers.lock_worker(tx, found.id)
    limit = RuntimeLimit(runtime=found.runtime, until=until, reason=message.message[:_MAX_REASON])
    worker_service.note_limit(worker, limit, now=tx.now)
    return True


class KeyLimits(Protocol):
    """Knows the limits of providers' keys; the gateway's slice has the one implementation."""

    async def lifted_at(
        self, read: ReadSession, project_id: uuid.UUID, now: datetime
    ) -> datetime | None:
        """When a project's calls are taken again; None: they are, or nobody knows."""
        ...


async def with_key_limit(tx: Transaction, message: FailIn, limits: KeyLimits) -> FailIn:
    """A report with the time that the gateway was told, where the run was not: most do not say."""
    is_limit = message.failure_class.handling is FailureHandling.DELAY
    if not is_limit or lifted_at(message, tx.now) is not None:
        return message
    if not await _asked_the_gateway(tx, message):
        return message
    query = select(Task.project_id).join(WorkOrder, WorkOrder.task_id == Task.id)
    project_id = (await tx.scalars(query.where(WorkOrder.id == message.order_id))).one()
    until = await limits.lifted_at(tx, project_id, tx.now)
    return message.model_copy(update={"retry_at": until})


def lifted_at(message: FailIn, now: datetime) -> datetime | None:
    """When a provider's limit is lifted; of two times that were told, the later counts."""
    told = [] if message.retry_at is None else [message.retry_at]
    if message.retry_after_seconds is not None:
        told.append(now + timedelta(seconds=message.retry_after_seconds))
    return max(told, default=None)


async def _asked_the_gateway(read: ReadSession, message: FailIn) -> bool:
    """Whether the run was given a key for the gateway."""
    key = exists().where(
        ApiToken.kind == TokenKind.GATEWAY,
        ApiToken.prefix.startswith(RUN_KEY, autoescape=True),
        ApiToken.work_order_id == message.order_id,
        ApiToken.fence == message.fence,
    )
    return bool(await read.scalar(select(key)))
