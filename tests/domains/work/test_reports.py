"""Reports, one or many, each counts for itself."""

import pytest

from agentvine.db.session import Database
from agentvine.domains.work.enums import OrderStatus
from agentvine.domains.work.errors import LeaseLost
from agentvine.domains.work.reports import Reports
from agentvine.protocol.enums import FailureClass
from agentvine.protocol.queue import CompleteIn, ExecutionReport, FailIn, OrderOutcome
from tests.support.builders.work import SETTINGS, make_crew

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.promise("P1")
async def test_many_reports_are_each_taken_as_if_they_had_come_alone(shared_database: Database):
    crew = await make_crew(shared_database)
    await crew.enqueue_many(4)
    worker = await crew.worker(max_concurrent_tasks=4)
    good, failing, stale, last = await worker.claim(4)
    reports = Reports(shared_database, SETTINGS, crew.shortcuts)
    many = [
        CompleteIn(order_id=good.order_id, fence=1, report=ExecutionReport(exit_code=0)),
        FailIn(
            order_id=failing.order_id,
            fence=1,
            failure_class=FailureClass.CRASHED,
            message="no",
        ),
        CompleteIn(order_id=stale.order_id, fence=7, report=ExecutionReport()),
        CompleteIn(order_id=last.order_id, fence=1, report=ExecutionReport()),
    ]

    first = await reports.take_many(worker.actor, many)
    again = await reports.take_many(worker.actor, many)

    for outcomes in (first, again):
        a, b, c, d = outcomes
        assert isinstance(c, LeaseLost)
        statuses = [each.status for each in (a, b, d) if isinstance(each, OrderOutcome)]
        assert statuses == [OrderStatus.COMPLETED, OrderStatus.PENDING, OrderStatus.COMPLETED]
    assert (await crew.order(stale.order_id)).status is OrderStatus.CLAIMED
