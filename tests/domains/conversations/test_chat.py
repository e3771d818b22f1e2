"""What is said about a task, by its worker, its agent, people and rules, and who may read it."""

import pytest

from tests.support.api import Api, unknown_id
from tests.support.builders.identity import unique
from tests.support.space import Json, Space, claim_of, make_space
from tests.support.tools import tool_key, using_tools

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def chat_of(space: Space, task: Json, **params: object) -> Json:
    found = await space.get(task)
    return await space.owner.get(f"/conversations/{found['conversation_id']}/chat", params=params)


async def test_all_that_is_said_about_a_task_is_told_in_its_order(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task(run_max_retries=1)
    worker = await space.worker()
    order = await worker.claim_one()
    async with using_tools(shared_api, await tool_key(worker.caller, order)) as tools:
        await tools.use("report_progress", message="I begin.", percent=10)
    asked = claim_of(order) | {"key": "1", "text": "Tabs or blanks?"}
    path = f"/executions/{order['execution_id']}/questions"
    question = await worker.caller.post(path, asked)
    await space.owner.post(f"/questions/{question['id']}/answer", {"text": "Blanks."})
    await worker.fail(order, "command_failed", message="It went wrong.")

    first = await chat_of(space, task, limit=3)
    rest = await chat_of(space, task, cursor=first["next_cursor"])
    [progress, asks, answers, fails] = [*first["items"], *rest["items"]]

    assert (progress["type"], progress["text"]) == ("status", "I begin.")
    assert (progress["is_agent"], progress["details"]["percent"]) == (True, 10)
    assert (asks["type"], asks["sender_type"], asks["is_agent"]) == ("question", "worker", False)
    assert (answers["type"], answers["text"]) == ("response", "Blanks.")
    assert answers["sender_name"] == space.owner.actor.username
    assert answers["parent_id"] == asks["id"]
    assert (fails["type"], fails["text"]) == ("error", "Attempt 1: It went wrong.")
    assert fails["sender_name"] == worker.name
    assert {each["execution_id"] for each in first["items"]} == {order["execution_id"]}


async def test_a_run_that_waits_for_an_answer_has_not_failed(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task()
    worker = await space.worker()
    order = await worker.claim_one()
    await worker.fail(order, "waiting_for_answer", message="Which colour?")

    [told] = (await chat_of(space, task))["items"]

    assert (told["type"], told["text"]) == ("status", "Attempt 1: Which colour?")


async def test_a_conversation_is_its_project_s_members_own(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.get(await space.idle())
    outsider = await shared_api.person(unique("outsider"))
    path = f"/conversations/{task['conversation_id']}"

    shown = await space.owner.get(path)
    hidden = await outsider.refused("GET", f"{path}/chat", 404)
    missing = await space.owner.refused("GET", f"/conversations/{unknown_id()}", 404)

    assert (shown["type"], shown["project_id"]) == ("task", space.project_id)
    assert shown["title"] == task["title"]
    assert hidden["code"] == missing["code"] == "conversation_not_found"
