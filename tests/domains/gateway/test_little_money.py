"""Where a budget is nearly used up: exact counts, and patience with calls that are under way."""

import asyncio
import json

import pytest

from agentvine.db.session import Database
from tests.support.gateway import make_run, running_gateway, until, until_so
from tests.support.upstream import Heard, Reply, Script, running_upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODEL = "claude-sonnet-4-5"
PATH = "/anthropic/v1/messages"
SMALL = {"model": MODEL, "max_tokens": 10_000, "messages": [{"role": "user", "content": "hallo"}]}
LARGE = SMALL | {"messages": [{"role": "user", "content": "word " * 40_000}]}
"""200,000 bytes of input, which are a fourth as many tokens: 0.60 USD at most, 0.15 in fact."""


def answering(count: int | None, gate: int | None = None) -> Script:
    """A provider that counts so, or cannot; its first answer may wait for ``go_on``."""
    answered: list[Heard] = []

    def answer(heard: Heard) -> Reply:
        if heard.path.endswith(("count_tokens", ":countTokens")):
            told = {"input_tokens": count, "totalTokens": count}
            return Reply([json.dumps(told).encode()], status=200 if count else 404)
        answered.append(heard)
        usage = {"input_tokens": 100, "output_tokens": 10}
        pause = gate if len(answered) == 1 else None
        return Reply([json.dumps({"usage": usage}).encode()], pause_after=pause)

    return answer


async def test_a_call_that_its_bytes_would_refuse_is_let_through_by_the_provider_s_count(
    shared_database: Database,
):
    run = await make_run(shared_database)
    await run.budget("0.30")
    async with (
        running_upstream(answering(50_000)) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        response = await client.post(PATH, json=LARGE)
    counted, sent = upstream.heard

    assert response.status_code == 200
    assert counted.path == "/v1/messages/count_tokens"
    assert set(counted.json) == {"model", "messages"}, "it takes nothing else"
    limit = int(response.headers["x-agentvine-limited-to"])
    # At 3 and 15 USD a million: what the counted input, and a sixteenth, leaves of the budget.
    assert sent.json["max_tokens"] == limit
    assert 256 <= limit < 10_000
    assert (50_000 * 3 + limit * 15) / 1e6 <= 0.30


@pytest.mark.parametrize("count", [None, 90_000], ids=["cannot count", "counts too much"])
async def test_what_does_not_fit_by_the_provider_s_count_either_is_refused(
    shared_database: Database, count: int | None
):
    run = await make_run(shared_database)
    await run.budget("0.25")
    async with (
        running_upstream(answering(count)) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        response = await client.post(PATH, json=LARGE)

    assert response.status_code == 402
    assert [heard.path for heard in upstream.heard] == ["/v1/messages/count_tokens"]


async def test_a_call_that_fits_is_not_counted(shared_database: Database):
    run = await make_run(shared_database)
    await run.budget("10.00")
    async with (
        running_upstream(answering(50_000)) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        await client.post(PATH, json=LARGE)

    assert [heard.path for heard in upstream.heard] == ["/v1/messages"]


async def test_gemini_is_asked_with_all_that_would_be_sent(shared_database: Database):
    run = await make_run(shared_database)
    await run.budget("0.02")
    asked = {"contents": [{"role": "user", "parts": [{"text": "word " * 40_000}]}]}
    path = "/gemini/v1beta/models/gemini-2.5-flash:generateContent"
    async with (
        running_upstream(answering(40_000)) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        response = await client.post(path, json=asked)

    assert response.status_code == 200
    assert upstream.heard[0].path == "/v1beta/models/gemini-2.5-flash:countTokens"
    whole = upstream.heard[0].json["generateContentRequest"]
    assert whole == {"model": "models/gemini-2.5-flash", **asked}


async def test_a_call_waits_for_what_another_of_its_run_holds_and_does_not_use(
    shared_database: Database,
):
    run = await make_run(shared_database)
    budget = await run.budget("0.10")
    async with (
        running_upstream(answering(None, gate=1)) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        first = asyncio.create_task(client.post(PATH, json=SMALL))
        await upstream.paused.wait()
        held = (await run.counter(budget)).reserved_usd
        second = asyncio.create_task(client.post(PATH, json=SMALL))
        await until_so(lambda: served.gateway.counters["waited"] == 1)
        upstream.go_on.set()
        answers = [await first, await second]
        await until(run.nothing_is_reserved)

    assert str(held) == "0.100000", "the first took all of it"
    assert [answer.status_code for answer in answers] == [200, 200]


async def test_its_patience_ends_and_who_has_left_reserves_nothing(shared_database: Database):
    run = await make_run(shared_database)
    budget = await run.budget("0.10")
    async with (
        running_upstream(answering(None, gate=1)) as upstream,
        running_gateway(shared_database, upstream.url, patience_seconds=1) as served,
        served.client(run.key) as client,
    ):
        first = asyncio.create_task(client.post(PATH, json=SMALL))
        await upstream.paused.wait()
        refused = await client.post(PATH, json=SMALL)
        leaving = asyncio.create_task(client.post(PATH, json=SMALL))
        await until_so(lambda: served.gateway.counters["waited"] == 2)
        leaving.cancel()
        upstream.go_on.set()
        await first
        await until(run.nothing_is_reserved)

    assert refused.status_code == 402
    assert (await run.counter(budget)).reserved_usd == 0
