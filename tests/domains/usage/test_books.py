"""Money is reserved before a call and settled after it: never over, never twice, never lost."""

import asyncio
import random
import uuid
from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select, update

from agentvine.db.session import Database
from agentvine.domains.identity.models import Event
from agentvine.domains.tasks.models import Task
from agentvine.domains.usage import books, budgets
from agentvine.domains.usage.calls import Call, Outcome, Payer
from agentvine.domains.usage.errors import BudgetExceeded, BudgetForbidden, CallUnknown
from agentvine.domains.usage.jobs import UsageChores
from agentvine.domains.usage.models import BudgetCounter, BudgetReservation, TokenUsage
from agentvine.domains.usage.prices import Tokens
from agentvine.kit.actor import UserActor
from agentvine.protocol.enums import BudgetAction, BudgetPeriod, BudgetScope
from agentvine.protocol.usage import BudgetCreateIn, BudgetEditIn
from tests.support.builders.identity import unique
from tests.support.builders.projects import Ground, make_ground
from tests.support.builders.tasks import make_task

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY = date(2026, 11, 26)
HOUR = timedelta(hours=1)
USED = Tokens(input=100, output=20)


def usd(amount: str) -> Decimal:
    return Decimal(amount)


async def make_budget(ground: Ground, amount: str = "1.00", **fields: object) -> uuid.UUID:
    wanted = BudgetCreateIn.model_validate(
        {
            "name": unique("budget"),
            "scope": BudgetScope.PROJECT,
            "project_id": ground.project_id,
            "amount_usd": amount,
            "period": BudgetPeriod.DAILY,
            **fields,
        }
    )
    async with ground.transaction() as tx:
        return (await budgets.create_budget(tx, ground.owner, wanted)).id


def new_call(ground: Ground, day: date = DAY, *, task_id: uuid.UUID | None = None) -> Call:
    payer = Payer(user_id=ground.owner.user_id, project_id=ground.project_id, task_id=task_id)
    return Call(unique("call"), "claude-sonnet-4-5", payer, day)


async def reserve(ground: Ground, call: Call, amount: str, lifetime: timedelta = HOUR) -> None:
    async with ground.transaction() as tx:
        await books.reserve(tx, call, usd(amount), lifetime=lifetime, owner="test")


async def settle(ground: Ground, call: Call, cost: str) -> books.Settled:
    async with ground.transaction() as tx:
        return await books.settle(tx, call, Outcome(USED, usd(cost)))


async def counter_of(ground: Ground, budget_id: uuid.UUID, day: date = DAY) -> BudgetCounter:
    query = select(BudgetCounter).where(
        BudgetCounter.budget_id == budget_id, BudgetCounter.period_start == day
    )
    async with ground.database.read() as read:
        return (await read.scalars(query)).one()


async def spent_by_ledger(ground: Ground) -> Decimal:
    query = select(TokenUsage.cost_usd).where(TokenUsage.project_id == ground.project_id)
    async with ground.database.read() as read:
        return sum((await read.scalars(query)).all(), Decimal(0))


async def test_what_a_call_cost_is_spent_and_the_rest_of_its_reservation_is_free(
    shared_database: Database,
):
    ground = await make_ground(shared_database)
    budget = await make_budget(ground)
    call = new_call(ground)

    await reserve(ground, call, "0.60")
    held = await counter_of(ground, budget)
    await settle(ground, call, "0.123456")
    after = await counter_of(ground, budget)

    assert (held.spent_usd, held.reserved_usd) == (0, usd("0.60"))
    assert (after.spent_usd, after.reserved_usd) == (usd("0.123456"), 0)


async def test_a_call_that_does_not_fit_is_refused_and_leaves_no_trace(shared_database: Database):
    ground = await make_ground(shared_database)
    budget = await make_budget(ground)
    other = await make_budget(ground, "100.00")
    await reserve(ground, new_call(ground), "0.60")

    with pytest.raises(BudgetExceeded) as refused:
        await reserve(ground, new_call(ground), "0.41")
    await reserve(ground, new_call(ground), "0.40")

    assert refused.value.extra["budget_id"] == str(budget)
    assert refused.value.extra["reserved_usd"] == "0.600000"
    assert (await counter_of(ground, budget)).reserved_usd == usd("1.00")
    assert (await counter_of(ground, other)).reserved_usd == usd("1.00")


