"""Code changes of a plan as a commit on a new branch: once, whole, and nowhere else."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import select

from agentvine.domains.identity.models import AuditEvent
from tests.support.api import Api
from tests.support.builders.plans import Desk, Json, changes, make_desk
from tests.support.repositories import Repo, make_bare, make_repo

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEW = {"path": "new.txt", "operation": "create", "content": "new \n"}
MODIFIED = {
    "path": "src/app.py",
    "operation": "modify",
    "patch": "--- a/src/app.py\n+++ b/src/app.py\n"
    "@@ -1,3 +1,3 @@\n x = 1\n-y = 2\n+y = 7\n z = 3\n",
}
GONE = {"path": "README.md", "operation": "delete"}


async def active_plan(desk: Desk, *items: Json, **fields: str) -> Json:
    plan = await desk.plan(changes(*items, message="Change what is planned"), **fields)
    await desk.owner.post(f"/plans/{plan['id']}/activate")
    return plan


async def test_changes_become_one_commit_however_often_they_are_applied(
    shared_api: Api, tmp_path: Path
):
    repo = make_repo(tmp_path / "repository")
    desk = await make_desk(shared_api, path=str(repo.path))
    plan = await active_plan(desk, NEW, MODIFIED, GONE)
    main = repo.rev("main")

    path = f"/plans/{plan['id']}/apply"
    answers = await asyncio.gather(*(desk.owner.post(path, {}) for _ in range(5)))

    [commit] = {answer["commit"] for answer in answers}
    assert sum(answer["is_new"] for answer in answers) == 1
    assert {answer["base_commit"] for answer in answers} == {main}
    branch = answers[0]["branch"]
    assert (repo.rev(branch), repo.rev("main"), repo.status()) == (commit, main, "")
    assert repo.parents(commit) == [main]
    assert sorted(repo.files(commit)) == ["new.txt", "src/app.py"]
    assert repo.show(commit, "src/app.py") == "x = 1\ny = 7\nz = 3"
    message = repo.git("log", "-1", "--format=%B", commit)
    assert message.startswith("Change what is planned\n\nAgentVine-Plan: " + plan["id"])
    async with shared_api.database.read() as read:
        said = select(AuditEvent.after).where(
            AuditEvent.entity_id == plan["id"], AuditEvent.action == "plan.changes_applied"
        )
        [after] = await read.scalars(said)
    assert after is not None
    assert (after["branch"], after["commit"]) == (branch, commit)


async def test_a_patch_that_does_not_fit_is_refused_with_all_the_rest(
    shared_api: Api, tmp_path: Path
):
    repo = make_repo(tmp_path / "repository", {"src/app.py": "other\n"})
    desk = await make_desk(shared_api, path=str(repo.path))
    plan = await active_plan(desk, NEW, MODIFIED)

    problem = await desk.owner.refused("POST", f"/plans/{plan['id']}/apply", 409, json={})

    assert (problem["code"], problem["cause"]) == ("plan_changes_not_applied", "edit_refused")
    assert problem["files"] == ["src/app.py"]
    assert repo.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"


async def test_a_branch_of_somebody_else_is_left_alone(shared_api: Api, tmp_path: Path):
    repo = make_repo(tmp_path / "repository")
    desk = await make_desk(shared_api, path=str(repo.path))
    plan = await active_plan(desk, NEW)
    tip = repo.commit_on("theirs", {"a.txt": "a\n"})

    for branch in ("theirs", "main"):
        body = {"branch": branch}
        problem = await desk.owner.refused("POST", f"/plans/{plan['id']}/apply", 409, json=body)
        assert problem["cause"] == "ref_moved"
    body = {"branch": "a..b"}
    bad = await desk.owner.refused("POST", f"/plans/{plan['id']}/apply", 409, json=body)
    assert bad["cause"] == "ref_name_invalid"
    assert repo.rev("theirs") == tip


async def test_only_an_active_version_with_changes_is_applied(shared_api: Api, tmp_path: Path):
    desk = await make_desk(shared_api, path=str(make_repo(tmp_path / "repository").path))
    draft = await desk.plan(changes(NEW))
    empty = await desk.plan()
    await desk.owner.post(f"/plans/{empty['id']}/activate")

    waits = await desk.owner.refused("POST", f"/plans/{draft['id']}/apply", 409, json={})
    lacks = await desk.owner.refused("POST", f"/plans/{empty['id']}/apply", 422, json={})

    assert (waits["code"], lacks["code"]) == ("plan_not_active", "plan_changes_missing")


async def test_a_repository_elsewhere_gets_the_branch_pushed(shared_api: Api, tmp_path: Path):
    work = make_repo(tmp_path / "work")
    bare: Repo = make_bare(tmp_path / "elsewhere.git", work)
    desk = await make_desk(shared_api, path=f"file://{bare.path}")
    plan = await active_plan(desk, NEW, MODIFIED)

    first = await desk.owner.post(f"/plans/{plan['id']}/apply", {"branch": "planned"})
    again = await desk.owner.post(f"/plans/{plan['id']}/apply", {"branch": "planned"})

    assert (first["is_new"], again["is_new"]) == (True, False)
    assert bare.rev("planned") == first["commit"] == again["commit"]
    assert bare.parents("planned") == [work.head]
