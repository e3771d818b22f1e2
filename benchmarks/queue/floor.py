"""The floor: the rows that a life of an order leaves, by the least that writes them.

The order, its assignment, its execution, the states of its task, two audit rows and four events, on
the real tables. Nothing else: no worker's turn, no token, no limits, no capabilities, no values but
ids, states, times and words that are always the same. What is faster than this keeps less. The
floor of the orders alone changes nothing but the orders.
"""

import asyncio
import uuid

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from benchmarks.queue.cost import Cost, cost_of
from benchmarks.queue.ours import CLAIMERS, filled
from benchmarks.queue.services import Services

_CLAIM_ALONE = """
WITH picked AS MATERIALIZED (
    SELECT id FROM work_orders
    WHERE status = 'pending' AND line_id IS NULL AND queue_name = $3
    ORDER BY rank, id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
), claimed AS (
    UPDATE work_orders o SET status = 'claimed', fence = fence + 1, worker_id = $2,
        claimed_at = now(), execution_id = uuidv7(), lease_expires_at = now() + interval '60 s'
    FROM picked WHERE o.id = picked.id RETURNING o.id, o.task_id, o.fence, o.execution_id
)"""
_CLAIM_REST = """
, assigned AS (
    INSERT INTO worker_assignments (
        id, worker_id, work_order_id, status, fence, execution_id, assigned_at
    ) SELECT uuidv7(), $2, id, 'active', fence, execution_id, now() FROM claimed
), begun AS (
    INSERT INTO executions (
        id, task_id, worker_id, work_order_id, status, phase, fence, attempt, metrics, started_at
    ) SELECT execution_id, task_id, $2, id, 'running', 'starting', fence, 1, '{}', now()
    FROM claimed
), started AS (
    UPDATE tasks t SET status = 'in_progress', started_at = now(), assigned_to = $2,
        row_version = row_version + 1
    FROM claimed c WHERE t.id = c.task_id
), told AS (
    INSERT INTO events (occurred_at, type, entity_type, entity_id, payload)
    SELECT now(), type, kind, about::text, '{}' FROM claimed CROSS JOIN LATERAL (
        VALUES ('execution.started', 'execution', execution_id),
            ('task.in_progress', 'task', task_id)
    ) news (type, kind, about)
), recorded AS (
    INSERT INTO audit_events (
        occurred_at, actor_type, actor_id, actor_label, action, entity_type, entity_id
    )
    SELECT now(), 'worker', 'worker', 'worker', 'task.in_progress', 'task', task_id::text
    FROM claimed
)"""
_CLAIMED = " SELECT id, fence FROM claimed"
_COMPLETE_ALONE = """
WITH completed AS (
    UPDATE work_orders o SET status = 'completed', completed_at = now(), lease_expires_at = NULL
    FROM unnest($1::uuid[], $2::bigint[]) AS done (id, fence)
    WHERE o.id = done.id AND o.fence = done.fence AND (o.status = 'claimed') IS TRUE
    RETURNING o.id, o.task_id, o.execution_id
)"""
_COMPLETE_REST = """
, unassigned AS (
    UPDATE worker_assignments s SET status = 'completed', completed_at = now()
    FROM completed c WHERE s.work_order_id = c.id AND (s.status = 'active') IS TRUE
), ended AS (
    UPDATE executions e SET status = 'completed', phase = 'finished', completed_at = now()
    FROM completed c WHERE e.id = c.execution_id
), finished AS (
    UPDATE tasks t SET status = 'completed', completed_at = now(), row_version = row_version + 1
    FROM completed c WHERE t.id = c.task_id
), told AS (
    INSERT INTO events (occurred_at, type, entity_type, entity_id, payload)
    SELECT now(), type, kind, about::text, '{}' FROM completed CROSS JOIN LATERAL (
        VALUES ('execution.completed', 'execution', execution_id),
            ('task.completed', 'task', task_id)
    ) news (type, kind, about)
), recorded AS (
    INSERT INTO audit_events (
        occurred_at, actor_type, actor_id, actor_label, action, entity_type, entity_id
    )
    SELECT now(), 'worker', 'worker', 'worker', 'task.completed', 'task', task_id::text
    FROM completed
)"""
_COMPLETED = " SELECT id FROM completed"
_TABLES = "'{work_orders,tasks,executions,worker_assignments,events,audit_events}'::regclass[]"
_INDEXES = f"""
SELECT format('DROP INDEX %s', indexrelid::regclass) FROM pg_index i
WHERE indrelid = ANY ({_TABLES}) AND NOT indisunique
    AND indexrelid::regclass::text NOT IN (
        'idx_work_orders_ready', 'idx_assignments_order'
    )
"""
_KEYS = f"""
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname)
FROM pg_constraint WHERE contype = 'f' AND conrelid = ANY ({_TABLES})
"""


async def drain(
    services: Services, *, count: int, batch: int, without: str = "", is_alone: bool = False
) -> Cost:
    """Fill our tables and empty the queue; what emptying it cost.

    Args:
        services: Where.
        count: How many orders.
        batch: How many a claimer takes at a time.
        without: ``indexes``: only what is unique, and what orders and assignments are found by, is
            indexed; ``keys``: no foreign key is checked, either.
        is_alone: Change nothing but the orders.
    """
    claim = _CLAIM_ALONE + ("" if is_alone else _CLAIM_REST) + _CLAIMED
    complete = _COMPLETE_ALONE + ("" if is_alone else _COMPLETE_REST) + _COMPLETED
    async with filled(services, count) as (name, crew, postmaster):
        taken = (batch, (await crew.worker()).worker_id, crew.queue_name)
        dsn = services.dsn(name)
        settings = {"enable_seqscan": "off", "plan_cache_mode": "force_generic_plan"}
        open_ones = [await asyncpg.connect(dsn, server_settings=settings) for _ in range(CLAIMERS)]
        if without:
            await _drop(open_ones[0], _INDEXES)
        if without == "keys":
            await _drop(open_ones[0], _KEYS)
        both = [(await each.prepare(claim), await each.prepare(complete)) for each in open_ones]
        with cost_of(count, postmaster) as cost:
            done = await asyncio.gather(*(_drain(*statements, taken) for statements in both))
        assert sum(done) == count, f"{count} orders, {sum(done)} done"
        for each in open_ones:
            await each.close()
    return cost


async def _drop(connection: asyncpg.Connection, query: str) -> None:
    for (statement,) in await connection.fetch(query):
        await connection.execute(statement)


async def _drain(
    claim: PreparedStatement, complete: PreparedStatement, taken: tuple[int, uuid.UUID, str]
) -> int:
    done = 0
    while rows := await claim.fetch(*taken):
        await complete.fetch([row["id"] for row in rows], [row["fence"] for row in rows])
        done += len(rows)
    return done
