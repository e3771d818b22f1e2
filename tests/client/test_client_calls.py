import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agentvine.client import Client, RetryPolicy, ServerUnreachable
from agentvine.client.transport import encode
from agentvine.kit.errors import AppError, Conflict, Unavailable
from agentvine.kit.ids import new_id
from agentvine.protocol.base import PROTOCOL_VERSION
from agentvine.protocol.enums import TaskStatus
from agentvine.protocol.executions import ExecutionOut, LogLineIn, LogLineOut
from agentvine.protocol.identity import LoginIn, UserEditIn
from agentvine.protocol.projects import ProjectCreateIn, ProjectEditIn
from agentvine.protocol.queue import ClaimIn
from agentvine.protocol.tasks import TaskCreateIn
from tests.support.http import free_port, serve

QUICK = RetryPolicy(attempts=4, base_seconds=0.001, cap_seconds=0.01)
NOW = datetime(2026, 11, 24, tzinfo=UTC).isoformat()
PROJECT = {
    "id": str(new_id()),
    "name": "p",
    "description": None,
    "github_repo": None,
    "owner_id": str(new_id()),
    "is_active": True,
    "row_version": 3,
    "created_at": NOW,
    "updated_at": NOW,
    "a_field_of_a_newer_server": 1,
}


class Recorder:
    """Answers every request from a list, in order, and keeps what came."""

    def __init__(self, *answers: Response) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []
        self.bodies: list[bytes] = []

    def app(self) -> Starlette:
        methods = ["GET", "POST", "PATCH", "PUT", "DELETE"]
        return Starlette(routes=[Route("/{path:path}", self.answer, methods=methods)])

    async def answer(self, request: Request) -> Response:
        self.requests.append(request)
        self.bodies.append(await request.body())
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def unavailable() -> Response:
    body = {"type": "x", "title": "t", "status": 503, "detail": "d", "code": "database_down"}
    return JSONResponse(body, 503, headers={"Retry-After": "0.001"})


async def test_a_call_carries_token_protocol_version_and_plain_parameters():
    peer = Recorder(JSONResponse({"items": [], "next_cursor": None}))
    repository = new_id()
    with serve(peer.app()) as url:
        async with Client(url, SecretStr("avu_secret")) as client:
            states = [TaskStatus.REVIEW, TaskStatus.FAILED]
            await client.tasks.list(repository_id=repository, status=states).page(limit=5)
    request = peer.requests[0]
    assert request.url.path == "/api/v1/tasks"
    assert request.query_params.multi_items() == [
        ("repository_id", str(repository)),
        ("status", "review"),
        ("status", "failed"),
        ("limit", "5"),
    ]
    assert request.headers["authorization"] == "Bearer avu_secret"
    assert request.headers["agentvine-protocol"] == PROTOCOL_VERSION


async def test_a_create_is_repeated_with_one_and_the_same_key():
    peer = Recorder(unavailable(), unavailable(), JSONResponse(PROJECT, 201))
    with serve(peer.app()) as url:
        async with Client(url, retry=QUICK) as client:
            project = await client.projects.create(ProjectCreateIn(name="p"))
    assert project.name == "p"
    keys = {request.headers["idempotency-key"] for request in peer.requests}
    assert len(peer.requests) == 3
    assert len(keys) == 1


async def test_an_edit_is_not_repeated_and_names_the_version_it_saw():
    peer = Recorder(unavailable())
    with serve(peer.app()) as url:
        async with Client(url, retry=QUICK) as client:
            with pytest.raises(Unavailable) as caught:
                await client.projects.edit(new_id(), ProjectEditIn(name="q"), row_version=3)
    assert caught.value.code == "database_down"
    assert [request.headers["if-match"] for request in peer.requests] == ['"3"']
    assert peer.bodies == [b'{"name":"q"}']


async def test_a_refusal_is_not_repeated():
    body = {"type": "x", "title": "t", "status": 409, "detail": "d", "code": "lease_lost"}
    peer = Recorder(JSONResponse(body, 409))
    claim = ClaimIn(worker_id=new_id(), session_id=new_id(), claim_token="t" * 16)
    with serve(peer.app()) as url:
        async with Client(url, retry=QUICK) as client:
            with pytest.raises(Conflict) as caught:
                await client.queue.claim(claim)
    assert caught.value.code == "lease_lost"
    assert len(peer.requests) == 1


async def test_even_an_edit_is_repeated_when_no_connection_could_be_made():
    port = free_port()
    peer = Recorder(JSONResponse(PROJECT))
    patient = RetryPolicy(attempts=100, base_seconds=0.02, cap_seconds=0.05)
    async with Client(f"http://127.0.0.1:{port}", retry=patient) as client:
        edit = client.projects.edit(new_id(), ProjectEditIn(name="q"), row_version=3)
        pending = asyncio.ensure_future(edit)
        await asyncio.sleep(0.02)
        assert not pending.done()
        with serve(peer.app(), port=port):
            assert (await pending).row_version == 3
    assert len(peer.requests) == 1


