"""Tasks over HTTP: made, listed, shown, edited, started, cancelled, tried again, deleted."""

import asyncio

import pytest

from agentvine.protocol.enums import UserRole
from tests.support.api import Api, unknown_id
from tests.support.builders.identity import unique
from tests.support.space import Space, make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def titles(space: Space, **params: object) -> list[str]:
    page = await space.owner.get("/tasks", params={"project_id": space.project_id, **params})
    return [task["title"] for task in page["items"]]


async def test_a_new_task_is_queued_at_once_and_answers_with_all_it_has(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task(title="Sort the imports", description="All of them.", type="refactor")
    assert (task["ref"], task["status"], task["type"]) == ("T-1", "queued", "refactor")
    assert (task["permission"], task["priority"]) == ("supervised", "normal")
    assert (task["target_branch"], task["description"]) == ("main", "All of them.")
    (order,) = await space.orders(task)
    assert (order["status"], order["queue_name"]) == ("pending", space.queue)
    shown = await space.get(task)
    assert {name: shown[name] for name in task} == task
    assert (shown["dependencies"], shown["dependants"], shown["sub_tasks"]) == ([], [], [])


async def test_a_task_that_is_not_to_start_has_no_order(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.idle()
    assert await space.where(task) == ("pending", "waits for somebody to start it")
    assert await space.orders(task) == []
    assert (await space.act(task, "start"))["status"] == "queued"
    assert (await space.act(task, "start"))["status"] == "queued"  # once more does nothing
    assert len(await space.orders(task)) == 1


@pytest.mark.parametrize(("said", "meant"), [("medium", "normal"), ("urgent", "critical")])
async def test_other_trackers_words_for_priorities_are_understood(
    shared_api: Api, said: str, meant: str
):
    space = await make_space(shared_api)
    task = await space.task(priority=said)
    assert task["priority"] == meant
    assert (await space.orders(task))[0]["priority"] == meant
    await space.task(priority="low")
    assert await titles(space, priority=said) == [task["title"]]
    await space.owner.refused(
        "POST", "/tasks", 422, json={"title": "t", "priority": "whenever", "start": False}
    )


async def test_what_a_task_lacks_to_run_is_named(shared_api: Api):
    space = await make_space(shared_api)
    for body, code, words in (
        ({}, "project_missing", "Name a project"),
        ({"project_id": space.project_id}, "task_not_runnable", "repository"),
        ({"repository_id": space.repository_id}, "task_not_runnable", "needs a command"),
        ({"repository_id": unknown_id()}, "repository_not_found", unknown_id()),
        ({"project_id": unknown_id()}, "project_not_found", unknown_id()),
    ):
        status = 404 if code.endswith("not_found") else 422
        problem = await space.owner.refused("POST", "/tasks", status, json={"title": "t"} | body)
        assert problem["code"] == code
        assert words in problem["detail"]
    assert await titles(space) == []


async def test_a_repository_of_another_project_is_refused(shared_api: Api):
    space, other = await make_space(shared_api), await make_space(shared_api)
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    body = {
        "title": "t",
        "project_id": space.project_id,
        "repository_id": other.repository_id,
        "start": False,
    }
    problem = await admin.refused("POST", "/tasks", 422, json=body)
    assert problem["code"] == "project_missing"
    assert "another project" in problem["detail"]


async def test_lists_are_filtered_sorted_and_paged(shared_api: Api):
    space = await make_space(shared_api)
    wanted = [
        ("a", "low", "docs", True),
        ("b", "critical", "test", False),
        ("c", "normal", "docs", True),
        ("d", "critical", "docs", False),
        ("e", "high", "bugfix", True),
    ]
    for title, priority, kind, start in wanted:
        await space.task(title=title, priority=priority, type=kind, start=start)
    assert await titles(space) == ["e", "d", "c", "b", "a"]
    assert await titles(space, sort="oldest") == ["a", "b", "c", "d", "e"]
    assert await titles(space, sort="priority") == ["b", "d", "e", "c", "a"]
    assert await titles(space, type="docs") == ["d", "c", "a"]
    assert await titles(space, type="docs", status="pending") == ["d"]
    assert await titles(space, status=["pending", "queued"], priority=["low", "high"]) == ["e", "a"]
    assert await titles(space, repository_id=space.repository_id, limit=2) == ["e", "d"]
    assert await titles(space, repository_id=unknown_id()) == []
    for sort in ("newest", "oldest", "priority"):
        paged: list[str] = []
        cursor = None
        while True:
            params = {"project_id": space.project_id, "limit": 2, "sort": sort}
            page = await space.owner.get(
                "/tasks", params=params | ({"cursor": cursor} if cursor else {})
            )
            paged += [task["title"] for task in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert paged == await titles(space, sort=sort)


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0},
        {"limit": 501},
        {"cursor": "bm90IG91cnM"},
        {"cursor": "IjEi", "sort": "priority"},
        {"sort": "upwards"},
        {"status": "undone"},
    ],
)
async def test_a_list_that_cannot_be_is_refused(shared_api: Api, params: dict[str, object]):
    space = await make_space(shared_api)
    await space.owner.refused("GET", "/tasks", 422, params=params)


