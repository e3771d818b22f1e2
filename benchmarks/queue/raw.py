"""The baselines: the least that a durable queue with fences can be written as.

A table of its own with two partial indexes; claim by ``FOR UPDATE SKIP LOCKED``, completion by id
and fence. No tasks, no history, no limits, no capabilities.
"""

import asyncio
import sqlite3
import time
from pathlib import Path

import asyncpg

from benchmarks.queue.cost import Cost, cost_of, postmaster_of

TABLE = """
DROP TABLE IF EXISTS jobs;
CREATE TABLE jobs (
    id bigserial PRIMARY KEY, queue text NOT NULL DEFAULT 'default',
    priority smallint NOT NULL DEFAULT 0, state smallint NOT NULL DEFAULT 0,
    run_at timestamptz NOT NULL DEFAULT now(), attempt int NOT NULL DEFAULT 0,
    fence bigint NOT NULL DEFAULT 0, lease_until timestamptz, worker text,
    payload jsonb NOT NULL DEFAULT '{}'
) WITH (fillfactor = 70);
CREATE INDEX jobs_ready ON jobs (queue, priority DESC, run_at, id) WHERE state = 0;
CREATE INDEX jobs_lease ON jobs (lease_until) WHERE state = 1;
"""
CLAIM = """
WITH picked AS MATERIALIZED (
    SELECT id FROM jobs WHERE queue = $1 AND state = 0 AND run_at <= now()
    ORDER BY priority DESC, run_at, id LIMIT $2 FOR UPDATE SKIP LOCKED
)
UPDATE jobs SET state = 1, attempt = attempt + 1, fence = fence + 1, worker = $3,
    lease_until = now() + interval '60 seconds'
FROM picked WHERE jobs.id = picked.id RETURNING jobs.id, jobs.fence
"""
COMPLETE = """
UPDATE jobs SET state = 2, lease_until = NULL
FROM unnest($1::bigint[], $2::bigint[]) AS done (id, fence)
WHERE jobs.id = done.id AND jobs.fence = done.fence AND jobs.state = 1
"""
COMPLETE_ONE = (
    "UPDATE jobs SET state = 2, lease_until = NULL WHERE id = $1 AND fence = $2 AND state = 1"
)


async def drain_postgres(dsn: str, *, count: int, batch: int, connections: int) -> Cost:
    """Fill the table and empty it; what emptying it cost."""
    owner = await asyncpg.connect(dsn)
    await owner.execute(TABLE)
    await owner.execute(
        "INSERT INTO jobs (priority) SELECT i % 5 FROM generate_series(1, $1::int) i",
        count,
    )
    await owner.execute("VACUUM ANALYZE jobs")

    open_ones = [await asyncpg.connect(dsn) for _ in range(connections)]
    with cost_of(count, await postmaster_of(owner)) as cost:
        done = await asyncio.gather(
            *(_drain(each, batch, f"w{number}") for number, each in enumerate(open_ones))
        )
    assert sum(done) == count, "the baseline lost jobs"
    for each in (*open_ones, owner):
        await each.close()
    return cost


async def _drain(connection: asyncpg.Connection, batch: int, worker: str) -> int:
    claim = await connection.prepare(CLAIM)
    complete = await connection.prepare(COMPLETE)
    complete_one = await connection.prepare(COMPLETE_ONE)
    done = 0
    while rows := await claim.fetch("default", batch, worker):
        if batch == 1:
            await complete_one.fetch(rows[0]["id"], rows[0]["fence"])
        else:
            await complete.fetch([row["id"] for row in rows], [row["fence"] for row in rows])
        done += len(rows)
    return done


_SQLITE_TABLE = """
CREATE TABLE jobs (
    id integer PRIMARY KEY, queue text NOT NULL DEFAULT 'default', priority int NOT NULL DEFAULT 0,
    state int NOT NULL DEFAULT 0, run_at real NOT NULL, attempt int NOT NULL DEFAULT 0,
    fence int NOT NULL DEFAULT 0, lease_until real, worker text, payload text NOT NULL DEFAULT '{}'
);
CREATE INDEX jobs_ready ON jobs (queue, priority DESC, run_at, id) WHERE state = 0;
CREATE INDEX jobs_lease ON jobs (lease_until) WHERE state = 1;
"""
_SQLITE_CLAIM = """
UPDATE jobs SET state = 1, attempt = attempt + 1, fence = fence + 1, worker = ?3, lease_until = ?4
WHERE id IN (SELECT id FROM jobs WHERE queue = ?1 AND state = 0 AND run_at <= ?5
    ORDER BY priority DESC, run_at, id LIMIT ?2)
RETURNING id, fence
"""
_SQLITE_COMPLETE = (
    "UPDATE jobs SET state = 2, lease_until = NULL WHERE id = ? AND fence = ? AND state = 1"
)


def drain_sqlite(path: Path, *, count: int, batch: int) -> Cost:
    """The same with ``sqlite3`` in one thread, WAL and synchronous=FULL."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.executescript(_SQLITE_TABLE)
    database.execute("BEGIN")
    now = time.time()
    database.executemany(
        "INSERT INTO jobs (priority, run_at) VALUES (?, ?)", [(i % 5, now) for i in range(count)]
    )
    database.execute("COMMIT")
    with cost_of(count) as cost:
        done = _drain_sqlite(database, batch)
    database.close()
    assert done == count, "the baseline lost jobs"
    return cost


def _drain_sqlite(database: sqlite3.Connection, batch: int) -> int:
    done = 0
    while True:
        now = time.time()
        database.execute("BEGIN IMMEDIATE")
        rows = database.execute(_SQLITE_CLAIM, ("default", batch, "w", now + 60, now)).fetchall()
        database.execute("COMMIT")
        if not rows:
            return done
        database.execute("BEGIN IMMEDIATE")
        database.executemany(_SQLITE_COMPLETE, rows)
        database.execute("COMMIT")
        done += len(rows)
