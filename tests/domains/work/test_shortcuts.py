"""The statements that do it all at once write what the long way writes, or nothing."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select
from structlog.contextvars import bound_contextvars

from agentvine.db.base import table_of
from agentvine.db.session import Database
from agentvine.domains.executions.models import Execution
from agentvine.domains.identity.models import AuditEvent, Event
from agentvine.domains.tasks import dependencies
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.models import Task
from agentvine.domains.work import limiting
from agentvine.domains.work.enums import LimitScope, OrderStatus
from agentvine.domains.work.errors import ClaimStale
from agentvine.domains.work.models import WorkerAssignment, WorkOrder
from agentvine.domains.workers import service as worker_service
from agentvine.domains.workers.errors import WorkerNotFound, WorkerSuperseded
from agentvine.domains.workers.models import Worker
from agentvine.kit.ids import random_token
from agentvine.protocol.enums import CapabilityLevel, DependencyType
from agentvine.protocol.limits import LimitTarget
from agentvine.protocol.queue import (
    ClaimedOrder,
    ClaimIn,
    CompleteIn,
    ExecutionReport,
)
from agentvine.protocol.tasks import DependencyIn
from tests.support.builders.work import Crew, Hand, make_crew, new_token

pytestmark = pytest.mark.asyncio(loop_scope="module")

REPORT = {"exit_code": 0, "duration_seconds": 2.6, "metrics": {"tokens": 12, "note": "über"}}
TOO_LONG = "x" * 65
"""A request's id that neither database has room for in its history."""


def message_of(
    hand: Hand, slots: int = 1, token: str | None = None, number: int | None = None
) -> ClaimIn:
    return ClaimIn(
        worker_id=hand.worker_id,
        session_id=hand.session_id,
        claim_token=token or random_token(24),
        slots=slots,
        number=number,
    )


async def by_shortcut(
    hand: Hand, slots: int = 1, token: str | None = None, number: int | None = None
) -> list[Any] | None:
    """What the statement alone grants; None where it leaves the claim to the long way."""
    message = message_of(hand, slots, token, number)
    result = await hand.crew.shortcuts.claim(hand.actor, message)
    return None if result is None else result.granted


@pytest.mark.promise("P2")
async def test_the_number_of_a_claim_is_remembered_when_it_got_orders(shared_database: Database):
    crew = await make_crew(shared_database)
    worker = await crew.worker()
    assert await by_shortcut(worker, number=1) == []
    await crew.enqueue_many(3)
    assert len(await by_shortcut(worker, number=1) or []) == 1
    # Whether it is stale, or asks for the same orders again, is for the long way to say.
    assert await by_shortcut(worker, number=1) is None
    with pytest.raises(ClaimStale):
        await worker.claim(number=1)
    assert len(await by_shortcut(worker, number=2) or []) == 1
    await worker.restart()
    assert len(await by_shortcut(worker, number=1) or []) == 1


async def completed_by_shortcut(hand: Hand, *orders: ClaimedOrder, **report: Any) -> set[uuid.UUID]:
    messages = [
        CompleteIn(order_id=o.order_id, fence=o.fence, report=ExecutionReport(**report))
        for o in orders
    ]
    return set(await hand.crew.shortcuts.complete(hand.actor, messages))


async def test_both_ways_write_the_same_rows(shared_database: Database):
    lives = [await life(shared_database, takes_shortcuts=quick) for quick in (True, False)]

    quick, long = lives
    assert quick.keys() == long.keys()
    for table in quick:
        assert quick[table] == long[table], table


async def life(database: Database, *, takes_shortcuts: bool) -> dict[str, list[dict[str, Any]]]:
    """Three orders claimed and completed; every row of them, without what is unique by nature."""
    crew = await make_crew(database)
    crew.takes_shortcuts = takes_shortcuts
    orders = [await crew.enqueue(title=f"Task {number}") for number in range(3)]
    worker = await crew.worker(name=f"w{takes_shortcuts}", max_concurrent_tasks=5)
    for order in await worker.claim(2):
        await worker.complete(order, **REPORT)
    await worker.claim_one()
    return await rows_of(crew, orders, worker)


