"""Search inside artifacts: the same answers on both databases, by an index where there is one."""

import json
import random
import uuid
from typing import Any

import pytest
from sqlalchemy import event, insert, text

from agentvine.db.containment import json_contains
from agentvine.db.session import Database
from agentvine.domains.plans import queries
from agentvine.domains.plans.enums import ArtifactType
from agentvine.domains.plans.models import Plan, PlanArtifact
from agentvine.kit.ids import new_id
from agentvine.kit.pagination import PageRequest
from agentvine.protocol.plans import PlanSearchIn
from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.builders.plans import feature, make_desk, step, steps
from tests.support.builders.projects import Ground, make_ground

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORDS = ["a", "b", "é", 'q"', ""]
SCALARS: list[Any] = [0, 1, 1.0, -2.5, True, False, None, "1", *WORDS]


def anything(draw: random.Random, depth: int) -> Any:
    """A document at random, of few words, so that many hold each other."""
    kind = draw.randrange(3) if depth else 0
    if kind == 1:
        return [anything(draw, depth - 1) for _ in range(draw.randrange(4))]
    if kind == 2:
        return {draw.choice(WORDS): anything(draw, depth - 1) for _ in range(draw.randrange(4))}
    return draw.choice(SCALARS)


def part_of(draw: random.Random, value: Any) -> Any:
    """Something that the value probably holds."""
    if isinstance(value, dict):
        return {k: part_of(draw, v) for k, v in value.items() if draw.random() < 0.7}
    if isinstance(value, list):
        return [part_of(draw, item) for item in value if draw.random() < 0.7]
    return value if draw.random() < 0.9 else draw.choice(SCALARS)


async def test_a_document_holds_the_same_on_both_databases(shared_database: Database):
    ground = await make_ground(shared_database)
    draw = random.Random(20261126)
    contents = [{"x": anything(draw, 3), "y": anything(draw, 2)} for _ in range(60)]
    wanted = [part_of(draw, draw.choice(contents)) for _ in range(60)]
    [plan_id] = await plans_of(shared_database, ground, 1)
    rows = [row_of(plan_id, content) for content in contents]
    async with shared_database.transaction() as tx:
        await tx.execute(insert(PlanArtifact), rows)

    hits = 0
    for document in wanted:
        if not document:
            continue
        async with shared_database.read() as read:
            found = await queries.search_artifacts(
                read,
                ground.owner,
                PageRequest(limit=100),
                PlanSearchIn(contains=document, repository_id=ground.repository.id),
            )
        expected = {row["id"] for row in rows if json_contains(row["content"], document)}
        assert {item.id for item in found.items} == expected, json.dumps(document)
        hits += len(expected)
    assert hits > 100


async def test_parts_are_found_by_what_they_hold_and_only_by_who_may_see_them(shared_api: Api):
    desk, other = await make_desk(shared_api), await make_desk(shared_api)
    file = f"{unique('file')}.py"
    made = await desk.plan(
        feature(goal=file), steps(step("a", type="test", files=["b.py", file]), step("b"))
    )
    await other.plan(feature(goal=file))

    async def search(contains: Any, **fields: Any) -> list[tuple[str, str]]:
        body = {"contains": contains, **fields}
        items = (await desk.owner.post("/plans/search", body))["items"]
        return [(hit["plan"]["id"], hit["artifact"]["artifact_type"]) for hit in items]

    by_step = {"steps": [{"files": [file], "type": "test"}]}
    assert await search(by_step) == [(made["id"], "implementation_steps")]
    assert await search({"steps": [{"files": [file], "type": "docs"}]}) == []
    assert await search({"goal": file}) == [(made["id"], "feature_plan")]
    assert await search({"goal": file}, artifact_type="code_changes") == []
    assert await search(by_step, status="active") == []
    assert await search(by_step, repository_id=other.repository_id) == []
    deep: Any = "x"
    for _ in range(30):
        deep = {"a": deep}
    for bad in ({}, deep):
        await desk.owner.refused("POST", "/plans/search", 422, json={"contains": bad})


async def test_a_search_uses_the_index_into_the_content(crew_database: Database):
    ground = await make_ground(crew_database)
    plan_ids = await plans_of(crew_database, ground, 300)
    said = "What is to be done in this step, as people write it. " * 20
    rows = [
        row_of(plan_id, {"steps": [{"key": f"k{number}-{turn}", "title": said}]})
        for number, plan_id in enumerate(plan_ids)
        for turn in range(10)
    ]
    async with crew_database.transaction() as tx:
        await tx.execute(insert(PlanArtifact), rows)
    async with crew_database.transaction() as tx:
        await tx.execute(text("ANALYZE"))
    wanted = PlanSearchIn(contains={"steps": [{"key": "k77-7"}]})
    sent: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, sql: str, values: Any, *_: Any) -> None:
        sent.append((sql, values))

    engine = crew_database.engine.sync_engine
    async with crew_database.read() as read:
        event.listen(engine, "before_cursor_execute", note)
        found = await queries.search_artifacts(read, ground.owner, PageRequest(limit=50), wanted)
        event.remove(engine, "before_cursor_execute", note)
        [(sql, values)] = sent
        explained = await (await read.connection()).exec_driver_sql(f"EXPLAIN {sql}", values)
        plan = "\n".join(str(line) for line in explained.scalars())

    assert [row.content["steps"][0]["key"] for row in found.items] == ["k77-7"]
    assert "idx_plan_artifacts_content_gin" in plan, plan


async def plans_of(database: Database, ground: Ground, count: int) -> list[uuid.UUID]:
    """New versions of a plan of somebody's."""
    of_all = {"repository_id": ground.repository.id, "name": unique("plan")}
    rows = [
        {"id": new_id(), "version": number, "target_branch": "main", **of_all}
        for number in range(count)
    ]
    async with database.transaction() as tx:
        await tx.execute(insert(Plan), rows)
    return [row["id"] for row in rows]


def row_of(plan_id: uuid.UUID, content: Any) -> dict[str, Any]:
    return {
        "id": new_id(),
        "plan_id": plan_id,
        "artifact_type": ArtifactType.FEATURE_PLAN,
        "content": content,
    }
