"""Whatever goes wrong is told in one form: RFC 9457, with a stable code and a request id."""

import json
import re
from typing import Any

import httpx2
import pytest

from agentvine.protocol.enums import UserRole
from agentvine.server.middleware import _USUAL_BYTES
from tests.support.api import Api, Caller, unknown_id
from tests.support.builders.identity import unique

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = {"Content-Type": "application/json"}
PROBLEM = {"type", "title", "status", "detail", "instance", "code"}


def problem_in(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert set(body) >= PROBLEM
    assert body["status"] == status
    assert (body["code"], body["type"]) == (code, f"urn:agentvine:error:{code}")
    assert body["instance"] == answer.headers["x-request-id"]
    assert body["title"]
    assert body["detail"]
    return body


async def send(who: Caller, content: bytes, **headers: str) -> httpx2.Response:
    return await who.call("POST", "/projects", content=content, headers=JSON | headers)


async def test_an_address_that_is_none_of_ours(shared_api: Api):
    stranger = await shared_api.anonymous()
    for path in ("/nothing", "/projects/", "/projects/x/y/z", "/../../etc/passwd"):
        problem = problem_in(await stranger.call("GET", path), 404, "route_unknown")
        assert "is not part of this API" in problem["detail"]


async def test_a_method_that_an_address_does_not_take(shared_api: Api):
    stranger = await shared_api.anonymous()
    answer = await stranger.call("PUT", "/projects")
    problem_in(answer, 405, "method_not_allowed")
    assert answer.headers["allow"]


@pytest.mark.parametrize(
    "content", [b"{", b"", b"nonsense", b'{"name": }', b'{"name": "x"} more', b"{'name': 1}"]
)
async def test_what_is_not_json(shared_api: Api, content: bytes):
    owner = await shared_api.person(unique("owner"))
    problem = problem_in(await send(owner, content), 422, "invalid")
    assert problem["errors"][0]["pointer"].startswith("/body")


@pytest.mark.parametrize(
    "content",
    [
        b'{"name": "\xff"}',
        b"[" * 100_000,
        b'{"name": ' + b"9" * 5000 + b"}",
    ],
)
async def test_what_no_reader_of_json_takes(shared_api: Api, content: bytes):
    owner = await shared_api.person(unique("owner"))
    problem_in(await send(owner, content), 400, "body_unreadable")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x", ""]
)
async def test_a_body_that_is_not_said_to_be_json(shared_api: Api, kind: str):
    owner = await shared_api.person(unique("owner"))
    answer = await send(owner, b'{"name": "x"}', **{"Content-Type": kind})
    problem = problem_in(answer, 415, "content_type_unsupported")
    assert "application/json" in problem["detail"]


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "APPLICATION/JSON"])
async def test_a_body_that_is_said_to_be_json_in_other_words(shared_api: Api, kind: str):
    owner = await shared_api.person(unique("owner"))
    answer = await send(owner, b'{"name": "x"}', **{"Content-Type": kind})
    assert answer.status_code == 201


