"""Budgets on tokens and runs: for logins that cost no dollars a call."""

import uuid
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from agentvine.db.session import Database
from agentvine.domains.identity.models import Event
from agentvine.domains.tasks.models import Task
from agentvine.domains.usage import books, budgets, queries, waiting
from agentvine.domains.usage.calls import Call, Outcome, Payer
from agentvine.domains.usage.errors import BudgetExceeded
from agentvine.domains.usage.models import BudgetCounter, BudgetLimit
from agentvine.domains.usage.prices import Tokens
from agentvine.protocol.enums import BudgetPeriod, BudgetScope
from agentvine.protocol.usage import BudgetCreateIn, BudgetEditIn
from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.builders.work import Crew, make_crew
from tests.support.scene import make_people, make_scene

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY = date(2026, 11, 26)
ZONE = ZoneInfo("Europe/Berlin")


async def make_budget(crew: Crew, **fields: Any) -> BudgetLimit:
    base = {
        "name": unique("budget"),
        "scope": BudgetScope.PROJECT,
        "project_id": crew.ground.project_id,
        "period": BudgetPeriod.DAILY,
    }
    async with crew.ground.transaction() as tx:
        wanted = BudgetCreateIn.model_validate(base | fields)
        return await budgets.create_budget(tx, crew.ground.owner, wanted)


async def attempt(crew: Crew) -> tuple[uuid.UUID, uuid.UUID]:
    order_id = await crew.enqueue()
    claim = await (await crew.worker()).claim_one()
    return (await crew.task_of(order_id)).id, claim.execution_id


def call_of(crew: Crew, ids: tuple[uuid.UUID, uuid.UUID], day: date = DAY) -> Call:
    payer = Payer(project_id=crew.ground.project_id, task_id=ids[0], execution_id=ids[1])
    return Call(unique("call"), "a login's model", payer, day)


async def settle(crew: Crew, call: Call, tokens: int) -> books.Settled:
    async with crew.database.transaction() as tx:
        return await books.settle(tx, call, Outcome(Tokens(tokens - 1, 1), Decimal(0)))


async def reserve(crew: Crew, call: Call) -> None:
    async with crew.database.transaction() as tx:
        await books.reserve(tx, call, Decimal(0), lifetime=timedelta(hours=1), owner="test")


async def counter_of(crew: Crew, budget: BudgetLimit, day: date = DAY) -> tuple[int, int]:
    query = select(BudgetCounter).where(
        BudgetCounter.budget_id == budget.id, BudgetCounter.period_start == day
    )
    async with crew.database.read() as read:
        counter = (await read.scalars(query)).one()
        return counter.spent_tokens, counter.spent_runs


async def test_tokens_are_counted_told_of_and_refused(shared_database: Database):
    crew = await make_crew(shared_database)
    budget = await make_budget(crew, max_tokens=1000)
    ids = await attempt(crew)

    first = await settle(crew, call_of(crew, ids), 700)
    near = await settle(crew, call_of(crew, ids), 150)
    last = await settle(crew, call_of(crew, ids), 150)

    assert (first.exceeded, near.exceeded, last.exceeded) == ((), (), (budget.name,))
    assert await counter_of(crew, budget) == (1000, 1)
    with pytest.raises(BudgetExceeded, match="all 1000 tokens are used"):
        await reserve(crew, call_of(crew, ids))
    async with shared_database.read() as read:
        told = await read.scalars(select(Event.payload).where(Event.entity_id == str(budget.id)))
        [passed] = [each for each in told if "spent_tokens" in each]
        task = await read.get_one(Task, ids[0])
        room = await waiting.tightest(read, task, DAY)
    assert (passed["spent_tokens"], passed["max_tokens"]) == (850, 1000)
    assert room is not None
    assert (room.share, "0 of 1000 tokens are left" in room.told) == (0, True)
    async with crew.ground.transaction() as tx:
        change = BudgetEditIn(max_tokens=2000)
        await budgets.edit_budget(tx, crew.ground.owner, budget.id, change)
    await reserve(crew, call_of(crew, ids))


async def test_a_run_is_counted_once_a_period_and_one_too_many_is_stopped(
    shared_database: Database,
):
    crew = await make_crew(shared_database)
    budget = await make_budget(crew, max_runs=1)
    one, two = await attempt(crew), await attempt(crew)

    kept = [await settle(crew, call_of(crew, one), 10) for _ in range(2)]
    assert await counter_of(crew, budget) == (20, 1)
    await reserve(crew, call_of(crew, one))
    with pytest.raises(BudgetExceeded, match="all 1 runs are used"):
        await reserve(crew, call_of(crew, two))
    stopped = await settle(crew, call_of(crew, two), 10)
    tomorrow = DAY + timedelta(days=1)
    await settle(crew, call_of(crew, one, tomorrow), 10)

    assert [each.exceeded for each in kept] == [(), ()]
    assert stopped.exceeded == (budget.name,)
    assert await counter_of(crew, budget) == (30, 2)
    assert await counter_of(crew, budget, tomorrow) == (10, 1)


async def test_a_budget_made_later_knows_what_was_used(shared_database: Database):
    crew = await make_crew(shared_database)
    ids = await attempt(crew)
    await settle(crew, call_of(crew, ids), 500)
    budget = await make_budget(crew, max_tokens=1000, max_runs=5)

    await settle(crew, call_of(crew, ids), 100)

    assert await counter_of(crew, budget) == (600, 1)


async def test_a_budget_foretells_to_what_its_period_comes(shared_database: Database):
    crew = await make_crew(shared_database)
    budget = await make_budget(crew, amount_usd=Decimal(9), max_tokens=1000, max_runs=5)
    call = call_of(crew, await attempt(crew))
    async with shared_database.transaction() as tx:
        await books.settle(tx, call, Outcome(Tokens(100, 20), Decimal("0.50")))
    midnight = datetime.combine(DAY, time(), ZONE)

    async def foretold(hours: float) -> tuple[Decimal | None, int | None, int | None]:
        now = midnight + timedelta(hours=hours)
        async with shared_database.read() as read:
            [told] = await queries.budgets_out(read, [budget], now, ZONE)
        return told.forecast_usd, told.forecast_tokens, told.forecast_runs

    assert await foretold(0.1) == (None, None, None), "too early to tell"
    assert await foretold(6) == (Decimal("2.00"), 480, 4)
    assert await foretold(12) == (Decimal("1.00"), 240, 2)


async def test_a_budget_without_dollars_shows_what_is_used(shared_api: Api):
    people = await make_people(shared_api)
    scene = await make_scene(shared_api, people)
    body = {"name": unique("plan"), "scope": "project", "project_id": scene.names["project_id"]}

    problem = await people.owner.refused("POST", "/budgets", 422, json=body)
    made = await people.owner.post("/budgets", body | {"max_tokens": 5000, "max_runs": 3})

    assert "max_runs" in problem["detail"]
    assert (made["amount_usd"], made["remaining_usd"]) == (None, None)
    # The scene's one call.
    assert (made["spent_tokens"], made["spent_runs"]) == (1100, 1)
