"""A run's calls are passed on unchanged, and counted, whatever becomes of their answers."""

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select

from agentvine.db.session import Database
from agentvine.domains.gateway.keys import BELIEVED_SECONDS
from agentvine.domains.gateway.relay import MAX_BODY_BYTES
from agentvine.domains.gateway.streaming import Exchange
from agentvine.domains.usage.models import TokenUsage
from agentvine.domains.usage.prices import Rates, Tokens, price_of
from tests.domains.gateway.recordings import RECORDINGS, Recording
from tests.support.gateway import FixedTargets, Run, make_run, running_gateway, until, watching
from tests.support.upstream import Heard, Reply, running_upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANTHROPIC = RECORDINGS[0]
WHOLE = json.dumps(
    {
        "id": "msg_1",
        "content": [{"type": "text", "text": "hallo"}],
        "usage": {"input_tokens": 1111, "output_tokens": 22, "cache_read_input_tokens": 333},
    }
).encode()
ASKED = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 1000,
    "messages": [{"role": "user", "content": "hallo"}],
}


def streamed(recording: Recording, n: int | None = None, **reply: Any) -> Reply:
    return Reply(recording.events[:n], content_type=recording.content_type, **reply)


def whole(_: Heard) -> Reply:
    return Reply([WHOLE])


def price(recording: Recording) -> Decimal:
    providers = {"anthropic": "anthropic", "gemini": "google"}
    model = recording.request.get("model", "gemini-2.5-flash")
    provider = providers.get(recording.name, "openai")
    return price_of(recording.tokens, model=model, provider=provider, at=datetime.now(UTC))


