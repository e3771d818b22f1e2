import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select

from agentvine.domains.identity.enums import UserRole
from agentvine.domains.identity.models import User
from tests.support.api import Api, Caller, unknown_id
from tests.support.builders.identity import unique

pytestmark = pytest.mark.asyncio(loop_scope="module")


def wanted(name: str, **given: Any) -> dict[str, Any]:
    return {"username": name, "email": f"{name}@example.org", **given}


async def an_admin(api: Api) -> Caller:
    return await api.person(unique("admin"), UserRole.ADMIN)


@pytest.mark.parametrize(
    ("given", "role", "is_admin"),
    [
        ({}, "developer", False),
        ({"role": "user"}, "developer", False),
        ({"role": "developer"}, "developer", False),
        ({"role": "viewer"}, "viewer", False),
        ({"role": "admin"}, "admin", True),
    ],
)
async def test_a_role_is_given_and_whether_it_is_admin_follows(
    shared_api: Api, given, role, is_admin
):
    admin = await an_admin(shared_api)
    user = (await admin.post("/users", wanted(unique("new"), **given)))["user"]
    assert (user["role"], user["is_admin"], user["is_active"]) == (role, is_admin, True)
    changed = await admin.call("PATCH", f"/users/{user['id']}", json={"role": "user"})
    assert (changed.json()["role"], changed.json()["is_admin"]) == ("developer", False)


@pytest.mark.parametrize("role", ["root", "Admin", "", None, 1])
async def test_another_role_is_refused(shared_api: Api, role):
    admin = await an_admin(shared_api)
    problem = await admin.refused("POST", "/users", 422, json=wanted(unique("x"), role=role))
    assert problem["errors"][0]["pointer"] == "/body/role"


async def test_whether_somebody_is_admin_is_nothing_a_client_can_say(shared_api: Api):
    admin = await an_admin(shared_api)
    for field in ("is_admin", "password_hash", "id", "is_2fa_enabled"):
        await admin.refused("POST", "/users", 422, json=wanted(unique("x"), **{field: True}))
        await admin.refused("PATCH", f"/users/{admin.actor.user_id}", 422, json={field: True})


async def test_a_made_password_is_shown_once_and_a_given_one_never(shared_api: Api):
    admin = await an_admin(shared_api)
    made = await admin.post("/users", wanted(unique("new")))
    given = await admin.post("/users", wanted(unique("new"), password="long enough, I hope"))
    assert len(made["password"]) >= 16
    assert given["password"] is None
    for user in (made, given):
        again = await admin.get(f"/users/{user['user']['id']}")
        assert not {"password", "password_hash"} & set(again)


@pytest.mark.parametrize("field", ["username", "email"])
async def test_a_name_or_address_is_taken_in_any_case(shared_api: Api, field: str):
    admin = await an_admin(shared_api)
    first = wanted(unique("taken"))
    await admin.post("/users", first)
    second = wanted(unique("other")) | {field: first[field].upper()}
    problem = await admin.refused("POST", "/users", 409, json=second)
    assert problem["code"] == "user_exists"


async def test_names_are_kept_in_small_letters(shared_api: Api):
    admin = await an_admin(shared_api)
    name = unique("Grace").replace("g", "G")
    body = {"username": name, "email": f"{name}.Ö@Example.org"}
    user = (await admin.post("/users", body))["user"]
    assert (user["username"], user["email"]) == (name.lower(), f"{name}.Ö@Example.org".lower())


async def test_of_many_who_want_one_name_at_once_one_gets_it(shared_api: Api):
    admin = await an_admin(shared_api)
    name = unique("race")
    spellings = [name, name.upper(), name.title(), name]
    bodies = [
        {"username": spelling, "email": f"{n}-{name}@example.org"}
        for n, spelling in enumerate(spellings)
    ]
    answers = await asyncio.gather(*(admin.call("POST", "/users", json=body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"user_exists"}
    async with shared_api.database.read() as read:
        assert (
            await read.scalar(
                select(func.count()).select_from(User).where(func.lower(User.username) == name)
            )
            == 1
        )


async def test_an_address_cannot_be_changed_to_anothers(shared_api: Api):
    admin = await an_admin(shared_api)
    path = f"/users/{admin.actor.user_id}"
    taken = (await admin.post("/users", wanted(unique("taken"))))["user"]["email"]
    problem = await admin.refused("PATCH", path, 409, json={"email": taken.upper()})
    assert problem["code"] == "user_exists"
    own = (await admin.get(path))["email"]
    assert (await admin.call("PATCH", path, json={"email": own.upper()})).json()["email"] == own


async def test_what_is_left_out_of_an_edit_stays(shared_api: Api):
    admin = await an_admin(shared_api)
    user = (await admin.post("/users", wanted(unique("x"), full_name="A Name")))["user"]
    path = f"/users/{user['id']}"
    assert (await admin.call("PATCH", path, json={})).json()["full_name"] == "A Name"
    assert (await admin.call("PATCH", path, json={"full_name": None})).json()["full_name"] is None
    for field in ("email", "role", "is_active"):
        problem = await admin.refused("PATCH", path, 422, json={field: None})
        assert field in problem["detail"]


async def test_there_is_no_user_of_an_unknown_id(shared_api: Api):
    admin = await an_admin(shared_api)
    for method in ("GET", "PATCH"):
        problem = await admin.refused(method, f"/users/{unknown_id()}", 404, json={})
        assert problem["code"] == "user_not_found"


@pytest.mark.parametrize(
    "given",
    [
        {"username": ""},
        {"username": "x" * 51},
        {"username": "a b"},
        {"username": "a@b"},
        {"username": "-rf"},
        {"username": "ünï"},
        {"username": "a\nb"},
        {"email": "none"},
        {"email": "a@b c"},
        {"email": "a" * 250 + "@b.org"},
        {"password": "short"},
        {"password": "x" * 501},
        {"full_name": "x" * 256},
        {"full_name": "a\0b"},
        {"nickname": "x"},
    ],
)
async def test_what_a_user_cannot_be_is_refused_with_its_place(shared_api: Api, given):
    admin = await an_admin(shared_api)
    problem = await admin.refused("POST", "/users", 422, json=wanted(unique("x")) | given)
    assert problem["errors"][0]["pointer"] == f"/body/{next(iter(given))}"