async def test_two_projects_number_their_tasks_apart_and_hide_them_from_each_other(
    shared_api: Api,
):
    one, two = await make_space(shared_api), await make_space(shared_api)
    mine, theirs = await one.idle(), await two.idle()
    assert mine["ref"] == theirs["ref"] == "T-1"
    assert [task["id"] for task in (await one.owner.get("/tasks"))["items"]] == [mine["id"]]
    await one.owner.refused("GET", f"/tasks/{theirs['id']}", 404)


async def test_references_are_unique_however_many_are_made_at_once(shared_api: Api):
    space = await make_space(shared_api)
    made = await asyncio.gather(*(space.idle() for _ in range(20)))
    assert sorted(int(task["ref"][2:]) for task in made) == list(range(1, 21))


async def test_sub_tasks_hang_on_their_parent(shared_api: Api):
    space = await make_space(shared_api)
    parent = await space.idle()
    children = [await space.idle(parent_id=parent["id"]) for _ in range(2)]
    shown = await space.get(parent)
    assert [child["ref"] for child in shown["sub_tasks"]] == ["T-2", "T-3"]
    assert {child["parent_id"] for child in shown["sub_tasks"]} == {parent["id"]}
    assert await titles(space, parent_id=parent["id"], sort="oldest") == [
        child["title"] for child in children
    ]
    await space.owner.call("DELETE", f"/tasks/{children[0]['id']}")
    assert [child["ref"] for child in (await space.get(parent))["sub_tasks"]] == ["T-3"]


async def test_a_parent_must_be_of_the_same_project(shared_api: Api):
    space = await make_space(shared_api)
    other = await space.owner.post("/projects", {"name": unique("project")})
    parent = await space.owner.post(
        "/tasks", {"title": "elsewhere", "project_id": other["id"], "start": False}
    )
    body = {"title": "t", "project_id": space.project_id, "parent_id": parent["id"], "start": False}
    problem = await space.owner.refused("POST", "/tasks", 422, json=body)
    assert (problem["code"], "parent" in problem["detail"]) == ("project_missing", True)


