"""Orders that wait for their time, many at once, dead ones, and why one waits."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from agentvine.db.session import Database
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.models import Task
from agentvine.domains.work import bulk, limiting, why
from agentvine.domains.work.enums import LimitScope, OrderStatus
from agentvine.domains.work.jobs import QueueChores
from agentvine.kit.errors import AppError
from agentvine.kit.ids import new_id
from agentvine.kit.pagination import PageRequest
from agentvine.protocol.enums import CapabilityLevel, FailureClass, TaskPriority
from agentvine.protocol.limits import LimitTarget
from agentvine.protocol.queue import BulkItemIn, DeadOrdersIn, WhyOut
from agentvine.protocol.tasks import TaskCreateIn, TaskRun
from tests.support.builders.projects import make_ground
from tests.support.builders.tasks import make_task
from tests.support.builders.work import Crew, long_ago, make_crew

pytestmark = pytest.mark.asyncio(loop_scope="module")


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


async def test_an_order_is_not_claimed_before_the_time_its_task_names(shared_database: Database):
    crew = await make_crew(shared_database)
    later = await crew.enqueue(run_not_before=in_an_hour(), priority=TaskPriority.CRITICAL)
    past = await crew.enqueue(run_not_before=long_ago())
    worker = await crew.worker()
    assert [order.order_id for order in await worker.claim(5)] == [past]
    assert (await crew.order(later)).rank > (await crew.order(past)).rank, "it ages from then on"

    run = TaskRun(command="true", queue_name=crew.queue_name)
    await crew.edit_task(later, run=run)
    assert [order.order_id for order in await worker.claim(5)] == [later]


async def test_an_order_expires_when_nobody_takes_it_in_time(shared_database: Database):
    crew = await make_crew(shared_database)
    order_id = await crew.enqueue(run_expires_in_seconds=3600)
    order = await crew.order(order_id)
    assert order.expires_at is not None
    assert (order.expires_at - order.enqueued_at).total_seconds() == pytest.approx(3600, abs=1)
    delayed = await crew.order(
        await crew.enqueue(run_expires_in_seconds=60, run_not_before=in_an_hour())
    )
    assert delayed.expires_at is not None
    assert delayed.expires_at > delayed.available_at
    await crew.change_order(order_id, expires_at=long_ago())
    assert await (await crew.worker()).claim(5) == []
    await QueueChores(crew.database, crew.settings).expire()
    assert (await crew.order(order_id)).status is OrderStatus.EXPIRED
    assert (await crew.task_of(order_id)).status is TaskStatus.FAILED


async def test_one_of_many_that_is_refused_stops_no_other_and_leaves_nothing(
    shared_database: Database,
):
    crew, other = await make_crew(shared_database), await make_ground(shared_database)
    run = TaskRun(command="true", queue_name=crew.queue_name)
    async with crew.ground.transaction() as tx:
        known = await make_task(tx, crew.ground.owner, crew.ground.repository, start=False, run=run)
    good = TaskCreateIn(title="good", repository_id=crew.ground.repository.id, run=run)
    items = [
        BulkItemIn(create=good),
        BulkItemIn(create=good.model_copy(update={"run": TaskRun()})),
        BulkItemIn(create=good.model_copy(update={"depends_on": [new_id()]})),
        BulkItemIn(create=good.model_copy(update={"repository_id": other.repository.id})),
        BulkItemIn(task_id=known.id),
        BulkItemIn(task_id=new_id()),
        BulkItemIn(create=good.model_copy(update={"title": "last"})),
    ]
    async with crew.ground.transaction() as tx:
        outcomes = await bulk.start_many(tx, crew.ground.owner, items)
    codes = [row.code if isinstance(row, AppError) else row.status.value for row in outcomes]
    assert codes[0] == codes[4] == codes[6] == "queued"
    assert all(isinstance(outcomes[number], AppError) for number in (1, 2, 3, 5))
    got = await (await crew.worker()).claim(10)
    assert sorted(order.payload.title for order in got) == sorted(["good", known.title, "last"])


async def test_dead_orders_are_listed_and_tried_again_by_what_they_share(
    shared_database: Database,
):
    crew, stranger = await make_crew(shared_database), await make_ground(shared_database)
    placed = await crew.enqueue_many(4)
    worker = await crew.worker()
    claimed = {order.order_id: order for order in await worker.claim(4)}
    for order_id in placed[:2]:
        await worker.fail(claimed[order_id], FailureClass.TESTS_FAILED)
    await worker.fail(claimed[placed[2]], FailureClass.COMMAND_FAILED)
    await worker.complete(claimed[placed[3]])

    everything = DeadOrdersIn(project_id=crew.ground.project_id)
    red = everything.model_copy(update={"failure_class": FailureClass.TESTS_FAILED})
    page = PageRequest(limit=10)
    async with crew.database.read() as read:
        dead = await bulk.list_dead(read, crew.ground.owner, everything, page)
        assert {order.id for order in dead.items} == set(placed[:3])
        assert (await bulk.list_dead(read, stranger.owner, everything, page)).items == []
    async with crew.ground.transaction() as tx:
        outcomes = await bulk.retry_dead(tx, crew.ground.owner, red)
    assert [isinstance(row, Task) and row.status for row in outcomes] == [TaskStatus.QUEUED] * 2
    async with crew.database.read() as read:
        dead = await bulk.list_dead(read, crew.ground.owner, everything, page)
        assert {order.id for order in dead.items} == {placed[2]}
    assert {order.attempt for order in await worker.claim(5)} == {1}


async def explain(crew: Crew, order_id: uuid.UUID) -> WhyOut:
    async with crew.database.read() as read:
        task = await crew.task_of(order_id)
        return await why.explain(read, task, await why.newest_order(read, task.id))


async def codes_of(crew: Crew, order_id: uuid.UUID) -> list[str]:
    return [reason.code for reason in (await explain(crew, order_id)).reasons]


async def test_why_an_order_waits_names_what_workers_lack(shared_database: Database):
    crew = await make_crew(shared_database)
    rust = await crew.enqueue(run_capabilities={"rust": CapabilityLevel.EXPERT})
    plain = await crew.enqueue(type="test")
    await (await make_crew(shared_database)).worker()  # takes from another queue
    assert await codes_of(crew, plain) == ["no_queue"]
    worker = await crew.worker(
        accepts=["feature"], capabilities={"rust": "beginner"}, max_concurrent_tasks=1
    )
    assert await codes_of(crew, plain) == ["no_worker_type"]
    assert await codes_of(crew, rust) == ["no_capability"]
    assert "rust:expert" in (await explain(crew, rust)).reasons[0].message
    other = await crew.enqueue(run_runtime="claude")
    assert await codes_of(crew, other) == ["no_runtime"]
    ready = await crew.enqueue()
    assert (await explain(crew, ready)).is_ready
    await worker.claim()
    behind = await crew.enqueue()
    assert await codes_of(crew, behind) == ["workers_busy"]
    running = await explain(crew, ready)
    assert [reason.code for reason in running.reasons] == ["running"]
    assert running.reasons[0].facts["worker"] == worker.name


async def test_why_an_order_waits_names_its_time_its_limits_and_who_paused_it(
    shared_database: Database,
):
    crew = await make_crew(shared_database)
    await crew.worker()
    assert await codes_of(crew, await crew.enqueue(run_not_before=in_an_hour())) == ["not_before"]
    target = LimitTarget(scope=LimitScope.PROJECT, key=str(crew.ground.project_id))
    async with crew.ground.transaction() as tx:
        await limiting.set_limit(tx, target, 1)
    first, second = await crew.enqueue_many(2)
    (held,) = await (await crew.worker()).claim(5)
    assert held.order_id == first
    (reason,) = (await explain(crew, second)).reasons
    assert reason.code == "limit_reached"
    ref = f"T-{(await crew.task_of(first)).number}"
    assert [row["task"] for row in reason.facts["holders"]] == [ref]
    async with crew.ground.transaction() as tx:
        await limiting.pause(tx, target, "a freeze")
    (reason,) = (await explain(crew, second)).reasons
    assert reason.code == "paused"
    assert "a freeze" in reason.message
    assert crew.ground.owner.label in reason.message


async def test_why_tells_of_tasks_that_are_not_queued_too(shared_database: Database):
    crew = await make_crew(shared_database)
    ground = crew.ground
    async with ground.transaction() as tx:
        blocker = await make_task(tx, ground.owner, ground.repository, start=False)
        waits = await make_task(tx, ground.owner, ground.repository, depends_on=[blocker.id])
    async with crew.database.read() as read:
        idle = await why.explain(read, blocker, None)
        blocked = await why.explain(read, waits, None)
    assert [reason.code for reason in idle.reasons] == ["not_started"]
    assert [reason.code for reason in blocked.reasons] == ["dependencies"]
    assert blocked.reasons[0].facts["blockers"][0]["status"] == "pending"
    order_id = await crew.enqueue()
    worker = await crew.worker()
    await worker.fail(await worker.claim_one(), FailureClass.TESTS_FAILED)
    assert await codes_of(crew, order_id) == ["task_failed"]
