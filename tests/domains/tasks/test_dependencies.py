"""What waits for what: circles are refused, ends are told, and nobody begins too early."""

import asyncio
import itertools
import random
import uuid
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from agentvine.db.session import Database
from agentvine.domains.tasks import dependencies, queries, service
from agentvine.domains.tasks.enums import DependencyType, TaskStatus
from agentvine.domains.tasks.errors import DependencyCycle
from agentvine.domains.tasks.jobs import TaskChores
from agentvine.domains.tasks.models import Task
from agentvine.protocol.enums import FailureClass
from agentvine.protocol.tasks import DependencyIn, TaskRun
from tests.support.api import Api
from tests.support.builders.projects import Ground, make_ground
from tests.support.builders.tasks import make_task
from tests.support.builders.work import Crew, make_crew
from tests.support.space import make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_task_waits_for_another_and_says_so(shared_api: Api):
    space = await make_space(shared_api)
    first = await space.idle(title="first")
    second = await space.task(depends_on=[first["id"], first["id"]])
    assert await space.where(second) == ("blocked", "waits for T-1")
    assert await space.orders(second) == []
    shown = await space.get(second)
    (relation,) = shown["dependencies"]
    assert relation["depends_on_ref"] == "T-1"
    assert (relation["depends_on_title"], relation["depends_on_status"]) == ("first", "pending")
    assert [row["task_id"] for row in (await space.get(first))["dependants"]] == [second["id"]]
    await space.act(first, "start")
    await space.finish(first)
    assert await space.where(second) == ("queued", None)


async def test_related_and_duplicate_tasks_hold_nothing_back(shared_api: Api):
    space = await make_space(shared_api)
    first, second = await space.idle(), await space.task()
    await space.depend(second, first, "related")
    third = await space.task()
    await space.depend(third, first, "duplicate")
    assert [(await space.where(task))[0] for task in (second, third)] == ["queued", "queued"]
    await space.depend(first, second, "related")  # a circle of these is none


@pytest.mark.promise("P9")
async def test_a_circle_is_refused_and_its_path_is_shown(shared_api: Api):
    space = await make_space(shared_api)
    tasks = [await space.idle() for _ in range(5)]
    for before, after in itertools.pairwise(tasks):
        await space.depend(after, before)
    for task, on, path in (
        (0, 0, ["T-1", "T-1"]),
        (0, 1, ["T-1", "T-2", "T-1"]),
        (0, 4, ["T-1", "T-5", "T-4", "T-3", "T-2", "T-1"]),
        (1, 3, ["T-2", "T-4", "T-3", "T-2"]),
    ):
        problem = await space.owner.refused(
            "POST",
            f"/tasks/{tasks[task]['id']}/dependencies",
            422,
            json={"depends_on": tasks[on]["id"]},
        )
        assert problem["code"] == "dependency_cycle"
        assert problem["path"] == path
        assert " waits for ".join(path) in problem["detail"]
    await space.depend(tasks[4], tasks[0])  # the same way once more is no circle


