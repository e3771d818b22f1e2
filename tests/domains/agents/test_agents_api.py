"""Agents over HTTP: how they are set up, what is kept of it, and who gives them work."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, select

from agentvine.domains.agents.models import Agent
from agentvine.domains.conversations.enums import ConversationType
from agentvine.domains.conversations.models import Conversation
from agentvine.domains.identity.models import AuditEvent
from agentvine.kit.ids import new_id
from agentvine.protocol.enums import UserRole
from tests.support.api import Api, Caller
from tests.support.builders.identity import unique

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Stage:
    owner: Caller
    admin: Caller
    project_id: str


async def stage(api: Api) -> Stage:
    owner = await api.person(unique("owner"))
    return Stage(
        owner,
        await api.person(unique("admin"), UserRole.ADMIN),
        (await owner.post("/projects", {"name": unique("project")}))["id"],
    )


def coder(**fields: Any) -> dict[str, Any]:
    return {"name": unique("coder"), "type": "coder", **fields}


async def test_each_change_is_a_revision_that_can_be_restored(shared_api: Api):
    people = await stage(shared_api)
    made = await people.owner.post(
        "/agents",
        coder(
            project_id=people.project_id,
            model_settings={"model": "small", "effort": "low"},
            system_prompt="Be brief.",
        ),
    )
    path = f"/agents/{made['id']}"

    edited = await people.owner.call(
        "PATCH", path, json={"model_settings": {"model": "large"}, "system_prompt": None}
    )
    same = await people.owner.call("PATCH", path, json={"model_settings": {"model": "large"}})
    restored = await people.owner.post(f"{path}/restore", {"revision": 1})
    kept = (await people.owner.get(f"{path}/revisions"))["items"]

    assert (made["revision"], edited.json()["revision"], same.json()["revision"]) == (1, 2, 2)
    assert edited.json()["system_prompt"] is None
    assert (restored["revision"], restored["system_prompt"]) == (3, "Be brief.")
    assert restored["model_settings"] == made["model_settings"]
    assert [row["revision"] for row in kept] == [3, 2, 1]
    assert [row["model_settings"]["model"] for row in kept] == ["small", "large", "small"]
    me = await people.owner.get("/auth/whoami")
    assert {row["changed_by"] for row in kept} == {f"user:{me['user']['username']}"}
    await people.owner.refused("POST", f"{path}/restore", 404, json={"revision": 9})
    async with shared_api.database.read() as read:
        said = await read.scalars(
            select(AuditEvent.action)
            .where(AuditEvent.entity_id == made["id"])
            .order_by(AuditEvent.id)
        )
        assert list(said) == ["agent.created", "agent.edited", "agent.restored"]


async def test_a_change_decided_on_an_older_revision_is_refused(shared_api: Api):
    people = await stage(shared_api)
    made = await people.owner.post("/agents", coder(project_id=people.project_id))
    path = f"/agents/{made['id']}"
    await people.owner.call("PATCH", path, json={"system_prompt": "first"})

    late = await people.owner.refused(
        "PATCH", path, 409, json={"system_prompt": "second"}, headers={"If-Match": '"1"'}
    )

    assert late["code"] == "stale_version"
    assert (await people.owner.get(path))["system_prompt"] == "first"


async def test_names_are_told_apart_within_a_project_whatever_their_case(shared_api: Api):
    people = await stage(shared_api)
    name = unique("Ada")
    await people.owner.post("/agents", coder(name=name, project_id=people.project_id))
    other = await people.owner.post("/projects", {"name": unique("project")})
    twin = coder(name=name.upper(), project_id=people.project_id)

    problem = await people.owner.refused("POST", "/agents", 409, json=twin)
    second = await people.owner.post("/agents", twin | {"project_id": other["id"]})

    assert problem["code"] == "agent_exists"
    third = await people.owner.post("/agents", coder(project_id=people.project_id))
    renamed = await people.owner.refused(
        "PATCH", f"/agents/{third['id']}", 409, json={"name": name}
    )
    assert (renamed["code"], second["name"]) == ("agent_exists", name.upper())


async def test_agents_of_all_projects_are_seen_by_all_and_changed_by_admins(shared_api: Api):
    people = await stage(shared_api)
    body = coder()

    refused = await people.owner.refused("POST", "/agents", 403, json=body)
    made = await people.admin.post("/agents", body)
    seen = await people.owner.get("/agents", params={"project_id": people.project_id})
    for method, path, sent in (
        ("PATCH", f"/agents/{made['id']}", {"system_prompt": "x"}),
        ("POST", f"/agents/{made['id']}/restore", {"revision": 1}),
        ("DELETE", f"/agents/{made['id']}", None),
    ):
        problem = await people.owner.refused(method, path, 403, json=sent)
        assert problem["code"] == "agent_forbidden"

    assert refused["code"] == "agent_forbidden"
    assert made["id"] in {row["id"] for row in seen["items"]}


@pytest.mark.parametrize("path", ["/etc/passwd", "../rules.md", "a/../../b", "a\\b"])
async def test_rules_are_read_inside_the_repository_only(shared_api: Api, path: str):
    people = await stage(shared_api)
    body = coder(project_id=people.project_id, rules_file_path=path)

    problem = await people.owner.refused("POST", "/agents", 422, json=body)

    assert problem["code"] == "rules_path_invalid"


@pytest.mark.parametrize(
    "settings", [{"temperature": 3}, {"effort": "most"}, {"max_turns": 0}, {"colour": "red"}]
)
async def test_settings_of_models_are_checked(shared_api: Api, settings: dict[str, Any]):
    people = await stage(shared_api)
    body = coder(project_id=people.project_id, model_settings=settings)

    await people.owner.refused("POST", "/agents", 422, json=body)


async def test_a_task_of_an_agent_takes_its_runtime_unless_it_names_one(shared_api: Api):
    people = await stage(shared_api)
    agent = await people.owner.post(
        "/agents", coder(project_id=people.project_id, model_settings={"runtime": "elsewhere"})
    )
    task = {"project_id": people.project_id, "agent_id": agent["id"], "start": False, "title": "t"}

    by_agent = await people.owner.post("/tasks", task)
    by_task = await people.owner.post("/tasks", task | {"run": {"runtime": "command"}})
    free = await people.owner.post("/tasks", task | {"agent_id": None})
    listed = await people.owner.get("/tasks", params={"agent_id": agent["id"]})

    assert (by_agent["run"]["runtime"], by_agent["agent_id"]) == ("elsewhere", agent["id"])
    assert (by_task["run"]["runtime"], free["agent_id"]) == ("command", None)
    assert {row["id"] for row in listed["items"]} == {by_agent["id"], by_task["id"]}
    emptied = await people.owner.call("PATCH", f"/tasks/{by_agent['id']}", json={"agent_id": None})
    assigned = await people.owner.call(
        "PATCH", f"/tasks/{free['id']}", json={"agent_id": agent["id"]}
    )
    assert (emptied.json()["agent_id"], assigned.json()["agent_id"]) == (None, agent["id"])


async def test_who_is_inactive_or_elsewhere_takes_no_task(shared_api: Api):
    people = await stage(shared_api)
    other = await people.owner.post("/projects", {"name": unique("project")})
    elsewhere = await people.owner.post("/agents", coder(project_id=other["id"]))
    idle = await people.owner.post("/agents", coder(project_id=people.project_id))
    await people.owner.call("PATCH", f"/agents/{idle['id']}", json={"is_active": False})
    task = await people.owner.post(
        "/tasks", {"title": "t", "project_id": people.project_id, "start": False}
    )

    for agent in (elsewhere, idle):
        body = {"title": "t", "project_id": people.project_id, "agent_id": agent["id"]}
        made = await people.owner.refused("POST", "/tasks", 422, json=body)
        edited = await people.owner.refused(
            "PATCH", f"/tasks/{task['id']}", 422, json={"agent_id": agent["id"]}
        )
        assert {made["code"], edited["code"]} == {"agent_unusable"}


async def test_what_a_deleted_agent_did_stays_without_it(shared_api: Api):
    people = await stage(shared_api)
    agent = await people.owner.post("/agents", coder(project_id=people.project_id))
    task = await people.owner.post(
        "/tasks",
        {
            "title": "t",
            "project_id": people.project_id,
            "agent_id": agent["id"],
            "start": False,
        },
    )

    await people.owner.call("DELETE", f"/agents/{agent['id']}")

    assert (await people.owner.get(f"/tasks/{task['id']}"))["agent_id"] is None
    await people.owner.refused("GET", f"/agents/{agent['id']}", 404)


async def test_an_agent_that_began_a_conversation_is_retired_and_not_deleted(shared_api: Api):
    people = await stage(shared_api)
    agent = await people.owner.post("/agents", coder(project_id=people.project_id))
    values = {
        "id": new_id(),
        "type": ConversationType.GENERAL,
        "project_id": UUID(people.project_id),
        "created_by_agent_id": UUID(agent["id"]),
    }
    async with shared_api.database.transaction() as tx:
        await tx.execute(insert(Conversation).values(**values))

    problem = await people.owner.refused("DELETE", f"/agents/{agent['id']}", 409)

    assert problem["code"] == "agent_in_use"


async def test_what_raw_sql_wrote_is_read_as_far_as_it_can_be(shared_api: Api):
    people = await stage(shared_api)
    agent_id = new_id()
    config = {"model": "large", "temperature": "hot", "colour": "red"}
    values = {"id": agent_id, "name": unique("raw"), "type": "coder", "model_config": config}
    async with shared_api.database.transaction() as tx:
        await tx.execute(insert(Agent).values(**values, project_id=UUID(people.project_id)))

    seen = await people.owner.get(f"/agents/{agent_id}")
    await people.owner.call("PATCH", f"/agents/{agent_id}", json={"system_prompt": "Be brief."})
    kept = (await people.owner.get(f"/agents/{agent_id}/revisions"))["items"]

    assert (seen["model_settings"]["model"], seen["model_settings"]["temperature"]) == (
        "large",
        None,
    )
    assert [row["revision"] for row in kept] == [2, 1]
    assert [row["changed_by"] == "unknown" for row in kept] == [False, True]


async def test_nothing_new_is_set_up_in_an_archived_project(shared_api: Api):
    people = await stage(shared_api)
    await people.owner.call("PATCH", f"/projects/{people.project_id}", json={"is_active": False})

    problem = await people.owner.refused(
        "POST", "/agents", 409, json=coder(project_id=people.project_id)
    )

    assert problem["code"] == "project_archived"
