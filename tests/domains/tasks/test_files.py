"""Who touches the same files runs one after the other, and says for whom it waits."""

import asyncio
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from graphlib import TopologicalSorter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from agentvine.config.settings import QueueSettings
from agentvine.db.session import Database
from agentvine.domains.tasks import files, queries, service
from agentvine.domains.tasks.enums import TaskPriority, TaskStatus
from agentvine.domains.tasks.file_jobs import FileChores
from agentvine.domains.tasks.files import STARVED_AFTER, Stake, find_waits
from agentvine.domains.tasks.models import Task
from agentvine.domains.tasks.states import set_status
from agentvine.domains.work.models import WorkOrder
from agentvine.kit.actor import SYSTEM
from agentvine.protocol.tasks import TaskEditIn
from tests.support.api import Api
from tests.support.builders.projects import Ground, make_ground
from tests.support.builders.tasks import make_task
from tests.support.space import Json, Space, make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")


def chores(database: Database) -> FileChores:
    return FileChores(database, QueueSettings())


async def let_go(space: Space) -> None:
    while await chores(space.api.database).let_go():
        pass


async def until_queued(space: Space, task: Json) -> None:
    """The server's own chore may be at it, too."""
    async with asyncio.timeout(30):
        while (await space.where(task))[0] != "queued":
            await let_go(space)


async def statuses(space: Space, *tasks: Json) -> list[str]:
    return [(await space.where(task))[0] for task in tasks]


async def test_a_task_waits_for_another_that_is_at_work_on_its_files_and_says_so(shared_api: Api):
    space = await make_space(shared_api)
    first = await space.task(title="first", touches=["src/app.py", "docs/"])
    second = await space.task(touches=["src/*.py"])
    told = "waits for files of T-1 (src/app.py)"
    assert await space.where(second) == ("blocked", told)
    assert await space.orders(second) == []
    shown = await space.get(second)
    assert shown["touches"] == [{"pattern": "src/*.py", "source": "declared"}]
    (wait,) = shown["waits_for_files"]
    assert (wait["ref"], wait["title"], wait["status"]) == ("T-1", "first", "queued")
    assert wait["files"] == ["src/app.py"]
    why = await space.owner.get(f"/tasks/{second['id']}/why")
    assert [(reason["code"], reason["message"]) for reason in why["reasons"]] == [("files", told)]
    assert why["reasons"][0]["facts"]["tasks"] == [wait]
    assert (await space.get(first))["touches"][0] == {
        "pattern": "docs/**", "source": "declared",
    }  # fmt: skip

    await space.finish(first)
    await until_queued(space, second)
    assert await space.where(second) == ("queued", None)
    assert (await space.get(second))["waits_for_files"] == []
    await let_go(space)
    assert len(await space.orders(second)) == 1
    await space.finish(second)


@pytest.mark.parametrize("end", ["failed", "cancelled", "cancelled while it runs", "deleted"])
async def test_whatever_ends_a_task_frees_its_files(shared_api: Api, end: str):
    space = await make_space(shared_api)
    first = await space.task(touches=["a.py"], run_max_retries=0)
    second = await space.task(touches=["a.py"])
    assert await statuses(space, second) == ["blocked"]
    if end == "failed":
        worker = await space.worker()
        await worker.fail(await worker.claim_one())
    elif end == "cancelled while it runs":
        worker = await space.worker()
        order = await worker.claim_one()
        await space.act(first, "cancel")
        await let_go(space)
        assert await statuses(space, second) == ["blocked"]
        await worker.fail(order, "cancelled")
    else:
        await space.act(first, "cancel")
        if end == "deleted":
            await space.owner.call("DELETE", f"/tasks/{first['id']}")
    await until_queued(space, second)


async def test_a_task_that_is_tried_again_keeps_its_files(shared_api: Api):
    space = await make_space(shared_api)
    await space.task(touches=["a.py"])
    second = await space.task(touches=["a.py"])
    worker = await space.worker()
    await worker.fail(await worker.claim_one(), "network_failed")
    await let_go(space)
    assert await statuses(space, second) == ["blocked"]


async def test_what_does_not_meet_does_not_wait(shared_api: Api):
    space = await make_space(shared_api)
    await space.task(touches=["src/app.py"])
    others = [
        await space.task(touches=["src/other.py", "tests/**/test_*.py"]),
        await space.task(touches=["src/app.py"], target_branch="release"),
        await space.task(),
    ]
    assert await statuses(space, *others) == ["queued"] * 3
    elsewhere = await make_space(shared_api)
    assert await statuses(elsewhere, await elsewhere.task(touches=["**"])) == ["queued"]