async def test_a_budget_that_only_warns_refuses_nothing_and_tells_once(shared_database: Database):
    ground = await make_ground(shared_database)
    budget = await make_budget(ground, action=BudgetAction.WARN)
    for cost in ("0.79", "0.01", "5.00"):
        call = new_call(ground)
        await reserve(ground, call, "5.00")
        await settle(ground, call, cost)

    query = select(Event).where(
        Event.type == "budget.threshold_passed", Event.entity_id == str(budget)
    )
    async with shared_database.read() as read:
        [told] = (await read.scalars(query)).all()
    assert told.payload["spent_usd"] == "0.800000"
    assert (await counter_of(ground, budget)).spent_usd == usd("5.80")


async def test_a_call_is_counted_once_however_often_it_is_settled(shared_database: Database):
    ground = await make_ground(shared_database)
    budget = await make_budget(ground)
    call = new_call(ground)
    await reserve(ground, call, "0.50")

    settled = await asyncio.gather(*(settle(ground, call, "0.25") for _ in range(8)))

    assert Counter(one.is_new for one in settled) == {True: 1, False: 7}
    after = await counter_of(ground, budget)
    assert (after.spent_usd, after.reserved_usd) == (usd("0.25"), 0)


async def test_a_call_that_nobody_settles_counts_as_what_was_reserved_until_it_is_told_after_all(
    shared_database: Database,
):
    ground = await make_ground(shared_database)
    budget = await make_budget(ground)
    call = new_call(ground)
    await reserve(ground, call, "0.50", lifetime=timedelta(seconds=-1))

    await UsageChores(shared_database, ZoneInfo("UTC")).expire()
    lost = await counter_of(ground, budget)
    again = await settle(ground, call, "0.20")
    late = await counter_of(ground, budget)

    assert (lost.spent_usd, lost.reserved_usd) == (usd("0.50"), 0)
    assert again.is_new
    assert (late.spent_usd, late.reserved_usd) == (usd("0.20"), 0)
    assert await spent_by_ledger(ground) == usd("0.20")


async def test_a_call_under_way_does_not_expire(shared_database: Database):
    ground = await make_ground(shared_database)
    budget = await make_budget(ground)
    await reserve(ground, new_call(ground), "0.50")

    await UsageChores(shared_database, ZoneInfo("UTC")).expire()

    assert (await counter_of(ground, budget)).reserved_usd == usd("0.50")


async def test_what_is_released_or_not_needed_is_free_again(shared_database: Database):
    ground = await make_ground(shared_database)
    budget = await make_budget(ground)
    call = new_call(ground)
    await reserve(ground, call, "0.90")

    async with ground.transaction() as tx:
        await books.shrink(tx, call.request_id, usd("0.30"))
        await books.shrink(tx, call.request_id, usd("0.80"))
    shrunk = await counter_of(ground, budget)
    async with ground.transaction() as tx:
        await books.release(tx, call.request_id)

    assert shrunk.reserved_usd == usd("0.30")
    assert (await counter_of(ground, budget)).reserved_usd == 0
    with pytest.raises(CallUnknown):
        async with ground.transaction() as tx:
            await books.release(tx, call.request_id)


async def test_a_new_budget_counts_what_its_period_has_seen(shared_database: Database):
    ground = await make_ground(shared_database)
    await settle(ground, new_call(ground, DAY - timedelta(days=1)), "7.00")
    await settle(ground, new_call(ground), "0.30")

    budget = await make_budget(ground)
    await settle(ground, new_call(ground), "0.20")

    assert (await counter_of(ground, budget)).spent_usd == usd("0.50")


async def test_each_period_begins_at_nothing(shared_database: Database):
    ground = await make_ground(shared_database)
    budget = await make_budget(ground, "1.00")
    await settle(ground, new_call(ground), "1.00")

    with pytest.raises(BudgetExceeded):
        await reserve(ground, new_call(ground), "0.01")
    await reserve(ground, new_call(ground, DAY + timedelta(days=1)), "0.75")

    tomorrow = await counter_of(ground, budget, DAY + timedelta(days=1))
    assert (tomorrow.spent_usd, tomorrow.reserved_usd) == (0, usd("0.75"))


async def test_a_settlement_says_which_budget_is_used_up(shared_database: Database):
    ground = await make_ground(shared_database)
    await make_budget(ground, name="small")

    first = await settle(ground, new_call(ground), "0.99")
    second = await settle(ground, new_call(ground), "0.01")

    assert first.exceeded == ()
    assert second.exceeded == ("small",)


async def test_a_raised_budget_lets_calls_through_again(shared_database: Database):
    ground = await make_ground(shared_database)
    budget = await make_budget(ground, "1.00")
    await settle(ground, new_call(ground), "1.00")

    async with ground.transaction() as tx:
        await budgets.edit_budget(tx, ground.owner, budget, BudgetEditIn(amount_usd=usd("2.00")))

    await reserve(ground, new_call(ground), "1.00")


