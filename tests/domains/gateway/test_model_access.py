"""From the route that gives a run its key to a provider's answer, through the whole application."""

import json
import uuid
from typing import Any

import pytest

from agentvine.domains.tasks.models import Task
from agentvine.protocol.enums import UserRole
from tests.support.api import Api, Caller
from tests.support.builders.identity import unique
from tests.support.builders.projects import make_project, make_repository
from tests.support.builders.tasks import make_task
from tests.support.space import claim_of, make_space
from tests.support.upstream import Reply, running_upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASKED = {"model": "fast", "max_tokens": 500, "messages": [{"role": "user", "content": "x"}]}
WHOLE = json.dumps({"usage": {"input_tokens": 7, "output_tokens": 3}}).encode()


async def claim(api: Api, owner: Caller) -> tuple[Caller, dict[str, Any], str]:
    """A worker with an order of a new project of the owner's."""
    queue = unique("queue")
    async with api.database.transaction(owner.actor) as tx:
        project = await make_project(tx, owner.actor)
        repository = await make_repository(tx, owner.actor, project)
        await make_task(tx, owner.actor, repository, run={"command": "true", "queue_name": queue})
    worker = await api.worker(unique("token"))
    session = {"session_id": "00000000-0000-4000-8000-000000000001"}
    registered = await worker.post(
        "/workers/register",
        session | {"name": unique("w"), "queues": [queue], "runtimes": ["command"]},
    )
    claimed = await worker.post(
        "/queue/claim",
        session | {"worker_id": registered["worker_id"], "claim_token": unique("t" * 16)},
    )
    return worker, claimed["orders"][0], str(project.id)


async def test_a_run_gets_a_key_for_its_models_and_its_calls_are_counted(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    worker, order, project_id = await claim(shared_api, owner)
    where = {"order_id": order["order_id"], "fence": order["fence"]}
    path = f"/executions/{order['execution_id']}/model-access"
    nobody = await worker.post(path, where)
    async with running_upstream(lambda _: Reply([WHOLE])) as upstream:
        await admin.post(
            "/model-providers",
            {
                "name": unique("claude"),
                "kind": "anthropic",
                "key": "sk-canary-0123456789",
                "base_url": upstream.url,
                "models": ["claude-haiku-4-5"],
                "project_id": project_id,
            },
        )
        rules = {"aliases": {"fast": "claude-haiku-4-5"}, "project_id": project_id}
        await owner.call("PUT", "/model-rules", json=rules)
        access = await worker.post(path, where)
        run = await shared_api.with_token(access["key"])
        answer = await run.http.post("http://test/gateway/anthropic/v1/messages", json=ASKED)
        listed = await run.http.get("http://test/gateway/anthropic/v1/models")
        elsewhere = await run.refused("GET", "/tasks", 403)

    tokens = await admin.get("/tokens", params={"limit": 200})
    calls = await owner.get("/usage/calls", params={"execution_id": order["execution_id"]})

    assert (nobody["is_available"], nobody["key"]) == (False, "")
    assert "agentvine provider add" in nobody["problem"]
    assert access["is_available"] is True
    assert access["key"].startswith("av_llm_")
    assert (access["path"], access["url"], access["problem"]) == ("/gateway", None, None)
    assert {"fast", "claude-haiku-4-5"} <= set(access["models"])
    assert answer.content == WHOLE
    assert upstream.heard[0].json["model"] == "claude-haiku-4-5"
    assert upstream.heard[0].headers["x-api-key"] == "sk-canary-0123456789"
    assert {each["id"] for each in listed.json()["data"]} == {"fast", "claude-haiku-4-5"}
    assert elsewhere["code"] == "key_misplaced"
    assert "gateway" not in {each["kind"] for each in tokens["items"]}
    assert [call["tokens_out"] for call in calls["items"]] == [3]


async def test_only_who_holds_the_claim_gets_its_key(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    worker, order, _ = await claim(shared_api, owner)
    other, _, _ = await claim(shared_api, owner)
    where = {"order_id": order["order_id"], "fence": order["fence"]}
    path = f"/executions/{order['execution_id']}/model-access"

    refused = [
        await other.refused("POST", path, 409, json=where),
        await worker.refused("POST", path, 409, json=where | {"fence": order["fence"] + 1}),
    ]
    person = await owner.refused("POST", path, 403, json=where)

    assert {each["code"] for each in refused} == {"lease_lost"}
    assert person["code"] == "scope_missing"


async def test_a_call_of_a_run_is_booked_with_every_link_and_on_every_budget(shared_api: Api):
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    space = await make_space(shared_api)
    of = {"project_id": space.project_id}
    agent = await space.owner.post("/agents", {"name": unique("coder"), "type": "tester", **of})
    task = await space.task(agent_id=agent["id"])
    worker = await space.worker()
    order = await worker.claim_one()
    attempt, claimed = f"/executions/{order['execution_id']}", claim_of(order)
    # What it asks is said in its task's conversation.
    await worker.caller.post(f"{attempt}/questions", claimed | {"key": "1", "text": "Which?"})
    scopes = [
        {"scope": "project", **of},
        {"scope": "agent", "agent_id": agent["id"]},
        {"scope": "agent_type", "agent_type": "tester"},
    ]
    amount = {"amount_usd": "5", "period": "daily", "action": "block"}
    budgets = [
        await admin.post("/budgets", {"name": unique("budget"), **amount, **scope})
        for scope in scopes
    ]
    async with running_upstream(lambda _: Reply([WHOLE])) as upstream:
        provider = {"name": unique("p"), "kind": "anthropic", "key": "sk-1", **of}
        await admin.post("/model-providers", {**provider, "base_url": upstream.url})
        access = await worker.caller.post(f"{attempt}/model-access", claimed)
        run = await shared_api.with_token(access["key"])
        asked = ASKED | {"model": "claude-haiku-4-5"}
        answer = await run.http.post("http://test/gateway/anthropic/v1/messages", json=asked)
    assert answer.content == WHOLE
    [call] = (await space.owner.get("/usage/calls", params=of))["items"]
    async with shared_api.database.read() as read:
        row = await read.get_one(Task, uuid.UUID(task["id"]))
        conversation = str(row.conversation_id)

    assert {name: call[name] for name in call if name.endswith("_id") or name == "agent_type"} == {
        "request_id": call["request_id"],
        "user_id": str(space.owner.actor.user_id),
        "agent_id": agent["id"],
        "agent_type": "tester",
        "project_id": space.project_id,
        "task_id": task["id"],
        "execution_id": order["execution_id"],
        "conversation_id": conversation,
        "message_id": None,
    }
    for budget in budgets:
        told = await admin.get(f"/budgets/{budget['id']}")
        assert told["spent_usd"] == call["cost_usd"], told
    now = await space.get(task)
    assert (now["total_tokens_used"], now["total_cost_usd"]) == (10, call["cost_usd"])