async def test_a_repository_can_switch_it_off(shared_api: Api):
    space = await make_space(shared_api)
    await space.task(touches=["a.py"])
    second = await space.task(touches=["a.py"])
    path = f"/repositories/{space.repository_id}"
    answer = await space.owner.call("PATCH", path, json={"overlap_waits": False})
    assert answer.json()["overlap_waits"] is False
    await until_queued(space, second)
    third = await space.task(touches=["a.py"])
    assert await statuses(space, third) == ["queued"]
    await space.owner.call("PATCH", path, json={"overlap_waits": True})
    assert await statuses(space, await space.task(touches=["a.py"])) == ["blocked"]


async def test_an_edit_of_what_it_touches_lets_a_task_go_or_holds_it_back(shared_api: Api):
    space = await make_space(shared_api)
    await space.task(touches=["a.py"])
    second = await space.task(touches=["a.py"])
    path = f"/tasks/{second['id']}"
    assert (await space.owner.call("PATCH", path, json={"touches": ["b.py"]})).is_success
    assert await statuses(space, second) == ["queued"]
    assert (await space.owner.call("PATCH", path, json={"touches": ["*.py"]})).is_success
    assert await space.where(second) == ("blocked", "waits for files of T-1 (a.py)")
    assert [order["status"] for order in await space.orders(second)] == ["failed"]
    assert (await space.owner.call("PATCH", path, json={"touches": []})).is_success
    assert await statuses(space, second) == ["queued"]


@pytest.mark.parametrize("touches", [["/etc/passwd"], ["../up"], [".git/config"], ["*"] * 51])
async def test_what_is_no_pattern_inside_the_repository_is_refused(
    shared_api: Api, touches: Sequence[str]
):
    space = await make_space(shared_api)
    body = {"title": "t", "repository_id": space.repository_id, "touches": touches}
    await space.owner.refused("POST", "/tasks", 422, json=body)


async def test_a_task_does_not_wait_for_what_it_is_a_part_of(shared_api: Api):
    space = await make_space(shared_api)
    parent = await space.task(touches=["src/"])
    child = await space.task(touches=["src/a.py"], parent_id=parent["id"])
    grandchild = await space.task(touches=["src/b.py"], parent_id=child["id"])
    assert await statuses(space, child, grandchild) == ["queued", "queued"]


async def _task(ground: Ground, **fields: Any) -> Task:
    async with ground.transaction() as tx:
        return await make_task(tx, ground.owner, ground.repository, **fields)


async def _stands(ground: Ground, *tasks: Task) -> list[TaskStatus]:
    async with ground.database.read() as read:
        return [(await queries.get_task(read, SYSTEM, task.id)).status for task in tasks]


async def _start(ground: Ground, task: Task) -> None:
    async with ground.transaction() as tx:
        await service.start_task(tx, await queries.lock_task(tx, task.id))


async def _cancel(ground: Ground, task: Task) -> None:
    async with ground.transaction() as tx:
        await service.cancel_task(tx, await queries.lock_task(tx, task.id), "")


async def test_the_first_of_those_that_wait_is_told_by_rank(shared_database: Database):
    ground = await make_ground(shared_database)
    first = await _task(ground, touches=["a.py"])
    early = await _task(ground, touches=["a.py"], priority=TaskPriority.LOW)
    late = await _task(ground, touches=["a.py"], priority=TaskPriority.CRITICAL)
    beside = await _task(ground, touches=["b.py"], priority=TaskPriority.LOW)
    await _cancel(ground, first)
    assert await chores(shared_database).let_go() == 1
    assert await _stands(ground, early, late, beside) == ["blocked", "queued", "queued"]
    async with shared_database.read() as read:
        told = (await queries.get_task(read, SYSTEM, early.id)).status_reason
    assert told == f"waits for files of T-{late.number} (a.py)"


async def test_who_waits_keeps_nobody_waiting_until_it_has_waited_too_long(
    shared_database: Database,
):
    ground = await make_ground(shared_database)
    await _task(ground, touches=["a.py"])
    wide = await _task(ground, touches=["**"])
    passing = await _task(ground, touches=["b.py"])
    assert await _stands(ground, wide, passing) == ["blocked", "queued"]
    async with shared_database.transaction() as tx:
        since = datetime.now(UTC) - STARVED_AFTER - timedelta(minutes=1)
        starved = update(Task).where(Task.id == wide.id).values(waits_for_files_since=since)
        await tx.execute(starved)
    late = await _task(ground, touches=["c.py"], priority=TaskPriority.CRITICAL)
    assert late.status is TaskStatus.BLOCKED
    assert late.status_reason == f"waits for files of T-{wide.number}, before it in line (c.py)"
    assert await _stands(ground, passing) == ["queued"]
    part = await _task(ground, touches=["d.py"], parent_id=passing.id)
    assert part.status is TaskStatus.QUEUED  # of one that the starved task waits for


