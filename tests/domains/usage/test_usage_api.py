"""Budgets and usage over HTTP: what is told, to whom, and what is refused."""

from typing import Any

import pytest

from agentvine.protocol.enums import UserRole
from agentvine.protocol.usage import UsageBy
from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.scene import People, Scene, make_people, make_scene

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def stage(api: Api) -> tuple[People, Scene]:
    people = await make_people(api)
    return people, await make_scene(api, people, {"execution_id"})


def budget_of(scene: Scene, **fields: Any) -> dict[str, Any]:
    return {
        "name": unique("budget"),
        "scope": "project",
        "project_id": scene.names["project_id"],
        "amount_usd": "5.00",
        **fields,
    }


async def test_a_budget_shows_how_its_period_stands(shared_api: Api):
    people, scene = await stage(shared_api)

    made = await people.owner.post("/budgets", budget_of(scene, period="daily"))
    seen = await people.viewer.get(f"/budgets/{made['id']}")

    # The scene's one call: 1000 tokens in for 1.25 USD a million, 100 out for 10.
    assert made["spent_usd"] == seen["spent_usd"] == "0.002250"
    assert seen["remaining_usd"] == "4.997750"
    assert (seen["reserved_usd"], seen["action"]) == ("0.000000", "block")
    assert seen["period_start"] < seen["period_end"]


async def test_usage_is_summed_up_by_each_of_its_links(shared_api: Api):
    people, scene = await stage(shared_api)
    of = {"project_id": scene.names["project_id"]}

    by_task = await people.owner.get("/usage", params={"by": "task", **of})
    by_user = await people.owner.get("/usage", params={"by": "user", **of})
    by_model = await people.owner.get("/usage", params={"by": "model", **of})
    by_day = await people.owner.get("/usage", params={"by": "day", **of})
    by_role = await people.owner.get("/usage", params={"by": "agent_type", **of})

    [row] = by_task["rows"]
    assert row["key"] == scene.names["task_id"]
    assert row["label"].startswith("T-")
    assert (row["calls"], row["tokens_in"], row["tokens_out"]) == (1, 1000, 100)
    assert row["cost_usd"] == by_task["total"]["cost_usd"] == "0.002250"
    assert [one["label"] for one in by_user["rows"]] == [people.owner.actor.username]
    assert [one["key"] for one in by_model["rows"]] == ["gpt-5"]
    assert len(by_day["rows"]) == 1
    assert [one["key"] for one in by_role["rows"]] == [None]
    for by in UsageBy:
        told = await people.owner.get("/usage", params={"by": by.value, **of})
        assert [(one["calls"], one["cost_usd"]) for one in told["rows"]] == [(1, "0.002250")]
    by_project = await people.owner.get("/usage", params={"by": "project", **of})
    by_attempt = await people.owner.get("/usage", params={"by": "execution", **of})
    assert [one["key"] for one in by_project["rows"]] == [scene.names["project_id"]]
    assert [one["key"] for one in by_attempt["rows"]] == [scene.names["execution_id"]]
    task = await people.owner.get(f"/tasks/{scene.names['task_id']}")
    assert (task["total_tokens_used"], task["total_cost_usd"]) == (1100, "0.002250")


async def test_who_is_no_member_sees_no_usage_and_days_outside_are_left_out(shared_api: Api):
    people, scene = await stage(shared_api)
    of = {"project_id": scene.names["project_id"]}
    [call] = (await people.reader.get("/usage/calls", params=of))["items"]

    hidden = await people.outsider.get("/usage", params={"by": "task", **of})
    before = await people.owner.get("/usage", params={"until": call["usage_date"], **of})
    on_it = await people.owner.get("/usage", params={"since": call["usage_date"], **of})

    assert (hidden["rows"], hidden["total"]["calls"]) == ([], 0)
    assert before["total"]["calls"] == 0
    assert on_it["total"]["calls"] == 1
    assert call["request_id"].startswith(scene.names["execution_id"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount_usd": "-1"},
        {"amount_usd": "1.001"},
        {"amount_usd": "100000000.00"},
        {"agent_type": "coder"},
        {"scope": "global"},
        {"project_id": None},
        {"alert_threshold": "0"},
        {"period": "yearly"},
        {"name": ""},
    ],
    ids=str,
)
async def test_a_budget_that_makes_no_sense_is_refused(shared_api: Api, wrong: dict[str, Any]):
    people, scene = await stage(shared_api)
    await people.owner.refused("POST", "/budgets", 422, json=budget_of(scene, **wrong))


async def test_two_budgets_of_one_name_and_scope_are_one_too_many(shared_api: Api):
    people, scene = await stage(shared_api)
    body = budget_of(scene)
    await people.owner.post("/budgets", body)
    problem = await people.owner.refused("POST", "/budgets", 409, json=body)
    assert problem["code"] == "budget_exists"


async def test_budgets_of_two_roles_may_have_one_name(shared_api: Api):
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    body = {"name": unique("role"), "scope": "agent_type", "amount_usd": "5", "action": "warn"}

    made = [
        await admin.post("/budgets", {**body, "agent_type": role}) for role in ("coder", "tester")
    ]
    await admin.refused("POST", "/budgets", 409, json={**body, "agent_type": "coder"})

    assert [budget["agent_type"] for budget in made] == ["coder", "tester"]


async def test_only_an_admin_limits_everything(shared_api: Api):
    people, _ = await stage(shared_api)
    body = {"name": unique("all"), "amount_usd": "100000.00", "action": "warn"}

    problem = await people.owner.refused("POST", "/budgets", 403, json=body)
    made = await people.admin.post("/budgets", body)
    await people.owner.refused("GET", f"/budgets/{made['id']}", 404)
    answer = await people.admin.call("DELETE", f"/budgets/{made['id']}")

    assert problem["code"] == "budget_forbidden"
    assert answer.status_code == 204
    await people.admin.refused("GET", f"/budgets/{made['id']}", 404)


async def test_another_workers_attempt_is_nobody_elses_to_report_for(shared_api: Api):
    people, scene = await stage(shared_api)
    other = await shared_api.worker(unique("token"))
    body = {
        "order_id": scene.names["order_id"],
        "fence": 1,
        "calls": [{"request_id": "2", "model": "gpt-5", "tokens_in": 1, "tokens_out": 1}],
    }
    path = f"/executions/{scene.names['execution_id']}/usage"

    await other.refused("POST", path, 409, json=body)
    # The order has ended; what was used is counted all the same, and once.
    first = await people.worker.post(path, body)
    second = await people.worker.post(path, body)

    assert (first["counted"], second["counted"]) == (1, 0)


async def test_a_report_says_which_budgets_are_used_up_and_what_has_no_price(shared_api: Api):
    people, scene = await stage(shared_api)
    small = await people.owner.post("/budgets", budget_of(scene, amount_usd="0.01"))
    body = {
        "order_id": scene.names["order_id"],
        "fence": 1,
        "calls": [
            {"request_id": "3", "model": "nobody-knows", "tokens_in": 5, "tokens_out": 5},
            {
                "request_id": "4",
                "model": "nobody-knows",
                "tokens_in": 5,
                "tokens_out": 5,
                "cost_usd": "0.05",
            },
        ],
    }
    path = f"/executions/{scene.names['execution_id']}/usage"

    told = await people.worker.post(path, body)

    assert told == {"counted": 2, "exceeded": [small["name"]]}
    of = {"model": "nobody-knows", "project_id": scene.names["project_id"]}
    calls = (await people.owner.get("/usage/calls", params=of))["items"]
    assert sorted(call["cost_usd"] for call in calls) == ["0.000000", "0.050000"]
