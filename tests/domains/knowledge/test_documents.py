"""Documents that people and agents share: versions, search, import, and who is given them."""

import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import insert, text

from agentvine.db.fulltext import MAX_RANKED
from agentvine.domains.knowledge.models import ContextDocument
from agentvine.domains.projects.models import Project
from agentvine.kit.ids import new_id
from agentvine.protocol.enums import UserRole
from tests.support.api import Api, Caller
from tests.support.builders.identity import unique
from tests.support.space import Space, claim_of, make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Shelf:
    """A project's documents, and who owns them."""

    owner: Caller
    project_id: str

    async def write(self, title: str, content: str, **more: Any) -> Any:
        body = {"title": title, "content": content, "document_type": "guide"}
        return await self.owner.post("/documents", body | {"project_id": self.project_id} | more)

    async def found(self, query: str, **params: Any) -> list[str]:
        params = {"query": query, "project_id": self.project_id, **params}
        found = await self.owner.get("/documents/search", params=params)
        return [each["document"]["title"] for each in found["items"]]


async def make_shelf(api: Api) -> Shelf:
    owner = await api.person(unique("owner"))
    project = await owner.post("/projects", {"name": unique("project")})
    return Shelf(owner, project["id"])


async def test_each_edit_is_a_version_that_can_be_read_compared_and_restored(shared_api: Api):
    shelf = await make_shelf(shared_api)
    made = await shelf.write("Style", "Use tabs.\nBe brief.", tags=["Style", "python", "style"])
    path = f"/documents/{made['id']}"

    edited = (
        await shelf.owner.call("PATCH", path, json={"content": "Use blanks.\nBe brief."})
    ).json()
    same = (await shelf.owner.call("PATCH", path, json={"content": edited["content"]})).json()
    late = await shelf.owner.refused(
        "PATCH", path, 409, json={"title": "Late"}, headers={"If-Match": '"1"'}
    )
    first = await shelf.owner.get(f"{path}/versions/1")
    compared = await shelf.owner.get(f"{path}/compare", params={"old": 1})
    restored = await shelf.owner.post(f"{path}/restore", {"version": 1})
    retitled = (await shelf.owner.call("PATCH", path, json={"title": "Our style"})).json()
    last = await shelf.owner.get(f"{path}/compare", params={"old": 3, "new": 4})
    kept = (await shelf.owner.get(f"{path}/versions"))["items"]

    assert made["tags"] == ["python", "style"]
    assert (edited["version"], same["version"], late["code"]) == (2, 2, "stale_version")
    assert (first["content"], restored["content"]) == ("Use tabs.\nBe brief.",) * 2
    assert compared["diff"].splitlines()[3:] == ["-Use tabs.", "+Use blanks.", " Be brief."]
    assert (restored["version"], retitled["version"]) == (3, 4)
    assert last == {
        "old_version": 3,
        "new_version": 4,
        "diff": "",
        "changed": {"title": ["Style", "Our style"]},
    }
    assert [row["version"] for row in kept] == [4, 3, 2, 1]
    await shelf.owner.refused("GET", f"{path}/versions/9", 404)
    assert await shelf.found("tabs") == ["Our style"]
    assert (await shelf.owner.call("DELETE", path)).status_code == 204
    assert await shelf.found("tabs") == []


async def test_what_raw_sql_wrote_is_kept_with_the_first_edit(shared_api: Api):
    shelf = await make_shelf(shared_api)
    made = await shelf.write("Raw", "before")
    ident = uuid.UUID(made["id"])
    bound = ident.hex if shared_api.database.dialect.serialises_writers else ident
    async with shared_api.database.transaction() as tx:
        await tx.execute(
            text("UPDATE context_documents SET content = 'by hand', version = 7 WHERE id = :id"),
            {"id": bound},
        )

    await shelf.owner.call("PATCH", f"/documents/{ident}", json={"content": "after"})

    by_hand = await shelf.owner.get(f"/documents/{ident}/versions/7")
    assert (by_hand["content"], by_hand["changed_by"]) == ("by hand", "unknown")
    assert (await shelf.owner.get(f"/documents/{ident}"))["version"] == 8
    assert await shelf.found("hand") == []


