"""A server that was away takes nothing from workers that could not tell it that they live."""

from datetime import UTC, datetime

import pytest

from agentvine.config.settings import DatabaseSettings
from agentvine.db.session import Database
from agentvine.domains.work.enums import OrderStatus
from agentvine.domains.work.jobs import QueueChores
from agentvine.kit.clock import ManualClock
from agentvine.protocol.queue import LeaseState
from agentvine.reactions.routing import build_reactions
from tests.support.builders.work import SETTINGS, make_crew

pytestmark = pytest.mark.asyncio(loop_scope="module")

OUTAGE = SETTINGS.poll_interval_seconds + 6.0


async def test_after_an_outage_every_lease_is_extended_once_before_any_is_taken_back(
    shared_settings: DatabaseSettings,
):
    clock = ManualClock(datetime.now(UTC))
    database = await Database.open(shared_settings, clock, reactions=build_reactions(SETTINGS))
    crew = await make_crew(database)
    chores = QueueChores(database, SETTINGS)
    await chores.rescue()
    order_id = await crew.enqueue()
    worker = await crew.worker()
    order = await worker.claim_one()

    await crew.let_lease_lapse(order_id)
    clock.advance(OUTAGE)  # nobody looked, so most likely nobody could be heard
    await chores.rescue()
    kept = await crew.order(order_id)
    assert (kept.status, kept.fence) == (OrderStatus.CLAIMED, order.fence)
    assert await worker.beat(order) == [LeaseState.KEPT]

    await crew.let_lease_lapse(order_id)
    clock.advance(SETTINGS.poll_interval_seconds)  # as usual
    await chores.rescue()
    taken = await crew.order(order_id)
    assert taken.status is OrderStatus.PENDING
    assert taken.fence > order.fence
    await database.close()
