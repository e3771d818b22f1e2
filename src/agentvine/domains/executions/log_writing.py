"""Batches of log lines, in one statement where nothing is special; else the long way.

Plain is a batch of a claim that is the caller's still, which goes on where the stream ends. Lines
are masked here, for which the last line before them is looked at first. Whatever happens between
that look and the statement, lines of the same number are the same lines: they are there once.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentvine.db.direct import Direct, driver_sql
from agentvine.db.engine import to_json
from agentvine.db.session import Database
from agentvine.domains.executions import log_store
from agentvine.domains.work.statements import Statement, run
from agentvine.kit.actor import WorkerActor
from agentvine.kit.redaction import clean_value, mask_lines
from agentvine.protocol.executions import LogBatchIn, LogLineIn

_TYPES = {
    "token_id": "uuid",
    "execution_id": "uuid",
    "order_id": "uuid",
    "fence": "bigint",
    "stream": "text",
    "first": "bigint",
    "levels": "text[]",
    "messages": "text[]",
    "metadata": "text[]",
    "times": "timestamptz[]",
}
_APPEND = {
    # The order is locked so that its fence is the newest there is, and only so far that its beats
    # are not in the way. Nothing is waited for: what another holds is for the long way.
    "held": """
        SELECT e.id FROM executions e JOIN work_orders o ON o.id = e.work_order_id
        WHERE e.id = :execution_id AND (e.work_order_id = :order_id) IS TRUE
            AND e.fence = :fence AND o.fence = :fence
            AND EXISTS (
                SELECT FROM worker_assignments a JOIN workers w ON w.id = a.worker_id
                WHERE a.work_order_id = :order_id AND a.fence = :fence
                    AND (w.token_id = :token_id) IS TRUE
            )
        FOR NO KEY UPDATE OF e SKIP LOCKED FOR KEY SHARE OF o SKIP LOCKED
    """,
    "stored": """
        INSERT INTO execution_logs (
            execution_id, stream, seq, level, message, metadata, logged_at
        )
        SELECT held.id, :stream, :first + line.n - 1, line.level, line.message,
            line.metadata::jsonb, line.logged_at
        FROM held CROSS JOIN unnest(:levels, :messages, :metadata, :times)
            WITH ORDINALITY AS line (level, message, metadata, logged_at, n)
        ORDER BY line.n
        ON CONFLICT (execution_id, stream, seq) DO NOTHING
    """,
}
APPEND = Statement(_APPEND, "SELECT id FROM held", _TYPES)
_NEWEST = driver_sql(log_store.NEWEST)


@dataclass(frozen=True, slots=True)
class LogWriter:
    """Takes the lines of runs."""

    database: Database

    async def append(self, actor: WorkerActor, execution_id: uuid.UUID, batch: LogBatchIn) -> int:
        """Store a batch, once; the stream's highest number.

        Raises:
            LeaseLost: The order has been claimed again, or taken back, since.
            LogGap: Earlier lines of the stream are missing; send from ``high_seq`` + 1.
        """
        high = await self.append_plain(actor, execution_id, batch)
        if high is not None:
            return high
        async with self.database.transaction(actor) as tx:
            return await log_store.append_lines(tx, actor, execution_id, batch)

    async def append_plain(
        self, actor: WorkerActor, execution_id: uuid.UUID, batch: LogBatchIn
    ) -> int | None:
        """The same in one statement; None where it is not for that to decide."""
        direct = self.database.direct
        if direct is None:
            return None
        found = await direct.fetch(_NEWEST, execution_id, batch.stream)
        high, last = (found[0]["seq"], found[0]["message"]) if found else (0, "")
        fresh = batch.lines[max(0, high + 1 - batch.first_seq) :]
        has_gap = batch.first_seq > high + 1
        if has_gap or not fresh or any(line.logged_at.tzinfo is None for line in fresh):
            return None
        values = values_of(actor, execution_id, batch, fresh, after=last)
        if not await _stored(direct, values):
            return None
        self.database.hints.publish(log_store.CHANNEL, str(execution_id))
        return batch.first_seq + len(batch.lines) - 1


async def _stored(direct: Direct, values: Mapping[str, object]) -> bool:
    return bool(await run(APPEND, direct, values))


def values_of(
    actor: WorkerActor,
    execution_id: uuid.UUID,
    batch: LogBatchIn,
    fresh: Sequence[LogLineIn],
    *,
    after: str,
) -> dict[str, object]:
    """The parameters for the lines of a batch that come after a line that is there."""
    return {
        "token_id": actor.token_id,
        "execution_id": execution_id,
        "order_id": batch.order_id,
        "fence": batch.fence,
        "stream": batch.stream,
        "first": batch.first_seq + len(batch.lines) - len(fresh),
        "levels": [line.level.value for line in fresh],
        "messages": mask_lines([line.message for line in fresh], after=after),
        "metadata": [_document(line.metadata) for line in fresh],
        "times": [line.logged_at for line in fresh],
    }


def _document(metadata: Mapping[str, object]) -> str:
    # Nearly all are empty.
    return to_json(clean_value(metadata)) if metadata else "{}"
