"""Workers: who they are, what frees what they hold, and when they count as gone."""

import asyncio

import pytest
from sqlalchemy import update

from agentvine.domains.work.jobs import QueueChores
from agentvine.domains.workers.models import Worker
from agentvine.kit.ids import new_id
from agentvine.protocol.enums import UserRole
from tests.support.api import Api, Caller
from tests.support.builders.identity import unique
from tests.support.builders.work import long_ago
from tests.support.space import WireWorker, make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def admin_of(api: Api) -> Caller:
    return await api.person(unique("admin"), UserRole.ADMIN)


async def test_a_worker_is_shown_as_it_introduced_itself(shared_api: Api):
    space = await make_space(shared_api)
    worker = await space.worker(
        accepts=["test", "docs"],
        capabilities={"python": "expert"},
        hostname="box",
        version="1.2",
        max_concurrent_tasks=3,
    )
    shown = await space.owner.get(f"/workers/{worker.worker_id}")
    assert (shown["name"], shown["status"], shown["hostname"]) == (worker.name, "idle", "box")
    assert (shown["accepts"], shown["queues"]) == (["test", "docs"], [space.queue])
    assert shown["capabilities"] == [{"name": "python", "level": "expert"}]
    assert (shown["max_concurrent_tasks"], shown["is_draining"]) == (3, False)
    listed = (await space.owner.get("/workers", params={"limit": 500}))["items"]
    assert shown in listed
    assert [row["name"] for row in listed] == sorted(row["name"] for row in listed)


async def test_what_a_worker_found_of_runtimes_is_shown_and_tells_why_an_order_waits(
    shared_api: Api,
):
    space = await make_space(shared_api)
    report = {"name": "claude-code", "is_available": False, "problem": "claude is not installed"}
    worker = await space.worker(runtimes=["command"], runtime_reports=[report])
    shown = await space.owner.get(f"/workers/{worker.worker_id}")
    [found] = shown["runtime_reports"]
    assert (found["name"], found["problem"]) == ("claude-code", "claude is not installed")

    task = await space.task(run_runtime="claude-code")
    await space.act(task, "start")
    [order] = await space.orders(task)
    why = await space.owner.get(f"/queue/orders/{order['id']}/why")
    assert f"on {worker.name}: claude is not installed" in str(why)


async def test_a_name_belongs_to_the_token_that_took_it_first(shared_api: Api):
    space = await make_space(shared_api)
    worker, other = await space.worker(), await space.worker()
    body = {"name": worker.name, "session_id": str(new_id())}
    problem = await other.caller.refused("POST", "/workers/register", 409, json=body)
    assert problem["code"] == "worker_name_taken"
    assert worker.name in problem["detail"]
    assert (await worker.beat())["drain"] is False  # and nothing of the first has changed


