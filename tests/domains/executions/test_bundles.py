"""The commits of a run: kept once, as they were sent, and only from whoever holds the claim."""

import asyncio
from pathlib import Path

import pytest

from agentvine.protocol.queue import MAX_BUNDLE_BYTES
from tests.support.api import Api
from tests.support.changes import Workshop, make_workshop
from tests.support.repositories import Repo, make_repo
from tests.support.space import Json

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def claimed(api: Api, folder: Path) -> tuple[Workshop, Json]:
    shop = await make_workshop(api, folder)
    await shop.space.task()
    return shop, await shop.worker.claim_one()


def bundle_of(repo: Repo, *revisions: str) -> bytes:
    path = repo.path.parent / f"{repo.path.name}.bundle"
    repo.git("bundle", "create", "-q", path, *revisions)
    return path.read_bytes()


async def test_a_bundle_is_given_back_as_it_came_and_its_commits_are_in_the_repository(
    shared_api: Api, tmp_path: Path
):
    shop, order = await claimed(shared_api, tmp_path)
    sent = await shop.send(order, {"a.txt": "a\n"})
    got = await shop.space.owner.call("GET", f"/executions/{order['execution_id']}/bundle")
    assert got.headers["content-type"] == "application/octet-stream"
    again = await shop.worker.put_bundle(order, got.content)
    assert again.json()["sha256"] == sent["bundle_sha256"]
    ref = f"refs/agentvine/rescue/{order['execution_id']}"
    assert shop.repo.rev(ref) == sent["head_commit"]


async def test_what_is_not_as_announced_or_no_bundle_is_refused(shared_api: Api, tmp_path: Path):
    shop, order = await claimed(shared_api, tmp_path)
    one = bundle_of(shop.repo, "main")
    shop.repo.git("branch", "other")
    for content, sha256, words in (
        (one, "0" * 64, "does not have the announced SHA-256"),
        (b"anything", None, "not a git bundle"),
        (b"", None, "not a git bundle"),
        (bundle_of(shop.repo, "main", "other"), None, "holds one branch"),
    ):
        answer = await shop.worker.put_bundle(order, content, sha256=sha256)
        assert (answer.status_code, answer.json()["code"]) == (422, "bundle_damaged")
        assert words in answer.json()["detail"]
    path = f"/executions/{order['execution_id']}/bundle"
    assert (await shop.space.owner.refused("GET", path, 404))["code"] == "bundle_not_found"


async def test_what_is_too_large_is_refused_before_it_is_kept(shared_api: Api, tmp_path: Path):
    shop, order = await claimed(shared_api, tmp_path)
    answer = await shop.worker.put_bundle(order, bytes(MAX_BUNDLE_BYTES + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "bundle_too_large")
    assert "64 MiB" in answer.json()["detail"]


async def test_the_same_bundle_sent_at_once_is_kept_once(shared_api: Api, tmp_path: Path):
    shop, order = await claimed(shared_api, tmp_path)
    content = bundle_of(shop.repo, "main")
    answers = await asyncio.gather(*(shop.worker.put_bundle(order, content) for _ in range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4


async def test_nobody_sends_a_bundle_for_somebody_elses_run(shared_api: Api, tmp_path: Path):
    shop, order = await claimed(shared_api, tmp_path)
    other, theirs = await claimed(shared_api, tmp_path)
    content = bundle_of(shop.repo, "main")
    for stolen in (theirs, order | {"execution_id": theirs["execution_id"]}):
        answer = await shop.worker.put_bundle(stolen, content)
        assert (answer.status_code, answer.json()["code"]) == (409, "lease_lost")
    path = f"/executions/{theirs['execution_id']}/bundle"
    await other.space.owner.refused("GET", path, 404)


async def test_a_bundle_that_builds_on_what_is_not_there_waits_and_says_why(
    shared_api: Api, tmp_path: Path
):
    shop, order = await claimed(shared_api, tmp_path)
    clone = shop.clone()
    base = clone.commit({"unpushed.txt": "u\n"})
    clone.git("switch", "-q", "-c", "work")
    head = clone.commit({"a.txt": "a\n"})
    content = bundle_of(clone, "work", f"^{base}")
    stored = await shop.worker.put_bundle(order, content)
    assert stored.is_success
    change = {
        "base_commit": base,
        "head_commit": head,
        "branch_name": "work",
        "target_branch": "main",
        "bundle_sha256": stored.json()["sha256"],
    }
    await shop.worker.complete(order, change=change)
    (row,) = await shop.space.changes({"id": order["payload"]["task_id"]})
    problem = await shop.refused(row, "approve")
    assert base in problem["detail"]
    seen = await shop.get(row)
    assert (seen["status"], seen["diff"], seen["affected_files"]) == ("pending", None, [])
    assert "not in the repository yet" in seen["impact_analysis"]["unseen"]
    shop.repo.git("pull", "-q", "--ff-only", clone.path, base)
    assert (await shop.decide(row, "approve"))["status"] == "applied"
    assert (await shop.get(row))["affected_files"] == ["a.txt"]


async def test_commits_of_another_history_are_kept_but_not_merged(shared_api: Api, tmp_path: Path):
    shop, order = await claimed(shared_api, tmp_path)
    foreign = make_repo(tmp_path / "foreign", {"foreign.txt": "f\n"})
    foreign.git("commit", "-q", "--amend", "--date=2001-01-01T00:00:00Z", "-m", "Foreign")
    stored = await shop.worker.put_bundle(order, bundle_of(foreign, "main"))
    change = {
        "base_commit": shop.repo.head,
        "head_commit": foreign.head,
        "branch_name": "main",
        "target_branch": "main",
        "bundle_sha256": stored.json()["sha256"],
    }
    await shop.worker.complete(order, change=change)
    (row,) = await shop.space.changes({"id": order["payload"]["task_id"]})
    head = shop.repo.rev("main")
    problem = await shop.refused(row, "approve")
    assert (problem["code"], "in common" in problem["detail"]) == ("change_not_applied", True)
    assert shop.repo.rev("main") == head
