import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from agentvine.domains.identity.enums import UserRole
from agentvine.domains.identity.idempotency import KEPT_FOR
from agentvine.domains.identity.jobs import TidyingChore
from agentvine.domains.identity.models import IdempotencyKey
from agentvine.domains.projects.models import Project
from tests.support.api import Api, Caller
from tests.support.builders.identity import make_token, unique

pytestmark = pytest.mark.asyncio(loop_scope="module")


def keyed(key: str) -> dict[str, Any]:
    return {"headers": {"Idempotency-Key": key}}


async def projects_of(api: Api, owner: Caller) -> int:
    async with api.database.read() as read:
        query = select(func.count()).select_from(Project)
        return await read.scalar(query.where(Project.owner_id == owner.actor.user_id)) or 0


async def test_a_repeated_create_gives_the_first_answer(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    body = {"name": "once"}
    first = await owner.call("POST", "/projects", json=body, **keyed("k"))
    # What happened since does not change it.
    await owner.call("PATCH", f"/projects/{first.json()['id']}", json={"name": "renamed"})
    again = await owner.call("POST", "/projects", json=body, **keyed("k"))
    assert (
        (again.status_code, again.json())
        == (first.status_code, first.json())
        == (
            201,
            first.json(),
        )
    )
    assert await projects_of(shared_api, owner) == 1


async def test_the_order_of_fields_and_blanks_in_a_body_do_not_matter(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    first = await owner.post("/projects", {"name": "a", "description": "b"}, **keyed("k"))
    text = b'{ "description":"b" , "name":"a"}'
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    again = await owner.call("POST", "/projects", content=text, headers=headers)
    assert again.json() == first


async def test_a_key_belongs_to_one_request(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    project = await owner.post("/projects", {"name": "a"}, **keyed("k"))
    for path, body in (
        ("/projects", {"name": "b"}),
        ("/tasks", {"title": "a", "project_id": project["id"], "start": False}),
    ):
        problem = await owner.refused("POST", path, 409, json=body, **keyed("k"))
        assert problem["code"] == "idempotency_key_reused"
    assert await projects_of(shared_api, owner) == 1


async def test_a_key_is_ones_own(shared_api: Api):
    people = [await shared_api.person(unique("owner")) for _ in range(2)]
    made = [await person.post("/projects", {"name": "a"}, **keyed("same")) for person in people]
    assert made[0]["id"] != made[1]["id"]
    assert made[1]["owner_id"] == str(people[1].actor.user_id)


async def test_the_same_person_with_another_token_is_the_same_person(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    assert owner.user is not None
    async with shared_api.database.transaction() as tx:
        other = await shared_api.with_token(await make_token(tx, owner.user, "projects:write"))
        reader = await shared_api.with_token(await make_token(tx, owner.user, "projects:read"))
    first = await owner.post("/projects", {"name": "a"}, **keyed("k"))
    assert await other.post("/projects", {"name": "a"}, **keyed("k")) == first
    # A token that may not create does not get the answer either.
    await reader.refused("POST", "/projects", 403, json={"name": "a"}, **keyed("k"))


async def test_of_many_at_once_with_one_key_one_creates_and_all_get_its_answer(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    answers = await asyncio.gather(
        *(owner.call("POST", "/projects", json={"name": "a"}, **keyed("k")) for _ in range(12))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await projects_of(shared_api, owner) == 1


async def test_a_create_that_failed_may_be_repeated_with_its_key(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    other = await shared_api.person(unique("other"))
    project = await owner.post("/projects", {"name": "theirs"})
    body = {"title": "t", "project_id": project["id"], "start": False}
    await other.refused("POST", "/tasks", 404, json=body, **keyed("k"))
    member = {"username": other.actor.username}
    await owner.call("PUT", f"/projects/{project['id']}/members", json=member)
    assert (await other.post("/tasks", body, **keyed("k")))["title"] == "t"


async def test_an_answer_with_a_secret_is_not_kept_and_its_key_is_refused(shared_api: Api):
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    name = unique("new")
    for path, body in (
        ("/tokens", {"name": "x"}),
        ("/users", {"username": name, "email": f"{name}@b.org"}),
    ):
        problem = await admin.refused("POST", path, 422, json=body, **keyed("k"))
        assert problem["code"] == "idempotency_key_invalid"
    async with shared_api.database.read() as read:
        mine = IdempotencyKey.actor_id == admin.actor.actor_id
        assert await read.scalar(select(func.count()).select_from(IdempotencyKey).where(mine)) == 0


@pytest.mark.parametrize("key", ["", "x" * 201])
async def test_a_key_has_a_length(shared_api: Api, key: str):
    owner = await shared_api.person(unique("owner"))
    problem = await owner.refused("POST", "/projects", 422, json={"name": "a"}, **keyed(key))
    assert problem["code"] == "idempotency_key_invalid"
    await owner.post("/projects", {"name": "a"}, **keyed("x" * 200))


async def test_old_answers_are_forgotten_and_young_ones_are_not(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    for key in ("old", "young"):
        await owner.post("/projects", {"name": key}, **keyed(key))
    async with shared_api.database.transaction() as tx:
        await tx.execute(
            update(IdempotencyKey)
            .where(IdempotencyKey.key == "old")
            .values(created_at=tx.now - KEPT_FOR - timedelta(seconds=1))
            .execution_options(synchronize_session=False)
        )
    await TidyingChore(shared_api.database).run()
    for key in ("old", "young"):
        await owner.post("/projects", {"name": key}, **keyed(key))
    assert await projects_of(shared_api, owner) == 3
