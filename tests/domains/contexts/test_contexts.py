"""Snapshots of real repositories: what they hold, what they cost, and how they differ."""

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, insert, select, text

from agentvine.db.session import Database
from agentvine.domains.contexts.jobs import SnapshotChore
from agentvine.domains.contexts.models import ContextBlob, ContextRequest
from agentvine.domains.contexts.taking import SnapshotTaker
from agentvine.domains.contexts.vault import ContextVault
from agentvine.domains.projects.models import ProjectContext
from agentvine.kit.ids import new_id
from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.builders.projects import make_ground
from tests.support.changes import Workshop, make_workshop
from tests.support.query_plans import plan_of
from tests.support.space import Json

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

FILES: dict[str, str | bytes | None] = {
    "requirements.txt": "fastapi==0.165\n",
    "src/app.py": "print('one')\n",
    "logo.png": b"\x89PNG\0\1",
    ".env": "TOKEN=s3cret\n",
    ".env.example": "TOKEN=\n",
    "latin.txt": "caf\xe9".encode("latin-1"),
    "Dockerfile": "FROM python:3.14\n",
}


async def taken(shop: Workshop, **body: Any) -> Json:
    body = {"repository_id": shop.space.repository_id, **body}
    return await shop.space.owner.post("/contexts", body)


async def contexts_of(shop: Workshop, **params: Any) -> list[Json]:
    params = {"repository_id": shop.space.repository_id, **params}
    return (await shop.space.owner.get("/contexts", params=params))["items"]


async def blobs_of(database: Database, shop: Workshop) -> int:
    async with database.read() as read:
        query = select(func.count()).select_from(ContextBlob)
        return (
            await read.scalar(
                query.where(ContextBlob.project_id == uuid.UUID(shop.space.project_id))
            )
            or 0
        )


async def is_wanted(database: Database, shop: Workshop) -> bool:
    async with database.read() as read:
        return await read.get(ContextRequest, uuid.UUID(shop.space.repository_id)) is not None


async def test_the_first_snapshot_fills_what_the_registration_made(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path, FILES)
    (empty,) = await contexts_of(shop)

    first = await taken(shop, name="Before the rewrite")
    files = (await shop.space.owner.get(f"/contexts/{first['id']}/files"))["items"]

    assert empty["commit_id"] is None
    assert (first["id"], first["name"]) == (empty["id"], "Before the rewrite")
    assert (first["commit_id"], first["branch"]) == (shop.repo.head, "main")
    assert first["file_count"] == len(files) == len(shop.repo.git("ls-files").splitlines())
    by_path = {each["path"]: each for each in files}
    assert by_path["src/app.py"]["hash"] == shop.repo.rev("HEAD:src/app.py")
    assert by_path["requirements.txt"]["requires"] == ["fastapi"]
    assert first["dependencies"] == [
        {"ecosystem": "pypi", "name": "fastapi", "requirement": "==0.165"}
    ]
    assert first["deployment"] == {
        "dockerfile": [{"path": "Dockerfile", "images": ["python:3.14"], "ports": []}]
    }
    assert (first["test_coverage"], first["notes"]) == (None, [])


async def test_contents_are_read_as_they_were_and_secrets_and_binaries_are_not_kept(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path, FILES)
    first = await taken(shop)
    shop.repo.commit({"src/app.py": "print('two')\n"})
    path = f"/contexts/{first['id']}/content"

    then = await shop.space.owner.get(path, params={"path": "src/app.py"})

    assert then["content"] == "print('one')\n"
    for name in (".env", "logo.png", "latin.txt", "nowhere"):
        problem = await shop.space.owner.refused("GET", path, 404, params={"path": name})
        assert problem["code"] == "content_not_kept", name
    example = await shop.space.owner.get(path, params={"path": ".env.example"})
    assert example["content"] == "TOKEN=\n"


async def test_ten_snapshots_of_the_same_files_keep_them_once(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path, {"a.txt": "a\n", "b.txt": "b\n"})
    for _ in range(3):
        await taken(shop)
    before = await blobs_of(shared_api.database, shop)
    shop.repo.commit({"c.txt": "c\n"})
    await taken(shop)

    assert before == len(set(shop.repo.git("ls-files", "--format=%(objectname)").split())) - 1
    assert await blobs_of(shared_api.database, shop) == before + 1
    assert len(await contexts_of(shop)) == 4


