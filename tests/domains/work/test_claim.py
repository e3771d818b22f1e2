"""Who gets which order, and when."""

import asyncio
from collections import Counter
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from agentvine.config.settings import DatabaseSettings, QueueSettings
from agentvine.db.session import Database
from agentvine.domains.projects import service as projects
from agentvine.domains.tasks.enums import TaskStatus, TaskType
from agentvine.domains.work.enums import AssignmentStatus, OrderStatus
from agentvine.domains.work.errors import ClaimStale
from agentvine.domains.work.models import WorkerAssignment
from agentvine.domains.workers import queries as workers
from agentvine.domains.workers import service as worker_service
from agentvine.domains.workers.errors import WorkerNotFound, WorkerSuperseded
from agentvine.kit.clock import ManualClock
from agentvine.kit.ids import new_id, random_token
from agentvine.protocol.enums import CapabilityLevel, TaskPriority
from agentvine.reactions.routing import build_reactions
from tests.support.builders.work import long_ago, make_crew, new_token

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXPERT, ADVANCED, BEGINNER = (
    CapabilityLevel.EXPERT,
    CapabilityLevel.ADVANCED,
    CapabilityLevel.BEGINNER,
)


async def test_a_claim_opens_an_attempt_and_says_what_is_to_be_done(shared_database: Database):
    crew = await make_crew(shared_database)
    order_id = await crew.enqueue(title="Sort the imports", run_command="isort .")
    worker = await crew.worker()
    claimed = await worker.claim_one()

    assert (claimed.order_id, claimed.fence, claimed.attempt) == (order_id, 1, 1)
    assert claimed.lease_seconds == crew.settings.lease_seconds
    payload = claimed.payload
    assert (payload.title, payload.command) == ("Sort the imports", "isort .")
    assert payload.target_branch == "main"
    assert payload.branch_name == "agentvine/t-1-sort-the-imports"
    assert payload.repository is not None
    assert payload.repository.path == crew.ground.repository.path

    order, task = await crew.order(order_id), await crew.task_of(order_id)
    assert order.status is OrderStatus.CLAIMED
    assert order.worker_id == task.assigned_to == worker.worker_id
    assert task.status is TaskStatus.IN_PROGRESS
    assert order.lease_expires_at is not None
    assert order.claimed_at is not None
    lease = (order.lease_expires_at - order.claimed_at).total_seconds()
    assert lease == pytest.approx(crew.settings.lease_seconds, abs=0.1)
    (execution,) = await crew.executions_of(order_id)
    assert (execution.id, execution.fence) == (claimed.execution_id, 1)
    assert await worker.claim() == []


async def test_a_worker_gets_only_orders_it_can_take(shared_database: Database):
    crew = await make_crew(shared_database)
    test, docs = await crew.enqueue(type=TaskType.TEST), await crew.enqueue(type=TaskType.DOCS)
    other_runtime = await crew.enqueue(run_runtime="claude")
    other_queue = await crew.enqueue(run_queue_name="elsewhere")

    tester = await crew.worker(accepts=["test"])
    assert [order.order_id for order in await tester.claim(10)] == [test]
    claude = await crew.worker(runtimes=["claude"])
    assert [order.order_id for order in await claude.claim(10)] == [other_runtime]
    both_queues = await crew.worker(queues=[crew.queue_name, "elsewhere"])
    assert {order.order_id for order in await both_queues.claim(10)} == {docs, other_queue}


async def test_capabilities_count_with_their_level_and_whatever_their_case(
    shared_database: Database,
):
    crew = await make_crew(shared_database)
    python = await crew.enqueue(run_capabilities={"Python": ADVANCED})
    both = await crew.enqueue(run_capabilities={"python": BEGINNER, "sql": EXPERT})

    for too_little in ({}, {"sql": EXPERT}, {"python": BEGINNER, "sql": ADVANCED}):
        assert await (await crew.worker(capabilities=too_little)).claim(5) == []
    pythonista = await crew.worker(capabilities={"PYTHON": EXPERT})
    assert [order.order_id for order in await pythonista.claim(5)] == [python]
    generalist = await crew.worker(capabilities={"python": ADVANCED, "sql": EXPERT, "go": EXPERT})
    assert [order.order_id for order in await generalist.claim(5)] == [both]


async def test_priority_comes_first_then_age(shared_database: Database):
    crew = await make_crew(shared_database)
    placed = [
        await crew.enqueue(priority=priority)
        for priority in (
            TaskPriority.LOW,
            TaskPriority.NORMAL,
            TaskPriority.CRITICAL,
            TaskPriority.NORMAL,
            TaskPriority.HIGH,
        )
    ]
    worker = await crew.worker()
    got = [order.order_id for order in await worker.claim(10)]
    assert got == [placed[2], placed[4], placed[1], placed[3], placed[0]]


