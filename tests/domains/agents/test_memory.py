"""What agents remember: kept, recalled by what it is about, told to runs, and forgotten."""

import asyncio
import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from agentvine.domains.agents.jobs import MemoryChore
from agentvine.domains.agents.models import AgentMemory
from agentvine.protocol.enums import UserRole
from tests.support.api import Api, Caller
from tests.support.builders.identity import unique
from tests.support.space import claim_of, make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Mind:
    """An agent of a project, and who owns that."""

    api: Api
    owner: Caller
    project_id: str
    agent_id: str

    @property
    def path(self) -> str:
        return f"/agents/{self.agent_id}/memories"

    async def keep(self, key: str, value: Any, **more: Any) -> Any:
        body = {"category": "fact", "key": key, "value": value, **more}
        answer = await self.owner.call("PUT", self.path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def recalled(self, query: str = "", **params: Any) -> list[str]:
        found = await self.owner.get(f"{self.path}/recall", params={"query": query, **params})
        return [each["memory"]["key"] for each in found["items"]]

    async def keys(self, **params: Any) -> list[str]:
        return [row["key"] for row in (await self.owner.get(self.path, params=params))["items"]]


async def make_mind(api: Api) -> Mind:
    owner = await api.person(unique("owner"))
    project = await owner.post("/projects", {"name": unique("project")})
    body = {"name": unique("coder"), "type": "coder", "project_id": project["id"]}
    agent = await owner.post("/agents", body)
    return Mind(api, owner, project["id"], agent["id"])


async def test_what_is_remembered_again_replaces_what_stood_there(shared_api: Api):
    mind = await make_mind(shared_api)

    first = await mind.keep("db", {"name": "sqlite"})
    again = await mind.keep("db", {"name": "postgres"}, importance=8)
    of_project = await mind.keep("db", "mysql", project_id=mind.project_id)

    assert (again["id"], again["value"], again["importance"]) == (
        first["id"],
        {"name": "postgres"},
        8,
    )
    assert of_project["id"] != first["id"]
    assert await mind.recalled("sqlite") == []
    assert await mind.recalled("postgres") == ["db"]


VALUES = (
    ("Tests are run by pytest", "testing"),
    ({"where": "src/agentvine/main.py"}, "main"),
    ({"where": "lib/kernel/start.c"}, "kernel/start"),
    (["one", {"nested": {"deep": "needle"}}], "needles"),
    ({"retry_limit": 42}, "retry"),
    (4711, "4711"),
    ("line one\nline two\ttabbed", "tabbed"),
    ("Ein Wort: Zähler", "zähler"),
    ('quotes "inside" it', "inside"),
)


async def test_a_memory_is_found_by_the_words_of_its_value(shared_api: Api):
    mind = await make_mind(shared_api)
    for number, (value, _) in enumerate(VALUES):
        await mind.keep(f"thing{number}", value)

    for number, (_, query) in enumerate(VALUES):
        assert await mind.recalled(query) == [f"thing{number}"], query
    assert await mind.recalled("thing0") == ["thing0"]
    assert await mind.recalled("elsewhere") == []


async def test_the_words_follow_the_row_whoever_changes_it(shared_api: Api):
    mind = await make_mind(shared_api)
    kept = await mind.keep("place", "old words")
    other = await mind.keep("other", "old words")

    async with shared_api.database.transaction() as tx:
        await tx.execute(
            update(AgentMemory)
            .where(AgentMemory.id == uuid.UUID(kept["id"]))
            .values(value="new words")
        )
        await tx.execute(
            text("DELETE FROM agent_memory WHERE key = 'other' AND agent_id = :agent"),
            {"agent": _bound(shared_api, mind.agent_id)},
        )

    assert await mind.recalled("old") == []
    assert await mind.recalled("new") == ["place"]
    assert other["key"] not in await mind.recalled()
    gone = await mind.owner.call("DELETE", f"/agents/{mind.agent_id}")
    assert gone.is_success
    async with shared_api.database.read() as read:
        words = text("SELECT count(*) FROM agent_memory_words WHERE ident = :ident")
        assert await read.scalar(words, {"ident": _bound(shared_api, kept["id"])}) == 0


async def test_more_relevant_then_more_important_then_newer_comes_first(shared_api: Api):
    mind = await make_mind(shared_api)
    await mind.keep("plain", "the parser reads blocks", importance=2)
    await mind.keep("parser", "the parser of parsers: a parser", importance=2)
    await mind.keep("weighty", "the parser reads blocks", importance=4)
    await mind.keep("old", "the parser reads blocks", importance=2)
    async with shared_api.database.transaction() as tx:
        past = tx.now - dt.timedelta(days=400)
        await tx.execute(
            update(AgentMemory)
            .where(AgentMemory.agent_id == uuid.UUID(mind.agent_id), AgentMemory.key == "old")
            .values(updated_at=past)
        )

    assert await mind.recalled("parser") == ["parser", "weighty", "plain", "old"]
    assert (await mind.recalled())[0] == "weighty"


async def test_as_much_is_recalled_as_the_tokens_allow(shared_api: Api):
    mind = await make_mind(shared_api)
    await mind.keep("long", "lighthouse " * 300, importance=9)
    await mind.keep("short", "a lighthouse stands there", importance=1)

    found = await mind.owner.get(
        f"{mind.path}/recall", params={"query": "lighthouse", "max_tokens": 50}
    )

    assert [each["memory"]["key"] for each in found["items"]] == ["short"]
    assert (found["left_out"], found["tokens"] <= 50) == (1, True)


async def test_of_another_project_nothing_is_recalled_and_nothing_kept(shared_api: Api):
    mind = await make_mind(shared_api)
    other = await mind.owner.post("/projects", {"name": unique("project")})
    body = {"category": "fact", "key": "k", "value": "v", "project_id": other["id"]}

    problem = await mind.owner.refused("PUT", mind.path, 422, json=body)

    assert problem["code"] == "memory_misplaced"


async def test_what_an_agent_of_all_projects_knows_of_one_stays_with_its_people(shared_api: Api):
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    mind = await make_mind(shared_api)
    agent = await admin.post("/agents", {"name": unique("shared"), "type": "coder"})
    shared = Mind(shared_api, mind.owner, mind.project_id, agent["id"])
    in_general = {"category": "fact", "key": "general", "value": "the same word"}

    problem = await mind.owner.refused("PUT", shared.path, 403, json=in_general)
    await admin.call("PUT", shared.path, json=in_general)
    await shared.keep("private", "the same word", project_id=mind.project_id)
    stranger = await shared_api.person(unique("outsider"))

    assert problem["code"] == "agent_forbidden"
    for params in ({}, {"project_id": mind.project_id}):
        seen = await stranger.get(f"{shared.path}/recall", params={"query": "word", **params})
        assert [each["memory"]["key"] for each in seen["items"]] == ["general"]
        listed = await stranger.get(shared.path, params=params)
        assert [row["key"] for row in listed["items"]] == ["general"]
    assert set(await shared.recalled("word")) == {"general", "private"}
    of_project = {"category": "fact", "project_id": mind.project_id}
    await stranger.refused("DELETE", shared.path, 404, params=of_project)
    await stranger.refused("DELETE", shared.path, 403, params={"category": "fact"})


async def test_one_thing_or_a_whole_category_is_forgotten(shared_api: Api):
    mind = await make_mind(shared_api)
    for key in ("one", "two", "three"):
        await mind.keep(key, key)
    await mind.keep("kept", "of another category", category="habit")
    await mind.keep("one", "of the project", project_id=mind.project_id)

    async def forget(**params: str) -> int:
        answer = await mind.owner.call("DELETE", mind.path, params={"category": "fact", **params})
        return answer.json()["count"]

    assert await forget(key="one") == 1
    assert await forget(key="one") == 0
    assert await forget() == 2
    assert await mind.keys() == ["kept", "one"]
    assert await mind.keys(category="habit") == ["kept"]


async def test_what_has_come_to_its_end_is_not_told_any_more_and_then_removed(shared_api: Api):
    mind = await make_mind(shared_api)
    soon = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat()
    await mind.keep("passing", "mayfly", expires_at=soon)
    await mind.keep("lasting", "mayfly")
    assert set(await mind.recalled("mayfly")) == {"passing", "lasting"}
    of_agent = AgentMemory.agent_id == uuid.UUID(mind.agent_id)
    async with shared_api.database.transaction() as tx:
        over = tx.now - dt.timedelta(seconds=1)
        await tx.execute(
            update(AgentMemory)
            .where(of_agent, AgentMemory.key == "passing")
            .values(expires_at=over)
        )

    assert await mind.recalled("mayfly") == ["lasting"]
    assert await mind.keys() == ["lasting"]
    await MemoryChore(shared_api.database).run()
    async with shared_api.database.read() as read:
        left = await read.scalars(select(AgentMemory.key).where(of_agent))
        assert list(left) == ["lasting"]
    past = {"category": "fact", "key": "k", "value": "v", "expires_at": "2020-01-01T00:00:00Z"}
    assert (await mind.owner.refused("PUT", mind.path, 422, json=past))["code"] == (
        "memory_misplaced"
    )


WRONG: tuple[dict[str, Any], ...] = (
    {"value": None},
    {"value": "x" * 70_000},
    {"importance": 11},
    {"importance": 0},
    {"key": ""},
    {"expires_at": "2040-01-01T00:00:00"},
    {"value": {"nul": "\0"}},
)


async def test_what_cannot_be_remembered_is_refused(shared_api: Api):
    mind = await make_mind(shared_api)

    for wrong in WRONG:
        body = {"category": "fact", "key": "k", "value": "v"} | wrong
        await mind.owner.refused("PUT", mind.path, 422, json=body)
    assert await mind.keys() == []


async def test_a_run_is_told_what_its_agent_remembers_of_its_task(shared_api: Api):
    space = await make_space(shared_api)
    body = {"name": unique("coder"), "type": "coder", "project_id": space.project_id}
    agent = await space.owner.post("/agents", body)
    mind = Mind(shared_api, space.owner, space.project_id, agent["id"])
    await mind.keep("style", "The importer is sorted by isort", project_id=space.project_id)
    await mind.keep("unrelated", "Bananas are yellow")
    await mind.keep("always", "Never touch the vault", importance=9)
    await space.task(
        title="Sort what the importer imports",
        run_runtime="claude-code",
        run_command=None,
        agent_id=mind.agent_id,
    )
    worker = await space.worker(runtimes=["claude-code"])
    order = await worker.claim_one()

    told = await worker.caller.post(f"/executions/{order['execution_id']}/brief", claim_of(order))

    assert told["memories"] == [
        {"category": "fact", "key": "always", "text": "Never touch the vault"},
        {"category": "fact", "key": "style", "text": "The importer is sorted by isort"},
    ]


async def test_of_two_who_remember_the_same_at_once_one_is_kept(shared_api: Api):
    mind = await make_mind(shared_api)

    await asyncio.gather(*(mind.keep("same", number) for number in range(6)))

    async with shared_api.database.read() as read:
        count = select(func.count()).where(AgentMemory.agent_id == uuid.UUID(mind.agent_id))
        assert await read.scalar(count) == 1


def _bound(api: Api, ident: str) -> Any:
    """An id as raw SQL writes it there."""
    value = uuid.UUID(ident)
    return value.hex if api.database.dialect.serialises_writers else value