async def rows_of(
    crew: Crew, orders: Sequence[uuid.UUID], worker: Hand
) -> dict[str, list[dict[str, Any]]]:
    tasks = [(await crew.task_of(order)).id for order in orders]
    executions = [e.id for order in orders for e in await crew.executions_of(order)]
    names = {str(order): f"order {n}" for n, order in enumerate(orders)}
    names |= {str(task): f"task {n}" for n, task in enumerate(tasks)}
    names |= {str(execution): f"execution {n}" for n, execution in enumerate(executions)}
    names |= {
        str(worker.worker_id): "worker",
        str(worker.session_id): "session",
        worker.actor.label: "label",
        worker.actor.actor_id: "actor",
        crew.ground.owner.label: "owner's label",
        crew.ground.owner.actor_id: "owner",
        str(crew.ground.project_id): "project",
        str(crew.ground.repository.id): "repository",
        crew.ground.repository.name: "repository's name",
        crew.queue_name: "queue",
    }
    things = [*map(str, tasks), *map(str, executions), *map(str, orders)]
    wanted = {
        WorkOrder: WorkOrder.id.in_(orders),
        Task: Task.id.in_(tasks),
        WorkerAssignment: WorkerAssignment.work_order_id.in_(orders),
        Execution: Execution.work_order_id.in_(orders),
        Event: Event.entity_id.in_(things),
        AuditEvent: AuditEvent.entity_id.in_(things),
    }
    found: dict[str, list[dict[str, Any]]] = {}
    async with crew.database.read() as read:
        for model, condition in wanted.items():
            table = table_of(model)
            rows = (await read.execute(select(table).where(condition))).mappings().all()
            plain = [_plain({**row}, names) for row in rows]
            found[table.name] = sorted(plain, key=repr)
    return found


_UNIQUE = {
    *("id", "claim_token", "rank", "number", "conversation_id", "created_by", "payload"),
    *("repository_url", "request_id"),
}


def _plain(row: Mapping[str, Any], names: dict[str, str]) -> dict[str, Any]:
    def say(value: Any) -> Any:
        if isinstance(value, datetime):
            return "a time"
        if isinstance(value, dict):
            return {key: say(each) for key, each in value.items()}
        return names.get(str(value), value)

    unique = _UNIQUE - ({"payload"} if "entity_id" in row else set())
    return {key: say(value) for key, value in row.items() if key not in unique}


async def test_a_claim_stops_where_the_worker_has_no_room(shared_database: Database):
    crew = await make_crew(shared_database)
    orders = await crew.enqueue_many(4)
    worker = await crew.worker(max_concurrent_tasks=3)

    assert len(await by_shortcut(worker, 2) or ()) == 2
    assert len(await by_shortcut(worker, 2) or ()) == 1
    assert await by_shortcut(worker) == []

    # It may hold more than it now takes.
    async with shared_database.transaction() as tx:
        (await tx.get_one(Worker, worker.worker_id)).max_concurrent_tasks = 1
    assert await by_shortcut(worker) == []
    assert (await crew.order(orders[3])).status is OrderStatus.PENDING


async def test_claims_of_one_worker_at_once_keep_to_its_limit(shared_database: Database):
    crew = await make_crew(shared_database)
    await crew.enqueue_many(30)
    worker = await crew.worker(max_concurrent_tasks=5)

    got = await asyncio.gather(*(worker.claim(2) for _ in range(12)))

    assert len({order.order_id for orders in got for order in orders}) == 5
    assert sum(map(len, got)) == 5


async def test_claims_by_both_ways_at_once_keep_to_a_workers_limit(shared_database: Database):
    crew = await make_crew(shared_database)
    plodding = await make_crew(shared_database)
    plodding.takes_shortcuts = False
    await crew.enqueue_many(30)
    worker = await crew.worker(max_concurrent_tasks=5)
    twin = Hand(plodding, worker.actor, worker.name, {}, worker.worker_id, worker.session_id)

    got = await asyncio.gather(*(who.claim(2) for _ in range(6) for who in (worker, twin)))

    assert sum(map(len, got)) == 5


async def test_an_order_is_granted_to_one_of_many(shared_database: Database):
    crew = await make_crew(shared_database)
    orders = await crew.enqueue_many(20)
    workers = [await crew.worker(max_concurrent_tasks=4) for _ in range(8)]

    got = await asyncio.gather(*(worker.claim(4) for worker in workers))

    granted = [order.order_id for each in got for order in each]
    assert len(granted) == len(set(granted)) <= len(orders)
    assert {order.fence for each in got for order in each} == {1}


async def test_the_same_token_goes_the_long_way_and_gets_the_same(shared_database: Database):
    crew = await make_crew(shared_database)
    await crew.enqueue_many(2)
    worker = await crew.worker()
    token = random_token(24)
    first = await worker.claim(token=token)

    assert await by_shortcut(worker, token=token) is None
    again = await worker.claim(token=token)
    assert [order.order_id for order in again] == [order.order_id for order in first]


async def test_what_a_worker_may_not_take_it_does_not_get(shared_database: Database):
    crew = await make_crew(shared_database)
    await crew.enqueue(run_capabilities={f"skill {crew.queue_name}": CapabilityLevel.EXPERT})
    worker = await crew.worker()
    assert await by_shortcut(worker) == []

    # A set of requirements that was made since: what it can take must be found out anew.
    message = message_of(worker)
    await crew.enqueue(run_capabilities={f"other {crew.queue_name}": CapabilityLevel.BEGINNER})
    assert await crew.shortcuts.claim(worker.actor, message) is None


