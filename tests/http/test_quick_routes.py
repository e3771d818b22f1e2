"""What workers send all day is answered before the router, and not otherwise than by the route."""

import json
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from agentvine.http.deps import State
from agentvine.http.quick import QuickRoutes, RouteNotQuick
from agentvine.kit.ids import new_id, random_token
from agentvine.server.middleware import _USUAL_BYTES
from tests.support.api import Api, Caller
from tests.support.builders.identity import unique
from tests.support.space import make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUICK = {"Content-Type": "application/json"}
IDLE = {"worker_id": str(new_id()), "session_id": str(new_id())}
"""A beat of a worker that nobody knows."""
ROUTED = {"Content-Type": "application/json; charset=utf-8"}
"""Means the same; only the router takes the trouble to read it."""


async def alike(who: Caller, path: str, content: bytes) -> dict[str, Any]:
    """The answer to a message, which must be the same both ways; with its status."""
    answers = [
        await who.call("POST", path, content=content, headers=kind) for kind in (QUICK, ROUTED)
    ]
    quick, routed = ({**each.json(), "instance": None} for each in answers)
    assert quick == routed
    assert answers[0].status_code == answers[1].status_code
    told = [dict(each.headers) for each in answers]
    for headers in told:
        assert headers.pop("x-request-id")
    assert told[0] == told[1]
    return {"answered": answers[0].status_code, **quick}


def text(message: object) -> bytes:
    return json.dumps(message).encode()


async def test_answers_are_those_of_the_route(shared_api: Api):
    space = await make_space(shared_api)
    await space.task()
    worker = await space.worker()
    caller = worker.caller
    order = await worker.claim_one()
    claimed = {"order_id": order["order_id"], "fence": order["fence"]}
    beat = worker.who | {"held": [claimed | {"phase": "running"}]}
    answer = await alike(caller, "/queue/heartbeat", text(beat))
    assert [lease["state"] for lease in answer["leases"]] == ["kept"]

    line = {"message": "ünï\ud83d", "logged_at": "2026-01-01T00:00:00Z"}
    batch = claimed | {"stream": "stdout", "first_seq": 1, "lines": [line]}
    path = f"/executions/{order['execution_id']}/logs"
    assert (await alike(caller, path, text(batch)))["high_seq"] == 1

    nothing = worker.who | {"claim_token": random_token(24), "slots": 1, "wait_seconds": 0}
    assert (await alike(caller, "/queue/claim", text(nothing)))["orders"] == []
    done = claimed | {"report": {"exit_code": 0, "duration_seconds": 1.5}}
    assert (await alike(caller, "/queue/complete", text(done)))["answered"] == 200
    many = await alike(caller, "/queue/report-many", text({"reports": [{"complete": done}]}))
    assert many["items"][0]["error"] is None


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[]", 422),
        (b'{"worker_id": "x"}', 422),
        (b'{"worker_id": "\xff"}', 400),
        (b"[" * 100_000, 400),
        (text(IDLE | {"unknown": 1}), 422),
        (text(IDLE | {"held": [{"order_id": str(new_id()), "fence": 2**63}]}), 422),
        (text(IDLE | {"held": [{"order_id": str(new_id()), "fence": 2**63 - 1}]}), 404),
        (text(IDLE | {"held": [{"order_id": str(new_id()), "fence": 1, "phase": "\0"}]}), 422),
        (text(IDLE), 404),
        (b" " * (_USUAL_BYTES + 1), 413),
    ],
)
async def test_refusals_are_those_of_the_route(shared_api: Api, content: bytes, status: int):
    worker = await shared_api.worker(unique("token"))
    assert (await alike(worker, "/queue/heartbeat", content))["answered"] == status


async def test_only_workers_are_answered(shared_api: Api):
    beat = text({"worker_id": str(new_id()), "session_id": str(new_id())})
    outcome = text({"order_id": str(new_id()), "fence": 1})
    person, stranger = await shared_api.person(unique("person")), await shared_api.anonymous()
    for path, message in (("/queue/heartbeat", beat), ("/queue/complete", outcome)):
        for who, status in ((person, 403), (stranger, 401)):
            assert (await alike(who, path, message))["answered"] == status


class Word(BaseModel):
    text: str


async def test_a_plain_request_does_not_reach_the_router_and_any_other_does():
    routes = FastAPI()

    @routes.post("/words")
    async def say(body: Word) -> Word:
        return Word(text=body.text.upper())

    passed_on: list[bytes] = []

    async def router(scope: Scope, receive: Receive, send: Send) -> None:
        passed_on.append((await receive())["body"])

    quick = QuickRoutes(router, calls=[say], routes=routes)
    sent: list[Any] = []

    async def ask(content: bytes, path: str = "/words", **changed: object) -> None:
        async def receive() -> Any:
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        routes.state.agentvine = None
        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "app": routes}
        await quick(scope | changed, receive, send)

    await ask(b'{"text": "now"}')
    assert (sent[0]["status"], sent[1]["body"], passed_on) == (200, b'{"text":"NOW"}', [])
    del sent[:]
    await ask(b'{"text": 1}')
    await ask(b'{"text": "other"}', path="/others")
    await ask(b'{"text": "put"}', method="PUT")
    await ask(b'{"text": "text"}', headers=[(b"content-type", b"text/plain")])
    assert (sent, len(passed_on)) == ([], 4)
    assert passed_on[0] == b'{"text": 1}', "though it was read before"


async def test_a_route_that_asks_for_more_is_refused_at_the_start():
    routes = FastAPI()

    async def more() -> str:
        return ""

    @routes.post("/words")
    async def say(body: Word, state: State, word: Annotated[str, Depends(more)]) -> Word:
        return body

    with pytest.raises(RouteNotQuick, match="word"):
        QuickRoutes(routes, calls=[say], routes=routes)
