"""Whatever a worker sends, the server keeps nothing that looks like a secret."""

import json
import uuid
from typing import Any

import pytest
from sqlalchemy import select

from agentvine.domains.executions.models import Execution, ExecutionLog
from agentvine.domains.work.models import WorkOrder
from agentvine.kit.redaction import KEY_MASK
from tests.support.api import Api
from tests.support.space import Json, Space, WireWorker, log_body, make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Put together here, so that nobody who looks for secrets in this repository finds one.
SECRET = "0123456789abcdefghij0123456789ABCDEFGHIJ0123"
TOKEN = f"avw_abcdefgh_{SECRET}"
KEY = ["-----BEGIN " + "PRIVATE KEY-----", SECRET, SECRET, "-----END " + "PRIVATE KEY-----"]


async def running(api: Api, **task: Any) -> tuple[Space, WireWorker, Json]:
    space = await make_space(api)
    await space.task(**task)
    worker = await space.worker()
    return space, worker, await worker.claim_one()


async def stored(api: Api, order: Json) -> str:
    """All that the database holds of an attempt's log, report and order."""
    order_id = uuid.UUID(order["order_id"])
    async with api.database.read() as read:
        lines = await read.execute(
            select(ExecutionLog.message, ExecutionLog.metadata_)
            .join(Execution, Execution.id == ExecutionLog.execution_id)
            .where(Execution.work_order_id == order_id)
        )
        ends = await read.execute(
            select(
                Execution.failure_message,
                Execution.metrics,
                Execution.report,
                WorkOrder.result,
                WorkOrder.error_message,
            )
            .join(WorkOrder, WorkOrder.id == Execution.work_order_id)
            .where(WorkOrder.id == order_id)
        )
        return json.dumps([[list(row) for row in rows.all()] for rows in (lines, ends)])


async def test_lines_are_masked_before_they_are_stored(shared_api: Api):
    _, worker, order = await running(shared_api)
    body = log_body(order, f"token {TOKEN} used", metadata={"said": [TOKEN]})
    await worker.caller.post(f"/executions/{order['execution_id']}/logs", body)
    kept = await stored(shared_api, order)
    assert "token [redacted] used" in kept
    assert SECRET not in kept


async def test_a_private_key_is_masked_also_when_its_lines_come_one_by_one(shared_api: Api):
    space, worker, order = await running(shared_api)
    for seq, line in enumerate([*KEY, SECRET], 1):
        for _ in range(2):
            await worker.log(order, line, first_seq=seq)
    page = await space.owner.get(f"/executions/{order['execution_id']}/logs")
    assert [line["message"] for line in page["items"]] == [
        KEY[0] + KEY_MASK,
        KEY_MASK,
        KEY_MASK,
        KEY_MASK + KEY[-1],
        SECRET,
    ]


async def test_what_a_report_says_is_masked(shared_api: Api):
    tests = {
        "command": f"TEST_TOKEN={SECRET} make test",
        "exit_code": 1,
        "passed": False,
        "duration_seconds": 1.0,
        "output_tail": "\n".join(["before", *KEY, "after"]),
        "failed_cases": [{"name": "t", "outcome": "failure", "message": f"got {TOKEN}"}],
    }
    report = {"tests": tests, "metrics": {"said": {"deep": [TOKEN]}}}
    for end in ("complete", "fail"):
        _, worker, order = await running(shared_api, run_max_retries=0)
        if end == "complete":
            await worker.complete(order, **report)
        else:
            url = f"https://me:{SECRET}@host/x"
            await worker.fail(order, message=f"could not fetch {url}", report=report)
        kept = await stored(shared_api, order)
        assert SECRET not in kept
        assert "TEST_TOKEN=[redacted] make test" in kept
        assert "after" in kept
        assert end == "complete" or "could not fetch https://me:[redacted]@host/x" in kept


async def test_why_an_order_was_given_back_is_masked(shared_api: Api):
    _, worker, order = await running(shared_api)
    body = {"order_id": order["order_id"], "fence": order["fence"], "reason": f"no {TOKEN}"}
    await worker.caller.post("/queue/release", body)
    kept = await stored(shared_api, order)
    assert SECRET not in kept
    assert "no [redacted]" in kept
