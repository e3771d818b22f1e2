"""What an agent is told before it begins, and the session that the next attempt goes on with."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.changes import make_workshop
from tests.support.space import Json, Space, WireWorker, claim_of, make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")

BUNDLE = b"# v2 git bundle\n" + b"2" * 40 + b" refs/heads/agentvine/t-1\n\nPACK"
"""Its header is whole; nobody unpacks it."""
AGENT = {"run_runtime": "claude-code", "run_command": None}


async def begun(api: Api, **fields: Any) -> tuple[Space, WireWorker, Json, Json]:
    space = await make_space(api)
    task = await space.task(**{**AGENT, **fields})
    worker = await space.worker(runtimes=["claude-code"], controls={"steers": ["claude-code"]})
    return space, worker, task, await worker.claim_one()


async def brief(worker: WireWorker, order: Json) -> Json:
    return await worker.caller.post(f"/executions/{order['execution_id']}/brief", claim_of(order))


async def tell(worker: WireWorker, order: Json, session: str, **more: object) -> int:
    body = claim_of(order) | {"session_id": session, **more}
    path = f"/executions/{order['execution_id']}/session"
    return (await worker.caller.call("PUT", path, json=body)).status_code


async def again(worker: WireWorker, order: Json, failure_class: str) -> Json:
    """The next attempt, after one that failed."""
    await worker.fail(order, failure_class, retry_after_seconds=0)
    for _ in range(600):
        if found := await worker.claim(wait_seconds=1):
            return found[0]
    raise AssertionError("it did not come again")


async def test_a_brief_tells_what_is_to_be_done_and_how(shared_api: Api):
    _, worker, task, order = await begun(
        shared_api,
        title="Sort the imports",
        description="In all files.",
        definition_of_done="No linter complains.",
        run_test_command="pytest -q",
        run_model="some-model",
        permission="autonomous",
    )
    told = await brief(worker, order)
    for part in (task["ref"], "Sort the imports", "In all files.", "No linter", "pytest -q"):
        assert part in told["instruction"]
    assert (told["model"], told["permission_level"]) == ("some-model", "autonomous")
    assert (told["session"], told["summary"], told["messages"]) == (None, None, [])


async def test_the_next_attempt_is_given_session_summary_and_missed_words(shared_api: Api):
    space, worker, _, order = await begun(shared_api)
    assert await tell(worker, order, "first") == 204
    assert await tell(worker, order, "second", model="m-1") == 204
    await space.owner.post(f"/queue/orders/{order['order_id']}/messages", {"text": "Use tabs."})
    following = await again(worker, order, "rate_limited")

    told = await brief(worker, following)
    assert told["session"] == {
        "session_id": "second",
        "runtime": "claude-code",
        "worker_id": worker.worker_id,
        "execution_id": order["execution_id"],
        "model": "m-1",
    }
    assert "rate_limited: it went wrong" in told["summary"]
    assert told["last_failure"] == "rate_limited"
    assert [each["text"] for each in told["messages"]] == ["Use tabs."]
    stored = await space.owner.get(f"/executions/{order['execution_id']}")
    assert (stored["session_id"], stored["model"]) == ("second", "m-1")


@pytest.mark.parametrize(
    ("failure_class", "is_offered"), [("context_overflow", False), ("command_failed", True)]
)
async def test_a_session_that_would_only_lead_there_again_is_not_offered(
    shared_api: Api, failure_class: str, is_offered: bool
):
    space, worker, task, order = await begun(shared_api)
    await tell(worker, order, "s-1")
    await worker.fail(order, failure_class)
    await space.act(task, "retry")
    told = await brief(worker, await worker.claim_one())
    assert (told["session"] is not None) is is_offered
    assert failure_class in told["summary"]


async def test_why_its_change_was_rejected_is_told_to_the_next_attempt(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path)
    task, first = await shop.run({"a.py": "x = 1\n"})
    [change] = await shop.space.changes(task)
    await shop.decide(change, "reject", {"reason": "Call it y."})
    await shop.space.act(task, "retry")
    second = await shop.worker.claim_one()

    told = await brief(shop.worker, second)

    assert second["payload"]["task_id"] == first["payload"]["task_id"] == task["id"]
    assert told["session"] is None
    assert told["summary"] == "A change of this task was rejected: Call it y."


async def test_work_that_was_left_unfinished_is_given_to_whoever_goes_on(shared_api: Api):
    space, worker, task, order = await begun(shared_api)
    await tell(worker, order, "s-1")
    assert (await worker.put_bundle(order, BUNDLE)).is_success
    await worker.fail(order, "command_failed")
    await space.act(task, "retry")
    other = await space.worker(runtimes=["claude-code"])
    following = await other.claim_one()
    path = f"/executions/{following['execution_id']}/earlier-work"

    told = await brief(other, following)
    given = await other.caller.call("POST", path, json=claim_of(following))
    stale = claim_of(following) | {"fence": following["fence"] + 1}
    refused = await other.caller.call("POST", path, json=stale)

    assert told["earlier_work"] == order["execution_id"]
    assert given.content == BUNDLE
    assert refused.json()["code"] == "lease_lost"


@pytest.mark.parametrize("left", ["no bundle", "no session", "a session of no use"])
async def test_where_nothing_is_gone_on_with_no_work_is_given(shared_api: Api, left: str):
    space, worker, task, order = await begun(shared_api)
    if left != "no session":
        await tell(worker, order, "s-1")
    if left != "no bundle":
        await worker.put_bundle(order, BUNDLE)
    await worker.fail(order, "context_overflow" if "no use" in left else "command_failed")
    await space.act(task, "retry")
    following = await worker.claim_one()

    assert (await brief(worker, following))["earlier_work"] is None
    path = f"/executions/{following['execution_id']}/earlier-work"
    given = await worker.caller.call("POST", path, json=claim_of(following))
    assert (given.status_code, given.json()["code"]) == (404, "bundle_not_found")


async def test_only_who_holds_the_claim_is_briefed_and_heard(shared_api: Api):
    space, worker, _, order = await begun(shared_api)
    other = await space.worker()
    path = f"/executions/{order['execution_id']}"
    for who, claim in (
        (other, claim_of(order)),
        (worker, claim_of(order) | {"fence": order["fence"] + 1}),
    ):
        answer = await who.caller.call("POST", f"{path}/brief", json=claim)
        assert (answer.status_code, answer.json()["code"]) == (409, "lease_lost")
        body = claim | {"session_id": unique("s")}
        answer = await who.caller.call("PUT", f"{path}/session", json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, "lease_lost")
    await worker.complete(order)
    answer = await worker.caller.call("POST", f"{path}/brief", json=claim_of(order))
    assert answer.status_code == 409


async def test_an_attempt_names_the_agent_that_its_task_had_when_it_began(shared_api: Api):
    space = await make_space(shared_api)
    body = {"name": unique("coder"), "type": "coder", "project_id": space.project_id}
    agent = await space.owner.post("/agents", body)
    task = await space.task(agent_id=agent["id"], run_runtime="command")
    worker = await space.worker()
    order = await worker.claim_one()
    assert order["payload"]["task_id"] == task["id"]
    attempt = await space.owner.get(f"/executions/{order['execution_id']}")
    assert attempt["agent_id"] == agent["id"]

    other = await space.task()
    order = await worker.claim_one()
    assert order["payload"]["task_id"] == other["id"]
    attempt = await space.owner.get(f"/executions/{order['execution_id']}")
    assert attempt["agent_id"] is None
