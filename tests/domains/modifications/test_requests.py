"""Changes asked for in words: foreseen, approved into one task, and completed by its run."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Api
from tests.support.changes import Workshop, make_workshop
from tests.support.space import Json

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILES = {
    "src/prices.py": "def total(lines):\n    return sum(lines)\n",
    "src/cart.py": "from prices import total\n",
    "tests/test_prices.py": "from prices import total\n",
}


async def ask(shop: Workshop, request: str, *, key: str | None = None, **fields: Any) -> Json:
    body = {
        "request": request,
        "repository_id": shop.space.repository_id,
        "run": {"command": "true", "queue_name": shop.space.queue},
        **fields,
    }
    headers = {"Idempotency-Key": key} if key else {}
    return await shop.space.owner.post("/modifications", body, headers=headers)


async def impact(shop: Workshop, change: Json) -> Json:
    return await shop.space.owner.get(f"/modifications/{change['id']}/impact")


async def approved(shop: Workshop, request: str) -> tuple[Json, Json]:
    """A request that somebody has approved, and its task."""
    asked = await shop.decide(await ask(shop, request), "approve")
    return asked, await shop.space.owner.get(f"/tasks/{asked['task_id']}")


async def test_a_request_becomes_one_task_and_its_run_completes_it(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path, FILES)
    request = "Round the total in prices\n\nHalf up, please."
    asked = await ask(shop, request, key="once", definition_of_done="It is round.")
    assert (await ask(shop, request, key="once", definition_of_done="It is round.")) == asked
    assert (asked["status"], asked["stage"], asked["task_id"]) == ("pending", "request", None)
    assert asked["affected_files"][0] == "src/prices.py"
    foreseen = (await impact(shop, asked))["foreseen"]
    assert foreseen["commit"] == shop.repo.head
    assert foreseen["reach"]["tests"] == ["tests/test_prices.py"]
    assert "src/prices.py: total" in foreseen["reach"]["interfaces"]
    assert await shop.worker.claim() == []
    assert (await shop.refused(asked, "apply"))["code"] == "modification_decided"

    path = f"/modifications/{asked['id']}/approve"
    answers = await asyncio.gather(
        *(shop.space.owner.call("POST", path, json={}) for _ in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    (order,) = await shop.worker.claim()
    assert order["payload"]["title"] == "Round the total in prices"
    assert "- src/prices.py: " in order["payload"]["description"]
    assert "its name holds 'pric'" in order["payload"]["description"]
    working = await shop.get(asked)
    assert (working["status"], working["stage"]) == ("approved", "work")
    for decision in ("apply", "reject"):
        assert "cancel the task" in (await shop.refused(asked, decision))["detail"]

    await shop.report(order, {"src/prices.py": "def total(lines, digits): ...\n", "new.txt": "n"})
    (changed,) = await shop.space.changes({"id": working["task_id"]})
    assert changed["id"] == asked["id"]
    assert (changed["status"], changed["stage"]) == ("pending", "change")
    assert (changed["request"], changed["tests_passed"]) == (request, True)
    seen = await impact(shop, asked)
    assert seen["foreseen"] == foreseen
    assert seen["comparison"]["hit"] == ["src/prices.py"]
    assert seen["comparison"]["surprise"] == ["new.txt"]
    assert set(seen["comparison"]["missed"]) == set(asked["affected_files"]) - {"src/prices.py"}
    assert seen["real"]["reach"]["risk"]["level"] == "high"
    told = "Public names that others import go or change: src/prices.py: total."
    assert seen["real"]["reach"]["risk"]["reasons"] == [told]
    assert (await shop.decide(changed, "approve"))["status"] == "applied"


async def test_a_request_whose_task_fails_has_failed_and_is_completed_by_a_later_attempt(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path, FILES)
    asked, task = await approved(shop, "Round the total in prices")
    order = await shop.worker.claim_one()
    sent = await shop.send(order, {"src/prices.py": "half = 1\n"})
    await shop.worker.fail(order, report={"change": sent | {"is_partial": True}})
    assert (await shop.space.where(task))[0] == "failed"
    failed = await shop.get(asked)
    assert (failed["status"], failed["failure_message"]) == ("failed", "it went wrong")
    # What the failed attempt has left is kept beside it, to be looked at.
    evidence = [row for row in await shop.space.changes(task) if row["id"] != asked["id"]]
    assert [(row["status"], row["stage"]) for row in evidence] == [("failed", "change")]

    await shop.space.act(task, "retry")
    await shop.report(await shop.worker.claim_one(), {"src/prices.py": "whole = 1\n"})
    done = await shop.get(asked)
    assert (done["status"], done["stage"], done["failure_message"]) == ("pending", "change", None)
    assert (await shop.decide(done, "reject"))["status"] == "rejected"
    # One more attempt has a change of its own, with the same request and foresight.
    await shop.space.act(task, "retry")
    await shop.report(await shop.worker.claim_one(), {"src/prices.py": "other = 1\n"})
    newest = (await shop.space.changes(task))[0]
    assert newest["id"] != asked["id"]
    assert (await impact(shop, newest))["comparison"]["hit"] == ["src/prices.py"]


async def test_what_is_turned_down_cancelled_or_changes_nothing_ends_as_it_should(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path, FILES)
    unwanted = await shop.decide(await ask(shop, "Paint it"), "reject", {"reason": "No."})
    assert (unwanted["status"], unwanted["decision_reason"]) == ("rejected", "No.")
    assert (await shop.refused(unwanted, "approve", {}))["code"] == "modification_decided"

    cancelled, task = await approved(shop, "Paint it red")
    await shop.space.act(task, "cancel", {"reason": "enough"})
    assert (await shop.get(cancelled))["status"] == "rejected"

    idle, task = await approved(shop, "Paint it blue")
    await shop.worker.complete(await shop.worker.claim_one(), exit_code=0)
    assert (await shop.space.where(task))[0] == "completed"
    ended = await shop.get(idle)
    assert (ended["status"], ended["failure_message"]) == (
        "failed",
        "done: there was nothing to change",
    )
    assert (await impact(shop, idle))["real"] is None


async def test_approved_requests_about_the_same_files_are_carried_out_one_after_the_other(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path, FILES)
    _, first = await approved(shop, "Round the total in src/prices.py")
    assert first["touches"] == [{"pattern": "src/prices.py", "source": "impact"}]
    _, second = await approved(shop, "Add up src/prices.py faster")
    _, other = await approved(shop, "Empty src/cart.py")
    assert await shop.space.where(second) == ("blocked", "waits for files of T-1 (src/prices.py)")
    assert (await shop.space.where(other))[0] == "queued"
    # Whoever knows better says so.
    path = f"/tasks/{second['id']}"
    edited = await shop.space.owner.call("PATCH", path, json={"touches": ["src/fast.py"]})
    assert edited.is_success
    known = (await shop.space.owner.get(path))["touches"]
    assert known == [{"pattern": "src/fast.py", "source": "declared"}]
    assert (await shop.space.where(second))[0] == "queued"


async def test_a_context_a_bad_run_or_two_places_are_taken_or_named(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path, FILES)
    first = await ask(shop, "Round the total")
    detail = await shop.get(first)
    assert detail["foreseen"]["schema_version"] == 1
    owner, body = shop.space.owner, {"request": "x", "run": {"command": "true"}}
    here = {"repository_id": shop.space.repository_id}
    nobody = {"project_context_id": "00000000-0000-0000-0000-000000000000"}
    for fields, status, code in (
        ({"run": {}} | here, 422, "task_not_runnable"),
        (here | nobody, 422, "invalid"),
        (nobody, 404, "project_context_not_found"),
        (here | {"target_branch": "gone"}, 404, "ref_not_found"),
    ):
        problem = await owner.refused("POST", "/modifications", status, json=body | fields)
        assert problem["code"] == code
