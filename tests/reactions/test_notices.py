"""Who is told what, when something happens that concerns them: through the API and the protocol."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from agentvine.domains.conversations.events import QuestionAsked
from agentvine.domains.conversations.models import ChatMessage
from agentvine.domains.notifications.models import Notification
from agentvine.domains.tasks.events import TaskFinished
from agentvine.domains.tasks.models import Task
from agentvine.protocol.enums import UserRole
from agentvine.reactions import notices
from tests.support.api import Api, Caller
from tests.support.builders.identity import unique
from tests.support.changes import make_workshop
from tests.support.space import Json, Space, WireWorker, claim_of, make_space

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

CHANGE = {"src/app.py": "x = 1\ny = 2\nz = 4\n"}


async def told(caller: Caller) -> list[Json]:
    """What somebody was told, oldest first."""
    return (await caller.get("/notifications"))["items"][::-1]


async def titles(caller: Caller) -> list[str]:
    return [each["title"] for each in await told(caller)]


async def join(space: Space, caller: Caller, role: str = "developer") -> Caller:
    """Make somebody a member."""
    body = {"username": caller.actor.username, "role": role}
    answer = await space.owner.call("PUT", f"/projects/{space.project_id}/members", json=body)
    assert answer.is_success, answer.text
    return caller


async def start(space: Space, task: Json) -> tuple[WireWorker, Json]:
    """A worker that has just claimed a task's order."""
    worker = await space.worker()
    order = await worker.claim_one()
    assert order["payload"]["task_id"] == task["id"]
    return worker, order


async def ask(worker: WireWorker, order: Json, question: str, **more: Any) -> Json:
    body = claim_of(order) | {"key": unique("key"), "text": question, **more}
    return await worker.caller.post(f"/executions/{order['execution_id']}/questions", body)


async def test_a_task_that_has_failed_is_told_to_its_owner_with_what_tries_it_again(
    shared_api: Api,
):
    space = await make_space(shared_api)
    task = await space.task()
    worker, order = await start(space, task)

    await worker.fail(order, "tests_failed", message="two tests are red, token ghp_" + "a" * 36)

    (note,) = await told(space.owner)
    assert note["title"] == f"{task['ref']} has failed: {task['title']}"
    assert (note["type"], note["severity"]) == ("task_failed", "warning")
    assert "two tests are red" in note["message"]
    assert "a" * 36 not in note["message"]
    assert f"agentvine task retry {task['ref']}" in note["message"]
    assert note["related"] == {"entity_type": "task", "entity_id": task["id"]}
    assert note["project_id"] == space.project_id
    assert not note["is_read"]


