"""Merging approved changes into real repositories: exactly once, and never at a person's cost."""

import asyncio
import shutil
import uuid
from pathlib import Path

import pytest
from sqlalchemy import update

from agentvine.domains.modifications.applying import ChangeApplier
from agentvine.domains.modifications.enums import ModificationStatus
from agentvine.domains.modifications.models import Modification
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.models import Task
from tests.support.api import Api
from tests.support.changes import Workshop, make_workshop
from tests.support.space import Json

pytestmark = pytest.mark.asyncio(loop_scope="module")

RED = {"command": "make test", "exit_code": 1, "passed": False, "duration_seconds": 1}


async def until_settled(shop: Workshop, task: Json, *statuses: str) -> tuple[str, str | None]:
    """Where a task stands, once it is there: what happens by itself takes a moment."""
    async with asyncio.timeout(30):
        while True:
            where = await shop.space.where(task)
            if where[0] in statuses:
                return where
            await asyncio.sleep(0.05)  # a chore of the server's; nothing tells us


async def test_a_conflict_is_refused_with_its_files_and_leaves_the_target_alone(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path)
    task, _ = await shop.run({"src/app.py": "x = 'ours'\ny = 2\nz = 3\n", "other.txt": "o\n"})
    (change,) = await shop.space.changes(task)
    head = shop.repo.commit({"src/app.py": "x = 'theirs'\ny = 2\nz = 3\n"})
    problem = await shop.refused(change, "approve")
    assert (problem["code"], problem["files"]) == ("change_conflicts", ["src/app.py"])
    assert "src/app.py" in problem["detail"]
    assert shop.repo.rev("main") == head
    assert shop.repo.status() == ""
    now = await shop.get(change)
    assert (now["status"], now["merge_commit"]) == ("approved", None)
    assert "src/app.py" in now["failure_message"]
    status, reason = await shop.space.where(task)
    assert status == "review"
    assert (reason or "").startswith("could not be applied: ")
    # Somebody makes room for it, and asks again.
    shop.repo.commit({"src/app.py": "x = 1\ny = 2\nz = 3\n"})
    assert (await shop.decide(change, "apply"))["status"] == "applied"
    assert (await shop.space.where(task))[0] == "completed"


async def test_a_persons_uncommitted_work_on_the_target_branch_is_never_lost(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path)
    change = await shop.change({"src/app.py": "x = 9\ny = 2\nz = 3\n"})
    shop.repo.write({"src/app.py": "x = 1\ny = 2\nz = 'mine'\n", "mine.txt": "mine\n"})
    head = shop.repo.head
    problem = await shop.refused(change, "approve")
    assert problem["code"] == "change_not_applied"
    assert problem["cause"] == "work_tree_dirty"
    assert "src/app.py" in problem["detail"]
    assert (shop.repo.path / "src/app.py").read_text() == "x = 1\ny = 2\nz = 'mine'\n"
    assert shop.repo.rev("main") == head
    # Changes to other files are not in its way, and stay.
    shop.repo.git("checkout", "-q", "src/app.py")
    shop.repo.write({"README.md": "mine, too\n"})
    assert (await shop.decide(change, "apply"))["status"] == "applied"
    assert (shop.repo.path / "src/app.py").read_text() == "x = 9\ny = 2\nz = 3\n"
    assert (shop.repo.path / "README.md").read_text() == "mine, too\n"
    assert (shop.repo.path / "mine.txt").read_text() == "mine\n"
    assert shop.repo.git("diff", "--name-only") == "README.md"


async def test_however_often_it_is_applied_it_is_merged_once(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path)
    change = await shop.change({"a.txt": "a\n"})
    await shop.decide(change, "approve", {"apply": False})
    applied = await asyncio.gather(*(shop.decide(change, "apply") for _ in range(4)))
    assert {row["merge_commit"] for row in applied} == {shop.repo.rev("main")}
    assert (await shop.decide(change, "apply"))["status"] == "applied"
    assert len(shop.merges()) == 1


