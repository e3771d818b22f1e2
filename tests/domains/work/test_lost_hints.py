"""Every hint may be lost: work still flows, a poll interval later."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from agentvine.config.settings import DatabaseSettings, QueueSettings
from agentvine.db.session import Database
from agentvine.domains.work import limiting
from agentvine.domains.work.line_jobs import LimitChores
from agentvine.domains.work.waiting import WaitingRoom
from agentvine.kit.clock import SystemClock
from agentvine.kit.ids import random_token
from agentvine.protocol.enums import LimitScope
from agentvine.protocol.limits import LimitTarget
from agentvine.protocol.queue import ClaimedOrder, ClaimIn
from agentvine.reactions.routing import build_reactions
from agentvine.server.background import Chore, Supervisor
from tests.support.builders.work import Crew, Hand, make_crew

pytestmark = pytest.mark.asyncio(loop_scope="module")

POLL = 0.3


@pytest_asyncio.fixture(loop_scope="module")
async def mute(shared_settings: DatabaseSettings) -> AsyncIterator[Database]:
    """Another server's database, none of whose hints ever arrives."""
    opened = await Database.open(
        shared_settings, SystemClock(), reactions=build_reactions(QueueSettings())
    )
    await opened.hints.close()
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="module")
async def room(shared_database: Database) -> AsyncIterator[WaitingRoom]:
    """Where workers wait, with the chores of a server that hears of nothing."""
    settings = QueueSettings(poll_interval_seconds=POLL)
    room = WaitingRoom(shared_database, settings)
    chores = (
        Chore("wake", room.look, every_seconds=POLL, channel="nobody speaks here"),
        Chore("lines", LimitChores(shared_database).straighten, every_seconds=POLL),
    )
    supervisor = Supervisor(shared_database, shared_database.clock, chores)
    supervisor.start()
    yield room
    await supervisor.stop()


async def wait_for_work(room: WaitingRoom, hand: Hand, seconds: float) -> list[ClaimedOrder]:
    message = ClaimIn(
        worker_id=hand.worker_id,
        session_id=hand.session_id,
        claim_token=random_token(24),
        wait_seconds=seconds,
    )
    grants = await room.claim(hand.actor, message, asyncio.Event())
    return [grant.order() for grant in grants]


@pytest.mark.promise("P24")
async def test_an_order_of_which_nobody_hears_is_found_by_looking(
    mute: Database, shared_database: Database, room: WaitingRoom
):
    elsewhere = await make_crew(mute)
    here = Crew(elsewhere.ground, elsewhere.queue_name)
    worker = await here.worker()
    waiting = asyncio.create_task(wait_for_work(room, worker, 40))
    await asyncio.sleep(0)
    began = time.monotonic()
    order_id = await elsewhere.enqueue()
    (order,) = await waiting
    assert order.order_id == order_id
    assert time.monotonic() - began < 20 * POLL, "not by the end of the long poll"


async def test_a_place_that_is_given_back_in_silence_is_found_by_looking(
    mute: Database, shared_database: Database, room: WaitingRoom
):
    crew = await make_crew(mute)
    first, second = await crew.enqueue_many(2)
    async with crew.ground.transaction() as tx:
        target = LimitTarget(scope=LimitScope.PROJECT, key=str(crew.ground.project_id))
        await limiting.set_limit(tx, target, 1)
    worker, other = await crew.worker(), await crew.worker()
    (held,) = await wait_for_work(room, worker, 40)
    assert held.order_id == first
    waiting = asyncio.create_task(wait_for_work(room, other, 40))
    await asyncio.sleep(0)
    assert not waiting.done()
    await worker.complete(held)
    assert [order.order_id for order in await waiting] == [second]