async def test_no_task_relates_to_itself(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.idle()
    for kind in ("blocks", "related", "duplicate"):
        body = {"depends_on": task["id"], "type": kind}
        problem = await space.owner.refused(
            "POST", f"/tasks/{task['id']}/dependencies", 422, json=body
        )
        assert problem["code"] == "dependency_cycle"


async def test_what_cannot_be_depended_on_is_refused(shared_api: Api):
    space, other = await make_space(shared_api), await make_space(shared_api)
    task, first, gone = await space.idle(), await space.idle(), await space.idle()
    await space.owner.call("DELETE", f"/tasks/{gone['id']}")
    theirs = await other.idle()
    path = f"/tasks/{task['id']}/dependencies"
    for on in (theirs, gone):
        await space.owner.refused("POST", path, 404, json={"depends_on": on["id"]})
        body = {"title": "t", "project_id": space.project_id, "depends_on": [on["id"]]}
        await space.owner.refused("POST", "/tasks", 404, json=body | {"start": False})
    mine = await space.owner.post("/projects", {"name": theirs["title"]})
    elsewhere = await space.owner.post(
        "/tasks", {"title": "elsewhere", "project_id": mine["id"], "start": False}
    )
    problem = await space.owner.refused("POST", path, 422, json={"depends_on": elsewhere["id"]})
    assert problem["code"] == "dependency_elsewhere"
    await space.depend(task, first)
    problem = await space.owner.refused("POST", path, 409, json={"depends_on": first["id"]})
    assert problem["code"] == "dependency_exists"
    assert problem["detail"] == "T-1 and T-2 are related already."
    assert (await space.owner.call("DELETE", f"{path}/{first['id']}")).status_code == 204
    problem = await space.owner.refused("DELETE", f"{path}/{first['id']}", 404)
    assert problem["code"] == "dependency_not_found"


@pytest.mark.parametrize("end", ["failed", "cancelled"])
async def test_who_waits_for_what_did_not_end_well_stays_blocked_until_it_is_tried_again(
    shared_api: Api, end: str
):
    space = await make_space(shared_api)
    first = await space.task()
    second = await space.task(depends_on=[first["id"]])
    worker = await space.worker()
    if end == "failed":
        await worker.fail(await worker.claim_one())
    else:
        await space.act(first, "cancel")
    assert await space.where(second) == (
        "blocked",
        f"T-1 {end}: retry it, or remove the dependency",
    )
    await space.act(first, "retry")
    assert await space.where(second) == ("blocked", "waits for T-1")
    await space.finish(first)
    assert (await space.where(second))[0] == "queued"


async def test_removing_the_last_dependency_frees_the_task(shared_api: Api):
    space = await make_space(shared_api)
    first, other = await space.task(), await space.idle()
    second = await space.task(depends_on=[first["id"], other["id"]])
    worker = await space.worker()
    await worker.fail(await worker.claim_one())
    path = f"/tasks/{second['id']}/dependencies"
    await space.owner.call("DELETE", f"{path}/{first['id']}")
    assert await space.where(second) == ("blocked", "waits for T-2")
    await space.owner.call("DELETE", f"{path}/{other['id']}")
    assert await space.where(second) == ("queued", None)


@pytest.mark.parametrize("state", ["pending", "failed", "completed"])
async def test_who_waits_for_a_deleted_task_learns_that_it_is_gone(shared_api: Api, state: str):
    space = await make_space(shared_api)
    first = await (space.idle() if state == "pending" else space.task())
    if state != "pending":
        worker = await space.worker()
        order = await worker.claim_one()
        await (worker.fail(order) if state == "failed" else worker.complete(order))
    second = await space.task(depends_on=[first["id"]])
    assert (await space.owner.call("DELETE", f"/tasks/{first['id']}")).status_code == 204
    if state == "completed":
        assert await space.where(second) == ("queued", None)
        return
    assert await space.where(second) == ("blocked", "T-1 was deleted: remove the dependency")
    await space.owner.call("DELETE", f"/tasks/{second['id']}/dependencies/{first['id']}")
    assert await space.where(second) == ("queued", None)


async def test_a_diamonds_last_task_waits_for_both_sides(shared_api: Api):
    space = await make_space(shared_api)
    top = await space.task()
    left = await space.task(depends_on=[top["id"]])
    right = await space.task(depends_on=[top["id"]])
    bottom = await space.task(depends_on=[left["id"], right["id"]])
    assert await space.where(bottom) == ("blocked", "waits for T-2, T-3")
    await space.finish(top)
    await space.finish(left)
    assert await space.where(bottom) == ("blocked", "waits for T-3")
    await space.finish(right)
    assert (await space.where(bottom))[0] == "queued"
    assert len(await space.orders(bottom)) == 1


async def test_a_queued_task_that_must_wait_after_all_leaves_the_queue(shared_api: Api):
    space = await make_space(shared_api)
    first, second = await space.idle(), await space.task()
    await space.depend(second, first)
    assert await space.where(second) == ("blocked", "waits for T-1")
    (order,) = await space.orders(second)
    assert (order["status"], order["error_message"]) == ("failed", "has to wait for another task")
    assert await (await space.worker()).claim() == []


async def test_what_a_running_task_waits_for_cannot_change(shared_api: Api):
    space = await make_space(shared_api)
    first, second = await space.idle(), await space.task()
    order = await (await space.worker()).claim_one()
    assert order["payload"]["task_id"] == second["id"]
    path = f"/tasks/{second['id']}/dependencies"
    problem = await space.owner.refused("POST", path, 409, json={"depends_on": first["id"]})
    assert problem["code"] == "task_running"
    assert (await space.get(second))["dependencies"] == []
    await space.depend(second, first, "related")


async def test_a_dependency_is_made_once_per_key(shared_api: Api):
    space = await make_space(shared_api)
    first, second = await space.idle(), await space.idle()
    answers = await asyncio.gather(
        *(
            space.owner.call(
                "POST",
                f"/tasks/{second['id']}/dependencies",
                json={"depends_on": first["id"]},
                headers={"Idempotency-Key": f"dep-{second['id']}"},
            )
            for _ in range(4)
        )
    )
    assert [answer.status_code for answer in answers] == [201] * 4
    assert len({answer.text for answer in answers}) == 1


async def idle_tasks(ground: Ground, count: int) -> list[Task]:
    async with ground.transaction() as tx:
        return [
            await make_task(tx, ground.owner, ground.repository, start=False) for _ in range(count)
        ]


async def relate(ground: Ground, task: Task, on: Task) -> None:
    async with ground.transaction() as tx:
        await dependencies.add_dependency(tx, ground.owner, task.id, DependencyIn(depends_on=on.id))


@pytest.mark.parametrize("length", [2, 3, 6])
async def test_edges_added_at_once_never_close_a_circle_together(
    shared_database: Database, length: int
):
    """Each is harmless alone; all but one may be taken, and nobody waits for ever."""
    ground = await make_ground(shared_database)
    for _ in range(6):
        ring = await idle_tasks(ground, length)
        outcomes = await asyncio.gather(
            *(relate(ground, ring[n], ring[(n + 1) % length]) for n in range(length)),
            return_exceptions=True,
        )
        refused = [outcome for outcome in outcomes if outcome is not None]
        assert len(refused) == 1, outcomes
        assert isinstance(refused[0], DependencyCycle)
        assert len(refused[0].extra["path"]) == length + 1


async def end_while(
    ground: Ground, task: Task, other: "asyncio.Future[None] | asyncio.Task[None]"
) -> None:
    """Complete a task in a transaction that stays open while something else is attempted."""
    async with ground.transaction() as tx:
        row = await queries.lock_task(tx, task.id)
        row.status = TaskStatus.REVIEW
        await service.finish_task(tx, row, TaskStatus.COMPLETED)
        # It ends at once, or waits for us.
        await asyncio.wait([other], timeout=0.3)
    await other


async def status_of(ground: Ground, title: str) -> TaskStatus:
    async with ground.database.read() as read:
        return (await read.execute(select(Task.status).where(Task.title == title))).scalar_one()


async def test_who_comes_to_wait_while_the_other_ends_is_not_forgotten(shared_database: Database):
    ground = await make_ground(shared_database)
    first, second, third = await idle_tasks(ground, 3)
    async with ground.transaction() as tx:
        await service.start_task(tx, await queries.lock_task(tx, third.id))

    async def create() -> None:
        async with ground.transaction() as tx:
            await make_task(
                tx, ground.owner, ground.repository, title=f"new {first.id}", depends_on=[first.id]
            )

    async def add() -> None:
        async with ground.transaction() as tx:
            relation, task, _ = await dependencies.add_dependency(
                tx, ground.owner, third.id, DependencyIn(depends_on=second.id)
            )
            assert relation.dependency_type is DependencyType.BLOCKS
            await service.hold_back(tx, task)

    await end_while(ground, first, asyncio.create_task(create()))
    assert await status_of(ground, f"new {first.id}") is TaskStatus.QUEUED
    await end_while(ground, second, asyncio.create_task(add()))
    assert await status_of(ground, third.title) is TaskStatus.QUEUED


async def test_who_is_started_while_the_other_ends_is_not_forgotten(shared_database: Database):
    ground = await make_ground(shared_database)
    first, second = await idle_tasks(ground, 2)
    await relate(ground, second, first)
    is_started = asyncio.Event()

    async def start() -> None:
        async with ground.transaction() as tx:
            task = await queries.lock_task(tx, second.id)
            await service.start_task(tx, task)
            is_started.set()
            await asyncio.wait([ending], timeout=0.3)

    async def end() -> None:
        await is_started.wait()
        async with ground.transaction() as tx:
            row = await queries.lock_task(tx, first.id)
            row.status = TaskStatus.REVIEW
            await service.finish_task(tx, row, TaskStatus.COMPLETED)

    ending = asyncio.create_task(end())
    await start()
    await ending
    assert await status_of(ground, second.title) is TaskStatus.QUEUED


async def test_ends_that_meet_further_down_do_not_lock_each_other_out(shared_database: Database):
    """The one that waits for both was made first, so that its age says nothing of its place."""
    ground = await make_ground(shared_database)
    last, second, first = await idle_tasks(ground, 3)
    await relate(ground, second, first)
    await relate(ground, last, first)
    await relate(ground, last, second)

    is_locked = asyncio.Event()

    async def cancel_first() -> None:
        await is_locked.wait()
        async with ground.transaction() as tx:
            await service.cancel_task(tx, await queries.lock_task(tx, first.id), "")

    other = asyncio.create_task(cancel_first())
    async with ground.transaction() as tx:
        row = await queries.lock_task(tx, second.id)
        is_locked.set()
        await asyncio.wait([other], timeout=0.3)  # until it waits for us
        await service.cancel_task(tx, row, "")
    await other
    assert await status_of(ground, first.title) is TaskStatus.CANCELLED


async def test_what_was_freed_behind_our_back_is_found(shared_database: Database):
    ground = await make_ground(shared_database)
    (first,) = await idle_tasks(ground, 1)
    async with ground.transaction() as tx:
        second = await make_task(tx, ground.owner, ground.repository, depends_on=[first.id])
    chores = TaskChores(shared_database)
    assert await chores.unblock() == 0
    async with shared_database.transaction() as tx:
        await tx.execute(
            update(Task).where(Task.id == first.id).values(status=TaskStatus.COMPLETED)
        )
    assert await chores.unblock() == 1
    assert await status_of(ground, second.title) is TaskStatus.QUEUED
    assert await chores.unblock() == 0


Edges = list[tuple[int, int]]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, Edges]:
    """A graph without circles: edges lead from later tasks to earlier ones."""
    count = draw(st.integers(2, 7))
    pairs = [(after, before) for after in range(count) for before in range(after)]
    return count, draw(st.lists(st.sampled_from(pairs), unique=True, max_size=12))