async def test_a_server_that_died_before_it_noted_the_merge_makes_no_second_one(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path)
    task, _ = await shop.run({"a.txt": "a\n"})
    (change,) = await shop.space.changes(task)
    merged = (await shop.decide(change, "approve"))["merge_commit"]
    # As the rows were when it died: the merge is in the branch, and nobody has written it down.
    async with shared_api.database.transaction() as tx:
        await tx.execute(
            update(Modification)
            .where(Modification.id == uuid.UUID(change["id"]))
            .values(
                status=ModificationStatus.APPROVED,
                merge_commit=None,
                applied_at=None,
                apply_requested_at=tx.now,
            )
        )
        await tx.execute(
            update(Task)
            .where(Task.id == uuid.UUID(task["id"]))
            .values(status=TaskStatus.REVIEW, completed_at=None)
        )
    shop.repo.commit({"later.txt": "later\n"})
    await until_settled(shop, task, "completed")  # the chore finds it
    now = await shop.get(change)
    assert (now["status"], now["merge_commit"]) == ("applied", merged)
    assert shop.merges() == [merged]


async def test_two_servers_that_apply_one_change_merge_it_once(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path)
    change = await shop.change({"a.txt": "a\n"})
    await shop.decide(change, "approve", {"apply": False})
    mine = shared_api.state.effect(ChangeApplier)
    other = ChangeApplier(mine.database, mine.desk, mine.importer)
    async with shared_api.database.transaction() as tx:
        await tx.execute(
            update(Modification)
            .where(Modification.id == uuid.UUID(change["id"]))
            .values(apply_requested_at=tx.now)
        )
    await asyncio.gather(*(it.apply(uuid.UUID(change["id"])) for it in (mine, other)))
    assert len(shop.merges()) == 1
    assert (await shop.get(change))["merge_commit"] == shop.repo.rev("main")


async def test_a_merged_change_is_taken_back_by_a_new_commit(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path)
    task, _ = await shop.run({"src/app.py": "x = 9\n", "new.txt": "new\n"}, title="Change it")
    (change,) = await shop.space.changes(task)
    await shop.decide(change, "approve")
    later = shop.repo.commit({"README.md": "later\n"})
    reverted = await shop.decide(change, "revert", {"reason": "it broke the build"})
    assert reverted["status"] == "applied"
    assert reverted["reverted_at"] is not None
    assert reverted["revert_commit"] == shop.repo.rev("main")
    assert shop.repo.parents("main") == [later]
    assert shop.repo.show("main", "src/app.py") == "x = 1\ny = 2\nz = 3"
    assert "new.txt" not in shop.repo.files("main")
    message = shop.repo.git("log", "-1", "--format=%B", "main")
    assert message.startswith('Revert "Change it" (T-1)')
    assert "it broke the build" in message
    # Once more changes nothing.
    again = await shop.decide(change, "revert")
    assert again["revert_commit"] == reverted["revert_commit"] == shop.repo.rev("main")


async def test_what_others_build_on_cannot_be_taken_back_alone(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path)
    first = await shop.change({"src/app.py": "x = 1\ny = 'first'\nz = 3\n"})
    await shop.decide(first, "approve")
    second = await shop.change({"src/app.py": "x = 1\ny = 'first, and second'\nz = 3\n"})
    await shop.decide(second, "approve")
    head = shop.repo.rev("main")
    problem = await shop.refused(first, "revert")
    assert (problem["code"], problem["files"]) == ("change_conflicts", ["src/app.py"])
    assert shop.repo.rev("main") == head
    assert (await shop.get(first))["reverted_at"] is None
    await shop.decide(second, "revert")
    await shop.decide(first, "revert")
    assert shop.repo.show("main", "src/app.py") == "x = 1\ny = 2\nz = 3"


async def test_a_change_outlives_its_repository(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path)
    task, order = await shop.run({"a.txt": "a\n"})
    (change,) = await shop.space.changes(task)
    gone = await shop.space.owner.call("DELETE", f"/repositories/{shop.space.repository_id}")
    assert gone.is_success, gone.text
    problem = await shop.refused(change, "approve")
    assert problem["code"] == "change_not_applied"
    assert "not registered any more" in problem["detail"]
    now = await shop.get(change)
    assert (now["status"], now["repository_id"]) == ("approved", None)
    assert "+a" in now["diff"]
    bundle = await shop.space.owner.call("GET", f"/executions/{order['execution_id']}/bundle")
    assert bundle.content.startswith(b"# v")
    await shop.decide(change, "reject")
    assert (await shop.space.where(task))[0] == "failed"