async def test_a_draining_or_superseded_worker_goes_the_long_way(shared_database: Database):
    crew = await make_crew(shared_database)
    await crew.enqueue()
    worker = await crew.worker()
    message = message_of(worker)
    async with shared_database.transaction() as tx:
        row = await tx.get_one(Worker, worker.worker_id)
        await worker_service.set_draining(tx, row, is_draining=True)
    assert await crew.shortcuts.claim(worker.actor, message) is None

    other = await crew.worker()
    message = message_of(other)
    await crew.shortcuts.claim(other.actor, message)
    await other.restart()
    assert await crew.shortcuts.claim(other.actor, message) is None


async def test_who_is_not_known_is_looked_up_before_the_statement(shared_database: Database):
    crew = await make_crew(shared_database)
    worker = await crew.worker()
    superseded = message_of(worker)
    await worker.restart()
    with pytest.raises(WorkerSuperseded):
        await crew.shortcuts.claim(worker.actor, superseded)
    with pytest.raises(WorkerNotFound):
        await crew.shortcuts.claim(new_token(), message_of(worker))


async def test_where_there_are_limits_every_claim_goes_the_long_way(shared_database: Database):
    crew = await make_crew(shared_database)
    worker = await crew.worker()
    target = LimitTarget(scope=LimitScope.QUEUE, key=crew.queue_name)
    async with shared_database.transaction() as tx:
        await limiting.set_limit(tx, target, 1)
    await crew.enqueue_many(2)
    try:
        assert await by_shortcut(worker) is None
        order = await worker.claim_one()
        assert await completed_by_shortcut(worker, order) == set()
    finally:
        async with shared_database.transaction() as tx:
            await limiting.remove_limit(tx, target)
        async with shared_database.transaction() as tx:
            for row in await limiting.lock_dormant(tx):
                await tx.delete(row)
    await worker.complete(order)


async def test_what_is_not_plain_is_left_untouched(shared_database: Database):
    crew = await make_crew(shared_database)
    await crew.enqueue_many(6)
    worker = await crew.worker(max_concurrent_tasks=6)
    stale, cancelled, awaited, foreign, plain, ended = await worker.claim(6)
    await crew.cancel_task(cancelled.order_id)
    other, blocker = await crew.task_of(plain.order_id), await crew.task_of(awaited.order_id)
    relation = DependencyIn(depends_on=blocker.id, type=DependencyType.RELATED)
    async with crew.ground.transaction() as tx:
        await dependencies.add_dependency(tx, crew.ground.owner, other.id, relation)
    await worker.complete(ended)

    old = stale.model_copy(update={"fence": stale.fence - 1})
    done = await completed_by_shortcut(worker, old, cancelled, awaited, plain, ended, **REPORT)
    assert done == {plain.order_id}
    stranger = await crew.worker()
    assert await completed_by_shortcut(stranger, foreign) == set()

    for order in (stale, cancelled, awaited, foreign):
        assert (await crew.order(order.order_id)).status is OrderStatus.CLAIMED
        (execution,) = await crew.executions_of(order.order_id)
        assert execution.completed_at is None
    assert (await worker.complete(awaited)).status is OrderStatus.COMPLETED
    await worker.complete(cancelled)
    assert (await crew.task_of(cancelled.order_id)).status is TaskStatus.CANCELLED


async def test_values_the_database_refuses_change_nothing(shared_database: Database):
    crew = await make_crew(shared_database)
    await crew.enqueue_many(3)
    worker = await crew.worker()
    orders = await worker.claim(2)

    with bound_contextvars(request_id=TOO_LONG):
        assert await by_shortcut(worker) is None
        assert await completed_by_shortcut(worker, *orders) == set()
    for order in orders:
        assert (await crew.order(order.order_id)).status is OrderStatus.CLAIMED
    assert await completed_by_shortcut(worker, *orders) == {o.order_id for o in orders}


async def with_long_id(hand: Hand, order: ClaimedOrder) -> set[uuid.UUID]:
    with bound_contextvars(request_id=TOO_LONG):
        return await completed_by_shortcut(hand, order)


async def test_what_is_asked_together_is_told_apart(shared_database: Database):
    crew = await make_crew(shared_database)
    await crew.enqueue_many(6)
    one, two = [await crew.worker(max_concurrent_tasks=4) for _ in range(2)]

    got = await asyncio.gather(by_shortcut(one, 1), by_shortcut(two, 3))
    assert [len(orders or ()) for orders in got] == [1, 3]
    # What the database refuses from one is not the other's error.
    (bad,), (good, *_) = got[0] or [], got[1] or []
    done = await asyncio.gather(with_long_id(one, bad), completed_by_shortcut(two, good))

    assert done == [set(), {good.order_id}]
    for hand, orders in ((one, got[0]), (two, got[1])):
        for order in orders or ():
            assert (await crew.order(order.order_id)).worker_id == hand.worker_id
            task = await crew.task_of(order.order_id)
            query = select(AuditEvent.actor_id, AuditEvent.actor_label).where(
                AuditEvent.entity_id == str(task.id), AuditEvent.actor_type == "worker"
            )
            async with shared_database.read() as read:
                found = {tuple(row) for row in (await read.execute(query)).all()}
            assert found == {(hand.actor.actor_id, hand.actor.label)}