async def test_a_snapshot_reads_and_sends_only_what_is_new(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path, {"a.txt": "a\n"})
    await taken(shop)
    shop.repo.commit({"c.txt": "c\n"})
    sent: list[str] = []

    def note(_conn: Any, _cursor: Any, sql: str, values: Any, *_: Any) -> None:
        if sql.startswith("INSERT INTO context_blobs"):
            sent.append(repr(values))

    engine = shared_api.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        await taken(shop)
    finally:
        event.remove(engine, "before_cursor_execute", note)

    old, new = (shop.repo.git("rev-parse", f"HEAD:{name}") for name in ("a.txt", "c.txt"))
    [values] = sent
    assert (old in values, new in values) == (False, True)


async def test_two_snapshots_are_compared(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path, FILES)
    first = await taken(shop)
    variables = f"/contexts/{first['id']}/environment"
    for name in ("KEPT", "GONE", "CHANGED", "AGAIN"):
        await shop.space.owner.call("PUT", f"{variables}/{name}", json={"value": "before"})
    shop.repo.commit(
        {
            "requirements.txt": "fastapi==0.166\nhttpx\n",
            "src/app.py": None,
            "src/main.py": "print('main')\n",
            "Dockerfile": None,
            "Procfile": "web: python -m src.main\n",
            "coverage.xml": '<coverage line-rate="0.5"/>',
        }
    )
    second = await taken(shop)
    variables = f"/contexts/{second['id']}/environment"
    await shop.space.owner.call("DELETE", f"{variables}/GONE")
    await shop.space.owner.call("PUT", f"{variables}/CHANGED", json={"value": "after"})
    await shop.space.owner.call("PUT", f"{variables}/AGAIN", json={"value": "before"})
    await shop.space.owner.call("PUT", f"{variables}/NEW", json={"value": "x"})

    found = await shop.space.owner.get(
        f"/contexts/{first['id']}/compare", params={"to": second["id"]}
    )

    assert {each["path"]: each["change"] for each in found["files"]} == {
        "Dockerfile": "removed",
        "Procfile": "added",
        "coverage.xml": "added",
        "requirements.txt": "changed",
        "src/app.py": "removed",
        "src/main.py": "added",
    }
    assert [(each["name"], each["before"], each["after"]) for each in found["dependencies"]] == [
        ("fastapi", "==0.165", "==0.166"),
        ("httpx", None, ""),
    ]
    assert (found["variables_added"], found["variables_removed"]) == (["NEW"], ["GONE"])
    assert found["variables_changed"] == ["CHANGED"]
    assert (found["deployment_added"], found["deployment_removed"]) == (
        ["Procfile"],
        ["Dockerfile"],
    )
    assert found["metrics"] == [{"metric": "test_coverage", "before": None, "after": 50.0}]
    other = await taken(await make_workshop(shared_api, tmp_path))
    await shop.space.owner.refused(
        "GET", f"/contexts/{first['id']}/compare", 404, params={"to": other["id"]}
    )


async def test_reports_that_are_sent_outrank_those_in_the_repository(
    shared_api: Api, tmp_path: Path
):
    named = {"coverage": "out/cov.json", "benchmark": "bench/last.json", "unknown": 1}
    shop = await make_workshop(
        shared_api,
        tmp_path,
        {
            ".agentvine/reports.json": json.dumps(named),
            "out/cov.json": '{"totals": {"percent_covered": 80}}',
            "bench/last.json": '{"score": 70}',
        },
    )
    tracked = await taken(shop)
    sent = await taken(
        shop,
        reports={
            "coverage": '<coverage line-rate="0.9"/>',
            "bandit": '{"results": []}',
            "benchmark": "nonsense",
        },
    )

    assert (tracked["test_coverage"], tracked["performance_score"]) == (80, 70)
    assert tracked["security_score"] is None
    assert (sent["test_coverage"], sent["security_score"]) == (90, 100)
    assert sent["performance_score"] is None
    assert "the benchmark report could not be read" in sent["notes"][0]