async def test_wrong_fields_are_each_told_with_their_place(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    body = {"name": "", "github_repo": "x", "a/b~c": 1, "run": {"deep": 1}}
    problem = problem_in(await send(owner, json.dumps(body).encode()), 422, "invalid")
    places = {item["pointer"] for item in problem["errors"]}
    assert places == {"/body/name", "/body/github_repo", "/body/a~1b~0c", "/body/run"}
    assert all(item["detail"] for item in problem["errors"])
    deep = {"title": "t", "run": {"timeout_seconds": 0}}
    answer = await owner.call("POST", "/tasks", json=deep)
    assert problem_in(answer, 422, "invalid")["errors"][0]["pointer"] == "/body/run/timeout_seconds"


async def test_wrong_parameters_and_ids_are_told_with_their_place(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    for path, place in (
        ("/projects?limit=x", "/query/limit"),
        ("/projects/not-an-id", "/path/project_id"),
        ("/repositories?project_id=1", "/query/project_id"),
    ):
        problem = problem_in(await owner.call("GET", path), 422, "invalid")
        assert problem["errors"][0]["pointer"] == place


async def test_an_answer_to_nonsense_is_not_larger_than_it_needs_to_be(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    many = {f"field{n}": n for n in range(5_000)} | {"x" * 100_000: 1}
    answer = await send(owner, json.dumps(many).encode())
    assert len(problem_in(answer, 422, "invalid")["errors"]) <= 50
    assert len(answer.content) < 20_000


async def test_a_refusal_never_repeats_the_secret_it_is_about(shared_api: Api):
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    secret = "hunter2\0"
    for path, body in (
        ("/auth/login", {"username": "x", "password": [secret]}),
        ("/auth/login", {"username": "x", "password": secret, "more": secret}),
        ("/users", {"username": "x", "email": "x@y.z", "password": "hunter2"}),
        ("/users/me/password", {"current_password": secret, "new_password": "hunter2"}),
        ("/tokens", {"name": "x", "token": "hunter2"}),
    ):
        answer = await admin.call("POST", path, json=body)
        problem_in(answer, 422, "invalid")
        assert "hunter2" not in answer.text


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    answer = await send(owner, b" " * (_USUAL_BYTES + 1))
    problem = problem_in(answer, 413, "body_too_large")
    assert problem["limit"] == _USUAL_BYTES
    for length in (str(10**15), "9" * 5000):
        problem_in(await send(owner, b"{}", **{"Content-Length": length}), 413, "body_too_large")


async def test_a_body_that_does_not_say_how_large_it_is_is_stopped_at_the_limit(shared_api: Api):
    sent = 0

    async def parts():
        nonlocal sent
        for _ in range(4 * _USUAL_BYTES // 65536):
            sent += 65536
            yield b" " * 65536

    owner = await shared_api.person(unique("owner"))
    answer = await owner.call("POST", "/projects", content=parts(), headers=JSON)
    problem_in(answer, 413, "body_too_large")
    assert sent <= _USUAL_BYTES + 65536


async def test_reports_of_workers_may_be_larger(shared_api: Api):
    worker = await shared_api.worker(unique("token"))
    body = {"order_id": unknown_id(), "fence": 1, "report": {}}
    content = json.dumps(body).encode() + b" " * (_USUAL_BYTES + 1)
    answer = await worker.call("POST", "/queue/complete", content=content, headers=JSON)
    assert answer.status_code in {404, 409}, answer.text
    for path in ("/queue/complete/../claim", "/projects/queue/complete"):
        answer = await worker.call("POST", path, content=content, headers=JSON)
        assert answer.status_code == 413, path


@pytest.mark.parametrize("path", ["/projects/%00", "/projects?cursor=%00", "/users/x%00y"])
async def test_a_nul_in_an_address(shared_api: Api, path: str):
    owner = await shared_api.person(unique("owner"))
    problem_in(await owner.call("GET", path), 422, "address_invalid")


async def test_text_that_a_database_cannot_store(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    for content in (
        b'{"name": "a\\u0000b"}',
        b'{"name": "\\ud800"}',
        b'{"name": "x", "description": "\\udfff"}',
    ):
        problem_in(await send(owner, content), 422, "invalid")
    task = b'{"title": "t", "metadata": {"x": %s}}'
    for value in (b"NaN", b"Infinity", b"1e999", b"99999999999999999999", b'{"\\u0000": 1}'):
        answer = await owner.call("POST", "/tasks", content=task % value, headers=JSON)
        assert problem_in(answer, 422, "invalid")["errors"][0]["pointer"].startswith(
            "/body/metadata"
        )


async def test_without_a_token_the_answer_says_how_to_send_one(shared_api: Api):
    answer = await (await shared_api.anonymous()).call("GET", "/projects")
    problem = problem_in(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "agentvine login" in problem["detail"]


async def test_every_answer_carries_its_id_and_what_browsers_need_to_know(shared_api: Api):
    stranger = await shared_api.anonymous()
    owner = await shared_api.person(unique("owner"))
    for answer in (
        await stranger.call("GET", "/projects"),
        await stranger.call("GET", "/nothing"),
        await owner.call("GET", "/projects"),
        await send(owner, b"{"),
        await stranger.http.get("http://test/health"),
        await stranger.http.get("http://test/ready"),
    ):
        headers = answer.headers
        assert re.fullmatch(r"[0-9a-f]{32}", headers["x-request-id"])
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert headers["agentvine-protocol"]
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [
        ("abc-123_x.y", True),
        ("short", False),
        ("x" * 65, False),
        ("with blank 12", False),
        ("new\\nline-here", False),
        ("ünïcödé-request", False),
    ],
)
async def test_a_request_id_is_taken_over_when_it_is_harmless(shared_api: Api, given, is_kept):
    stranger = await shared_api.anonymous()
    answer = await stranger.call("GET", "/projects", headers=[(b"X-Request-ID", given.encode())])
    assert (answer.headers["x-request-id"] == given) is is_kept
