"""What the server writes about requests: enough to find each again, and never a secret."""

import contextlib
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from agentvine.kit.ids import new_id
from agentvine.kit.logs import configure_logging
from agentvine.protocol.enums import UserRole
from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.space import make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")


LOGGERS = ("root", "agentvine", "uvicorn.error", "httpx2")


class Written:
    """What the server has written, as it would stand on its standard error."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    def served(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == "request.served"]


@pytest.fixture(params=["json", "console"])
def written(request: pytest.FixtureRequest) -> Iterator[Written]:
    """The server's real logging, everything of it, into a text."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, levels = root.handlers, {name: logging.getLogger(name).level for name in LOGGERS}
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream):
        configure_logging(level="DEBUG", as_json=request.param == "json")
    # Loggers were made before, with the tests' own processors.
    structlog.configure(cache_logger_on_first_use=False)
    yield Written(stream)
    structlog.configure(**before)
    root.handlers = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.parametrize("written", ["json"], indirect=True)
async def test_who_only_looks_is_told_at_debug_and_all_else_at_info(
    shared_api: Api, written: Written
):
    owner = await shared_api.person(unique("owner"))
    await owner.get("/projects")
    await owner.refused("GET", "/projects/x", 422)
    await (await shared_api.anonymous()).refused("GET", "/projects", 401)
    await owner.post("/projects", {"name": "x"})
    levels = [(line["level"], line["method"], line["status"]) for line in written.served()]
    assert levels == [
        ("debug", "GET", 200),
        ("info", "GET", 422),
        ("info", "GET", 401),
        ("info", "POST", 201),
    ]
    assert all(line["request_id"] and line["milliseconds"] >= 0 for line in written.served())


@pytest.mark.parametrize("written", ["json"], indirect=True)
async def test_a_beat_is_told_at_debug_unless_it_fails(shared_api: Api, written: Written):
    worker = await (await make_space(shared_api)).worker()
    await worker.beat()
    worker.session_id = str(new_id())
    await worker.caller.refused("POST", "/queue/heartbeat", 409, json=worker.who)
    told = [line for line in written.served() if line["path"].endswith("/heartbeat")]
    assert [(line["level"], line["status"]) for line in told] == [("debug", 200), ("info", 409)]


async def test_no_secret_in_any_part_of_a_request_is_written(shared_api: Api, written: Written):
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    made = await admin.post("/tokens", {"name": "canary"})
    token = made["token"]
    canary = "canary-hunter2"
    stranger = await shared_api.anonymous()
    for headers in (
        {"Authorization": f"Bearer {token}"},
        {"Authorization": f"Basic {canary}"},
        {"Authorization": f"Bearer avu_aaaaaaaa_{canary}"},
        {"Cookie": f"session={canary}", "X-Api-Key": canary, "X-Request-ID": token},
        {"Idempotency-Key": canary, "If-Match": canary, "User-Agent": canary},
    ):
        await stranger.call("GET", "/projects", headers=headers)
        await stranger.call("POST", "/projects", json={"name": "x"}, headers=headers)
    for method, path, body in (
        ("GET", f"/projects?cursor={canary}&token={token}", None),
        ("GET", f"/projects/{token}", None),
        ("GET", f"/nothing/https://me:{canary}@host/x", None),
        ("POST", "/auth/login", {"username": canary, "password": canary}),
        ("POST", "/auth/login", {"username": [canary], "password": [canary]}),
        ("POST", "/users/me/password", {"current_password": canary, "new_password": canary * 2}),
        ("POST", "/users", {"username": "x", "email": "x", "password": canary}),
        ("POST", "/tokens", {"name": token, "scopes": [token]}),
        ("POST", "/repositories", {"location": f"https://me:{canary}@127.0.0.1:9/p"}),
    ):
        await admin.call(method, path, json=body)
    assert "request.served" in written.text
    for secret in (token, token.split("_", 2)[2], canary):
        assert secret not in written.text


async def test_a_bug_is_written_with_its_request_and_without_what_was_sent(
    shared_api: Api, written: Written
):
    owner = await shared_api.person(unique("owner"))
    token = (await owner.post("/tokens", {"name": "x"}))["token"]

    async def broken() -> None:
        raise RuntimeError(f"something is wrong with {token}")

    shared_api.app.add_api_route("/broken", broken)
    answer = await owner.http.get("http://test/broken")

    assert answer.status_code == 500
    assert answer.json()["code"] == "internal"
    assert "RuntimeError" not in answer.text
    assert answer.json()["instance"] in written.text
    assert "something is wrong" in written.text
    assert token not in written.text


async def test_a_path_cannot_forge_a_line_or_move_the_cursor(shared_api: Api, written: Written):
    owner = await shared_api.person(unique("owner"))
    await owner.call("GET", "/x%0Arequest.served%20forged=1%0D%1B[2Jx")
    lines = [line for line in written.text.split("\n") if "forged" in line]
    assert len(lines) == 1
    assert "404" in lines[0]
    assert "\r" not in written.text
    assert "\x1b[2J" not in written.text