async def test_all_pages_are_walked():
    async def answer(request: Request) -> Response:
        start = int(request.query_params.get("cursor", "0"))
        items = [{**PROJECT, "name": f"p{number}"} for number in (start, start + 1)]
        following = None if start >= 4 else str(start + 2)
        return JSONResponse({"items": items, "next_cursor": following})

    with serve(Starlette(routes=[Route("/api/v1/projects", answer)])) as url:
        async with Client(url) as client:
            names = [project.name for project in await client.projects.list().all()]
            assert [project.name async for project in client.projects.list()] == names
            assert len(await client.projects.list().first(3)) == 3
    assert names == ["p0", "p1", "p2", "p3", "p4", "p5"]


def test_secrets_are_sent_readable_and_unset_fields_are_left_out():
    login = LoginIn(username="a", password=SecretStr("the password"))
    assert encode(login) == b'{"username":"a","password":"the password"}'
    assert encode(TaskCreateIn(title="t")) == b'{"title":"t"}'
    assert encode(UserEditIn(full_name=None)) == b'{"full_name":null}'


def test_output_is_sent_to_the_letter():
    line = LogLineIn(message="    indented  ", logged_at=datetime(2026, 11, 24, tzinfo=UTC))
    assert line.message == "    indented  "


def line(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "stream": "stdout",
        "seq": number,
        "level": "INFO",
        "message": f"line {number}",
        "logged_at": NOW,
        "metadata": {},
    }


def finished(execution_id: uuid.UUID) -> ExecutionOut:
    return ExecutionOut.model_validate(
        {
            **dict.fromkeys(ExecutionOut.model_fields),
            "id": execution_id,
            "task_id": new_id(),
            "worker_id": new_id(),
            "status": "completed",
            "phase": "finished",
            "attempt": 1,
            "fence": 1,
            "metrics": {},
            "started_at": NOW,
        }
    )


class DroppingStream:
    """An SSE endpoint over ten lines that breaks after every third, or hangs up cleanly."""

    def __init__(self, execution_id: uuid.UUID, *, clean: bool) -> None:
        self.end = finished(execution_id).model_dump_json()
        self.clean = clean
        self.resumed_from: list[int] = []

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self.answer)])

    async def answer(self, request: Request) -> Response:
        after = int(request.headers.get("last-event-id", "0"))
        self.resumed_from.append(after)
        if len(self.resumed_from) == 2:
            return unavailable()
        return StreamingResponse(self.events(after), media_type="text/event-stream")

    async def events(self, after: int) -> AsyncIterator[str]:
        yield ": hello\n\n"
        # The line last seen comes again, as after a lost acknowledgement.
        for number in range(max(1, after), min(after + 4, 11)):
            yield f"event: log\nid: {number}\ndata: {json.dumps(line(number))}\n\n"
        if after + 4 > 10:
            yield f"event: end\ndata: {self.end}\n\n"
        elif not self.clean:
            raise ConnectionResetError


@pytest.mark.parametrize("clean", [True, False])
async def test_a_tail_takes_up_a_dropped_connection_without_gap_or_repeat(clean: bool):
    execution_id = new_id()
    peer = DroppingStream(execution_id, clean=clean)
    with serve(peer.app()) as url:
        async with Client(url, retry=QUICK) as client:
            seen = [item async for item in client.executions.tail(execution_id)]
    *lines, last = seen
    assert [item.id for item in lines if isinstance(item, LogLineOut)] == list(range(1, 11))
    assert isinstance(last, ExecutionOut)
    assert last.id == execution_id
    assert peer.resumed_from[0] == 0
    assert len(peer.resumed_from) >= 4


async def test_a_tail_gives_up_when_the_server_stays_away():
    async with Client(f"http://127.0.0.1:{free_port()}", retry=QUICK) as client:
        with pytest.raises(ServerUnreachable):
            async for _ in client.executions.tail(new_id(), give_up_seconds=0):
                pass


async def test_a_tail_of_nothing_says_so():
    body = {"type": "x", "title": "t", "status": 404, "detail": "d", "code": "execution_not_found"}
    with serve(Recorder(JSONResponse(body, 404)).app()) as url:
        async with Client(url) as client:
            with pytest.raises(AppError) as caught:
                async for _ in client.executions.tail(new_id()):
                    pass
    assert caught.value.code == "execution_not_found"


async def test_a_loopback_server_is_reached_past_a_proxy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with serve(Recorder(JSONResponse({"status": "ok"})).app()) as url:
        async with Client(url) as client:
            assert await client.health() == {"status": "ok"}