async def test_an_old_order_overtakes_a_new_one_of_higher_priority(shared_database: Database):
    """Each step of priority is worth one ageing step of waiting, so nothing starves."""
    crew = await make_crew(shared_database, QueueSettings(ageing_step_seconds=0.001))
    old = await crew.enqueue(priority=TaskPriority.LOW)
    new = await crew.enqueue(priority=TaskPriority.CRITICAL)
    # The builder's orders get their rank from the application's settings, not from the crew's.
    order = await crew.order(old)
    await crew.change_order(old, rank=order.rank - 3 * 600_000_000 - 1)
    worker = await crew.worker()
    assert [order.order_id for order in await worker.claim(2)] == [old, new]


async def test_an_edit_moves_a_waiting_order(shared_database: Database):
    crew = await make_crew(shared_database)
    first, second = await crew.enqueue_many(2)
    await crew.edit_task(second, priority=TaskPriority.HIGH)
    worker = await crew.worker()
    assert [order.order_id for order in await worker.claim(2)] == [second, first]


async def test_an_order_is_not_claimed_before_its_time_nor_after(shared_database: Database):
    crew = await make_crew(shared_database)
    early, late, ready = await crew.enqueue_many(3)
    await crew.change_order(early, available_at=long_ago().replace(year=2999))
    await crew.change_order(late, expires_at=long_ago())
    worker = await crew.worker()
    assert [order.order_id for order in await worker.claim(5)] == [ready]
    await crew.change_order(early, available_at=long_ago())
    assert [order.order_id for order in await worker.claim(5)] == [early]


async def test_an_order_whose_task_does_not_wait_any_more_is_passed_over(
    shared_database: Database,
):
    crew = await make_crew(shared_database)
    stuck, ready = await crew.enqueue_many(2)
    await crew.change_task(stuck, status=TaskStatus.BLOCKED)
    worker = await crew.worker()
    assert [order.order_id for order in await worker.claim(5)] == [ready]


async def test_orders_of_a_deleted_project_are_not_handed_out(shared_database: Database):
    crew = await make_crew(shared_database)
    await crew.enqueue()
    async with crew.ground.transaction() as tx:
        project = await tx.get_one(type(crew.ground.project), crew.ground.project_id)
        await projects.delete_project(tx, project)
    assert await (await crew.worker()).claim() == []


async def test_the_same_claim_token_gets_the_same_orders_with_a_fresh_lease(
    shared_database: Database,
):
    crew = await make_crew(shared_database)
    await crew.enqueue_many(3)
    worker = await crew.worker()
    token = random_token(24)
    first = await worker.claim(2, token=token)
    await crew.change_order(first[0].order_id, lease_expires_at=long_ago())
    again = await worker.claim(2, token=token)
    assert again == first
    assert len(first) == 2
    order = await crew.order(first[0].order_id)
    assert order.lease_expires_at is not None
    assert order.lease_expires_at > long_ago()
    # Less what has ended meanwhile: that is not run again.
    await worker.complete(first[0])
    assert await worker.claim(2, token=token) == first[1:]
    assert len(await worker.claim(2)) == 1


async def test_two_requests_with_one_token_at_once_get_the_same_orders(shared_database: Database):
    crew = await make_crew(shared_database)
    await crew.enqueue_many(8)
    worker = await crew.worker()
    for _ in range(4):
        token = random_token(24)
        first, second = await asyncio.gather(
            worker.claim(2, token=token), worker.claim(2, token=token)
        )
        assert len(first) == 2
        assert first == second


@pytest.mark.promise("P2")
async def test_a_claim_that_arrives_after_its_orders_have_ended_gets_no_others(
    shared_database: Database,
):
    crew = await make_crew(shared_database)
    await crew.enqueue_many(4)
    worker = await crew.worker()
    token, next_token = random_token(24), random_token(24)
    (first,) = await worker.claim(token=token, number=1)
    assert await worker.claim(token=token, number=1) == [first]
    await worker.complete(first)
    with pytest.raises(ClaimStale):
        await worker.claim(token=token, number=1)

    (second,) = await worker.claim(token=next_token, number=2)
    with pytest.raises(ClaimStale):
        await worker.claim(token=token, number=1)
    assert await worker.claim(token=next_token, number=2) == [second]


@pytest.mark.promise("P2")
async def test_an_empty_answer_leaves_a_claims_number_unused(shared_database: Database):
    crew = await make_crew(shared_database)
    worker = await crew.worker()
    token = random_token(24)
    assert await worker.claim(token=token, number=1) == []
    order_id = await crew.enqueue()
    (order,) = await worker.claim(token=token, number=1)
    assert order.order_id == order_id


