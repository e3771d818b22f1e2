"""A budget that blocks holds at the gateway: calls are refused, or answers limited, before."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

from agentvine.db.session import Database
from tests.domains.gateway.recordings import RECORDINGS, Recording
from tests.support.gateway import make_run, running_gateway, until
from tests.support.upstream import Heard, Reply, running_upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASKED = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 100_000,
    "messages": [{"role": "user", "content": "hallo"}],
}


def answer_of(heard: Heard) -> Reply:
    """An answer as long as it may be; to questions how long the input is, none."""
    if heard.path != "/v1/messages":
        return Reply(status=404)
    usage = {"input_tokens": 100, "output_tokens": heard.json["max_tokens"]}
    return Reply([json.dumps({"usage": usage}).encode()])


@pytest.mark.parametrize("recording", RECORDINGS, ids=str)
async def test_a_call_that_does_not_fit_is_refused_in_its_own_language(
    shared_database: Database, recording: Recording
):
    run = await make_run(shared_database)
    budget = await run.budget("0.00")
    async with (
        running_upstream(answer_of) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        response = await client.post(recording.path, json=recording.request)
    told = response.json()
    error = told["error"]

    assert response.status_code == 402
    assert response.headers["x-should-retry"] == "false"
    assert upstream.heard == []
    assert "budget" in error["message"]
    if recording.name == "gemini":
        [reason] = error["details"]
        assert (error["code"], reason["reason"]) == (402, "BUDGET_EXCEEDED")
        facts = json.loads(reason["metadata"]["facts"])
    else:
        assert (error["type"], error["code"]) == ("billing_error", "budget_exceeded")
        facts = error["facts"]
    assert facts["budget_id"] == str(budget)
    assert (recording.name == "anthropic") is (told.get("type") == "error")


async def test_an_answer_is_limited_to_what_is_left_and_never_passes_it(
    shared_database: Database,
):
    run = await make_run(shared_database)
    budget = await run.budget("0.50")
    async with (
        running_upstream(answer_of) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        limited = await client.post("/anthropic/v1/messages", json=ASKED)
        again = [await client.post("/anthropic/v1/messages", json=ASKED) for _ in range(3)]
    counter = await run.counter(budget)

    limit = upstream.heard[0].json["max_tokens"]
    assert 256 <= limit < 100_000
    assert limited.headers["x-agentvine-limited-to"] == str(limit)
    assert again[-1].status_code == 402
    assert Decimal("0.40") < counter.spent_usd <= Decimal("0.50")
    assert counter.reserved_usd == 0


async def test_a_raised_budget_lets_calls_through_at_once(shared_database: Database):
    run = await make_run(shared_database, budget_usd="0.00")
    async with (
        running_upstream(answer_of) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        before = await client.post("/anthropic/v1/messages", json=ASKED)
        await run.crew.change_task(run.order.order_id, budget_usd=Decimal(10))
        after = await client.post("/anthropic/v1/messages", json=ASKED)

    assert (before.status_code, after.status_code) == (402, 200)


@pytest.mark.promise("P14", "P15")
async def test_many_callers_at_once_never_pass_a_budget_together(shared_database: Database):
    """What was let through fits, and nothing stays reserved."""
    run = await make_run(shared_database)
    budget = await run.budget("1.00")
    asked = ASKED | {"max_tokens": 4000}
    async with (
        running_upstream(answer_of) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        answers = await asyncio.gather(
            *(client.post("/anthropic/v1/messages", json=asked) for _ in range(40))
        )
        await until(run.nothing_is_reserved)
    counter, rows = await run.counter(budget), await run.rows()

    assert {answer.status_code for answer in answers} == {200, 402}
    assert counter.spent_usd == sum(row.cost_usd for row in rows) <= Decimal(1)
    assert counter.spent_usd > Decimal("0.80")
    assert len(rows) == sum(heard.path == "/v1/messages" for heard in upstream.heard)
    assert counter.spent_runs == 1
    assert counter.spent_tokens == sum(row.tokens_in + row.tokens_out for row in rows)


@pytest.mark.promise("P18")
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model": "nobody-knows-this"}, "price_unknown"),
        ({"mcp_servers": [{"type": "url"}]}, "feature_unpriced"),
        ({"speed": "fast"}, "feature_unpriced"),
        ({"max_tokens": 0}, "model_request_invalid"),
        ({"max_tokens": -5}, "model_request_invalid"),
        ({"max_tokens": "many"}, "model_request_invalid"),
        ({"max_tokens": 1e9}, "model_request_invalid"),
        ({"model": ["a"]}, "model_request_invalid"),
    ],
)
async def test_what_has_no_price_is_refused_and_never_free(
    shared_database: Database, change: dict[str, Any], code: str
):
    run = await make_run(shared_database)
    async with (
        running_upstream(answer_of) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        response = await client.post("/anthropic/v1/messages", json=ASKED | change)

    assert response.json()["error"]["code"] == code
    assert response.headers["x-should-retry"] == "false"
    assert upstream.heard == []


async def test_the_providers_own_tools_are_taken_out_and_named(shared_database: Database):
    run = await make_run(shared_database)
    tools = [
        {"name": "mine", "input_schema": {"type": "object"}},
        {"type": "web_search_20250305", "name": "web_search"},
        {"type": "bash_20250124", "name": "bash"},
    ]
    async with (
        running_upstream(answer_of) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        response = await client.post(
            "/anthropic/v1/messages", json=ASKED | {"tools": tools, "max_tokens": 300}
        )

    assert upstream.heard[0].json["tools"] == [tools[0], tools[2]]
    assert response.headers["x-agentvine-removed-tools"] == "web_search_20250305"