@pytest.mark.parametrize("recording", RECORDINGS, ids=str)
async def test_a_streamed_answer_passes_unchanged_and_is_counted_to_the_token(
    shared_database: Database, recording: Recording
):
    run = await make_run(shared_database)
    budget = await run.budget("5.00")
    async with (
        running_upstream(lambda _: streamed(recording)) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        response = await client.post(recording.path, json=recording.request)
    row, counter = await run.row(), await run.counter(budget)

    assert response.content == recording.whole
    assert upstream.heard[0].json == recording.request
    assert upstream.heard[0].path.endswith(recording.path.partition("/v1")[2])
    told = Tokens(row.tokens_in, row.tokens_out, row.tokens_cache_read, row.tokens_cache_write)
    expected = recording.tokens
    assert told == Tokens(
        expected.input, expected.output, expected.cache_read, expected.cache_write
    )
    assert row.cost_usd == price(recording) == counter.spent_usd
    assert counter.reserved_usd == 0
    assert row.metadata_["is_estimated"] is False
    links = (row.project_id, row.task_id, row.execution_id, row.user_id)
    payer = run.payer
    assert links == (payer.project_id, payer.task_id, payer.execution_id, payer.user_id)


async def test_a_whole_answer_passes_unchanged_and_is_counted(shared_database: Database):
    run = await make_run(shared_database)
    async with (
        running_upstream(whole) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        response = await client.post("/anthropic/v1/messages", json=ASKED)
    row = await run.row()

    assert (response.status_code, response.content) == (200, WHOLE)
    assert (row.tokens_in, row.tokens_out, row.tokens_cache_read) == (1444, 22, 333)
    assert row.was_cached


@pytest.mark.parametrize("recording", RECORDINGS, ids=str)
async def test_an_answer_ends_without_waiting_for_the_books(
    shared_database: Database, recording: Recording
):
    run = await make_run(shared_database)
    async with (
        running_upstream(lambda _: streamed(recording, pause_after=1)) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
        client.stream("POST", recording.path, json=recording.request) as response,
        run.books_held() as tx,
    ):
        upstream.go_on.set()
        answer = await response.aread()
        of_run = TokenUsage.execution_id == run.order.execution_id
        counted = await tx.scalar(select(func.count()).where(of_run))
    row = await run.row()

    assert (answer, counted) == (recording.whole, 0)
    assert row.cost_usd == price(recording)


async def test_the_next_call_may_spend_what_the_last_one_has_not(shared_database: Database):
    """The last one's answer may have ended before it was settled; it is settled first."""
    run = await make_run(shared_database)
    budget = await run.budget("0.04")  # not two calls at once: one may cost 0.0233
    async with (
        running_upstream(whole) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        # A run's first call is counted apart.
        first = await client.post("/anthropic/v1/messages", json=ASKED)
        await run.row()
        rest = [await client.post("/anthropic/v1/messages", json=ASKED) for _ in range(3)]
        waited = served.gateway.counters["waited"]
    counter = await run.counter(budget)

    assert [each.status_code for each in (first, *rest)] == [200] * 4
    calls = [heard.json for heard in upstream.heard if heard.path.endswith("/messages")]
    assert [call["max_tokens"] for call in calls] == [1000] * 4
    assert (waited, counter.reserved_usd) == (0, 0)


async def test_a_price_that_somebody_has_set_is_what_a_call_costs(shared_database: Database):
    run = await make_run(shared_database)
    budget = await run.budget("5.00")
    one = Decimal(1)
    async with (
        running_upstream(whole) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        served.targets.rates = Rates(one, Decimal(10), Decimal(2), one, one, "override 7")
        response = await client.post("/anthropic/v1/messages", json=ASKED | {"model": "home-made"})
    row, counter = await run.row(), await run.counter(budget)

    assert response.status_code == 200
    # 1,111 at 1, 333 from the cache at 2, 22 at 10: dollars a million.
    assert row.cost_usd == counter.spent_usd == Decimal("0.001997")
    assert row.metadata_["prices"] == "override 7"


@pytest.mark.promise("P16")
@pytest.mark.parametrize("recording", RECORDINGS, ids=str)
async def test_whoever_hangs_up_at_any_event_has_the_call_counted_to_its_end(
    shared_database: Database, recording: Recording
):
    """The answer is read on for a while, so that the provider still tells what it counts."""
    run = await make_run(shared_database)
    places = range(1, len(recording.events))
    replies = iter([streamed(recording, pause_after=number) for number in places])
    async with (
        running_upstream(lambda _: next(replies)) as upstream,
        running_gateway(shared_database, upstream.url) as served,
    ):
        for number in places:
            upstream.go_on.clear()
            wanted = len(b"".join(recording.events[:number]))
            async with (
                served.client(run.key) as client,
                client.stream("POST", recording.path, json=recording.request) as response,
            ):
                seen = 0
                async for chunk in response.aiter_bytes():
                    seen += len(chunk)
                    if seen >= wanted:
                        break
            [exchange] = served.gateway.live
            await until(lambda exchange=exchange: is_cut(exchange))
            upstream.go_on.set()
            await until(run.nothing_is_reserved)
    rows = await run.rows()

    assert [row.tokens_out for row in rows] == [recording.tokens.output] * len(places)
    assert not any(row.metadata_["is_estimated"] for row in rows)


@pytest.mark.promise("P16")
@pytest.mark.parametrize("recording", RECORDINGS, ids=str)
async def test_an_answer_that_breaks_off_at_any_event_is_counted_as_an_estimate(
    shared_database: Database, recording: Recording
):
    run = await make_run(shared_database)
    numbers = iter(range(len(recording.events)))
    async with (
        running_upstream(lambda _: streamed(recording, n=next(numbers), is_cut=True)) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        for _ in recording.events:
            with pytest.raises(httpx2.HTTPError):
                await client.post(recording.path, json=recording.request)
        await until(run.nothing_is_reserved)
    rows = await run.rows()

    assert len(rows) == len(recording.events)
    for row in rows:
        is_exact = row.metadata_["is_estimated"] is False
        assert row.cost_usd > 0
        assert row.metadata_["cut_by"] == "provider"
        assert not is_exact or row.tokens_out == recording.tokens.output


async def test_who_hangs_up_on_a_silent_provider_pays_an_estimate(shared_database: Database):
    run = await make_run(shared_database)
    async with (
        running_upstream(lambda _: streamed(ANTHROPIC, pause_after=6)) as upstream,
        running_gateway(shared_database, upstream.url, drain_seconds=0.2) as served,
    ):
        async with (
            served.client(run.key) as client,
            client.stream("POST", ANTHROPIC.path, json=ANTHROPIC.request) as response,
        ):
            seen = b""
            async for chunk in response.aiter_bytes():
                seen += chunk
                if seen == b"".join(ANTHROPIC.events[:6]):
                    break
        row = await run.row()

    assert row.metadata_["is_estimated"] is True
    assert row.metadata_["cut_by"] == "caller"
    assert row.tokens_in == 1111 + 333 + 44
    # What was seen is all that can be said of the answer: no less than its bytes.
    assert row.tokens_out == len("Ärger: 考え中 🤔".encode()) + len('Zwei "Werkzeuge" auf einmal')


@pytest.mark.promise("P17")
@pytest.mark.parametrize("way", ["completed", "failed", "cancelled", "re-claimed", "replaced"])
async def test_a_key_dies_with_its_claim(shared_database: Database, way: str):
    """Within a second no new call begins."""
    run = await make_run(shared_database)
    async with (
        running_upstream(whole) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        before = await client.post("/anthropic/v1/messages", json=ASKED)
        await end_claim(run, way)
        await asyncio.sleep(BELIEVED_SECONDS)
        after = await client.post("/anthropic/v1/messages", json=ASKED)

    assert (before.status_code, after.status_code) == (200, 401)
    assert after.json()["error"]["type"] == "authentication_error"
    assert after.headers["x-should-retry"] == "false"
    assert len(upstream.heard) == 1


@pytest.mark.promise("P17")
async def test_an_answer_under_way_is_cut_off_when_its_run_loses_the_order(
    shared_database: Database,
):
    run = await make_run(shared_database)
    async with (
        running_upstream(lambda _: streamed(ANTHROPIC, pause_after=3)) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        watching(served),
        served.client(run.key) as client,
        client.stream("POST", ANTHROPIC.path, json=ANTHROPIC.request) as response,
    ):
        await upstream.paused.wait()
        await run.crew.cancel_task(run.order.order_id)
        with pytest.raises(httpx2.HTTPError):
            async for _ in response.aiter_bytes():
                pass
        row = await run.row()

    assert row.metadata_["cut_by"] == "key"
    assert row.metadata_["is_estimated"] is True


async def test_every_form_of_the_key_opens_the_gateway_and_nothing_else_does(
    shared_database: Database,
):
    run = await make_run(shared_database)
    other = f"{run.key[:-4]}AAAA"
    async with (
        running_upstream(whole) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(None) as client,
    ):

        async def status(headers: dict[str, str], query: str = "") -> int:
            answer = await client.post(
                f"/anthropic/v1/messages{query}", json=ASKED, headers=headers
            )
            return answer.status_code

        good = [
            await status({"authorization": f"Bearer {run.key}"}),
            await status({"x-api-key": run.key}),
            await status({"x-goog-api-key": run.key}),
            await status({}, f"?key={run.key}&beta=true"),
            await status({"x-api-key": run.key, "authorization": f"Bearer {run.key}"}),
        ]
        bad = [
            await status({}),
            await status({"x-api-key": other}),
            await status({"x-api-key": run.key, "authorization": f"Bearer {other}"}),
            await status({"authorization": f"Basic {run.key}"}),
            await status({"x-api-key": "sk-ant-something"}),
        ]
        elsewhere = await status({"authorization": "Bearer avw_abcdef_secret"})

    assert good == [200] * 5
    assert bad == [401] * 5
    assert elsewhere == 403
    assert {heard.headers["x-api-key"] for heard in upstream.heard} == {FixedTargets(()).key}
    assert all(run.key not in str(heard) for heard in upstream.heard)
    assert upstream.heard[3].path == "/v1/messages?beta=true"


async def test_what_is_about_the_connection_or_secret_is_not_passed_on(shared_database: Database):
    run = await make_run(shared_database)
    canary = FixedTargets(()).key
    reply = {"set-cookie": "a=b", "x-echo": canary, "openai-organization": "us", "x-kept": "1"}
    async with (
        running_upstream(lambda _: Reply([WHOLE], headers=reply)) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        sent = {"cookie": "c=d", "anthropic-beta": "x", "x-forwarded-for": "1.2.3.4"}
        response = await client.post("/anthropic/v1/messages", json=ASKED, headers=sent)
    heard = upstream.heard[0].headers

    assert heard["anthropic-beta"] == "x"
    assert heard["accept-encoding"] == "identity"
    assert not {"cookie", "x-forwarded-for"} & heard.keys()
    assert response.headers["x-kept"] == "1"
    assert not {"set-cookie", "x-echo", "openai-organization"} & response.headers.keys()


async def test_a_failing_provider_is_passed_over_for_the_next_in_the_same_reservation(
    shared_database: Database,
):
    run = await make_run(shared_database)
    limited = Reply([b"{}"], status=429, headers={"retry-after": "120"})
    async with (
        running_upstream(lambda _: limited) as first,
        running_upstream(lambda _: Reply([b"{}"], status=529)) as second,
        running_upstream(whole) as third,
        running_gateway(
            shared_database, "http://127.0.0.1:9", first.url, second.url, third.url
        ) as served,
        served.client(run.key) as client,
    ):
        response = await client.post("/anthropic/v1/messages", json=ASKED)
    row = await run.row()

    assert response.content == WHOLE
    assert served.targets.limits == [("p1", 120.0)]
    assert row.metadata_["provider"] == "p3"
    assert row.metadata_["is_estimated"] is False


async def test_an_error_of_the_provider_is_free_and_told_without_its_key(
    shared_database: Database,
):
    run = await make_run(shared_database)
    canary = FixedTargets(()).key
    told = json.dumps({"error": {"message": f"bad {canary}", "type": "invalid_request_error"}})
    async with (
        running_upstream(lambda _: Reply([told.encode()], status=400)) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        response = await client.post("/anthropic/v1/messages", json=ASKED)
        upstream.script = lambda _: Reply([told.encode()], status=401)
        refused = await client.post("/anthropic/v1/messages", json=ASKED)
        await until(run.nothing_is_reserved)

    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "provider_refused_key"
    assert canary not in response.text + refused.text
    assert await run.rows() == []


async def test_of_several_providers_the_key_of_the_one_that_fails_is_not_told(
    shared_database: Database,
):
    run = await make_run(shared_database)
    secret = "the very key of the first"
    told = json.dumps({"error": {"message": f"bad {secret}", "type": "invalid_request_error"}})
    limited = Reply([b"{}"], status=429)
    async with (
        running_upstream(lambda _: limited) as first,
        running_upstream(lambda _: Reply([told.encode()], status=400)) as second,
        running_upstream(whole) as third,
        running_gateway(shared_database, first.url, second.url, third.url) as served,
        served.client(run.key) as client,
    ):
        served.targets.keys = {"p1": secret}
        response = await client.post("/anthropic/v1/messages", json=ASKED)

    assert third.heard == [], "what is wrong with the request no other provider puts right"
    assert (response.status_code, response.json()["error"]["message"]) == (400, "bad [removed]")


async def test_a_limit_on_all_keys_is_passed_on_with_its_words(shared_database: Database):
    run = await make_run(shared_database)
    words = b'{"error": {"details": [{"retryDelay": "34.5s"}], "message": "Not now."}}'
    async with (
        running_upstream(lambda _: Reply([words], status=429)) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        response = await client.post("/anthropic/v1/messages", json=ASKED)

    assert (response.status_code, response.content) == (429, words)
    assert served.targets.limits == [("p0", 34.5)]


async def test_usage_that_only_the_gateway_asked_for_is_not_shown(shared_database: Database):
    run = await make_run(shared_database)
    chat = RECORDINGS[1]
    request = {key: value for key, value in chat.request.items() if key != "stream_options"}
    async with (
        running_upstream(lambda _: streamed(chat)) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        response = await client.post(chat.path, json=request)
    row = await run.row()

    assert upstream.heard[0].json["stream_options"] == {"include_usage": True}
    assert response.content == b"".join(chat.events[:-2] + chat.events[-1:])
    assert row.tokens_out == chat.tokens.output


async def test_counting_tokens_is_passed_on_for_nothing(shared_database: Database):
    run = await make_run(shared_database)
    async with (
        running_upstream(lambda _: Reply([b'{"input_tokens": 5}'])) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        answers = [
            await client.post("/anthropic/v1/messages/count_tokens", json=ASKED),
            await client.post("/gemini/v1beta/models/gemini-2.5-flash:countTokens", json={}),
        ]
        nowhere = await client.post("/anthropic/v1/complete", json=ASKED)

    assert [answer.status_code for answer in answers] == [200] * 2
    assert nowhere.status_code == 404
    assert [heard.path for heard in upstream.heard] == [
        "/v1/messages/count_tokens",
        "/v1beta/models/gemini-2.5-flash:countTokens",
    ]
    assert await run.rows() == []


async def test_bodies_and_heads_have_their_limits(shared_database: Database):
    run = await make_run(shared_database)
    async with (
        running_upstream(whole) as upstream,
        running_gateway(shared_database, upstream.url) as served,
        served.client(run.key) as client,
    ):
        large = await client.post("/anthropic/v1/messages", content=b"x" * (MAX_BODY_BYTES + 1))
        broken = await client.post("/anthropic/v1/messages", content=b"[1]")

    assert (large.status_code, broken.status_code) == (413, 422)
    assert upstream.heard == []


async def is_cut(exchange: Exchange) -> bool:
    return exchange.cut_by is not None


async def end_claim(run: Run, way: str) -> None:
    if way == "completed":
        await run.hand.complete(run.order, exit_code=0, duration_seconds=1)
    elif way == "failed":
        await run.hand.fail(run.order)
    elif way == "cancelled":
        await run.crew.cancel_task(run.order.order_id)
    elif way == "re-claimed":
        await run.hand.release(run.order)
        await run.hand.claim_one()
    else:
        await run.new_key()
