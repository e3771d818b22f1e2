"""Providers' limits: read from every form in which they are told, and waited for by orders."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentvine.domains.gateway.limits import limit_of
from agentvine.domains.identity.enums import UserRole
from tests.domains.gateway.test_model_access import ASKED, claim
from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.upstream import Heard, Reply, running_upstream

in_loop = pytest.mark.asyncio(loop_scope="module")

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"retry-after": "120"}, b"", 120),
        ({"retry-after": "Fri, 27 Nov 2026 12:05:00 GMT"}, b"", 300),
        ({"retry-after-ms": "1500", "retry-after": "7"}, b"", 1.5),
        ({"anthropic-ratelimit-unified-reset": str(int(NOW.timestamp()) + 7200)}, b"", 7200),
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2026-11-27T12:00:40Z",
                "anthropic-ratelimit-tokens-remaining": "9",
                "anthropic-ratelimit-tokens-reset": "2026-11-27T13:00:00Z",
            },
            b"",
            40,
        ),
        (
            {
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "6m0.5s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "20ms",
            },
            b"",
            360.5,
        ),
        ({}, b'{"error": {"details": [{"retryDelay": "34.07s"}]}}', 34.07),
        ({"retry-after": "-4"}, b"", 30),
        ({"retry-after": "soon"}, b'{"error": {}}', 30),
        ({"retry-after": "0"}, b"", 1),
        ({"retry-after": "999999999"}, b"", 7 * 24 * 3600),
        ({"retry-after": "Thu, 26 Nov 2026 12:05:00 GMT"}, b"", 1),
    ],
)
def test_a_limit_s_end_is_read_in_each_form(headers: dict[str, str], body: bytes, seconds: float):
    assert limit_of(headers, body, NOW)[0] == pytest.approx(seconds)


@in_loop
@pytest.mark.parametrize("case", ["told", "not told", "another key since"])
async def test_an_order_waits_for_the_first_key_of_those_that_its_run_has_used_up(
    shared_api: Api, case: str
):
    owner = await shared_api.person(unique("owner"))
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    worker, order, project_id = await claim(shared_api, owner)
    where = {"order_id": order["order_id"], "fence": order["fence"]}

    def limited(heard: Heard) -> Reply:
        wait = {"key-1": "7200", "key-2": "3600"}[heard.headers["x-api-key"]]
        return Reply(
            [b"{}"], status=429, headers={} if case == "not told" else {"retry-after": wait}
        )

    asked = ASKED | {"model": "claude-haiku-4-5"}
    async with running_upstream(limited) as upstream:
        provider = await admin.post(
            "/model-providers",
            {
                "name": unique("claude"),
                "kind": "anthropic",
                "key": "key-1",
                "base_url": upstream.url,
                "models": ["claude-haiku-4-5"],
                "project_id": project_id,
            },
        )
        path = f"/model-providers/{provider['id']}/credentials"
        await admin.post(path, {"name": "second", "key": "key-2"})
        access = await worker.post(f"/executions/{order['execution_id']}/model-access", where)
        run = await shared_api.with_token(access["key"])
        answer = await run.http.post("http://test/gateway/anthropic/v1/messages", json=asked)
        assert answer.status_code == 429
        assert len(upstream.heard) == 2, "both keys were tried"
        if case == "another key since":
            await admin.post(path, {"name": "third", "key": "key-3"})
    # Codex, for one, says no more than this.
    report: dict[str, Any] = {
        "failure_class": "rate_limited",
        "message": "exceeded retry limit, last status: 429 Too Many Requests",
        "report": {},
    }
    ended = await worker.post("/queue/fail", where | report)
    why = await owner.get(f"/tasks/{order['payload']['task_id']}/why")

    assert ended["will_retry"]
    [reason] = [each for each in why["reasons"] if each["code"] == "provider_limited"]
    at = datetime.fromisoformat(reason["facts"]["available_at"])
    waits = at - shared_api.database.clock.now()
    assert (waits > timedelta(minutes=55)) is (case == "told")
    assert waits < timedelta(minutes=75)
    assert "429" in reason["message"]