async def test_a_task_spends_no_more_than_its_own_budget_and_knows_its_totals(
    shared_database: Database,
):
    ground = await make_ground(shared_database)
    async with ground.transaction() as tx:
        task = await make_task(tx, ground.owner, ground.repository)
    await settle(ground, new_call(ground, task_id=task.id), "0.30")
    async with shared_database.transaction() as tx:
        await tx.execute(update(Task).where(Task.id == task.id).values(budget_usd=usd("0.50")))

    with pytest.raises(BudgetExceeded, match="the task's own budget"):
        await reserve(ground, new_call(ground, task_id=task.id), "0.21")
    call = new_call(ground, task_id=task.id)
    await reserve(ground, call, "0.20")
    settled = await settle(ground, call, "0.20")

    assert settled.exceeded == ("the task's own budget",)
    async with shared_database.read() as read:
        known = await read.get_one(Task, task.id)
    assert (known.total_tokens_used, known.total_cost_usd) == (240, usd("0.50"))


@pytest.mark.promise("P14", "P15")
async def test_many_at_once_never_overspend_and_the_books_balance(shared_database: Database):
    ground = await make_ground(shared_database)
    async with ground.transaction() as tx:
        task = await make_task(tx, ground.owner, ground.repository)
    hard = await make_budget(ground, "1.00")
    wide = await make_budget(ground, "50.00", period=BudgetPeriod.MONTHLY)
    draw = random.Random(7)

    async def caller() -> int:
        granted = 0
        for _ in range(10):
            call = new_call(ground, task_id=task.id)
            most = Decimal(draw.randint(10_000, 90_000)) / 1_000_000
            try:
                await reserve(ground, call, str(most))
            except BudgetExceeded:
                continue
            granted += 1
            counter = await counter_of(ground, hard)
            assert counter.spent_usd + counter.reserved_usd <= usd("1.00")
            fate = draw.random()
            if fate < 0.1:
                async with ground.transaction() as tx:
                    await books.release(tx, call.request_id)
            elif fate < 0.9:
                cost = Decimal(int(most * 1_000_000 * Decimal(draw.random()))) / 1_000_000
                await settle(ground, call, str(cost))
        return granted

    granted = sum(await asyncio.gather(*(caller() for _ in range(12))))
    async with shared_database.transaction() as tx:
        await tx.execute(update(BudgetReservation).values(expires_at=tx.now - timedelta(seconds=1)))
    while await UsageChores(shared_database, ZoneInfo("UTC")).expire():
        pass

    ledger = await spent_by_ledger(ground)
    month = await counter_of(ground, wide, DAY.replace(day=1))
    day = await counter_of(ground, hard)
    async with shared_database.read() as read:
        known = await read.get_one(Task, task.id)
        left = await read.scalar(select(func.count()).select_from(BudgetReservation))
    assert 0 < granted < 120
    assert ledger == day.spent_usd == month.spent_usd == known.total_cost_usd <= usd("1.00")
    assert left == day.reserved_usd == month.reserved_usd == 0


async def test_budgets_made_while_calls_are_settled_miss_none(shared_database: Database):
    ground = await make_ground(shared_database)

    async def spend() -> None:
        for _ in range(5):
            await settle(ground, new_call(ground), "0.01")

    made = await asyncio.gather(
        *(spend() for _ in range(6)), *(make_budget(ground) for _ in range(4))
    )
    await settle(ground, new_call(ground), "0.01")

    for budget in [one for one in made if one is not None]:
        assert (await counter_of(ground, budget)).spent_usd == usd("0.31")


async def test_only_an_admin_limits_more_than_a_project(shared_database: Database):
    ground = await make_ground(shared_database)
    admin = UserActor(ground.owner.user_id, "admin", "admin")
    wanted = BudgetCreateIn(
        name=unique("all"), amount_usd=usd("1000000.00"), action=BudgetAction.WARN
    )

    with pytest.raises(BudgetForbidden):
        async with ground.transaction() as tx:
            await budgets.create_budget(tx, ground.owner, wanted)
    async with ground.transaction() as tx:
        made = await budgets.create_budget(tx, admin, wanted)
    await settle(ground, new_call(ground), "0.25")

    async with shared_database.transaction() as tx:
        counter = await tx.scalar(select(BudgetCounter).where(BudgetCounter.budget_id == made.id))
        assert counter is not None
        assert counter.spent_usd >= usd("0.25")
        await tx.delete(await tx.get_one(type(made), made.id))