async def test_a_repository_whose_folder_is_away_is_tried_again(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path)
    task, _ = await shop.run({"a.txt": "a\n"})
    (change,) = await shop.space.changes(task)
    away = shop.repo.path.with_name("away")
    shutil.move(shop.repo.path, away)
    problem = await shop.refused(change, "approve")
    assert problem["code"] == "change_not_applied"
    assert str(shop.repo.path) in problem["detail"]
    assert (await shop.get(change))["status"] == "approved"
    shutil.move(away, shop.repo.path)
    assert (await shop.decide(change, "apply"))["status"] == "applied"


async def test_an_autonomous_change_is_merged_when_its_tests_pass_and_only_then(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path)
    autonomous = {"permission": "autonomous", "run_test_command": "make test"}
    green, _ = await shop.run({"green.txt": "g\n"}, **autonomous)
    where = await until_settled(shop, green, "completed")
    assert where == ("completed", "merged into main")
    for report, reason in (
        ({"tests": RED}, "waits for approval; its tests failed"),
        ({"tests": None}, "waits for approval; no tests were run"),
    ):
        task = await shop.space.task(**autonomous)
        await shop.report(await shop.worker.claim_one(), {"red.txt": "r\n"}, **report)
        assert await shop.space.where(task) == ("review", reason)
    untested, _ = await shop.run({"untested.txt": "u\n"}, permission="autonomous")
    assert (await until_settled(shop, untested, "completed"))[0] == "completed"
    assert sorted(set(shop.repo.files("main")) & {"green.txt", "red.txt", "untested.txt"}) == [
        "green.txt",
        "untested.txt",
    ]


async def test_a_supervised_change_waits_for_one_approval(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path)
    task, _ = await shop.run({"a.txt": "a\n"})
    assert (await shop.space.where(task))[0] == "review"
    assert shop.merges() == []
    (change,) = await shop.space.changes(task)
    await shop.decide(change, "approve")
    assert (await shop.space.where(task))[0] == "completed"
    assert len(shop.merges()) == 1


async def test_a_worker_cannot_choose_where_its_change_goes(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path)
    shop.repo.git("branch", "release")
    release = shop.repo.rev("release")
    task = await shop.space.task(permission="autonomous")
    order = await shop.worker.claim_one()
    sent = await shop.send(order, {"a.txt": "a\n"})
    await shop.worker.complete(order, exit_code=0, change=sent | {"target_branch": "release"})
    await until_settled(shop, task, "completed")
    assert shop.repo.rev("release") == release
    assert "a.txt" in shop.repo.files("main")


async def test_a_worker_cannot_have_another_commit_merged_than_it_sent(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path)
    rejected = await shop.decide(await shop.change({"bad.txt": "bad\n"}), "reject")
    task = await shop.space.task(permission="autonomous")
    order = await shop.worker.claim_one()
    sent = await shop.send(order, {"a.txt": "a\n"})
    who = {"order_id": order["order_id"], "fence": order["fence"]}
    for change, status, code in (
        (sent | {"head_commit": rejected["head_commit"]}, 422, "bundle_damaged"),
        (sent | {"bundle_sha256": "0" * 64}, 409, "bundle_missing"),
        (sent | {"bundle_sha256": None}, 409, "bundle_missing"),
    ):
        body = who | {"report": {"change": change}}
        problem = await shop.worker.caller.refused("POST", "/queue/complete", status, json=body)
        assert problem["code"] == code
    assert (await shop.space.where(task))[0] == "in_progress"
    assert shop.merges() == []
    await shop.worker.complete(order, change=sent)
    await until_settled(shop, task, "completed")
    assert shop.repo.files("main") == ["README.md", "a.txt", "src/app.py"]