@pytest.mark.promise("P2")
async def test_a_new_session_counts_its_claims_anew(shared_database: Database):
    crew = await make_crew(shared_database)
    await crew.enqueue_many(2)
    worker = await crew.worker()
    (before,) = await worker.claim(number=7)
    await worker.register(held=[before.execution_id])
    with pytest.raises(ClaimStale):  # still the same session: registering again changes nothing
        await worker.claim(number=6)
    await worker.restart(held=[before.execution_id])
    assert len(await worker.claim(number=1)) == 1


@pytest.mark.promise("P26")
async def test_claims_without_a_number_are_taken_as_before(shared_database: Database):
    crew = await make_crew(shared_database)
    await crew.enqueue_many(2)
    worker = await crew.worker()
    token = random_token(24)
    (first,) = await worker.claim(token=token)
    await worker.complete(first)
    assert len(await worker.claim(token=token)) == 1


async def test_another_workers_token_gets_nothing_of_it(shared_database: Database):
    crew = await make_crew(shared_database)
    await crew.enqueue()
    token = random_token(24)
    worker, other = await crew.worker(), await crew.worker()
    (order,) = await worker.claim(token=token)
    assert await other.claim(token=token) == []
    assert (await crew.order(order.order_id)).worker_id == worker.worker_id


async def test_a_worker_never_holds_more_than_it_may(shared_database: Database):
    crew = await make_crew(shared_database)
    await crew.enqueue_copies(60)
    worker = await crew.worker(max_concurrent_tasks=7)
    for _ in range(3):
        claims = await asyncio.gather(*(worker.claim(2) for _ in range(12)))
        held = [order for claim in claims for order in claim]
        assert len(held) == 7
        await asyncio.gather(*(worker.complete(order) for order in held))


async def test_a_draining_worker_gets_nothing_until_it_registers_anew(shared_database: Database):
    crew = await make_crew(shared_database)
    await crew.enqueue()
    worker = await crew.worker()
    async with crew.database.transaction() as tx:
        row = await workers.lock_worker(tx, worker.worker_id)
        await worker_service.set_draining(tx, row, is_draining=True)
    assert await worker.claim() == []
    await worker.restart()
    assert len(await worker.claim()) == 1


async def test_who_is_not_the_registered_process_cannot_claim(shared_database: Database):
    crew = await make_crew(shared_database)
    await crew.enqueue()
    worker = await crew.worker()
    old_session = worker.session_id
    await worker.restart()
    new_session, worker.session_id = worker.session_id, old_session
    with pytest.raises(WorkerSuperseded):
        await worker.claim()
    with pytest.raises(WorkerSuperseded):
        await worker.beat()
    worker.session_id, worker.actor = new_session, new_token()
    with pytest.raises(WorkerNotFound):
        await worker.claim()
    worker.worker_id = new_id()
    with pytest.raises(WorkerNotFound):
        await worker.claim()


async def test_12_claimers_at_once_never_take_an_order_twice(shared_database: Database):
    crew = await make_crew(shared_database)
    placed = await crew.enqueue_copies(300)
    hands = [await crew.worker(max_concurrent_tasks=300) for _ in range(12)]

    async def drain(number: int) -> list[object]:
        got: list[object] = []
        while claim := await hands[number].claim(1 + number % 3):
            got += [order.order_id for order in claim]
        return got

    taken = Counter(
        order_id for got in await asyncio.gather(*map(drain, range(12))) for order_id in got
    )
    assert set(taken) == set(placed)
    assert set(taken.values()) == {1}
    async with crew.database.read() as read:
        query = select(WorkerAssignment).where(
            WorkerAssignment.worker_id.in_([hand.worker_id for hand in hands])
        )
        assignments = (await read.scalars(query)).all()
    assert len(assignments) == 300
    assert {row.status for row in assignments} == {AssignmentStatus.ACTIVE}


@pytest.mark.promise("P10")
async def test_a_stream_of_urgent_orders_delays_a_low_one_by_its_priorities_and_no_more(
    shared_settings: DatabaseSettings,
):
    step, every = 60.0, 10.0
    queue, clock = QueueSettings(ageing_step_seconds=step), ManualClock(datetime.now(UTC))
    database = await Database.open(shared_settings, clock, reactions=build_reactions(queue))
    crew = await make_crew(database, queue)
    low = await crew.enqueue(priority=TaskPriority.LOW)
    worker = await crew.worker(max_concurrent_tasks=1000)
    waited = 0.0
    # One urgent order comes for each that is taken: without ageing, the low one never would be.
    await crew.enqueue(priority=TaskPriority.CRITICAL)
    while (await worker.claim_one()).order_id != low:
        clock.advance(every)
        waited += every
        assert waited <= 3 * step + every
        await crew.enqueue(priority=TaskPriority.CRITICAL)
    assert waited >= 3 * step - every
    await database.close()
