"""Templates as rows: made, found, replaced, removed, rendered; by whom, on both databases."""

import asyncio
import uuid
from typing import Any

import pytest
from sqlalchemy import event, insert, text

from agentvine.db.session import Database
from agentvine.domains.templates import queries
from agentvine.domains.templates.models import Template
from agentvine.domains.templates.queries import Wanted
from agentvine.kit.actor import UserActor
from agentvine.kit.ids import new_id
from agentvine.kit.pagination import PageRequest
from agentvine.protocol.enums import UserRole
from tests.support.api import Api, Caller
from tests.support.builders.identity import unique

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN = UserActor(user_id=uuid.uuid4(), username="admin", role="admin")


def body(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "category": "data",
        "tech_stack": ["Python", "DuckDB"],
        "variables": [{"name": "name"}, {"name": "size", "default": "3", "pattern": "[0-9]+"}],
        "files": {"{{ name }}.txt": "{{ size }}\n", "run": {"content": "x", "executable": True}},
        **more,
    }


async def owner_of_a_project(api: Api) -> tuple[Caller, str]:
    owner = await api.person(unique("owner"))
    return owner, (await owner.post("/projects", {"name": unique("project")}))["id"]


async def names(caller: Caller, **params: Any) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = await caller.get(
            "/templates", params=params | ({"cursor": cursor} if cursor else {})
        )
        found += [row["name"] for row in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


async def test_a_template_is_kept_rendered_replaced_and_removed(shared_api: Api):
    owner, project_id = await owner_of_a_project(shared_api)
    name = unique("mine")
    made = await owner.post("/templates", body(name, project_id=project_id))
    path = f"/templates/{made['id']}"

    rendered = await owner.post(f"{path}/render", {"values": {"name": "a"}})
    missing = await owner.refused("POST", f"{path}/render", 422, json={"values": {}})
    new = body(name, files={"a": "{{ name }}"}, variables=[{"name": "name", "default": "n"}])
    replaced = (await owner.call("PUT", path, json=new, headers={"If-Match": '"1"'})).json()
    late = await owner.refused("PUT", path, 409, json=new, headers={"If-Match": '"1"'})
    same = (await owner.call("PUT", path, json=new)).json()

    assert made["tech_stack"] == ["duckdb", "python"]
    assert (made["required_vars"], made["optional_vars"]) == (["name"], ["size"])
    assert (made["source"], made["version"], made["project_id"]) == ("own", 1, project_id)
    assert [(file["path"], file["content"], file["executable"]) for file in rendered["files"]] == [
        ("a.txt", "3\n", False),
        ("run", "x", True),
    ]
    assert rendered["values"] == {"name": "a", "size": "3"}
    assert (missing["code"], missing["variables"]) == ("template_variable_missing", ["name"])
    assert (replaced["version"], replaced["required_vars"]) == (2, [])
    assert (late["code"], same["version"]) == ("stale_version", 2)
    assert (await owner.call("DELETE", path)).status_code == 204
    await owner.refused("GET", path, 404)


async def test_what_could_not_be_rendered_is_not_kept(shared_api: Api):
    owner, project_id = await owner_of_a_project(shared_api)
    files = {"a.txt": "\n{{ nope }}"}
    bad = body(unique("bad"), project_id=project_id, files=files)
    problem = await owner.refused("POST", "/templates", 422, json=bad)
    assert (problem["code"], problem["file"], problem["line"]) == ("template_invalid", "a.txt", 2)
    assert await names(owner, word=bad["name"]) == []


async def test_a_name_is_taken_once_in_a_project_and_never_from_the_package(shared_api: Api):
    owner, project_id = await owner_of_a_project(shared_api)
    other = (await owner.post("/projects", {"name": unique("project")}))["id"]
    name = unique("twice")
    first = await owner.post("/templates", body(name, project_id=project_id))
    await owner.post("/templates", body(name, project_id=other))

    twice = await owner.refused("POST", "/templates", 409, json=body(name, project_id=project_id))
    shipped = body("python-cli", project_id=project_id)
    built_in = await owner.refused("POST", "/templates", 409, json=shipped)
    second = await owner.post("/templates", body(unique("else"), project_id=project_id))
    renamed = await owner.refused("PUT", f"/templates/{second['id']}", 409, json=body(name))

    assert twice["code"] == built_in["code"] == renamed["code"] == "template_name_taken"
    assert first["name"] == name


async def test_built_in_templates_are_read_only_and_come_first(shared_api: Api):
    owner, project_id = await owner_of_a_project(shared_api)
    made = [unique("own") for _ in range(3)]
    for name in made:
        await owner.post("/templates", body(name, project_id=project_id))
    listed = await names(owner, project_id=project_id, limit=2)
    cli = (await owner.get("/templates", params={"word": "python-cli"}))["items"][0]
    path = f"/templates/{cli['id']}"

    assert listed[-3:] == made
    assert len(listed) == len(set(listed))
    assert listed.index("python-cli") < listed.index(made[0])
    assert (cli["source"], cli["version"]) == ("built_in", 1)
    assert "src/{{ package }}/cli.py" in (await owner.get(path))["files"]
    rendered = await owner.post(f"{path}/render", {"values": {"name": "tool"}})
    assert "src/tool/cli.py" in [file["path"] for file in rendered["files"]]
    for refused in (
        await owner.refused("DELETE", path, 409),
        await owner.refused("PUT", path, 409, json=body("other")),
    ):
        assert refused["code"] == "template_built_in"


async def test_templates_are_found_by_stack_tag_category_and_words(shared_api: Api):
    owner, project_id = await owner_of_a_project(shared_api)
    mine = unique("mine")
    tags = [f"Tag {mine}", "etl"]
    await owner.post(
        "/templates", body(mine, project_id=project_id, tags=tags, complexity="complex")
    )
    of_mine = {"project_id": project_id}

    assert await names(owner, **of_mine, stack=["python", "DuckDB"]) == [mine]
    assert await names(owner, **of_mine, stack="duckdb", tag=f"tag {mine}") == [mine]
    assert await names(owner, **of_mine, tag="etl") == ["data-pipeline", mine]
    assert await names(owner, **of_mine, category="data") == ["data-pipeline", mine]
    assert await names(owner, **of_mine, complexity="complex") == [mine]
    assert await names(owner, **of_mine, word=mine[:6].upper()) == [mine]
    assert await names(owner, **of_mine, word=["duckdb", "etl"]) == [mine]
    assert await names(owner, **of_mine, word=["duckdb", "web"]) == []
    assert await names(owner, stack="FastAPI", word="service") == ["fastapi-service"]


async def test_nobody_sees_templates_of_projects_that_they_may_not_see(shared_api: Api):
    owner, project_id = await owner_of_a_project(shared_api)
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    stranger = await shared_api.person(unique("stranger"))
    word = unique("word")
    mine = await owner.post("/templates", body(f"{word}-mine", project_id=project_id))
    problem = await owner.refused("POST", "/templates", 403, json=body(f"{word}-all"))
    shared = await admin.post("/templates", body(f"{word}-all"))

    assert problem["code"] == "template_forbidden"
    assert await names(owner, word=word) == [f"{word}-mine", f"{word}-all"]
    assert await names(stranger, word=word) == [f"{word}-all"]
    await stranger.refused("POST", f"/templates/{mine['id']}/render", 404, json={"values": {}})
    refused = await owner.refused("DELETE", f"/templates/{shared['id']}", 403)
    assert refused["code"] == "template_forbidden"
    assert (await admin.call("DELETE", f"/templates/{shared['id']}")).status_code == 204


async def test_rows_of_raw_sql_can_be_used_and_unreadable_ones_say_so(shared_api: Api):
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    good, bad = unique("raw"), unique("raw")
    async with shared_api.database.transaction() as tx:
        tx.add_all(
            [
                Template(name=good, category="api", files={"a": "{{ who }}{{ more }}"},
                         required_vars=["who"], optional_vars=["more"], tech_stack=["FastAPI"]),
                Template(name=bad, category="api", files={"a": 3}),
            ]
        )  # fmt: skip
    found = (await admin.get("/templates", params={"word": good, "stack": "FastAPI"}))["items"]
    [broken] = (await admin.get("/templates", params={"word": bad}))["items"]

    rendered = await admin.post(f"/templates/{found[0]['id']}/render", {"values": {"who": "you"}})
    problem = await admin.refused("GET", f"/templates/{broken['id']}", 422)

    assert rendered["files"][0]["content"] == "you"
    assert problem["code"] == "template_invalid"


async def test_of_many_who_take_a_name_at_once_one_has_it(shared_api: Api):
    owner, project_id = await owner_of_a_project(shared_api)
    wanted = body(unique("once"), project_id=project_id)

    answers = await asyncio.gather(
        *(owner.call("POST", "/templates", json=wanted) for _ in range(5))
    )

    assert sorted(each.status_code for each in answers) == [201, 409, 409, 409, 409]
    assert {each.json().get("code") for each in answers} == {None, "template_name_taken"}
    assert await names(owner, word=wanted["name"]) == [wanted["name"]]


async def test_a_word_is_looked_for_in_descriptions_too(shared_api: Api):
    owner, project_id = await owner_of_a_project(shared_api)
    word = unique("Greenhouse")
    told = body(unique("told"), project_id=project_id, description=f"Waters a {word}, 100 %.")
    await owner.post("/templates", told)
    [shipped] = [
        each
        for each in (await owner.get("/templates", params={"limit": 100}))["items"]
        if each["name"] == "python-cli"
    ]

    assert await names(owner, word=word.lower()) == [told["name"]]
    assert await names(owner, word=f"{word}, 100 %") == [told["name"]]
    assert await names(owner, word=f"{word}, 100 _") == []
    assert "python-cli" in await names(owner, word=shipped["description"][:30].upper())


async def test_a_search_by_tag_or_stack_uses_its_index(crew_database: Database):
    rows = [
        {"id": new_id(), "name": unique("t"), "category": "api", "files": {"a": "x" * 200},
         "tags": [f"tag-{number}"], "tech_stack": [f"stack-{number}"]}
        for number in range(3000)
    ]  # fmt: skip
    async with crew_database.transaction() as tx:
        await tx.execute(insert(Template), rows)
    async with crew_database.transaction() as tx:
        await tx.execute(text("ANALYZE templates"))
    for wanted, index in (
        (Wanted(tags=["tag-77"]), "idx_templates_tags"),
        (Wanted(stack=["stack-77"]), "idx_templates_tech_stack"),
    ):
        plan = await plan_of(crew_database, wanted)
        assert index in plan, plan


async def plan_of(database: Database, wanted: Wanted) -> str:
    """How the database looks for rows."""
    sent: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, sql: str, values: Any, *_: Any) -> None:
        sent.append((sql, values))

    engine = database.engine.sync_engine
    async with database.read() as read:
        event.listen(engine, "before_cursor_execute", note)
        page = await queries.list_templates(read, ADMIN, PageRequest(limit=50), wanted)
        event.remove(engine, "before_cursor_execute", note)
        [(sql, values)] = sent
        explained = await (await read.connection()).exec_driver_sql(f"EXPLAIN {sql}", values)
        plan = "\n".join(str(line) for line in explained.scalars())
    assert len(page.items) == 1
    return plan
