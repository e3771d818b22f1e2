import asyncio
import uuid
from typing import Any

import pytest
from sqlalchemy import select

from agentvine.domains.identity.enums import UserRole
from agentvine.domains.projects.models import Project
from agentvine.domains.work.jobs import QueueChores
from tests.support.api import Api, Caller, unknown_id
from tests.support.builders.identity import unique
from tests.support.builders.projects import make_repository

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def new_project(owner: Caller, **given: Any) -> dict[str, Any]:
    return await owner.post("/projects", {"name": unique("project")} | given)


async def let_in(owner: Caller, project: dict[str, Any], who: Caller, role: str = "developer"):
    body = {"username": who.actor.username, "role": role}
    answer = await owner.call("PUT", f"/projects/{project['id']}/members", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def ids(who: Caller, path: str) -> set[str]:
    return {row["id"] for row in (await who.get(path, params={"limit": 500}))["items"]}


async def test_a_project_is_its_makers(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    project = await new_project(owner, description="What for", github_repo="a/b")
    assert project["owner_id"] == str(owner.actor.user_id)
    assert (project["description"], project["github_repo"]) == ("What for", "a/b")
    assert (project["is_active"], project["row_version"]) == (True, 1)
    assert await owner.get(f"/projects/{project['id']}") == project


async def test_an_outsider_cannot_tell_a_project_from_nothing(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    outsider = await shared_api.person(unique("outsider"))
    project = await new_project(owner)

    assert project["id"] not in await ids(outsider, "/projects")
    for method, path, body in (
        ("GET", "/projects/{}", None),
        ("PATCH", "/projects/{}", {"name": "mine"}),
        ("DELETE", "/projects/{}", None),
        ("GET", "/projects/{}/members", None),
        ("PUT", "/projects/{}/members", {"username": outsider.actor.username}),
        ("DELETE", f"/projects/{{}}/members/{owner.actor.username}", None),
    ):
        theirs, nobodys = [
            await outsider.refused(method, path.format(key), 404, json=body)
            for key in (project["id"], unknown_id())
        ]
        assert theirs["code"] == nobodys["code"] == "project_not_found"
        assert theirs["detail"].replace(project["id"], unknown_id()) == nobodys["detail"]


async def test_members_see_and_work_as_their_role_says(shared_api: Api):
    owner, coder, reader = [await shared_api.person(unique("p")) for _ in range(3)]
    viewer = await shared_api.person(unique("viewer"), UserRole.VIEWER)
    project = await new_project(owner)
    path = f"/projects/{project['id']}"
    await let_in(owner, project, coder)
    await let_in(owner, project, reader, "viewer")
    await let_in(owner, project, viewer, "developer")

    for member in (coder, reader, viewer):
        assert (await member.get(path))["id"] == project["id"]
        assert project["id"] in await ids(member, "/projects")
    assert (await coder.call("PATCH", path, json={"description": "x"})).status_code == 200
    assert (await reader.refused("PATCH", path, 403, json={"name": "x"}))["code"] == (
        "project_read_only"
    )
    assert (await viewer.refused("PATCH", path, 403, json={"name": "x"}))["code"] == "role_too_low"
    for method, sub, body in (
        ("DELETE", "", None),
        ("PUT", "/members", {"username": reader.actor.username}),
        ("DELETE", f"/members/{reader.actor.username}", None),
    ):
        problem = await coder.refused(method, path + sub, 403, json=body)
        assert problem["code"] == "project_not_yours"


async def test_a_members_role_changes_and_ends_at_once(shared_api: Api):
    owner, member = [await shared_api.person(unique("p")) for _ in range(2)]
    project = await new_project(owner)
    path = f"/projects/{project['id']}"
    name = member.actor.username
    assert (await let_in(owner, project, member))["role"] == "developer"
    assert (await let_in(owner, project, member, "viewer"))["role"] == "viewer"
    await member.refused("PATCH", path, 403, json={"name": "x"})
    rows = (await owner.get(f"{path}/members"))["items"]
    assert [(row["username"], row["role"]) for row in rows] == [(name, "viewer")]

    assert (await owner.call("DELETE", f"{path}/members/{name.upper()}")).status_code == 204
    await member.refused("GET", path, 404)
    assert (await owner.refused("DELETE", f"{path}/members/{name}", 404))["code"] == (
        "member_unknown"
    )


async def test_many_who_let_the_same_person_in_at_once_all_succeed(shared_api: Api):
    owner, member = [await shared_api.person(unique("p")) for _ in range(2)]
    project = await new_project(owner)
    roles = ["developer", "viewer"] * 4
    rows = await asyncio.gather(*(let_in(owner, project, member, role) for role in roles))
    assert [row["role"] for row in rows] == roles
    assert len((await owner.get(f"/projects/{project['id']}/members"))["items"]) == 1


async def test_who_cannot_be_a_member_is_told_so(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    path = f"/projects/{(await new_project(owner))['id']}/members"
    nobody = {"username": unique("nobody")}
    assert (await owner.refused("PUT", path, 404, json=nobody))["code"] == "member_unknown"
    oneself = {"username": owner.actor.username, "role": "viewer"}
    assert (await owner.refused("PUT", path, 409, json=oneself))["code"] == "member_is_owner"
    await owner.refused("PUT", path, 422, json={**nobody, "role": "admin"})


async def test_an_admin_sees_and_administers_every_project(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    project = await new_project(owner)
    path = f"/projects/{project['id']}"
    assert (await admin.get(path))["owner_id"] == str(owner.actor.user_id)
    await let_in(admin, project, admin)
    assert (await admin.call("DELETE", path)).status_code == 204
    await owner.refused("GET", path, 404)


async def test_names_may_be_shared(shared_api: Api):
    one, two = [await shared_api.person(unique("p")) for _ in range(2)]
    name = unique("the same")
    made = [await person.post("/projects", {"name": name}) for person in (one, two, two)]
    assert len({project["id"] for project in made}) == 3


@pytest.mark.parametrize(
    "given",
    [
        {"name": ""},
        {"name": "   "},
        {"name": "x" * 101},
        {"name": None},
        {"name": "a\0b"},
        {"description": "x" * 100_001},
        {"github_repo": "no-slash"},
        {"github_repo": "a/b/c"},
        {"owner_id": unknown_id()},
        {"local_path": "/etc"},
    ],
)
async def test_what_a_project_cannot_be_is_refused_with_its_place(shared_api: Api, given):
    owner = await shared_api.person(unique("owner"))
    problem = await owner.refused("POST", "/projects", 422, json={"name": "x"} | given)
    assert problem["errors"][0]["pointer"] == f"/body/{next(iter(given))}"


async def test_an_edit_changes_what_is_given_and_null_empties_what_may_be_empty(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    project = await new_project(owner, description="d", github_repo="a/b")
    path = f"/projects/{project['id']}"
    assert (await owner.call("PATCH", path, json={})).json()["description"] == "d"
    emptied = (await owner.call("PATCH", path, json={"description": None})).json()
    assert (emptied["description"], emptied["github_repo"]) == (None, "a/b")
    for field in ("name", "is_active"):
        await owner.refused("PATCH", path, 422, json={field: None})


async def test_an_edit_of_an_older_version_is_refused(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    path = f"/projects/{(await new_project(owner))['id']}"

    async def edit(name: str, **headers: str):
        return await owner.call("PATCH", path, json={"name": name}, headers=headers)

    assert (await edit("two", **{"If-Match": '"1"'})).json()["row_version"] == 2
    stale = (await edit("three", **{"If-Match": '"1"'})).json()
    assert (stale["code"], stale["expected"], stale["current"]) == ("stale_version", 1, 2)
    assert (await owner.get(path))["name"] == "two"
    # Who does not say what they saw, or that they do not care, takes what comes.
    for accepted in ({}, {"If-Match": "*"}, {"If-Match": 'W/"4"'}, {"If-Match": "5"}):
        assert (await edit(unique("n"), **accepted)).status_code == 200, accepted
    for nonsense in ('"x"', '"-1"', '""', "1 2", '"1","2"', "9" * 5000):
        problem = (await edit("n", **{"If-Match": nonsense})).json()
        assert problem["code"] == "if_match_invalid"


async def test_of_many_edits_of_one_version_at_once_one_succeeds(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    path = f"/projects/{(await new_project(owner))['id']}"
    answers = await asyncio.gather(
        *(
            owner.call("PATCH", path, json={"name": f"n{n}"}, headers={"If-Match": '"1"'})
            for n in range(8)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    assert {a.json()["code"] for a in answers if a.status_code == 409} <= {
        "stale_version",
        "stale_row",
    }
    assert (await owner.get(path))["row_version"] == 2


async def a_task(api: Api, owner: Caller, project: dict[str, Any], **given: Any) -> dict[str, Any]:
    async with api.database.transaction(owner.actor) as tx:
        row = await tx.get_one(Project, uuid.UUID(project["id"]))
        repository = await make_repository(tx, owner.actor, row)
    body = {"title": "t", "repository_id": str(repository.id), "run": {"command": "true"}}
    return await owner.post("/tasks", body | given)


async def claim(worker: Caller, queue: str) -> list[Any]:
    session = str(uuid.uuid4())
    me = await worker.post(
        "/workers/register",
        {"name": unique("w"), "session_id": session, "runtimes": ["command"], "queues": [queue]},
    )
    body = {"worker_id": me["worker_id"], "session_id": session, "claim_token": "t" * 16}
    return (await worker.post("/queue/claim", body))["orders"]


async def test_in_an_archived_project_nothing_new_begins(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    project = await new_project(owner)
    queue = unique("queue")
    run = {"command": "true", "queue_name": queue}
    waiting = await a_task(shared_api, owner, project, run=run)
    held = await a_task(shared_api, owner, project, start=False)
    path = f"/projects/{project['id']}"
    assert (await owner.call("PATCH", path, json={"is_active": False})).status_code == 200

    for method, place, body in (
        ("POST", "/tasks", {"title": "t", "project_id": project["id"], "start": False}),
        ("POST", f"/tasks/{held['id']}/start", None),
    ):
        assert (await owner.refused(method, place, 409, json=body))["code"] == "project_archived"
    assert await claim(await shared_api.worker(unique("token")), queue) == []
    # What is there can be looked at and ended, and the project taken up again.
    assert (await owner.get(f"/tasks/{waiting['id']}"))["status"] == "queued"
    assert (await owner.post(f"/tasks/{held['id']}/cancel"))["status"] == "cancelled"
    assert (await owner.call("PATCH", path, json={"is_active": True})).status_code == 200
    assert len(await claim(await shared_api.worker(unique("token")), queue)) == 1


async def test_a_deleted_project_takes_its_tasks_out_of_sight_and_out_of_the_queue(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    project = await new_project(owner)
    queue = unique("queue")
    run = {"command": "true", "queue_name": queue}
    task = await a_task(shared_api, owner, project, run=run)
    assert (await owner.call("DELETE", f"/projects/{project['id']}")).status_code == 204

    for person in (owner, admin):
        await person.refused("GET", f"/projects/{project['id']}", 404)
        await person.refused("GET", f"/tasks/{task['id']}", 404)
        assert project["id"] not in await ids(person, "/projects")
        assert task["id"] not in await ids(person, "/tasks")
        assert task["repository_id"] not in await ids(person, "/repositories")
        await person.refused("GET", f"/repositories/{task['repository_id']}", 404)
    assert await claim(await shared_api.worker(unique("token")), queue) == []
    await QueueChores(shared_api.database, shared_api.settings.queue).end_stranded()
    orders = await admin.get("/queue/orders", params={"limit": 500})
    assert task["id"] not in {order["task_id"] for order in orders["items"]}
    async with shared_api.database.read() as read:
        row = await read.get_one(Project, uuid.UUID(project["id"]))
        assert row.deleted_at is not None
        assert await read.scalar(select(Project.id).where(Project.id == row.id)) is not None
    await owner.refused("DELETE", f"/projects/{project['id']}", 404)
