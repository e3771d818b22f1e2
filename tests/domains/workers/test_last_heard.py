"""When workers were last heard of is written for many at once, and never for the wrong process."""

import asyncio
import contextvars
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from agentvine.db.session import Database
from agentvine.domains.work.jobs import QueueChores
from agentvine.domains.workers.enums import WorkerStatus
from agentvine.domains.workers.last_heard import LastHeard
from agentvine.domains.workers.models import Worker
from agentvine.kit.ids import new_id
from tests.support.builders.work import Hand, long_ago, make_crew

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def last_heartbeat(hand: Hand) -> datetime:
    async with hand.crew.database.read() as read:
        at = (await read.get_one(Worker, hand.worker_id)).last_heartbeat_at
    assert at is not None
    return at


async def silent_hands(database: Database, count: int = 1) -> list[Hand]:
    """Workers that have not been heard of for long."""
    crew = await make_crew(database)
    hands = [await crew.worker() for _ in range(count)]
    async with database.transaction() as tx:
        await tx.execute(
            update(Worker)
            .where(Worker.id.in_([hand.worker_id for hand in hands]))
            .values(last_heartbeat_at=long_ago())
        )
    return hands


async def test_what_was_noted_of_several_is_written_for_each(shared_database: Database):
    first, second, silent = await silent_hands(shared_database, 3)
    heard, now = LastHeard(shared_database), shared_database.clock.now()
    heard.note(first.worker_id, first.session_id, now - timedelta(seconds=9))
    heard.note(first.worker_id, first.session_id, now - timedelta(seconds=5))
    heard.note(second.worker_id, second.session_id, now)

    assert await heard.write() == 0

    assert await last_heartbeat(first) == now - timedelta(seconds=5)
    assert await last_heartbeat(second) == now
    assert await last_heartbeat(silent) < now - timedelta(minutes=1)


async def test_only_who_was_not_heard_of_is_shown_as_offline(shared_database: Database):
    hands = await silent_hands(shared_database, 2)
    heard = LastHeard(shared_database)
    heard.note(hands[0].worker_id, hands[0].session_id, shared_database.clock.now())
    await heard.write()

    await QueueChores(shared_database, hands[0].crew.settings).mark_offline()

    async with shared_database.read() as read:
        shown = [(await read.get_one(Worker, hand.worker_id)).status for hand in hands]
    assert shown == [WorkerStatus.IDLE, WorkerStatus.OFFLINE]


async def test_an_older_note_does_not_hide_a_newer_one(shared_database: Database):
    (hand,) = await silent_hands(shared_database)
    now = shared_database.clock.now()
    for at in (now, now - timedelta(seconds=5)):  # another server was slower to write
        heard = LastHeard(shared_database)
        heard.note(hand.worker_id, hand.session_id, at)
        await heard.write()
    assert await last_heartbeat(hand) == now


async def test_of_an_earlier_process_or_a_deleted_worker_nothing_is_written(
    shared_database: Database,
):
    superseded, deleted = await silent_hands(shared_database, 2)
    before = [await last_heartbeat(superseded), await last_heartbeat(deleted)]
    heard, now = LastHeard(shared_database), shared_database.clock.now()
    for hand in (superseded, deleted):
        heard.note(hand.worker_id, hand.session_id, now)
    async with shared_database.transaction() as tx:
        for hand, change in (
            (superseded, {"session_id": new_id()}),
            (deleted, {"deleted_at": now}),
        ):
            await tx.execute(update(Worker).where(Worker.id == hand.worker_id).values(**change))

    await heard.write()

    assert [await last_heartbeat(superseded), await last_heartbeat(deleted)] == before


async def test_what_was_not_written_is_written_the_next_time(shared_database: Database):
    (hand,) = await silent_hands(shared_database)
    heard, now = LastHeard(shared_database), shared_database.clock.now()
    heard.note(hand.worker_id, hand.session_id, now)
    writing = asyncio.create_task(heard.write())
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing

    await heard.write()

    assert await last_heartbeat(hand) == now


async def test_a_worker_whose_row_is_held_is_not_waited_for(crew_database: Database):
    held, free = await silent_hands(crew_database, 2)
    heard, now = LastHeard(crew_database), crew_database.clock.now()
    for hand in (held, free):
        heard.note(hand.worker_id, hand.session_id, now)
    async with crew_database.transaction() as tx:
        await tx.get_one(Worker, held.worker_id, with_for_update=True)
        async with asyncio.timeout(20):
            await asyncio.create_task(heard.write(), context=contextvars.Context())
    assert await last_heartbeat(free) == now
    assert await last_heartbeat(held) != now
