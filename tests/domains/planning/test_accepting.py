"""Accepting plans: each step one task, whoever presses how often; drift; what is kept and ended."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import false, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from agentvine.domains.identity.models import AuditEvent
from agentvine.domains.planning.jobs import PlanChore
from agentvine.domains.plans.models import Plan
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.models import Task, TaskDependency
from agentvine.domains.tasks.queries import lock_task
from agentvine.domains.tasks.service import finish_task
from agentvine.domains.tasks.states import set_status
from agentvine.domains.work.models import WorkOrder
from tests.support.api import Api
from tests.support.builders.plans import Desk, Json, make_desk, step, steps

pytestmark = pytest.mark.asyncio(loop_scope="module")

RUN = {"run": {"command": "true"}}


async def accept(desk: Desk, plan: Json, verb: str = "accept", **fields: Any) -> Json:
    made: Json = await desk.owner.post(f"/plans/{plan['id']}/{verb}", {**RUN, **fields})
    return made


async def revised(desk: Desk, plan: Json, *items: Json) -> Json:
    second: Json = await desk.owner.post(f"/plans/{plan['id']}/revise")
    await desk.owner.post(f"/plans/{second['id']}/artifacts", steps(*items))
    return second


async def move(desk: Desk, task_id: str, status: TaskStatus) -> None:
    """Put a task where only a worker could bring it."""
    async with desk.api.database.transaction() as tx:
        await tx.execute(update(Task).where(Task.id == UUID(task_id)).values(status=status))


def by_key(made: Json) -> Mapping[str, Json]:
    return {row["key"]: row for row in made["tasks"]}


def drift_of(made: Json) -> list[tuple[str, str]]:
    return [(item["action"], item["key"]) for item in made["drift"]]


async def test_steps_become_tasks_that_wait_for_each_other(shared_api: Api):
    desk = await make_desk(shared_api)
    plan = await desk.plan(
        steps(
            step("last", depends_on=["first", "second"], type="test", definition_of_done="Green."),
            step("first", files=["a.py"], description="Begin."),
            step("second", depends_on=["first"], permission="human_required"),
        ),
        target_branch="dev",
    )

    made = await accept(desk, plan, priority="high")
    tasks = {
        key: await desk.owner.get(f"/tasks/{row['task_id']}") for key, row in by_key(made).items()
    }

    assert (made["plan"]["status"], made["drift"]) == ("active", [])
    assert [row["key"] for row in made["tasks"]] == ["last", "first", "second"]
    assert {key: row["status"] for key, row in tasks.items()} == {
        "first": "queued",
        "second": "pending",
        "last": "blocked",
    }
    waits = {key: {dep["depends_on"] for dep in row["dependencies"]} for key, row in tasks.items()}
    ids = {key: row["id"] for key, row in tasks.items()}
    assert waits == {
        "first": set(),
        "second": {ids["first"]},
        "last": {ids["first"], ids["second"]},
    }
    last = tasks["last"]
    assert (last["type"], last["priority"], last["target_branch"]) == ("test", "high", "dev")
    assert (last["definition_of_done"], last["run"]["command"]) == ("Green.", "true")
    assert (last["plan_id"], last["plan_step"]) == (plan["id"], "last")
    assert tasks["first"]["description"].startswith("Begin.\n\nFiles: a.py\n\nThis is the step")
    listed = await desk.owner.get("/tasks", params={"plan_id": plan["id"]})
    assert {row["id"] for row in listed["items"]} == set(ids.values())


async def test_pressed_twenty_times_at_once_each_step_is_one_task(shared_api: Api):
    desk = await make_desk(shared_api)
    plan = await desk.plan(steps(step("a"), step("b", depends_on=["a"]), step("c")))

    answers = await asyncio.gather(*(accept(desk, plan) for _ in range(20)))
    await accept(desk, plan, verb="reconcile")

    first = by_key(answers[0])
    assert len(first) == 3
    assert all(by_key(answer).keys() == first.keys() for answer in answers)
    ids = {row["task_id"] for answer in answers for row in answer["tasks"]}
    assert len(ids) == 3
    async with shared_api.database.read() as read:
        of_plan = select(Task.id).where(Task.plan_id == UUID(plan["id"]))
        orders = select(func.count()).select_from(WorkOrder).where(WorkOrder.task_id.in_(of_plan))
        waits = select(func.count()).where(TaskDependency.task_id.in_(of_plan))
        said = select(func.count()).where(
            AuditEvent.entity_id == plan["id"], AuditEvent.action == "plan.tasks_made"
        )
        assert len((await read.scalars(of_plan)).all()) == 3
        assert [await read.scalar(query) for query in (orders, waits, said)] == [2, 1, 1]


async def test_the_database_itself_has_one_task_for_a_step(shared_api: Api):
    desk = await make_desk(shared_api)
    plan = await desk.plan(steps(step("a")))
    await accept(desk, plan)
    values = {
        "title": "again",
        "task_type": "feature",
        "project_id": UUID(desk.project_id),
        "plan_id": UUID(plan["id"]),
        "plan_step": "a",
    }

    with pytest.raises(IntegrityError):
        async with shared_api.database.transaction() as tx:
            await tx.execute(insert(Task).values(values))


async def test_what_cannot_be_carried_out_is_not_accepted_at_all(shared_api: Api):
    desk = await make_desk(shared_api)
    plan = await desk.plan(steps(step("a", run={"command": "true"}), step("b")))
    bare = await desk.plan()

    lacking = await desk.owner.refused("POST", f"/plans/{plan['id']}/accept", 422, json={})
    empty = await desk.owner.refused("POST", f"/plans/{bare['id']}/accept", 422, json={})

    assert (lacking["code"], empty["code"]) == ("task_not_runnable", "plan_steps_missing")
    assert (await desk.owner.get(f"/plans/{plan['id']}"))["status"] == "draft"
    assert (await desk.owner.get("/tasks", params={"plan_id": plan["id"]}))["items"] == []


async def test_a_newer_version_shows_its_drift_and_changes_tasks_only_when_told(shared_api: Api):
    desk = await make_desk(shared_api)
    plan = await desk.plan(
        steps(
            step("done"),
            step("same", depends_on=["done"]),
            step("changed", depends_on=["done"]),
            step("gone", depends_on=["done"]),
            step("runs"),
            step("failed"),
        )
    )
    tasks = by_key(await accept(desk, plan))
    await move(desk, tasks["done"]["task_id"], TaskStatus.COMPLETED)
    await move(desk, tasks["runs"]["task_id"], TaskStatus.IN_PROGRESS)
    await move(desk, tasks["failed"]["task_id"], TaskStatus.FAILED)
    second = await revised(
        desk,
        plan,
        step("done"),
        step("changed", title="Do it otherwise"),
        step("same", depends_on=["changed"]),
        step("runs", title="Run otherwise"),
        step("failed"),
        step("new", depends_on=["same"]),
    )

    shown = await accept(desk, second)
    again = await desk.owner.get(f"/plans/{second['id']}/preview")
    before = await desk.owner.get("/tasks", params={"plan_id": second["id"]})
    settled = await accept(desk, second, verb="reconcile")
    twice = await accept(desk, second, verb="reconcile")

    wanted = [
        ("cancel", "changed"),
        ("add", "changed"),
        ("cancel", "runs"),
        ("add", "runs"),
        ("add", "failed"),
        ("add", "new"),
        ("cancel", "gone"),
    ]
    assert (drift_of(shown), before["items"], again["is_settled"]) == (wanted, [], False)
    assert [pair for pair in drift_of(again) if pair[0] != "keep"] == wanted
    assert {key for action, key in drift_of(again) if action == "keep"} == {"done", "same"}
    now = by_key(settled)
    assert (settled["drift"], twice["tasks"]) == ([], settled["tasks"])
    kept = {key for key in tasks if key in now and now[key]["task_id"] == tasks[key]["task_id"]}
    assert kept == {"done", "same"}
    same = await desk.owner.get(f"/tasks/{tasks['same']['task_id']}")
    assert [row["depends_on"] for row in same["dependencies"]] == [now["changed"]["task_id"]]
    assert (same["status"], now["new"]["status"]) == ("blocked", "blocked")
    ended = {key: await desk.owner.get(f"/tasks/{tasks[key]['task_id']}") for key in tasks}
    assert (ended["gone"]["status"], ended["changed"]["status"]) == ("cancelled", "cancelled")
    # One that runs is told to stop, and is cancelled when it has.
    assert ended["runs"]["status"] == "in_progress"
    assert ended["runs"]["status_reason"].startswith("being cancelled: version 2 of the plan")


async def test_a_newer_version_that_only_adds_makes_its_tasks_at_once(shared_api: Api):
    desk = await make_desk(shared_api)
    plan = await desk.plan(steps(step("a")))
    first = by_key(await accept(desk, plan))
    second = await revised(desk, plan, step("a"), step("b", depends_on=["a"]))

    made = by_key(await accept(desk, second))

    assert made["a"]["task_id"] == first["a"]["task_id"]
    assert (made["a"]["status"], made["b"]["status"]) == ("queued", "blocked")


async def test_both_are_done_at_once_where_that_is_asked(shared_api: Api):
    desk = await make_desk(shared_api)
    plan = await desk.plan(steps(step("a")))
    first = by_key(await accept(desk, plan))
    second = await revised(desk, plan, step("b"))

    made = await accept(desk, second, reconcile=True)

    assert (list(by_key(made)), made["drift"]) == (["b"], [])
    assert (await desk.owner.get(f"/tasks/{first['a']['task_id']}"))["status"] == "cancelled"


async def test_a_deleted_task_of_a_step_is_not_made_again(shared_api: Api):
    desk = await make_desk(shared_api)
    plan = await desk.plan(steps(step("a")))
    [task] = (await accept(desk, plan, start=False))["tasks"]
    await desk.owner.call("DELETE", f"/tasks/{task['task_id']}")

    again = await accept(desk, plan)

    assert [row["task_id"] for row in again["tasks"]] == [task["task_id"]]


async def test_a_preview_shows_the_tree_and_the_overlaps_and_makes_nothing(shared_api: Api):
    desk = await make_desk(shared_api)
    other = await desk.plan(steps(step("x", files=["shared.py"])))
    [elsewhere] = (await accept(desk, other))["tasks"]
    plan = await desk.plan(
        steps(
            step("a", files=["a.py", "b.py"]),
            step("b", files=["b.py"], depends_on=["a"]),
            step("c", files=["a.py", "shared.py"]),
        )
    )

    found = await desk.owner.get(f"/plans/{plan['id']}/preview")

    assert [(row["key"], row["level"]) for row in found["steps"]] == [("a", 0), ("b", 1), ("c", 0)]
    overlaps = {(row["first"], row["second"]): row for row in found["overlaps"]}
    assert {pair: (row["files"], row["is_ordered"]) for pair, row in overlaps.items()} == {
        ("a", "b"): (["b.py"], True),
        ("a", "c"): (["a.py"], False),
        ("c", elsewhere["ref"]): (["shared.py"], False),
    }
    assert drift_of(found) == [("add", "a"), ("add", "b"), ("add", "c")]
    async with shared_api.database.read() as read:
        assert await read.scalar(select(Plan.status).where(Plan.id == UUID(plan["id"]))) == "draft"


async def test_only_what_counts_is_reconciled(shared_api: Api):
    desk = await make_desk(shared_api)
    plan = await desk.plan(steps(step("a")))

    problem = await desk.owner.refused("POST", f"/plans/{plan['id']}/reconcile", 409, json=RUN)

    assert problem["code"] == "plan_not_active"


async def test_a_version_is_completed_when_the_tasks_of_all_its_steps_are(shared_api: Api):
    desk = await make_desk(shared_api)
    plan = await desk.plan(steps(step("a"), step("b")))
    tasks = by_key(await accept(desk, plan))
    chore = PlanChore(shared_api.database, held=select(Plan.id).where(false()))

    async def status(one: Json) -> str:
        await chore.run()
        return str((await desk.owner.get(f"/plans/{one['id']}"))["status"])

    await move(desk, tasks["a"]["task_id"], TaskStatus.COMPLETED)
    assert await status(plan) == "active"
    # One that was cancelled is not done; somebody must say whether the plan is.
    await move(desk, tasks["b"]["task_id"], TaskStatus.CANCELLED)
    assert await status(plan) == "active"
    second = await revised(desk, plan, step("a"), step("c"))
    kept = by_key(await accept(desk, second))
    assert kept["a"]["task_id"] == tasks["a"]["task_id"]
    await move(desk, kept["c"]["task_id"], TaskStatus.COMPLETED)

    assert await status(second) == "completed"
    # What had become of an earlier version is left as it is.
    assert await status(plan) == "archived"


async def test_the_end_of_its_last_task_completes_a_plan_by_itself(shared_api: Api):
    desk = await make_desk(shared_api)
    plan = await desk.plan(steps(step("a")))
    task_id = UUID(by_key(await accept(desk, plan))["a"]["task_id"])

    async with shared_api.database.transaction() as tx:
        task = await lock_task(tx, task_id)
        set_status(tx, task, TaskStatus.IN_PROGRESS)
        await finish_task(tx, task, TaskStatus.COMPLETED)

    async with asyncio.timeout(15):
        while True:
            if (await desk.owner.get(f"/plans/{plan['id']}"))["status"] == "completed":
                return
            await asyncio.sleep(0.02)
