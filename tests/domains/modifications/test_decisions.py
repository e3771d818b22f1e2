"""A change on its way: what may be decided about it from where it stands, and what then happens."""

import asyncio
from pathlib import Path

import pytest

from tests.support.api import Api
from tests.support.changes import Workshop, make_workshop
from tests.support.space import Json

pytestmark = pytest.mark.asyncio(loop_scope="module")

STATES = ("pending", "approved", "applied", "failed", "rejected")
# From each state: what each decision makes of it; None where it is refused.
DECISIONS = {
    "approve": {"pending": "approved"},
    "apply": {"approved": "applied", "applied": "applied"},
    "reject": {"pending": "rejected", "approved": "rejected", "failed": "rejected"},
    "revert": {"applied": "applied"},
}


async def change_in(shop: Workshop, state: str) -> Json:
    """A change that stands where it is wanted."""
    files = {"src/app.py": "x = 1\ny = 2\nz = 4\n"}
    if state == "failed":
        task = await shop.space.task()
        order = await shop.worker.claim_one()
        sent = await shop.send(order, files)
        await shop.worker.fail(order, report={"change": sent | {"is_partial": True}})
        (change,) = await shop.space.changes(task)
    else:
        change = await shop.change(files)
    if state in {"approved", "applied"}:
        change = await shop.decide(change, "approve", {"apply": state == "applied"})
    if state == "rejected":
        change = await shop.decide(change, "reject")
    assert change["status"] == state
    return change


@pytest.mark.parametrize("state", STATES)
async def test_every_decision_is_taken_or_refused_as_written(
    shared_api: Api, tmp_path: Path, state: str
):
    shop = await make_workshop(shared_api, tmp_path)
    change = await change_in(shop, state)
    before, head = await shop.get(change), shop.repo.rev("main")
    taken = [action for action, becomes in DECISIONS.items() if state in becomes]
    for action in DECISIONS.keys() - set(taken):
        problem = await shop.refused(change, action, body_of(action))
        assert problem["code"] == "modification_decided"
        assert await shop.get(change) == before
        assert shop.repo.rev("main") == head
    for number, action in enumerate(taken):
        if number and state != "applied":
            change = await change_in(shop, state)
        head = shop.repo.rev("main")
        after = await shop.decide(change, action, body_of(action))
        assert after["status"] == DECISIONS[action][state]
        moves_branch = (action, state) in {("apply", "approved"), ("revert", "applied")}
        assert (shop.repo.rev("main") != head) is moves_branch
        if moves_branch:
            shop.repo.git("reset", "-q", "--hard", head)
    assert shop.repo.status() == ""


def body_of(action: str) -> Json | None:
    return {"apply": False} if action == "approve" else None


async def test_an_approved_change_is_merged_at_once_and_its_task_is_done(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path)
    task, order = await shop.run({"new.txt": "new\n"}, title="Add a file")
    assert await shop.space.where(task) == ("review", "waits for approval; its tests passed")
    (change,) = await shop.space.changes(task)
    base = shop.repo.head
    applied = await shop.decide(change, "approve", {"reason": "looks good"})
    assert (applied["status"], applied["decision_reason"]) == ("applied", "looks good")
    assert applied["merge_commit"] == shop.repo.rev("main")
    assert shop.repo.parents("main") == [base, change["head_commit"]]
    assert shop.repo.git("log", "-1", "--format=%s", "main") == "Add a file (T-1)"
    assert (shop.repo.path / "new.txt").read_text() == "new\n"
    assert await shop.space.where(task) == ("completed", "merged into main")
    assert shop.repo.rev(change["rescue_ref"]) == change["head_commit"]
    assert order["execution_id"] in change["rescue_ref"]


async def test_a_rejected_change_fails_its_task_and_a_second_run_gets_a_second_change(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path)
    task, _ = await shop.run({"a.txt": "bad\n"})
    (change,) = await shop.space.changes(task)
    await shop.decide(change, "reject", {"reason": "too clumsy"})
    assert await shop.space.where(task) == ("failed", "the change was rejected: too clumsy")
    await shop.space.act(task, "retry")
    await shop.report(await shop.worker.claim_one(), {"a.txt": "good\n"})
    second, first = await shop.space.changes(task)
    assert (first["status"], second["status"]) == ("rejected", "pending")
    await shop.decide(second, "approve")
    assert shop.repo.show("main", "a.txt") == "good"
    assert shop.repo.rev(first["rescue_ref"]) == first["head_commit"]


@pytest.mark.parametrize("end", ["cancel", "delete"])
async def test_the_end_of_a_task_turns_its_open_change_down(
    shared_api: Api, tmp_path: Path, end: str
):
    shop = await make_workshop(shared_api, tmp_path)
    task, _ = await shop.run({"a.txt": "a\n"})
    (change,) = await shop.space.changes(task)
    if end == "cancel":
        await shop.space.act(task, "cancel", {"reason": "no need"})
    else:
        assert (await shop.space.owner.call("DELETE", f"/tasks/{task['id']}")).is_success
    now = await shop.get(change)
    assert now["status"] == "rejected"
    assert now["decision_reason"].startswith("its task was cancelled: ")
    await shop.refused(change, "approve")
    assert shop.merges() == []


async def test_of_two_who_decide_at_once_one_is_told_so(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path)
    change = await shop.change({"a.txt": "a\n"})
    path = f"/modifications/{change['id']}"
    approved, rejected = await asyncio.gather(
        shop.space.owner.call("POST", f"{path}/approve"),
        shop.space.owner.call("POST", f"{path}/reject"),
    )
    assert sorted([approved.status_code, rejected.status_code]) == [200, 409]
    assert len(shop.merges()) == (1 if approved.is_success else 0)


async def test_a_list_shows_what_is_where_and_leaves_the_text_out(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path)
    waiting = await shop.change({"a.txt": "a\n"})
    refused = await shop.decide(await shop.change({"b.txt": "b\n"}), "reject")
    listed = (await shop.space.owner.get("/modifications"))["items"]
    assert [row["id"] for row in listed] == [refused["id"], waiting["id"]]
    assert "diff" not in listed[0]
    params = {"status": "pending"}
    page = await shop.space.owner.get("/modifications", params=params)
    assert [row["id"] for row in page["items"]] == [waiting["id"]]
    assert "+a" in (await shop.get(waiting))["diff"]