@pytest.mark.promise("P9")
@pytest.mark.slow
@given(graph=graphs(), seed=st.integers(0, 2**16))
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_nothing_can_be_claimed_before_all_it_waits_for_is_completed(
    shared_database: Database, graph: tuple[int, Edges], seed: int
):
    crew, draw = await make_crew(shared_database), random.Random(seed)
    ids = await make_graph(crew, graph, draw)
    needs = {ids[after]: {ids[b] for a, b in graph[1] if a == after} for after in range(graph[0])}
    worker = await crew.worker()
    completed: set[uuid.UUID] = set()
    ended: list[uuid.UUID] = []
    failures = 0
    while claimed := await worker.claim(draw.randint(1, 3)):
        for order in sorted(claimed, key=lambda _: draw.random()):
            task_id = order.payload.task_id
            assert needs[task_id] <= completed
            if failures < 3 and draw.random() < 0.2:
                failures += 1
                await worker.fail(order, FailureClass.COMMAND_FAILED)
                async with crew.ground.transaction() as tx:
                    await service.retry_task(tx, await queries.lock_task(tx, task_id))
            else:
                await worker.complete(order)
                completed.add(task_id)
                ended.append(task_id)
    assert sorted(ended) == sorted(ids)


async def make_graph(
    crew: Crew, graph: tuple[int, Edges], draw: random.Random
) -> Sequence[uuid.UUID]:
    """Tasks and their dependencies, some made with them, others added later."""
    count, edges = graph
    ground = crew.ground
    later = [edge for edge in edges if draw.random() < 0.5]
    run = TaskRun(command="true", queue_name=crew.queue_name)
    ids: list[uuid.UUID] = []
    async with ground.transaction() as tx:
        for after in range(count):
            now = [ids[b] for a, b in edges if a == after and (a, b) not in later]
            made = await make_task(tx, ground.owner, ground.repository, run=run, depends_on=now)
            ids.append(made.id)
    for after, before in later:
        async with ground.transaction() as tx:
            _, task, _ = await dependencies.add_dependency(
                tx, ground.owner, ids[after], DependencyIn(depends_on=ids[before])
            )
            await service.hold_back(tx, task)
    return ids


async def test_a_long_list_of_what_is_waited_for_stays_readable(shared_api: Api):
    space = await make_space(shared_api)
    blockers = [await space.idle() for _ in range(25)]
    task = await space.task(depends_on=[blocker["id"] for blocker in blockers])
    _, reason = await space.where(task)
    assert reason is not None
    assert reason.endswith("T-20 and 5 more")