async def test_words_phrases_and_exclusions_find_what_they_say(shared_api: Api):
    shelf = await make_shelf(shared_api)
    await shelf.write("Leases", "A worker renews its lease with each beat. " * 30)
    await shelf.write("Beats", "How leases are renewed. Fences are raised then.")
    await shelf.write("Paths", "Look into src/agentvine/db_core/engine.py, then run it.")
    await shelf.write("Lease", "Nothing more.", tags=["short"], document_type="plan")

    found = await shelf.found("leases")
    assert set(found) == {"Leases", "Beats", "Lease"}
    assert found.index("Lease") < found.index("Beats")  # a word of the title weighs more
    assert set(await shelf.found("renewing lease")) == {"Leases", "Beats"}
    assert await shelf.found('lease "fences are raised"') == ["Beats"]
    assert await shelf.found('"raised are fences"') == []
    assert await shelf.found("renew -beat") == []
    assert await shelf.found("renew -fence") == ["Leases"]
    assert await shelf.found("src/agentvine/db_core") == ["Paths"]
    assert await shelf.found("engine.py") == ["Paths"]
    assert await shelf.found("lease", tag="short") == ["Lease"]
    assert await shelf.found("lease", tag=["short", "long"]) == []
    assert await shelf.found("lease", type="plan") == ["Lease"]
    assert len(await shelf.found("lease", limit=2)) == 2
    params = {"query": "fence", "project_id": shelf.project_id}
    shown = (await shelf.owner.get("/documents/search", params=params))["items"]
    assert shown[0]["snippet"] == "How leases are renewed. **Fences** are raised then."
    assert shown[0]["score"] == 1.0
    assert "content" not in shown[0]["document"]
    problem = await shelf.owner.refused(
        "GET", "/documents/search", 422, params={"query": "the of -lease"}
    )
    assert problem["code"] == "nothing_to_look_for"


async def test_nobody_finds_documents_of_projects_that_they_may_not_see(shared_api: Api):
    shelf = await make_shelf(shared_api)
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    word = unique("word").replace("-", "").replace("_", "")
    mine = await shelf.write("Mine", word)
    everybodys = {"title": "Everybody's", "content": word, "document_type": "reference"}
    problem = await shelf.owner.refused("POST", "/documents", 403, json=everybodys)
    shared = await admin.post("/documents", everybodys)
    stranger = await shared_api.person(unique("stranger"))

    async def titles(caller: Caller, **params: str) -> set[str]:
        found = await caller.get("/documents/search", params={"query": word, **params})
        return {each["document"]["title"] for each in found["items"]}

    assert problem["code"] == "document_forbidden"
    assert await titles(shelf.owner) == {"Mine", "Everybody's"}
    assert await titles(admin) == {"Mine", "Everybody's"}
    assert await titles(stranger) == {"Everybody's"}
    assert await titles(stranger, project_id=shelf.project_id) == {"Everybody's"}
    await stranger.refused("GET", f"/documents/{mine['id']}", 404)
    refused = await shelf.owner.refused("DELETE", f"/documents/{shared['id']}", 403)
    assert refused["code"] == "document_forbidden"


@pytest.mark.parametrize("count", [6, 60])
async def test_newer_documents_of_others_hide_none_of_one_s_many_projects(
    shared_api: Api, count: int
):
    shelf, others = await make_shelf(shared_api), await make_shelf(shared_api)
    word = unique("word").replace("-", "").replace("_", "")
    await shelf.write("Mine", word)
    owner_id = shelf.owner.actor.user_id
    more = [{"id": new_id(), "name": unique("more"), "owner_id": owner_id} for _ in range(count)]
    theirs = [
        {"id": new_id(), "title": "Theirs", "content": word, "document_type": "guide"}
        | {"project_id": uuid.UUID(others.project_id)}
        for _ in range(MAX_RANKED)
    ]
    async with shared_api.database.transaction() as tx:
        await tx.execute(insert(Project), more)
        await tx.execute(insert(ContextDocument), theirs)

    found = await shelf.owner.get("/documents/search", params={"query": word})

    assert [each["document"]["title"] for each in found["items"]] == ["Mine"]


