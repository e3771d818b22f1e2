"""The timeline of an attempt: everything once, in order, whatever a worker's clock says."""

from typing import Any

import pytest
from sqlalchemy import select

from agentvine.domains.identity.models import AuditEvent
from tests.support.api import Api
from tests.support.space import Json, Space, WireWorker, claim_of, log_body, make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def running(api: Api, **task: Any) -> tuple[Space, WireWorker, Json, Json]:
    space = await make_space(api)
    task = await space.task(**task)
    worker = await space.worker()
    return space, worker, task, await worker.claim_one()


async def timeline(space: Space, order: Json) -> Json:
    return await space.owner.get(f"/executions/{order['execution_id']}/timeline")


def kinds(found: Json) -> list[str]:
    return [event["kind"] for event in found["events"]]


async def say(worker: WireWorker, order: Json, seq: int, step: object, **line: Any) -> None:
    """One line of the worker's own, marked as a step."""
    body = log_body(
        order, f"says {step}", first_seq=seq, stream="system", metadata={"step": step, "n": seq}
    )
    body["lines"][0] |= line
    await worker.caller.post(f"/executions/{order['execution_id']}/logs", body)


async def test_a_timeline_tells_who_did_what_in_order(shared_api: Api):
    space, worker, _, order = await running(shared_api)
    await say(worker, order, 1, "prepared")
    await say(worker, order, 2, "started")
    await worker.complete(order, log_high_water={"system": 3}, metrics={"first_output_seconds": 0})

    found = await timeline(space, order)
    assert kinds(found) == [
        "task.created",
        "task.queued",
        "execution.claimed",
        "task.in_progress",
        "run.prepared",
        "run.started",
        "run.first_output",
        "execution.completed",
        "task.completed",
    ]
    events = found["events"]
    assert [event["number"] for event in events] == list(range(1, 10))
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    by_kind = {event["kind"]: event for event in events}
    assert by_kind["task.created"]["source"] == "person"
    assert by_kind["execution.claimed"]["facts"]["worker"] == worker.name
    assert by_kind["run.prepared"]["source"] == "worker"
    assert by_kind["run.prepared"]["message"] == "says prepared"
    assert by_kind["run.prepared"]["facts"] == {"n": 1}
    assert found["is_whole"] is False, "one of the worker's lines is still on its way"
    await say(worker, order, 3, "done")
    assert (await timeline(space, order))["is_whole"] is True


async def test_the_timelines_of_all_attempts_together_are_the_tasks_history(shared_api: Api):
    space, worker, task, first = await running(shared_api, run_max_retries=1)
    await worker.caller.post("/queue/release", claim_of(first) | {"reason": "am drained"})
    second = await worker.claim_one()
    await space.act(task, "cancel")
    await worker.fail(second, "cancelled")

    lists = [await timeline(space, order) for order in (first, second)]
    told = [kind for found in lists for kind in kinds(found) if not kind.startswith("execution.")]
    async with shared_api.database.read() as read:
        query = select(AuditEvent.action).where(AuditEvent.entity_id == task["id"])
        recorded = (await read.scalars(query.order_by(AuditEvent.id))).all()
    assert told == list(recorded)
    assert kinds(lists[0])[-2:] == ["execution.failed", "task.queued"]
    assert "am drained" in lists[0]["events"][-1]["message"]
    assert lists[0]["events"][-2]["facts"]["failure_class"] == "worker_stopped"
    assert kinds(lists[1])[0] == "execution.claimed"
    assert "execution.cancelled" in kinds(lists[1])


async def test_a_workers_wrong_clock_only_orders_its_own_steps(shared_api: Api):
    space, worker, _, order = await running(shared_api)
    await say(worker, order, 1, "prepared", logged_at="2099-01-01T00:00:00Z")
    await say(worker, order, 2, "started", logged_at="2001-01-01T00:00:00Z")
    await worker.complete(order)
    found = kinds(await timeline(space, order))
    assert found.index("execution.claimed") < found.index("run.prepared")
    assert found.index("run.prepared") < found.index("run.started")
    assert found.index("run.started") < found.index("execution.completed")


async def test_ordinary_lines_are_no_steps(shared_api: Api):
    space, worker, _, order = await running(shared_api)
    for seq, step in enumerate((None, 7, "", "Not A Step", "x" * 41), 1):
        await say(worker, order, seq, step)
    await worker.log(order, "printed")
    assert not [kind for kind in kinds(await timeline(space, order)) if kind.startswith("run.")]
