"""The database tells what happens to orders, and only what was committed."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import update

from agentvine.config.settings import DatabaseSettings
from agentvine.db.session import Database
from agentvine.domains.work.jobs import QueueChores
from agentvine.domains.work.models import WorkOrder
from agentvine.kit.clock import SystemClock
from agentvine.reactions.routing import build_reactions
from tests.support.builders.work import SETTINGS, make_crew
from tests.support.histories.checker import find_violations
from tests.support.histories.history import Kind
from tests.support.histories.observer import observe, observed


@pytest.fixture
async def observed_database(database_settings: DatabaseSettings) -> AsyncIterator[Database]:
    database = await Database.open(database_settings, SystemClock(), build_reactions(SETTINGS))
    await observe(database)
    yield database
    await database.close()


async def test_the_life_of_an_order_is_told_in_order(observed_database: Database):
    database = observed_database
    crew = await make_crew(database)
    order_id = str(await crew.enqueue())
    worker = await crew.worker()
    lost = await worker.claim_one()
    await worker.beat(lost)
    await crew.let_lease_lapse(lost.order_id)
    await QueueChores(database, crew.settings).rescue()
    order = await worker.claim_one()
    await worker.log(order, "one", "two")
    await worker.complete(order)

    history = await observed(database)
    told = [(fact.kind, fact.fence) for fact in history if fact.order == order_id]
    assert [entry for entry in told if entry[0] is not Kind.RENEWED] == [
        (Kind.ENQUEUED, 0),
        (Kind.GRANTED, 1),
        (Kind.ATTEMPT, 1),
        (Kind.GIVEN_BACK, 1),
        (Kind.GRANTED, 3),
        (Kind.ATTEMPT, 3),
        (Kind.LINE, 3),
        (Kind.LINE, 3),
        (Kind.SETTLED, 3),
    ]
    assert find_violations(history) == []


async def test_what_is_rolled_back_is_not_told(observed_database: Database):
    database = observed_database
    crew = await make_crew(database)
    await crew.enqueue()
    told_before = len(await observed(database))

    async def claim_and_break_off() -> None:
        async with database.transaction() as tx:
            await tx.execute(update(WorkOrder).values(status="claimed", fence=1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await claim_and_break_off()
    assert [fact.kind for fact in await observed(database)][told_before:] == []