async def test_an_edit_needs_the_version_it_was_decided_on(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.idle(description="old")
    path, version = f"/tasks/{task['id']}", task["row_version"]
    headers = {"If-Match": f'"{version}"'}
    edited = await space.owner.call("PATCH", path, json={"title": "new"}, headers=headers)
    assert edited.json()["title"] == "new"
    assert edited.json()["row_version"] > version
    problem = await space.owner.refused(
        "PATCH", path, 409, json={"title": "newer"}, headers=headers
    )
    assert (problem["code"], problem["expected"]) == ("stale_version", version)
    await space.owner.refused("PATCH", path, 422, json={"title": "x"}, headers={"If-Match": "x"})
    emptied = await space.owner.call("PATCH", path, json={"description": None})
    assert (emptied.json()["title"], emptied.json()["description"]) == ("new", None)
    await space.owner.refused("PATCH", path, 422, json={"title": None})
    await space.owner.refused("PATCH", path, 422, json={"status": "completed"})


async def test_of_many_edits_on_one_version_one_wins(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.idle()
    headers = {"If-Match": f'"{task["row_version"]}"'}
    answers = await asyncio.gather(
        *(
            space.owner.call(
                "PATCH", f"/tasks/{task['id']}", json={"title": f"t{n}"}, headers=headers
            )
            for n in range(5)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    (won,) = [answer.json()["title"] for answer in answers if answer.is_success]
    assert (await space.get(task))["title"] == won


async def test_how_a_task_is_run_cannot_change_while_it_runs_or_when_it_is_over(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task()
    path, run = f"/tasks/{task['id']}", {"command": "make", "queue_name": space.queue}
    changed = await space.owner.call("PATCH", path, json={"run": run})
    assert changed.json()["run"]["command"] == "make"
    problem = await space.owner.refused("PATCH", path, 422, json={"run": {"command": " "}})
    assert problem["code"] == "task_not_runnable"
    worker = await space.worker()
    order = await worker.claim_one()
    assert order["payload"]["command"] == "make"
    problem = await space.owner.refused("PATCH", path, 409, json={"run": run})
    assert problem["code"] == "task_running"
    await worker.complete(order)
    problem = await space.owner.refused("PATCH", path, 409, json={"run": run})
    assert problem["code"] == "task_already_finished"


async def test_a_task_that_needs_a_person_waits_before_its_run(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task(permission="human_required")
    assert await space.where(task) == ("pending", "waits for somebody to start it")
    assert await space.orders(task) == []
    await space.act(task, "start")
    assert (await space.where(task))[0] == "queued"


async def test_a_queued_task_that_is_to_need_a_person_leaves_the_queue(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task()
    await space.owner.call("PATCH", f"/tasks/{task['id']}", json={"permission": "human_required"})
    assert await space.where(task) == ("pending", "waits for somebody to start it")
    assert [order["status"] for order in await space.orders(task)] == ["failed"]
    assert await (await space.worker()).claim() == []
    # The other way round nobody has said go, either.
    await space.owner.call("PATCH", f"/tasks/{task['id']}", json={"permission": "autonomous"})
    assert (await space.where(task))[0] == "pending"
    await space.act(task, "start")
    assert len(await (await space.worker()).claim()) == 1


async def test_a_waiting_task_is_cancelled_at_once_with_its_order(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task()
    cancelled = await space.act(task, "cancel", {"reason": "not needed"})
    assert (cancelled["status"], cancelled["status_reason"]) == ("cancelled", "not needed")
    (order,) = await space.orders(task)
    assert (order["status"], order["error_message"]) == ("failed", "not needed")
    assert (await space.act(task, "cancel"))["status_reason"] == "not needed"
    again = await space.act(task, "retry")
    assert (again["status"], again["completed_at"]) == ("queued", None)
    assert [order["status"] for order in await space.orders(task)] == ["pending", "failed"]


async def test_a_running_task_is_cancelled_when_its_worker_has_stopped_it(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task()
    worker = await space.worker()
    order = await worker.claim_one()
    asked = await space.act(task, "cancel", {"reason": "wrong one"})
    assert asked["status"] == "in_progress"
    assert asked["status_reason"] == "being cancelled: wrong one"
    assert (await worker.beat(order))["leases"][0]["state"] == "cancel"
    outcome = await worker.fail(order, "worker_error")  # which would be tried again, else
    assert outcome["will_retry"] is False
    assert (await space.where(task))[0] == "cancelled"


async def test_what_is_over_cannot_be_cancelled_and_what_is_not_cannot_be_tried_again(
    shared_api: Api,
):
    space = await make_space(shared_api)
    task = await space.idle()
    for _ in range(2):
        problem = await space.owner.refused("POST", f"/tasks/{task['id']}/retry", 409)
        assert problem["code"] == "task_transition_invalid"
    assert (await space.where(task))[0] == "pending"
    await space.act(task, "start")
    await space.owner.refused("POST", f"/tasks/{task['id']}/retry", 409)
    await space.finish(task)
    assert (await space.where(task))[0] == "completed"
    for action, code in (
        ("cancel", "task_already_finished"),
        ("start", "task_already_finished"),
        ("retry", "task_transition_invalid"),
    ):
        problem = await space.owner.refused("POST", f"/tasks/{task['id']}/{action}", 409)
        assert problem["code"] == code


async def test_a_deleted_task_is_gone_for_people_and_its_history_stays(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task()
    path = f"/tasks/{task['id']}"
    problem = await space.owner.refused("DELETE", path, 409)
    assert (problem["code"], "Cancel it first" in problem["detail"]) == ("task_running", True)
    await space.act(task, "cancel")
    assert (await space.owner.call("DELETE", path)).status_code == 204
    for method in ("GET", "DELETE", "PATCH"):
        await space.owner.refused(method, path, 404, **({"json": {}} if method == "PATCH" else {}))
    assert await titles(space) == []
    assert [order["status"] for order in await space.orders(task)] == ["failed"]


async def test_the_same_key_makes_one_task(shared_api: Api):
    space = await make_space(shared_api)
    key = unique("key")
    made = await asyncio.gather(*(space.task(key=key, title="once") for _ in range(5)))
    assert len({task["id"] for task in made}) == 1
    assert made[0] == made[-1]
    assert await titles(space) == ["once"]
    body = {"title": "another", "repository_id": space.repository_id, "start": False}
    problem = await space.owner.refused(
        "POST", "/tasks", 409, json=body, headers={"Idempotency-Key": key}
    )
    assert problem["code"] == "idempotency_key_reused"
    other = await make_space(shared_api)
    assert (await other.task(key=key, title="once"))["id"] != made[0]["id"]
