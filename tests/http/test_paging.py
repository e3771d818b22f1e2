import base64
import json
from typing import Any

import pytest

from agentvine.kit.pagination import MAX_LIMIT, encode_cursor
from agentvine.protocol.enums import UserRole
from tests.support.api import Api, Caller
from tests.support.builders.identity import unique

SOME_ID = "01a215c6-9fad-7720-8714-f7a189a575bd"

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def with_projects(api: Api, count: int) -> tuple[Caller, list[str]]:
    owner = await api.person(unique("owner"))
    made = [await owner.post("/projects", {"name": f"p{n}"}) for n in range(count)]
    return owner, [project["id"] for project in made]


async def walk(who: Caller, path: str, limit: int) -> list[Any]:
    items: list[Any] = []
    params: dict[str, Any] = {"limit": limit}
    while True:
        page = await who.get(path, params=params)
        assert len(page["items"]) <= limit
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        params["cursor"] = page["next_cursor"]


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8])
async def test_pages_of_any_size_show_each_row_once_in_order(shared_api: Api, limit: int):
    owner, ids = await with_projects(shared_api, 7)
    assert [row["id"] for row in await walk(owner, "/projects", limit)] == ids


async def test_an_empty_list_and_a_list_that_ends_with_its_page_say_so(shared_api: Api):
    owner, _ = await with_projects(shared_api, 0)
    assert await owner.get("/projects") == {"items": [], "next_cursor": None}
    owner, ids = await with_projects(shared_api, 2)
    page = await owner.get("/projects", params={"limit": 2})
    assert ([row["id"] for row in page["items"]], page["next_cursor"]) == (ids, None)


async def test_rows_that_come_and_go_between_pages_shift_nothing(shared_api: Api):
    owner, ids = await with_projects(shared_api, 4)
    first = await owner.get("/projects", params={"limit": 2})
    new = (await owner.post("/projects", {"name": "new"}))["id"]
    for gone in (ids[0], ids[1]):  # the cursor's own row, too
        await owner.call("DELETE", f"/projects/{gone}")
    rest = await owner.get("/projects", params={"limit": 9, "cursor": first["next_cursor"]})
    assert [row["id"] for row in rest["items"]] == [*ids[2:], new]


async def test_a_list_by_name_goes_on_by_name(shared_api: Api):
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    names = [unique(word) for word in ("zoe", "adam", "mia", "adam")]
    for name in names:
        await admin.post("/users", {"username": name, "email": f"{name}@example.org"})
    listed = [row["username"] for row in await walk(admin, "/users", 2)]
    assert len(listed) == len(set(listed))
    assert [name for name in listed if name in names] == sorted(names)


@pytest.mark.parametrize("limit", [0, -1, MAX_LIMIT + 1, 10**30, "", "x", "1.5", "NaN"])
async def test_a_limit_has_bounds(shared_api: Api, limit: Any):
    owner, _ = await with_projects(shared_api, 0)
    problem = await owner.refused("GET", "/projects", 422, params={"limit": limit})
    assert problem["errors"][0]["pointer"] == "/query/limit"


def forged(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "!!!!",
        "é",
        "a b",
        "A" * 500,
        forged("text"),
        forged(1),
        forged(None),
        forged([]),
        forged(["Project.id"]),
        forged(["Project.id", 1]),
        forged(["Project.id", None]),
        forged(["Project.id", "not an id"]),
        forged(["Project.id", "0" * 300]),
        forged([["Project.id"], SOME_ID]),
        forged({"Project.id": 1, "x": 2}),
        forged(["User.username", "\ud800"]),
        forged(["User.username", "a\0b"]),
        encode_cursor("Task.id", SOME_ID),
        encode_cursor("User.id", SOME_ID),
    ],
)
async def test_a_forged_or_foreign_cursor_is_refused(shared_api: Api, cursor: str):
    owner, _ = await with_projects(shared_api, 0)
    for path in ("/projects", "/users"):
        problem = await owner.refused("GET", path, 422, params={"cursor": cursor})
        assert problem["code"] == "cursor_invalid"
        assert "cursor" in problem["detail"]


async def test_a_cursor_has_a_length(shared_api: Api):
    owner, _ = await with_projects(shared_api, 0)
    problem = await owner.refused("GET", "/projects", 422, params={"cursor": "A" * 501})
    assert problem["errors"][0]["pointer"] == "/query/cursor"


async def test_a_cursor_shows_nothing_that_its_user_may_not_see(shared_api: Api):
    _, ids = await with_projects(shared_api, 3)
    other, mine = await with_projects(shared_api, 1)
    page = await other.get("/projects", params={"cursor": encode_cursor("Project.id", ids[0])})
    assert [row["id"] for row in page["items"]] == mine


async def test_an_empty_cursor_is_the_beginning(shared_api: Api):
    owner, ids = await with_projects(shared_api, 1)
    page = await owner.get("/projects", params={"cursor": ""})
    assert [row["id"] for row in page["items"]] == ids