async def test_values_of_variables_are_sealed_shown_to_nobody_and_go_on_to_the_next(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path)
    owner, first = shop.space.owner, await taken(shop)
    path = f"/contexts/{first['id']}/environment"
    answer = await owner.call("PUT", f"{path}/API_KEY", json={"value": "s3cret value"})
    assert answer.status_code == 204
    problem = await owner.refused("PUT", f"{path}/1-A", 422, json={"value": "x"})
    assert problem["code"] == "variable_name_invalid"
    await owner.refused("DELETE", f"{path}/OTHER", 404)
    second = await taken(shop)

    shown = await owner.get(f"/contexts/{second['id']}")
    assert shown["environment"] == [{"name": "API_KEY", "value": "********"}]
    assert [each["id"] for each in await contexts_of(shop, variable="API_KEY")] == [
        second["id"],
        first["id"],
    ]
    assert await contexts_of(shop, variable="API") == []
    async with shared_api.database.read() as read:
        row = await read.get_one(ProjectContext, uuid.UUID(second["id"]))
    assert row.repository_id is not None
    assert "s3cret" not in json.dumps(row.environment_vars)
    vault = shared_api.state.effect(ContextVault)
    place = f"project_contexts.environment_vars.{row.repository_id}.API_KEY"
    sealed = row.environment_vars["API_KEY"]["sealed"]
    assert vault.ring.unseal(sealed, bound_to=place) == "s3cret value"


async def test_the_current_context_stays_and_others_are_archived_or_deleted(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path)
    owner, first, second = shop.space.owner, await taken(shop), await taken(shop)
    path = f"/contexts/{first['id']}"
    for action in (("POST", "/archive"), ("DELETE", "")):
        problem = await owner.refused(action[0], f"/contexts/{second['id']}{action[1]}", 409)
        assert problem["code"] == "context_is_current"

    archived = await owner.post(f"{path}/archive")
    active = await owner.post(f"{path}/activate")

    assert (archived["status"], active["status"]) == ("archived", "active")
    assert [each["id"] for each in await contexts_of(shop, status="active")] == [
        second["id"],
        first["id"],
    ]
    assert (await owner.call("DELETE", path)).status_code == 204
    await owner.refused("GET", path, 404)
    await owner.refused("POST", f"{path}/activate", 404)
    assert [each["id"] for each in await contexts_of(shop)] == [second["id"]]


async def test_a_change_that_is_applied_has_a_snapshot_taken_once(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path)
    first = await taken(shop)
    await shop.decide(await shop.change({"new.txt": "new\n"}), "approve")
    chore = SnapshotChore(shared_api.state.effect(SnapshotTaker))
    # The server's own chore may be faster, or at it: both together take one.
    async with asyncio.timeout(200):
        while await is_wanted(shared_api.database, shop):
            await chore.run()

    newest, *older = await contexts_of(shop)
    assert newest["commit_id"] == shop.repo.rev("main") != first["commit_id"]
    assert [each["id"] for each in older] == [first["id"]]
    await chore.close()


async def test_the_same_key_takes_one_snapshot(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path)
    key = {"Idempotency-Key": unique("key")}
    body = {"repository_id": shop.space.repository_id}
    first = await shop.space.owner.post("/contexts", body, headers=key)
    again = await shop.space.owner.post("/contexts", body, headers=key)

    assert first == again
    problem = await shop.space.owner.refused(
        "POST", "/contexts", 404, json=body | {"branch": "nowhere"}
    )
    assert problem["code"] == "ref_not_found"


async def test_raw_sql_finds_contexts_by_their_files_with_the_index(shared_database: Database):
    ground = await make_ground(shared_database)
    rows = [
        {
            "id": new_id(),
            "name": f"many {number}",
            "owner_id": str(ground.owner.user_id),
            "project_id": ground.project.id,
            "codebase": {
                "requirements.txt": {"hash": f"{number:040}", "requires": [f"package{number}"]},
                f"{number}.txt": {"bytes": number},
            },
        }
        for number in range(3000)
    ]
    async with shared_database.transaction() as tx:
        await tx.execute(insert(ProjectContext), rows)
    wanted = '{"requirements.txt": {"requires": ["package7"]}}'
    if shared_database.dialect.serialises_writers:
        where = "agentvine_json_contains(codebase, :wanted)"
    else:
        where = "codebase @> CAST(:wanted AS jsonb)"
        async with shared_database.transaction() as tx:
            # What was just written stands in a list that is read in whole, until it is tidied.
            tidied = "SELECT gin_clean_pending_list('idx_project_contexts_codebase')"
            await tx.execute(text(tidied))
            await tx.execute(text("ANALYZE project_contexts"))
    async with shared_database.read() as read:
        query = text(f"SELECT name FROM project_contexts WHERE {where}")
        found = (await read.scalars(query, {"wanted": wanted})).all()

    assert found == ["many 7"]
    if not shared_database.dialect.serialises_writers:
        statement = "SELECT id FROM project_contexts WHERE codebase @> '{\"7.txt\": {}}'"
        plan = await plan_of(shared_database, statement, ())
        assert "idx_project_contexts_codebase" in plan, plan
