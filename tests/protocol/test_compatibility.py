"""A worker of an earlier minor version keeps working with this server, and the reverse.

``AGENTVINE_RECORD_PROTOCOL=1`` records today's messages where the folder of today's version has
none yet; what is recorded is never changed.
"""

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_asyncio
from pydantic import TypeAdapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agentvine.client.transport import NO_RETRIES, Transport, post
from agentvine.kit.ids import new_id
from agentvine.protocol.base import PROTOCOL_HEADER, PROTOCOL_VERSION, ProtocolUnsupported
from agentvine.protocol.enums import UserRole
from agentvine.protocol.executions import BundleOut, LogBatchOut
from agentvine.protocol.queue import ClaimOut, HeartbeatOut, ListenOut, OrderOutcome
from agentvine.protocol.workers import WorkerRegisteredOut
from tests.protocol.recording import (
    FOLDER,
    Conversation,
    read_recorded,
    todays_life,
    write_recorded,
)
from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.builders.projects import make_ground
from tests.support.builders.tasks import make_task
from tests.support.http import serve
from tests.support.snapshots import all_rows

RECORDED = {path.name for path in FOLDER.iterdir() if path.is_dir()}
VERSIONS = sorted({PROTOCOL_VERSION, *RECORDED})
ANSWERS: dict[str, type[Any]] = {
    "register": WorkerRegisteredOut,
    "claim": ClaimOut,
    "claim again": ClaimOut,
    "heartbeat": HeartbeatOut,
    "logs": LogBatchOut,
    "bundle": BundleOut,
    "complete": OrderOutcome,
    "fail": OrderOutcome,
    "release": OrderOutcome,
}
SINCE_1_2: dict[str, type[Any]] = {"controlled": HeartbeatOut, "listen": ListenOut}
"""``control`` has an answer without a body."""

pytestmark = pytest.mark.promise("P26")
on_the_shared_loop = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def conversation(shared_api: Api) -> Conversation:
    ground = await make_ground(shared_api.database)
    queue = unique("queue")
    async with ground.transaction() as tx:
        for _ in range(3):
            run = {"command": "true", "queue_name": queue}
            await make_task(tx, ground.owner, ground.repository, run=run)
    known = {"session_id": str(new_id()), "worker_name": unique("worker"), "queue": queue}
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    return Conversation(await shared_api.worker(unique("token")), known, admin)


@on_the_shared_loop
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_server_of_today_takes_what_an_earlier_worker_says(
    conversation: Conversation, version: str
):
    recorded = read_recorded(version)
    await conversation.play(recorded)
    for name, then in recorded.items():
        now = conversation.exchanges[name]
        assert now.status == then.status, f"{name}: {now.answer}"
        assert list(shrunk(then.answer, now.answer)) == [], name
        if then.status >= 400:
            assert now.answer["code"] == then.answer["code"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_of_today_understands_what_an_earlier_server_answers(version: str):
    recorded = read_recorded(version)
    answers = ANSWERS if version in {"1.0", "1.1"} else ANSWERS | SINCE_1_2
    silent = {"stale"} if answers is ANSWERS else {"stale", "control"}
    assert set(recorded) == {*answers, *silent}
    for name, model in answers.items():
        TypeAdapter(model).validate_json(json.dumps(recorded[name].answer))


@on_the_shared_loop
@pytest.mark.parametrize("version", ["0.9", "2.0", "11.1"])
async def test_a_worker_of_another_major_version_is_refused_and_nothing_changes(
    shared_api: Api, conversation: Conversation, version: str
):
    recorded = read_recorded(PROTOCOL_VERSION)
    await conversation.play({"register": recorded["register"]})
    before = await _orders_and_attempts(shared_api)
    conversation.worker.http.headers[PROTOCOL_HEADER] = version
    for name, then in recorded.items():
        path = re.sub(r"\{\w+\}", str(new_id()), then.path)
        problem = await conversation.worker.refused(then.method, path, 426, json=then.request)
        assert problem["code"] == "protocol_unsupported", name
        behind = "server" if version > "1" else "client"
        assert f"where the {behind} runs" in problem["detail"]
    assert await _orders_and_attempts(shared_api) == before


@on_the_shared_loop
@pytest.mark.parametrize("told", ["", "new", "1", "1.0.0", "-1.0", "2.0 "])
async def test_what_is_no_version_is_no_reason_to_refuse(conversation: Conversation, told: str):
    conversation.worker.http.headers[PROTOCOL_HEADER] = told
    await conversation.play({"register": read_recorded(PROTOCOL_VERSION)["register"]})
    assert conversation.exchanges["register"].status == 200


@pytest.mark.parametrize("version", ["0.9", "2.0"])
async def test_a_client_refuses_what_a_server_of_another_major_version_answers(version: str):
    recorded = read_recorded(PROTOCOL_VERSION)

    async def answer(request: Request) -> Response:
        then = recorded[request.path_params["name"]]
        headers = {PROTOCOL_HEADER: version}
        if then.answer is None:
            return Response(status_code=then.status, headers=headers)
        return JSONResponse(then.answer, then.status, headers)

    app = Starlette(routes=[Route("/api/v1/{name}", answer, methods=["POST"])])
    with serve(app) as url:
        transport = Transport(url, "t", retry=NO_RETRIES)
        for name in recorded:
            with pytest.raises(ProtocolUnsupported) as caught:
                await transport.send(post(name))
            behind = "client" if version > "1" else "server"
            assert f"where the {behind} runs" in caught.value.detail
        await transport.close()


@on_the_shared_loop
async def test_todays_messages_are_recorded(conversation: Conversation):
    version = PROTOCOL_VERSION
    if os.environ.get("AGENTVINE_RECORD_PROTOCOL") and version not in RECORDED:
        await conversation.play(todays_life())
        write_recorded(version, conversation.exchanges)
    recorded = read_recorded(version)
    assert recorded, f"nothing is recorded for {version}: AGENTVINE_RECORD_PROTOCOL=1 does it"


@pytest.mark.parametrize(
    ("then", "now", "found"),
    [
        ({"a": 1, "b": [{"c": "x"}]}, {"a": 2, "b": [{"c": "y", "d": 1}], "e": None}, []),
        ({"a": 1}, {}, ["a is gone"]),
        ({"a": 1}, {"a": "1"}, ["a was int, is str"]),
        ({"a": "x"}, {"a": None}, ["a was str, is NoneType"]),
        ({"b": [{"c": 1}]}, {"b": [{}]}, ["b.0.c is gone"]),
    ],
)
def test_an_answer_that_lost_something_is_noticed(then: Any, now: Any, found: list[str]):
    assert list(shrunk(then, now)) == found


async def _orders_and_attempts(api: Api) -> dict[str, set[str]]:
    """What messages change, without what the server's own chores do."""
    rows = await all_rows(api.database)
    return {name: rows[name] for name in ("work_orders", "executions", "execution_logs", "workers")}


def shrunk(then: Any, now: Any, where: str = "") -> Iterator[str]:
    """What an earlier reader would miss in an answer of today."""
    if then is None:
        return
    if isinstance(then, dict) and isinstance(now, dict):
        for name, value in then.items():
            place = f"{where}.{name}" if where else name
            if name not in now:
                yield f"{place} is gone"
            else:
                yield from shrunk(value, now[name], place)
    elif isinstance(then, list) and isinstance(now, list):
        for number, (before, after) in enumerate(zip(then, now, strict=False)):
            yield from shrunk(before, after, f"{where}.{number}")
    elif {type(then), type(now)} != {int, float} and type(then) is not type(now):
        yield f"{where} was {type(then).__name__}, is {type(now).__name__}"
