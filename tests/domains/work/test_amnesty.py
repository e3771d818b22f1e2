"""A server that was away takes nothing from workers that could not tell it that they live."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from agentvine.config.settings import DatabaseSettings
from agentvine.db.session import Database
from agentvine.domains.work import store
from agentvine.domains.work.enums import OrderStatus
from agentvine.domains.work.jobs import QueueChores
from agentvine.kit.clock import ManualClock, SystemClock
from agentvine.protocol.queue import LeaseState
from agentvine.reactions.routing import build_reactions
from tests.support.builders.work import SETTINGS, Crew, long_ago, make_crew

pytestmark = pytest.mark.asyncio(loop_scope="module")

OUTAGE = SETTINGS.poll_interval_seconds + 6.0


class LeftBehind(SystemClock):
    """Beside which the database's clock, that of the wall, was set forward by so many seconds."""

    seconds = 0.0

    def monotonic(self) -> float:
        return super().monotonic() - self.seconds


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


@pytest.mark.parametrize("look", ["a usual one", "the first one of a server"])
async def test_after_the_database_s_clock_was_set_forward_every_lease_is_extended_once(
    shared_settings: DatabaseSettings, look: str
):
    clock = LeftBehind()
    database = await Database.open(shared_settings, clock, reactions=build_reactions(SETTINGS))
    crew = await make_crew(database)
    chores = QueueChores(database, SETTINGS)
    order_id = await crew.enqueue()
    worker = await crew.worker()
    order = await worker.claim_one()
    await (chores.rescue() if look == "a usual one" else chores.grant_amnesty())

    clock.seconds += SETTINGS.lease_seconds
    await crew.let_lease_lapse(order_id)
    await chores.rescue()
    kept = await crew.order(order_id)
    assert (kept.status, kept.fence) == (OrderStatus.CLAIMED, order.fence)
    assert await worker.beat(order) == [LeaseState.KEPT]

    assert await is_taken_back_soon(crew, chores, order_id)
    await database.close()


async def test_a_lease_that_runs_out_after_the_look_at_the_clock_is_judged_by_the_next_look(
    shared_database: Database,
):
    crew = await make_crew(shared_database)
    order_id = await crew.enqueue()
    await (await crew.worker()).claim_one()
    await crew.let_lease_lapse(order_id)
    before, after = long_ago() - timedelta(minutes=1), long_ago() + timedelta(minutes=1)
    async with shared_database.read() as read:
        assert order_id not in await store.find_orders(read, store.is_lapsed(read, by=before), 99)
        assert order_id in await store.find_orders(read, store.is_lapsed(read, by=after), 99)


async def is_taken_back_soon(crew: Crew, chores: QueueChores, order_id: uuid.UUID) -> bool:
    """By one of the next looks; on a machine that stands still for seconds, not by the first."""
    for _ in range(20):
        await crew.let_lease_lapse(order_id)
        await chores.rescue()
        if (await crew.order(order_id)).status is OrderStatus.PENDING:
            return True
    return False
