"""Our own queue through the objects behind the routes, without HTTP.

*bare*: the claim and the fenced completion of the orders alone. *whole*: what a server does, with
the worker's turn, assignment, execution, task, audit and events in the same transactions.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from sqlalchemy import text

from agentvine.config.settings import DatabaseSettings, QueueSettings
from agentvine.db.session import Database
from agentvine.domains.tasks.models import Task
from agentvine.domains.work.models import WorkOrder
from agentvine.domains.work.plain import Plain
from agentvine.domains.work.reports import Reports
from agentvine.domains.work.shortcuts import Shortcuts
from agentvine.domains.work.waiting import WaitingRoom
from agentvine.kit.clock import SystemClock
from agentvine.kit.ids import random_token
from agentvine.protocol.queue import (
    ClaimIn,
    CompleteIn,
    ExecutionReport,
    OrderOutcome,
)
from agentvine.reactions.routing import build_reactions
from agentvine.server.migrations import migration_runner
from benchmarks.queue.cost import Cost, cost_of, postmaster_of
from benchmarks.queue.services import Services
from tests.support.builders.work import Crew, Hand, make_crew

BARE = Plain()
_SETTINGS = QueueSettings()
CLAIMERS = 8
_EMPTY = "ours_empty"


async def drain(services: Services, plain: Plain | None, *, count: int, batch: int) -> Cost:
    """Fill a new database and empty it; what emptying it cost.

    Args:
        services: Where.
        plain: The statements to try first; None for the long way alone.
        count: How many orders.
        batch: How many a claimer takes at a time.
    """
    async with filled(services, count) as (_, crew, postmaster):
        return await _empty(crew, plain, count, batch, CLAIMERS, postmaster)


async def drain_sqlite(
    folder: Path, plain: Plain | None, *, count: int, batch: int, claimers: int
) -> Cost:
    """The same in a file, which a server writes with ``synchronous=FULL``."""
    path = folder / f"ours_{time.monotonic_ns()}.db"
    settings = DatabaseSettings(url=f"sqlite+aiosqlite:///{path}", pool_size=claimers)
    await migration_runner(settings).setup()
    database = await Database.open(settings, SystemClock(), build_reactions(_SETTINGS))
    try:
        crew = await make_crew(database)
        await crew.enqueue_copies(count)
        return await _empty(crew, plain, count, batch, claimers, None)
    finally:
        await database.close()


async def _empty(
    crew: Crew, plain: Plain | None, count: int, batch: int, claimers: int, postmaster: int | None
) -> Cost:
    database = crew.database
    hands = [await crew.worker(max_concurrent_tasks=100) for _ in range(claimers)]
    shortcuts = Shortcuts(database, _SETTINGS, plain) if plain is not None else None
    room = WaitingRoom(database, _SETTINGS, shortcuts)
    reports = Reports(database, _SETTINGS, shortcuts)
    with cost_of(count, postmaster) as cost:
        done = await asyncio.gather(*(_work(room, reports, hand, batch) for hand in hands))
    assert sum(done) == count, f"{count} orders, {sum(done)} done"
    return cost


@asynccontextmanager
async def filled(services: Services, count: int) -> AsyncIterator[tuple[str, Crew, int]]:
    """A new database with so many orders: its name, who works on it, the server's process."""
    name = f"ours_{time.monotonic_ns()}"
    services.postgres.create_database(name, await _template(services))
    settings = DatabaseSettings(url=services.url(name), pool_size=CLAIMERS)
    database = await Database.open(settings, SystemClock(), build_reactions(_SETTINGS))
    try:
        crew = await make_crew(database)
        await _fill(crew, count)
        yield name, crew, await _vacuum(services.dsn(name))
    finally:
        await database.close()
    services.postgres.drop_database(name)


async def _template(services: Services) -> str:
    """An empty database of ours, made once: setting one up takes longer than draining a few."""
    connection = await asyncpg.connect(services.dsn("postgres"))
    found = "SELECT count(*) FROM pg_database WHERE datname = $1"
    if not await connection.fetchval(found, _EMPTY):
        services.postgres.create_database(_EMPTY)
        await migration_runner(DatabaseSettings(url=services.url(_EMPTY))).setup()
    await connection.close()
    return _EMPTY


async def _work(room: WaitingRoom, reports: Reports, hand: Hand, batch: int) -> int:
    done = 0
    while True:
        message = ClaimIn(
            worker_id=hand.worker_id,
            session_id=hand.session_id,
            claim_token=random_token(24),
            slots=batch,
        )
        orders = await room.claim(hand.actor, message, asyncio.Event())
        if not orders:
            return done
        report = ExecutionReport(exit_code=0)
        outcomes = await reports.take_many(
            hand.actor,
            [CompleteIn(order_id=o.order_id, fence=o.fence, report=report) for o in orders],
        )
        assert all(isinstance(outcome, OrderOutcome) for outcome in outcomes), outcomes
        done += len(orders)


async def _fill(crew: Crew, count: int) -> None:
    """Copy one order and its task; their ids are ordered by time, as those of the application."""
    first = await crew.order(await crew.enqueue())
    task = await crew.task_of(first.id)
    of_task = ", ".join(c.name for c in Task.__table__.columns if c.name not in ("id", "number"))
    own = ("id", "task_id", "rank")
    of_order = ", ".join(c.name for c in WorkOrder.__table__.columns if c.name not in own)
    copied = ", ".join(f"o.{name}" for name in of_order.split(", "))
    async with crew.database.transaction() as tx:
        await tx.execute(
            text(
                f"INSERT INTO tasks (id, number, {of_task}) "
                f"SELECT uuidv7(), number + i, {of_task} "
                "FROM tasks, generate_series(1, :count) i WHERE id = :id"
            ),
            {"count": count - 1, "id": task.id},
        )
        await tx.execute(
            text(
                f"INSERT INTO work_orders (id, task_id, rank, {of_order}) "
                f"SELECT uuidv7(), t.id, o.rank + t.number, {copied} "
                "FROM work_orders o, tasks t WHERE o.id = :id AND t.project_id = :project "
                "AND t.id <> :task ORDER BY t.number"
            ),
            {"id": first.id, "project": task.project_id, "task": task.id},
        )


async def _vacuum(dsn: str) -> int:
    """As autovacuum would: what is empty it has not looked at. The server's first process."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("VACUUM ANALYZE tasks, work_orders")
    postmaster = await postmaster_of(connection)
    await connection.close()
    return postmaster