async def test_who_takes_a_new_name_at_once_is_one(shared_api: Api):
    space = await make_space(shared_api)
    name = unique("both")
    callers = [await shared_api.worker(unique("token")) for _ in range(3)]
    answers = await asyncio.gather(
        *(
            caller.call(
                "POST", "/workers/register", json={"name": name, "session_id": str(new_id())}
            )
            for caller in callers
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    assert space.queue


async def test_a_new_process_frees_what_the_old_one_held_but_for_what_it_will_report(
    shared_api: Api,
):
    space = await make_space(shared_api)
    tasks = [await space.task() for _ in range(2)]
    worker = await space.worker()
    orders = await worker.claim(slots=2)
    old = worker.who
    worker.session_id = str(new_id())
    answer = await worker.register(held=[orders[0]["execution_id"]])
    assert answer["released"] == 1
    assert [(await space.where(task))[0] for task in tasks] == ["in_progress", "queued"]
    problem = await worker.caller.refused("POST", "/queue/heartbeat", 409, json=old | {"held": []})
    assert problem["code"] == "worker_superseded"
    await worker.complete(orders[0])
    (again,) = await worker.claim()
    assert (again["order_id"], again["attempt"]) == (orders[1]["order_id"], 2)


async def test_a_dead_process_s_registration_that_comes_late_takes_nothing_from_the_living_one(
    shared_api: Api,
):
    space = await make_space(shared_api)
    task, worker = await space.task(), await space.worker()
    late = {"name": worker.name, "session_id": worker.session_id}
    for _ in range(2):
        worker.session_id = str(new_id())
        await worker.register()
    (order,) = await worker.claim()

    problem = await worker.caller.refused("POST", "/workers/register", 409, json=late)
    assert problem["code"] == "worker_superseded"
    assert (await space.where(task))[0] == "in_progress"
    (lease,) = (await worker.beat(order))["leases"]
    assert lease["state"] == "kept"
    # Its own may come twice, and changes nothing either.
    assert (await worker.register())["released"] == 0
    await worker.complete(order)


async def test_a_drained_worker_hears_of_it_and_gets_no_more(shared_api: Api):
    space = await make_space(shared_api)
    admin, worker = await admin_of(shared_api), await space.worker()
    shown = await admin.post(f"/workers/{worker.worker_id}/drain")
    assert shown["is_draining"] is True
    await space.task()
    assert await worker.claim() == []
    assert (await worker.beat())["drain"] is True


async def test_a_deleted_workers_orders_are_free_at_once_and_its_messages_refused(
    shared_api: Api,
):
    space = await make_space(shared_api)
    task = await space.task()
    admin, worker = await admin_of(shared_api), await space.worker()
    order = await worker.claim_one()
    path = f"/workers/{worker.worker_id}"
    assert (await admin.call("DELETE", path)).status_code == 204
    await space.owner.refused("GET", path, 404)
    assert (await space.where(task))[0] == "queued"
    body = {"order_id": order["order_id"], "fence": order["fence"], "report": {}}
    problem = await worker.caller.refused("POST", "/queue/complete", 409, json=body)
    assert problem["code"] == "lease_lost"
    await worker.caller.refused("POST", "/queue/heartbeat", 404, json=worker.who)
    other = await space.worker()
    assert (await other.claim_one())["order_id"] == order["order_id"]


async def test_a_deleted_workers_name_is_free_for_another_token(shared_api: Api):
    space = await make_space(shared_api)
    admin, worker = await admin_of(shared_api), await space.worker()
    await admin.call("DELETE", f"/workers/{worker.worker_id}")
    heir = WireWorker(await shared_api.worker(unique("token")), space.queue, {}, name=worker.name)
    await heir.register()
    await space.task()
    assert len(await heir.claim()) == 1
    await worker.caller.refused("POST", "/queue/heartbeat", 404, json=heir.who)


async def test_a_silent_worker_is_shown_as_offline_until_it_is_heard_again(shared_api: Api):
    space = await make_space(shared_api)
    worker = await space.worker()
    async with shared_api.database.transaction() as tx:
        await tx.execute(
            update(Worker).where(Worker.name == worker.name).values(last_heartbeat_at=long_ago())
        )
    await QueueChores(shared_api.database, shared_api.settings.queue).mark_offline()
    path = f"/workers/{worker.worker_id}"
    assert (await space.owner.get(path))["status"] == "offline"
    await worker.beat()
    assert (await space.owner.get(path))["status"] == "idle"


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "x" * 101},
        {"queues": []},
        {"max_concurrent_tasks": 0},
        {"capabilities": {"python": "guru"}},
        {"accepts": ["anything"]},
        {"surprise": 1},
    ],
)
async def test_a_worker_that_introduces_itself_wrongly_is_told(
    shared_api: Api, wrong: dict[str, object]
):
    caller = await shared_api.worker(unique("token"))
    body = {"name": unique("worker"), "session_id": str(new_id())} | wrong
    await caller.refused("POST", "/workers/register", 422, json=body)
