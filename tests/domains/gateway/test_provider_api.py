"""Providers over HTTP: what is told of a key, and what asking a provider comes to."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import String, cast, select

from agentvine.domains.gateway.models import ModelProvider, ProviderCredential
from agentvine.domains.identity.models import AuditEvent, Event
from agentvine.protocol.enums import UserRole
from tests.support.api import Api, Caller
from tests.support.builders.identity import unique
from tests.support.http import serve

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "sk-canary-0123456789-wxyz"


@dataclass(frozen=True)
class Stage:
    owner: Caller
    outsider: Caller
    admin: Caller
    project_id: str


async def stage(api: Api) -> Stage:
    owner = await api.person(unique("owner"))
    return Stage(
        owner,
        await api.person(unique("outsider")),
        await api.person(unique("admin"), UserRole.ADMIN),
        (await owner.post("/projects", {"name": unique("project")}))["id"],
    )


def provider(**fields: Any) -> dict[str, Any]:
    return {"name": unique("anthropic"), "kind": "anthropic", "key": KEY, **fields}


async def test_a_key_is_told_by_its_end_and_in_no_record(shared_api: Api, caplog: Any):
    caplog.set_level(logging.DEBUG)
    people = await stage(shared_api)
    body = provider(project_id=people.project_id)

    made = await people.owner.post("/model-providers", body)
    seen = await people.owner.get(f"/model-providers/{made['id']}")
    problem = await people.owner.refused(
        "POST", f"/model-providers/{made['id']}/credentials", 409, json={"key": KEY}
    )
    wrong = await people.owner.refused("POST", "/model-providers", 422, json=body | {"kind": KEY})

    [key] = seen["credentials"]
    assert (key["last_four"], key["is_active"], seen["base_url"]) == (
        "wxyz",
        True,
        "https://api.anthropic.com",
    )
    assert problem["code"] == "credential_exists"
    async with shared_api.database.read() as read:
        sealed = await read.scalar(
            select(ProviderCredential.sealed_key).where(ProviderCredential.id == UUID(key["id"]))
        )
        told = [
            *(await read.scalars(select(cast(AuditEvent.after, String)))),
            *(await read.scalars(select(cast(Event.payload, String)))),
        ]
    said = json.dumps([made, seen, problem, wrong, sealed, told, caplog.text])
    assert key["fingerprint"] in json.dumps(told)
    assert "canary" not in said


async def test_a_short_key_shows_no_end(shared_api: Api):
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    made = await admin.post("/model-providers", provider(key="abc123"))
    assert made["credentials"][0]["last_four"] == ""


async def test_a_key_is_replaced_switched_off_and_deleted(shared_api: Api):
    people = await stage(shared_api)
    made = await people.owner.post("/model-providers", provider(project_id=people.project_id))
    [key] = made["credentials"]
    path = f"/provider-credentials/{key['id']}"

    changed = await people.owner.call("PATCH", path, json={"key": "sk-another-one-4321"})
    off = await people.owner.call("PATCH", path, json={"is_active": False})
    gone = await people.owner.call("DELETE", path)

    assert changed.json()["last_four"] == "4321"
    assert changed.json()["fingerprint"] != key["fingerprint"]
    assert off.json()["is_active"] is False
    assert gone.status_code == 204
    assert (await people.owner.get(f"/model-providers/{made['id']}"))["credentials"] == []


async def test_a_key_is_sent_to_no_other_address_than_the_one_it_was_given_for(shared_api: Api):
    people = await stage(shared_api)
    made = await people.owner.post("/model-providers", provider(project_id=people.project_id))
    path, elsewhere = f"/model-providers/{made['id']}", {"base_url": "https://evil.example.org"}

    problem = await people.owner.refused("PATCH", path, 409, json=elsewhere)
    await people.owner.call("DELETE", f"/provider-credentials/{made['credentials'][0]['id']}")
    moved = await people.owner.call("PATCH", path, json=elsewhere)

    assert problem["code"] == "provider_has_keys"
    assert moved.json()["base_url"] == "https://evil.example.org"


async def test_only_an_admin_names_an_address_inside_or_makes_one_for_all(shared_api: Api):
    people = await stage(shared_api)
    inside = provider(base_url="http://127.0.0.1:11434/v1", kind="openai_compatible")

    for_all = await people.owner.refused("POST", "/model-providers", 403, json=provider())
    of_project = {**inside, "project_id": people.project_id}
    private = await people.owner.refused("POST", "/model-providers", 422, json=of_project)
    made = await people.admin.post("/model-providers", inside)
    seen = await people.outsider.get(f"/model-providers/{made['id']}")
    change = {"is_active": False}
    await people.owner.refused("PATCH", f"/model-providers/{made['id']}", 403, json=change)

    assert for_all["code"] == "provider_forbidden"
    assert private["code"] == "provider_address_forbidden"
    assert seen["name"] == inside["name"]


Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def upstream(answer: Callable[[dict[str, str]], Answer]) -> Iterator[str]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        sent = {name.decode(): value.decode() for name, value in scope["headers"]}
        status, headers, body = answer({**sent, "path": scope["path"]})
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})

    with serve(app) as url:
        yield url


async def test_asking_a_provider_finds_its_models(shared_api: Api):
    people = await stage(shared_api)
    asked: list[dict[str, str]] = []
    name = unique("model")

    def answer(sent: dict[str, str]) -> Answer:
        asked.append(sent)
        return 200, {}, json.dumps({"data": [{"id": name}, {"id": "claude-b"}]}).encode()

    with upstream(answer) as url:
        body = provider(base_url=url, project_id=people.project_id)
        made = await people.admin.post("/model-providers", body)
        tested = await people.owner.post(f"/model-providers/{made['id']}/test", {})

    assert (tested["is_ok"], tested["models"]) == (True, sorted([name, "claude-b"]))
    [sent] = asked
    assert (sent["path"], sent["x-api-key"]) == ("/v1/models", KEY)
    assert sent["host"] == url.removeprefix("http://")
    of = {"project_id": people.project_id}
    models = await people.owner.get("/models", params=of)
    [found] = [model for model in models if model["name"] == name]
    assert found["provider"] == made["name"]
    await people.owner.call(
        "PUT", "/model-rules", json=of | {"allowed": [name], "aliases": {"fast": name}}
    )
    [only] = await people.owner.get("/models", params=of)
    assert (only["name"], only["aliases"], only["is_default"]) == (name, ["fast"], False)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((401, {}, b'{"error": {"message": "bad key ' + KEY.encode() + b'"}}'), "bad key ..."),
        ((302, {"location": "http://169.254.169.254/"}, b""), "redirects"),
        ((200, {}, b"<html>"), "not with a list of models"),
        ((500, {}, b"no \x1b[31mJSON"), "HTTP 500: no  [31mJSON"),
    ],
    ids=["refused", "elsewhere", "no list", "no JSON"],
)
async def test_what_a_provider_refuses_is_told_without_its_key(
    shared_api: Api, answer: Answer, told: str
):
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    with upstream(lambda _: answer) as url:
        made = await admin.post("/model-providers", provider(base_url=url))
        tested = await admin.post(f"/model-providers/{made['id']}/test", {})

    assert tested["is_ok"] is False
    assert told in tested["problem"]
    assert KEY not in tested["problem"]
    async with shared_api.database.read() as read:
        kept = await read.scalar(
            select(ModelProvider.test_problem).where(ModelProvider.id == UUID(made["id"]))
        )
    assert kept == tested["problem"]