async def test_a_folder_that_is_imported_again_changes_what_has_changed(shared_api: Api):
    shelf = await make_shelf(shared_api)

    async def take_in(**files: str) -> Any:
        body = {
            "project_id": shelf.project_id,
            "files": [
                {"path": f"{name}.md", "title": name, "document_type": "guide", "content": said}
                for name, said in files.items()
            ],
        }
        return await shelf.owner.post("/documents/import", body)

    first = await take_in(one="alpha", two="beta")
    again = await take_in(one="alpha", two="gamma", three="delta")

    assert first == {"created": ["one.md", "two.md"], "changed": [], "unchanged": []}
    assert again == {"created": ["three.md"], "changed": ["two.md"], "unchanged": ["one.md"]}
    listed = await shelf.owner.get("/documents", params={"project_id": shelf.project_id})
    versions = {row["source_path"]: row["version"] for row in listed["items"]}
    assert {path: versions[path] for path in ("one.md", "two.md", "three.md")} == {
        "one.md": 1,
        "two.md": 2,
        "three.md": 1,
    }


async def briefed(space: Space, **task: Any) -> list[Any]:
    await space.task(run_runtime="claude-code", run_command=None, **task)
    worker = await space.worker(runtimes=["claude-code"])
    order = await worker.claim_one()
    path = f"/executions/{order['execution_id']}/brief"
    told = (await worker.caller.post(path, claim_of(order)))["documents"]
    await worker.complete(order)
    return told


async def test_rules_give_documents_to_runs_by_repository_type_and_tag(shared_api: Api):
    space = await make_space(shared_api)
    shelf = Shelf(space.owner, space.project_id)
    other = await make_space(shared_api)
    await shelf.write("Style", "How code looks.", tags=["style"])
    await shelf.write("Parser", "How the parser works. " * 40, tags=["design"])
    await shelf.write("Lexer", "Before it: " + "filler " * 400 + "the lexer", tags=["design"])
    await shelf.write("Elsewhere", "Of no rule.", tags=["other"])
    rules = f"/projects/{space.project_id}/document-rules"

    async def rule(**fields: Any) -> Any:
        return await space.owner.post(rules, fields)

    await rule(tag="style", position=1)
    await rule(tag="design", task_type="bugfix", max_tokens=400)
    await rule(tag="other", task_type="docs")
    foreign = {"tag": "style", "repository_id": other.repository_id}
    await space.owner.refused("POST", rules, 404, json=foreign)

    feature = await briefed(space, title="Parser", type="feature")
    bugfix = await briefed(space, title="Mend the lexer", type="bugfix")

    assert [(each["title"], each["is_whole"]) for each in feature] == [("Style", True)]
    assert feature[0]["text"] == "How code looks."
    assert [(each["title"], each["is_whole"]) for each in bugfix] == [
        ("Style", True),
        ("Lexer", False),
        ("Parser", True),
    ]
    assert "the **lexer**" in bugfix[1]["text"]
    assert len(bugfix[1]["text"]) < 500
    for wrong in (
        {},
        {"tag": "x", "document_id": str(uuid.uuid4())},
        {"max_tokens": 0, "tag": "x"},
    ):
        await space.owner.refused("POST", rules, 422, json=wrong)
    for known in await space.owner.get(rules):
        await space.owner.call("DELETE", f"/document-rules/{known['id']}")
    assert await briefed(space, title="Parser", type="bugfix") == []