async def test_of_many_that_are_started_at_once_one_begins_and_each_runs_once(
    shared_database: Database,
):
    ground = await make_ground(shared_database)
    tasks = [await _task(ground, touches=["src/"], start=False) for _ in range(4)]
    await asyncio.gather(*(_start(ground, task) for task in tasks))
    begun: list[uuid.UUID] = []
    for _ in tasks:
        await asyncio.gather(*(chores(shared_database).let_go() for _ in range(2)))
        await chores(shared_database).let_go()
        stands = await _stands(ground, *tasks)
        (now,) = [t for t, status in zip(tasks, stands, strict=True) if status == "queued"]
        begun.append(now.id)
        await _cancel(ground, now)
    assert sorted(begun) == sorted(task.id for task in tasks)
    async with shared_database.read() as read:
        query = select(WorkOrder.task_id).where(WorkOrder.task_id.in_(begun))
        assert sorted((await read.scalars(query)).all()) == sorted(begun)


async def test_a_change_in_review_holds_what_it_changes_and_no_more(shared_database: Database):
    ground = await make_ground(shared_database)
    first = await _task(ground, touches=["src/"])
    changed, other = [await _task(ground, touches=[f"src/{name}.py"]) for name in ("a", "b")]
    assert await _stands(ground, changed, other) == ["blocked", "blocked"]
    async with ground.transaction() as tx:
        task = await queries.lock_task(tx, first.id)
        for status in (TaskStatus.IN_PROGRESS, TaskStatus.REVIEW):
            set_status(tx, task, status)
        await files.learn_files(tx, task, ["src/a.py", "README.md"])
    await chores(shared_database).let_go()
    assert await _stands(ground, changed, other) == ["blocked", "queued"]
    async with shared_database.read() as read:
        known = await files.list_files(read, first.id)
        told = (await queries.get_task(read, SYSTEM, changed.id)).status_reason
    assert told == f"waits for files of T-{first.number}, whose change is in review (src/a.py)"
    assert [(row.pattern, row.source) for row in known] == [
        ("src/**", "declared"), ("README.md", "history"), ("src/a.py", "history"),
    ]  # fmt: skip


async def test_what_is_held_by_nobody_is_tidied_up(shared_database: Database):
    ground = await make_ground(shared_database)
    first = await _task(ground, touches=["a.py"])
    second = await _task(ground, touches=["a.py"])
    async with shared_database.transaction() as tx:
        await tx.execute(update(Task).where(Task.id == first.id).values(status="failed"))
    assert await chores(shared_database).tidy() == 1
    assert await chores(shared_database).tidy() == 0
    assert await chores(shared_database).let_go() == 1
    assert await _stands(ground, second) == ["queued"]


async def test_a_plain_edit_of_a_running_task_is_no_reason_to_wait(shared_database: Database):
    ground = await make_ground(shared_database)
    task = await _task(ground, touches=["a.py"])
    async with ground.transaction() as tx:
        locked = await queries.lock_task(tx, task.id)
        set_status(tx, locked, TaskStatus.IN_PROGRESS)
        await service.edit_task(tx, locked, TaskEditIn(touches=["a.py", "b.py"]))
    late = await _task(ground, touches=["b.py"])
    assert await _stands(ground, task, late) == ["in_progress", "blocked"]


_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_stakes = st.lists(
    st.tuples(
        st.sampled_from([TaskStatus.QUEUED, TaskStatus.REVIEW, TaskStatus.BLOCKED]),
        st.integers(0, 60),
        st.lists(st.sampled_from(["a", "a/*", "b", "**"]), min_size=1, max_size=2),
    ),
    max_size=6,
).map(
    lambda rows: [
        Stake(
            task_id=uuid.UUID(int=number),
            number=number,
            title="",
            status=status,
            status_reason=None,
            priority=TaskPriority.NORMAL,
            target_branch="main",
            parent_id=None,
            waits_since=_NOW - timedelta(minutes=age) if status is TaskStatus.BLOCKED else None,
            patterns=tuple(patterns),
        )
        for number, (status, age, patterns) in enumerate(rows, 1)
    ]
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_stakes)
async def test_tasks_never_wait_for_each_other_in_a_circle(stakes: list[Stake]):
    waiting = [stake for stake in stakes if not stake.is_held]
    edges = {one.number: [w.other for w in find_waits(one, stakes, _NOW)] for one in waiting}
    graph = {
        number: {other.number for other in others if not other.is_held}
        for number, others in edges.items()
    }
    TopologicalSorter(graph).prepare()