async def test_an_attempt_that_is_tried_again_is_no_news_and_each_failure_is(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task()
    worker, order = await start(space, task)
    outcome = await worker.fail(order, "worker_error")
    assert outcome["will_retry"]
    assert await told(space.owner) == []

    await space.act(task, "cancel")
    await space.act(task, "retry")
    for _ in range(2):
        worker, order = await start(space, task)
        assert not (await worker.fail(order, "tests_failed"))["will_retry"]
        await space.act(task, "retry")

    assert len(await told(space.owner)) == 2


async def test_a_finished_task_is_no_news(shared_api: Api):
    space = await make_space(shared_api)
    await space.finish(await space.task())

    assert await told(space.owner) == []


async def test_who_made_the_task_and_the_owner_are_told_and_nobody_else(shared_api: Api):
    space = await make_space(shared_api)
    creator = await join(space, await shared_api.person(unique("creator")))
    fellow = await join(space, await shared_api.person(unique("fellow")))
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    body = {"title": "t", "repository_id": space.repository_id}
    body |= {"run": {"command": "true", "queue_name": space.queue}}
    worker, order = await start(space, await creator.post("/tasks", body))

    await worker.fail(order, "tests_failed")

    for receiver in (space.owner, creator):
        assert len(await told(receiver)) == 1
    for other in (fellow, admin):
        assert await told(other) == []


async def test_who_may_not_see_the_project_any_more_is_not_told(shared_api: Api):
    space = await make_space(shared_api)
    gone = await join(space, await shared_api.person(unique("gone")))
    asleep = await join(space, await shared_api.person(unique("asleep")))
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    makers = [gone, asleep, admin]
    body = {"title": "t", "repository_id": space.repository_id}
    body |= {"run": {"command": "true", "queue_name": space.queue}}
    for maker in makers:
        await maker.post("/tasks", body)
    path = f"/projects/{space.project_id}/members/{gone.actor.username}"
    assert (await space.owner.call("DELETE", path)).is_success
    path = f"/users/{asleep.actor.user_id}"
    assert (await admin.call("PATCH", path, json={"is_active": False})).is_success

    worker = await space.worker()
    for order in await worker.claim(slots=3):
        await worker.fail(order, "tests_failed")

    assert len(await told(space.owner)) == 3
    assert len(await told(admin)) == 1
    assert await told(gone) == []
    async with shared_api.database.read() as read:
        of_asleep = select(Notification).where(Notification.user_id == asleep.actor.user_id)
        assert (await read.scalars(of_asleep)).all() == []


async def test_a_question_is_told_once_with_what_answers_it(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task()
    worker, order = await start(space, task)

    question = await ask(worker, order, "Tabs or blanks?\nThey differ.", key="1")
    await ask(worker, order, "Tabs or blanks?\nThey differ.", key="1")

    (note,) = await told(space.owner)
    assert note["title"] == f"{task['ref']} asks: Tabs or blanks? They differ."
    assert (note["type"], note["severity"]) == ("question_asked", "warning")
    assert note["related"] == {"entity_type": "question", "entity_id": question["id"]}
    assert f"agentvine answer {question['id'][-8:]} TEXT" in note["message"]


async def test_what_a_rule_answers_is_no_news_and_what_it_leaves_to_people_is(shared_api: Api):
    space = await make_space(shared_api)
    body = {"effect": "allow", "tool": "Bash", "pattern": "git status"}
    await space.owner.post(f"/projects/{space.project_id}/answer-rules", body)
    task = await space.task()
    worker, order = await start(space, task)
    push = {"kind": "permission", "tool_name": "Bash"}

    await ask(worker, order, "May I look?", tool_input={"command": "git status"}, **push)
    await ask(worker, order, "May I push?", tool_input={"command": "git push"}, **push)

    assert await titles(space.owner) == [f"{task['ref']} asks for permission: May I push?"]


async def test_a_question_that_no_model_answers_is_told_when_it_is_left_to_people(
    shared_api: Api,
):
    space = await make_space(shared_api)
    rules = f"/projects/{space.project_id}/answer-rules"
    await space.owner.post(rules, {"effect": "model", "tool": "Bash"})
    task = await space.task()
    worker, order = await start(space, task)
    push = {"kind": "permission", "tool_name": "Bash", "tool_input": {"command": "git push"}}

    await ask(worker, order, "May I push?", **push)

    async with asyncio.timeout(60):
        # The server's own chore finds that there is no model to ask.
        while not (found := await titles(space.owner)):  # noqa: ASYNC110 - only asking again tells
            await asyncio.sleep(0.05)
    assert found == [f"{task['ref']} asks for permission: May I push?"]


async def test_a_change_for_review_is_told_and_one_that_applies_itself_is_not(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path)
    task = await shop.space.task()
    order = await shop.worker.claim_one()
    await shop.worker.complete(order, change=await shop.send(order, CHANGE))

    (note,) = await told(shop.space.owner)
    ref = task["ref"]
    assert note["title"] == f"{ref} has a change for you to approve: {task['title']}"
    assert (note["type"], note["severity"]) == ("change_to_review", "info")
    assert f"agentvine approve {ref}" in note["message"]
    assert note["next_attempt_at"] is None, "only what is important is sent, unless one says so"

    alone = await shop.space.task(permission="autonomous")
    order = await shop.worker.claim_one()
    await shop.worker.complete(order, change=await shop.send(order, {"src/two.py": "x = 2\n"}))
    async with asyncio.timeout(60):
        while (await shop.space.get(alone))["status"] != "completed":  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.05)
    assert len(await told(shop.space.owner)) == 1


async def test_who_rejects_a_change_need_not_be_told_that_its_task_has_failed(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path)
    space = shop.space
    creator = await join(space, await shared_api.person(unique("creator")))
    body = {"title": "t", "repository_id": space.repository_id}
    body |= {"run": {"command": "true", "queue_name": space.queue}}
    task = await creator.post("/tasks", body)
    order = await shop.worker.claim_one()
    await shop.worker.complete(order, change=await shop.send(order, CHANGE))
    (change,) = await space.changes(task)

    await shop.decide(change, "reject", {"reason": "no"})

    assert [each["type"] for each in await told(space.owner)] == ["change_to_review"]
    assert [each["type"] for each in await told(creator)] == ["change_to_review", "task_failed"]


async def test_a_budget_tells_once_however_many_tasks_it_stops_and_again_after_a_raise(
    shared_api: Api,
):
    space = await make_space(shared_api)
    name = unique("budget")
    wanted = {"name": name, "scope": "project", "project_id": space.project_id}
    budget = await space.owner.post("/budgets", wanted | {"amount_usd": "1.00"})
    worker = await space.worker()
    stopped = [await space.task() for _ in range(2)]
    for order in await worker.claim(slots=2):
        await worker.fail(order, "budget_exhausted", message="The gateway refused a call.")

    (note,) = await told(space.owner)
    assert f"was stopped by the budget {name}" in note["title"]
    assert (note["type"], note["severity"]) == ("budget_exhausted", "critical")
    assert f"`agentvine budget edit {name}` raises it" in note["message"]

    path = f"/budgets/{budget['id']}"
    assert (await space.owner.call("PATCH", path, json={"amount_usd": "2.00"})).is_success
    await space.act(stopped[0], "start")
    (order,) = await worker.claim()
    await worker.fail(order, "budget_exhausted", message="The gateway refused a call.")
    assert len(await told(space.owner)) == 2


async def test_a_task_that_waits_for_a_person_tells_what_is_wrong(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task()
    worker, order = await start(space, task)

    await worker.fail(order, "auth_failed", message="nobody is signed in")

    assert (await space.get(task))["status"] == "blocked"
    (note,) = await told(space.owner)
    assert "waits until you have put something right: nobody is signed in" in note["title"]
    assert f"agentvine task start {task['ref']}" in note["message"]


async def test_an_event_that_is_handled_twice_is_told_once(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task()
    worker, order = await start(space, task)
    question = await ask(worker, order, "Tabs or blanks?")
    await worker.fail(order, "tests_failed")
    before = [each["id"] for each in await told(space.owner)]
    assert len(before) == 2

    async with shared_api.database.transaction() as tx:
        failed = await tx.get_one(Task, uuid.UUID(task["id"]))
        asked = await tx.get_one(ChatMessage, uuid.UUID(question["id"]))
        await notices.on_task_finished(tx, TaskFinished(failed))
        await notices.on_question_asked(tx, QuestionAsked(asked, failed.project_id))

    assert [each["id"] for each in await told(space.owner)] == before


async def test_a_report_is_taken_though_nobody_can_be_told(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task()
    worker, order = await start(space, task)
    async with shared_api.database.transaction() as tx:
        await tx.execute(text("ALTER TABLE notifications RENAME TO notifications_away"))
    try:
        await worker.fail(order, "tests_failed")
        assert (await space.get(task))["status"] == "failed"
    finally:
        async with shared_api.database.transaction() as tx:
            await tx.execute(text("ALTER TABLE notifications_away RENAME TO notifications"))
