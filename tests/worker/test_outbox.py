"""Reports that are ready together travel together, and each counts for itself."""

import asyncio
import json
import uuid
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agentvine.client import Client
from agentvine.client.transport import NO_RETRIES
from agentvine.kit.errors import Conflict
from agentvine.kit.ids import new_id
from agentvine.protocol.queue import ReleaseIn
from agentvine.worker.delivery import Outbox
from agentvine.worker.folders import PendingReport
from tests.support.http import serve

STALE = new_id()
"""The order of a claim that is somebody else's by now."""


def queue(*, knows_many: bool) -> tuple[Starlette, list[int]]:
    """A server's door for reports, and how many came with each request."""
    counts: list[int] = []

    async def release(request: Request) -> Response:
        counts.append(1)
        order = json.loads(await request.body())["order_id"]
        if order != str(STALE):
            return JSONResponse(outcome(order))
        problem = {"type": "about:blank", "title": "t", "status": 409, "detail": "It is stale."}
        body = problem | {"code": "lease_lost"}
        return JSONResponse(body, 409, media_type="application/problem+json")

    async def report_many(request: Request) -> Response:
        reports = json.loads(await request.body())["reports"]
        counts.append(len(reports))
        return JSONResponse({"items": [answer(one["release"]["order_id"]) for one in reports]})

    routes = [Route("/api/v1/queue/release", release, methods=["POST"])]
    if knows_many:
        routes.append(Route("/api/v1/queue/report-many", report_many, methods=["POST"]))
    return Starlette(routes=routes), counts


def outcome(order: str) -> dict[str, Any]:
    return {"order_id": order, "status": "pending"}


def answer(order: str) -> dict[str, Any]:
    if order == str(STALE):
        return {"error": {"code": "lease_lost", "detail": "It is stale."}}
    return {"outcome": outcome(order)}


def report(order: uuid.UUID) -> PendingReport:
    return PendingReport(release=ReleaseIn(order_id=order, fence=1, reason="stopped"))


async def test_what_is_ready_at_once_goes_in_few_requests_and_each_gets_its_answer():
    orders = [new_id() for _ in range(9)]
    app, counts = queue(knows_many=True)
    with serve(app) as url:
        async with Client(url, "t", retry=NO_RETRIES) as client:
            outbox = Outbox(client)
            done = await asyncio.gather(*(outbox.send(report(order)) for order in orders))
            alone = await outbox.send(report(orders[0]))
    assert [each.order_id for each in done] == orders
    assert alone.order_id == orders[0]
    assert (sum(counts), counts[-1]) == (10, 1)
    assert len(counts) <= 3


@pytest.mark.parametrize("knows_many", [True, False], ids=["today's", "an older one"])
async def test_one_that_is_refused_is_told_why_and_holds_up_no_other(*, knows_many: bool):
    orders = [new_id() for _ in range(3)]
    app, _ = queue(knows_many=knows_many)
    with serve(app) as url:
        async with Client(url, "t", retry=NO_RETRIES) as client:
            outbox = Outbox(client)
            every = (STALE, *orders, STALE)
            done = await asyncio.gather(
                *(outbox.send(report(order)) for order in every), return_exceptions=True
            )
    first, *others, last = done
    assert [each.order_id for each in others if not isinstance(each, BaseException)] == orders
    for refused in (first, last):
        assert isinstance(refused, Conflict)
        assert refused.code == "lease_lost"
