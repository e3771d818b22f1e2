"""Commands of the executions slice: one execution per claim, from its start to its end."""

import io
import uuid

from sqlalchemy import LargeBinary, func, select, update
from sqlalchemy.orm import defer

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.executions.enums import ExecutionPhase, ExecutionStatus
from agentvine.domains.executions.errors import BundleDamaged, BundleMissing
from agentvine.domains.executions.log_store import CHANNEL as LOGS
from agentvine.domains.executions.models import ChangeBundle, Execution
from agentvine.domains.executions.states import set_status
from agentvine.domains.identity import history
from agentvine.domains.work import queries as work
from agentvine.domains.work.enums import OrderStatus
from agentvine.domains.work.errors import LeaseLost
from agentvine.domains.work.models import WorkOrder
from agentvine.git.bundles import MAX_HEADER_BYTES, read_header
from agentvine.kit.actor import WorkerActor
from agentvine.protocol.enums import FailureClass
from agentvine.protocol.queue import ChangeReport, ExecutionReport

BUNDLES = "bundles"
"""The channel of new bundles, which are to be brought into their repositories."""
_STATUS = {
    FailureClass.TIMEOUT: ExecutionStatus.TIMEOUT,
    FailureClass.LEASE_LOST: ExecutionStatus.TIMEOUT,
    FailureClass.CANCELLED: ExecutionStatus.CANCELLED,
}


async def begin_execution(
    tx: Transaction, order: WorkOrder, *, worker_id: uuid.UUID, execution_id: uuid.UUID
) -> Execution:
    """Record that an attempt has begun."""
    execution = Execution(
        id=execution_id,
        task_id=order.task_id,
        worker_id=worker_id,
        work_order_id=order.id,
        status=ExecutionStatus.RUNNING,
        phase=ExecutionPhase.STARTING,
        runtime=order.runtime,
        fence=order.fence,
        attempt=order.retry_count + 1,
        started_at=tx.now,
    )
    tx.add(execution)
    history.announce(
        tx,
        "execution.started",
        entity=("execution", execution_id),
        payload={"task_id": str(order.task_id), "attempt": execution.attempt},
    )
    await tx.flush()
    return execution


async def is_news(read: ReadSession, execution_id: uuid.UUID, phase: ExecutionPhase) -> bool:
    """Whether a running attempt was last known to do something else; takes no lock."""
    found = await read.scalar(
        select(Execution.id).where(
            Execution.id == execution_id,
            Execution.status == ExecutionStatus.RUNNING,
            Execution.phase != phase,
        )
    )
    return found is not None


async def advance_execution(
    tx: Transaction, execution_id: uuid.UUID, phase: ExecutionPhase
) -> Execution | None:
    """Note what a running attempt is doing; None when that is no news."""
    return (
        await tx.scalars(
            update(Execution)
            .where(
                Execution.id == execution_id,
                Execution.status == ExecutionStatus.RUNNING,
                Execution.phase != phase,
            )
            .values(phase=phase)
            .returning(Execution)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
    ).one_or_none()


async def end_execution(
    tx: Transaction,
    execution_id: uuid.UUID,
    *,
    failure_class: FailureClass | None,
    message: str | None,
    report: ExecutionReport | None,
) -> Execution:
    """Record how an attempt ended; with no failure class it succeeded.

    Raises:
        ExecutionEnded: That was recorded already.
    """
    query = select(Execution).where(Execution.id == execution_id).with_for_update(key_share=True)
    execution = (await tx.execute(query)).scalar_one()
    set_status(
        execution,
        _STATUS.get(failure_class, ExecutionStatus.FAILED)
        if failure_class
        else ExecutionStatus.COMPLETED,
    )
    execution.phase = ExecutionPhase.FINISHED
    execution.failure_class = failure_class.value if failure_class else None
    execution.failure_message = message if failure_class else None
    execution.completed_at = tx.now
    elapsed = (tx.now - execution.started_at).total_seconds()
    execution.duration_seconds = round(report.duration_seconds if report else elapsed)
    if report is not None:
        execution.exit_code = report.exit_code
        execution.metrics = {
            **report.metrics,
            "duration_seconds": report.duration_seconds,
            "peak_memory_bytes": report.peak_memory_bytes,
        }
        execution.report = report.model_dump(mode="json", exclude={"change": {"diff"}})
    history.announce(
        tx,
        f"execution.{execution.status.value}",
        entity=("execution", execution.id),
        payload={"task_id": str(execution.task_id)},
    )
    tx.hint(LOGS, str(execution.id))
    await tx.flush()
    return execution


async def store_bundle(
    tx: Transaction,
    actor: WorkerActor,
    execution_id: uuid.UUID,
    *,
    claim: tuple[uuid.UUID, int],
    content: bytes,
    sha256: str,
) -> ChangeBundle:
    """Keep an execution's commits. The same bundle may be sent again.

    Args:
        tx: The worker's transaction.
        actor: The worker's token.
        execution_id: Whose commits.
        claim: The order and its fence.
        content: The git bundle; its hash has been checked.
        sha256: Its hash.

    Raises:
        LeaseLost: The claim is not the caller's any more.
    """
    order_id, fence = claim
    await work.task_of_claim(tx, actor, order_id, fence)
    status = await tx.scalar(
        select(WorkOrder.status)
        .where(
            WorkOrder.id == order_id,
            WorkOrder.fence == fence,
            WorkOrder.execution_id == execution_id,
        )
        .with_for_update(key_share=True)
    )
    known = await tx.scalar(
        select(ChangeBundle)
        .where(ChangeBundle.execution_id == execution_id)
        .options(defer(ChangeBundle.content))
    )
    if status is not None and known is not None and known.sha256 == sha256:
        return known
    if status is not OrderStatus.CLAIMED:
        raise LeaseLost("The order was taken back, or has ended; this bundle is not kept.")
    bundle = known or ChangeBundle(execution_id=execution_id, created_at=tx.now)
    bundle.sha256 = sha256
    bundle.size_bytes = len(content)
    bundle.content = content
    bundle.imported_ref = None
    bundle.imported_at = None
    bundle.findings = None
    tx.add(bundle)
    tx.hint(BUNDLES, str(execution_id))
    await tx.flush()
    return bundle


async def check_bundle_is_here(
    tx: Transaction, execution_id: uuid.UUID, change: ChangeReport
) -> None:
    """See that the commits of a change are kept here: a result is never only on a worker.

    What is merged later is the commit that the report names, so it must be the one that this run
    has sent, and no other that happens to be in the repository.

    Raises:
        BundleMissing: They are not.
        BundleDamaged: The bundle holds another commit.
    """
    query = select(
        ChangeBundle.sha256,
        func.substr(ChangeBundle.content, 1, MAX_HEADER_BYTES, type_=LargeBinary()),
    ).where(ChangeBundle.execution_id == execution_id)
    stored = (await tx.execute(query)).one_or_none()
    if stored is None or stored[0] != change.bundle_sha256:
        raise BundleMissing("Send the bundle of this change first, then report again.")
    tips = set(read_header(io.BytesIO(stored[1])).refs.values())
    if change.head_commit not in tips:
        raise BundleDamaged(f"The bundle holds {', '.join(tips)}, not {change.head_commit}.")
