"""Many workers empty a long queue over real HTTP: everything is run, and nothing twice."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from agentvine.client import Client
from agentvine.config.settings import DatabaseSettings
from agentvine.db.session import Database
from agentvine.domains.executions.enums import ExecutionStatus
from agentvine.domains.executions.models import Execution
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.models import Task
from agentvine.domains.work.enums import AssignmentStatus, OrderStatus
from agentvine.domains.work.models import WorkerAssignment, WorkOrder
from agentvine.kit.clock import SystemClock
from agentvine.kit.ids import new_id, random_token
from agentvine.protocol.queue import ClaimIn, CompleteIn, ExecutionReport
from agentvine.protocol.workers import WorkerRegisterIn
from agentvine.reactions.routing import build_reactions
from tests.support.builders.work import SETTINGS, Crew, make_crew
from tests.support.fleet import Fleet

ORDERS = 1000
WORKERS = 8
SLOTS = 3

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
async def fleet(database_settings: DatabaseSettings, tmp_path: Path) -> AsyncIterator[Fleet]:
    fleet = Fleet(tmp_path, database_settings, lease_seconds=60)
    await fleet.prepare()
    yield fleet
    fleet.stop()


@pytest.fixture
async def crew(fleet: Fleet) -> AsyncIterator[Crew]:
    """A queue of many orders, filled before the server starts."""
    database = await Database.open(fleet.database, SystemClock(), build_reactions(SETTINGS))
    crew = await make_crew(database)
    await crew.enqueue_copies(ORDERS)
    yield crew
    await database.close()


async def test_8_workers_drain_1000_orders_and_run_none_twice(crew: Crew, fleet: Fleet):
    await fleet.start_server()
    runs: Counter[uuid.UUID] = Counter()

    async def work(name: str) -> None:
        async with Client(fleet.url, fleet.worker_token) as client:
            session_id = new_id()
            worker = await client.workers.register(
                WorkerRegisterIn(
                    name=name,
                    session_id=session_id,
                    runtimes=["command"],
                    queues=[crew.queue_name],
                    max_concurrent_tasks=SLOTS,
                )
            )
            while True:
                claim = ClaimIn(
                    worker_id=worker.worker_id,
                    session_id=session_id,
                    claim_token=random_token(24),
                    slots=SLOTS,
                )
                answer = await client.queue.claim(claim)
                if not answer.orders:
                    return
                for order in answer.orders:
                    runs[order.order_id] += 1
                    report = CompleteIn(
                        order_id=order.order_id,
                        fence=order.fence,
                        report=ExecutionReport(exit_code=0),
                    )
                    await client.queue.complete(report)

    await asyncio.gather(*(work(f"w{number}") for number in range(WORKERS)))
    fleet.stop()

    assert len(runs) == ORDERS
    assert set(runs.values()) == {1}
    async with crew.database.read() as read:
        for column, expected in (
            (WorkOrder.status, OrderStatus.COMPLETED),
            (Execution.status, ExecutionStatus.COMPLETED),
            (WorkerAssignment.status, AssignmentStatus.COMPLETED),
            (Task.status, TaskStatus.COMPLETED),
        ):
            counted = await read.execute(select(column, func.count()).group_by(column))
            assert [tuple(row) for row in counted.all()] == [(expected, ORDERS)]
        assert (await read.execute(select(func.max(WorkOrder.fence)))).scalar_one() == 1
