"""The queue and the changes follow the tasks, and the tasks follow them."""

import pytest

from tests.support.api import Api
from tests.support.gateway import until
from tests.support.space import make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_edit_reaches_the_waiting_order(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task()
    run = {
        "command": "make",
        "queue_name": space.queue,
        "max_retries": 7,
        "capabilities": {"Python": "expert"},
    }
    body = {"run": run, "priority": "high", "title": "Another title"}
    await space.owner.call("PATCH", f"/tasks/{task['id']}", json=body)
    (order,) = await space.orders(task)
    assert (order["priority"], order["max_retries"]) == ("high", 7)
    assert order["required_capabilities"] == {"Python": "expert"}
    assert await (await space.worker()).claim() == []
    claimed = await (await space.worker(capabilities={"python": "expert"})).claim_one()
    assert (claimed["payload"]["command"], claimed["payload"]["title"]) == ("make", "Another title")


async def test_a_task_whose_repository_was_deleted_while_it_waited_fails_when_it_is_freed(
    shared_api: Api,
):
    space = await make_space(shared_api)
    first = await space.owner.post(
        "/tasks", {"title": "first", "project_id": space.project_id, "start": False}
    )
    second = await space.task(depends_on=[first["id"]])
    third = await space.task(depends_on=[second["id"]])
    await space.owner.call("DELETE", f"/repositories/{space.repository_id}")
    await space.owner.call("DELETE", f"/tasks/{second['id']}/dependencies/{first['id']}")
    assert await space.where(second) == ("failed", "its repository was deleted")
    assert (await space.where(third))[0] == "blocked"


@pytest.mark.parametrize("what", ["project", "repository"])
async def test_what_waits_or_runs_for_a_deleted_place_is_ended(shared_api: Api, what: str):
    space = await make_space(shared_api)
    running, waiting = await space.task(), await space.task()
    worker = await space.worker()
    order = await worker.claim_one()
    place = f"/projects/{space.project_id}"
    if what == "repository":
        place = f"/repositories/{space.repository_id}"
    assert (await space.owner.call("DELETE", place)).is_success

    async def is_stopped() -> bool:
        return (await worker.beat(order))["leases"][0]["state"] == "cancel"

    await until(is_stopped, seconds=40)  # long before the chore looks by itself
    await worker.fail(order, "cancelled")
    assert await worker.claim() == []
    if what == "repository":
        assert (await space.where(waiting))[0] == "failed"
        assert (await space.where(running))[0] == "cancelled"


async def test_a_beat_moves_the_task_to_testing_once(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task()
    worker = await space.worker()
    order = await worker.claim_one()
    for phase, status in (("running", "in_progress"), ("testing", "testing")):
        await worker.beat(order, phase=phase)
        assert (await space.where(task))[0] == status
    await worker.complete(order)
    assert await space.where(task) == ("completed", "done: there was nothing to change")


async def test_a_run_that_ended_before_it_heard_of_its_cancel_is_cancelled(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task()
    worker = await space.worker()
    order = await worker.claim_one()
    await space.act(task, "cancel")
    await worker.complete(order)
    status, reason = await space.where(task)
    assert status == "cancelled"
    assert "had ended before it heard of it" in (reason or "")


async def test_a_cancelled_run_that_is_given_back_is_not_tried_again(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task()
    worker = await space.worker()
    order = await worker.claim_one()
    await space.act(task, "cancel")
    body = {"order_id": order["order_id"], "fence": order["fence"]}
    assert (await worker.caller.post("/queue/release", body))["will_retry"] is False
    assert (await space.where(task))[0] == "cancelled"
    assert await worker.claim() == []
