"""Attempts beside each other: how each ended, what it took, and what it came to."""

import pytest

from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.scene import make_people, make_scene
from tests.support.space import claim_of, make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")

TESTS = {
    "command": "make test",
    "exit_code": 1,
    "passed": False,
    "duration_seconds": 2.5,
    "source": "junit",
    "total": 10,
    "failures": 2,
    "errors": 1,
    "skipped": 3,
}


async def test_attempts_are_told_in_their_order_each_with_its_own_figures(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task(run_max_retries=1)
    worker = await space.worker()
    first = await worker.claim_one()
    call = {"request_id": unique("call"), "model": "gpt-5", "tokens_in": 1000, "tokens_out": 100}
    await worker.caller.post(
        f"/executions/{first['execution_id']}/usage", claim_of(first) | {"calls": [call]}
    )
    await worker.caller.post("/queue/release", claim_of(first) | {"reason": "am drained"})
    second = await worker.claim_one()
    metrics = {"cpu_seconds": 3.25, "prepare_seconds": 0.5, "test_seconds": 2.5}
    report = {"duration_seconds": 7, "peak_memory_bytes": 2**30, "exit_code": 0, "tests": TESTS}
    await worker.fail(second, "tests_failed", report=report | {"metrics": metrics})

    page = await space.owner.get(f"/tasks/{task['id']}/attempts", params={"limit": 1})
    [one] = page["items"]
    more = {"limit": 1, "cursor": page["next_cursor"]}
    [two] = (await space.owner.get(f"/tasks/{task['id']}/attempts", params=more))["items"]

    assert one["execution_id"] == first["execution_id"]
    assert (one["failure_class"], one["status"]) == ("worker_stopped", "failed")
    assert "am drained" in one["failure_message"]
    assert (one["tokens_in"], one["tokens_out"], one["model_calls"]) == (1000, 100, 1)
    assert one["cost_usd"] == "0.002250"
    assert (one["cpu_seconds"], one["peak_memory_bytes"], one["tests"]) == (None, None, None)
    assert (two["execution_id"], two["failure_class"]) == (second["execution_id"], "tests_failed")
    assert (two["cpu_seconds"], two["peak_memory_bytes"], two["exit_code"]) == (3.25, 2**30, 0)
    assert (two["prepare_seconds"], two["run_seconds"], two["test_seconds"]) == (0.5, 7, 2.5)
    assert two["wall_seconds"] >= 0
    assert (two["model_calls"], two["cost_usd"], two["worker_name"]) == (0, "0", worker.name)
    counts = {"total": 10, "failures": 2, "errors": 1, "skipped": 3}
    assert two["tests"] == counts | {"passed": False}
    assert await space.owner.get(f"/executions/{second['execution_id']}/figures") == two


async def test_an_attempts_change_is_told_and_figures_may_be_nonsense(shared_api: Api):
    people = await make_people(shared_api)
    scene = await make_scene(shared_api, people)
    [changed] = (await people.reader.get(f"/tasks/{scene.names['task_id']}/attempts"))["items"]
    assert changed["change"]["files"] == 1
    assert changed["change"]["is_partial"] is False
    assert changed["change"]["rescue_ref"] is None, "its repository is not there"

    space = await make_space(shared_api)
    task = await space.task()
    worker = await space.worker()
    odd = {"cpu_seconds": "many", "prepare_seconds": None, "test_seconds": [1]}
    await worker.complete(await worker.claim_one(), metrics=odd)
    [row] = (await space.owner.get(f"/tasks/{task['id']}/attempts"))["items"]
    assert (row["cpu_seconds"], row["prepare_seconds"], row["test_seconds"]) == (None, None, None)
    assert (row["change"], row["tests"]) == (None, None)


async def test_a_task_that_was_not_attempted_has_none(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.idle()
    page = await space.owner.get(f"/tasks/{task['id']}/attempts")
    assert page == {"items": [], "next_cursor": None}
