"""Log lines: appended in batches, exactly once, gap-free per stream, and only by the live claim."""

import uuid
from collections.abc import Mapping, Sequence

from sqlalchemy import bindparam, func, insert, literal_column, select

from agentvine.db.base import table_of
from agentvine.db.planning import by_no_index
from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.executions.errors import LogGap
from agentvine.domains.executions.models import Execution, ExecutionLog
from agentvine.domains.work import queries as work
from agentvine.domains.work.errors import LeaseLost
from agentvine.domains.work.models import WorkOrder
from agentvine.kit.actor import WorkerActor
from agentvine.kit.redaction import clean_value, mask_lines
from agentvine.protocol.executions import LogBatchIn

CHANNEL = "logs"
NEWEST = (
    select(ExecutionLog.seq, ExecutionLog.message)
    .where(
        ExecutionLog.execution_id == bindparam("execution_id"),
        ExecutionLog.stream == bindparam("stream"),
        ExecutionLog.seq.is_not(None),
    )
    .order_by(ExecutionLog.seq.desc())
    .limit(literal_column("1"))
)
"""Number and text of the newest line of a stream."""


async def append_lines(
    tx: Transaction, actor: WorkerActor, execution_id: uuid.UUID, batch: LogBatchIn
) -> int:
    """Store a batch; lines already there are skipped. Returns the stream's highest number.

    A batch may come after the order has ended (the worker's outbox empties late), but never after
    another claim has been granted: then the fence is stale.

    Raises:
        LeaseLost: The order has been claimed again, or taken back, since.
        LogGap: Earlier lines of the stream are missing; send from ``high_seq`` + 1.
    """
    await work.task_of_claim(tx, actor, batch.order_id, batch.fence)
    await _check_claim(tx, execution_id, batch)
    high, last = await _newest(tx, execution_id, batch.stream)
    if batch.first_seq > high + 1:
        raise LogGap(
            f"Lines {high + 1} to {batch.first_seq - 1} of {batch.stream} are missing.",
            high_seq=high,
        )
    if fresh := batch.lines[high + 1 - batch.first_seq :]:
        messages = mask_lines([line.message for line in fresh], after=last)
        rows = [
            {
                "execution_id": execution_id,
                "stream": batch.stream,
                "seq": seq,
                "level": line.level,
                "message": message,
                "metadata": clean_value(line.metadata),
                "logged_at": line.logged_at,
            }
            for seq, (line, message) in enumerate(zip(fresh, messages, strict=True), high + 1)
        ]
        await tx.execute(insert(table_of(ExecutionLog)), rows)
        tx.hint(CHANNEL, str(execution_id))
    return max(high, batch.first_seq + len(batch.lines) - 1)


async def _check_claim(tx: Transaction, execution_id: uuid.UUID, batch: LogBatchIn) -> None:
    # The lock makes appends of one execution take turns, so the numbers cannot leave a gap. Who
    # takes the order back ends the execution under the same lock, so the fence is read after it:
    # what was read while waiting for the lock may be old.
    locked = await tx.scalar(
        select(Execution.id)
        .where(
            Execution.id == execution_id,
            Execution.work_order_id == batch.order_id,
            Execution.fence == batch.fence,
        )
        .with_for_update(key_share=True)
    )
    current = await tx.scalar(select(WorkOrder.fence).where(WorkOrder.id == batch.order_id))
    if locked is None or current != batch.fence:
        raise LeaseLost("Another claim has been granted since; these lines are not kept.")


async def has_all_lines(
    read: ReadSession, execution_id: uuid.UUID, sent: Mapping[str, int]
) -> bool:
    """Whether every line that the worker says it has sent is here: the last may be late."""
    if not sent:
        return True
    query = (
        select(ExecutionLog.stream, func.max(ExecutionLog.seq))
        .where(ExecutionLog.execution_id == execution_id)
        .group_by(ExecutionLog.stream)
    )
    stored = {stream: seq or 0 for stream, seq in (await read.execute(query)).all()}
    return all(stored.get(stream, 0) >= count for stream, count in sent.items())


async def _newest(read: ReadSession, execution_id: uuid.UUID, stream: str) -> tuple[int, str]:
    """Number and text of the newest line of a stream; 0 when it has none."""
    values = {"execution_id": execution_id, "stream": stream}
    found = (await read.execute(NEWEST, values)).one_or_none()
    return (found[0], found[1]) if found else (0, "")


async def read_lines(
    read: ReadSession,
    execution_id: uuid.UUID,
    *,
    after: int = 0,
    limit: int,
    stream: str | None = None,
) -> Sequence[ExecutionLog]:
    """Lines in the order they were stored, after a given id."""
    query = select(ExecutionLog).where(
        ExecutionLog.execution_id == execution_id, ExecutionLog.id > after
    )
    if stream is not None:
        query = query.where(by_no_index(ExecutionLog.stream == stream))
    return (await read.scalars(query.order_by(ExecutionLog.id).limit(limit))).all()
