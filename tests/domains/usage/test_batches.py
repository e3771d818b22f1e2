"""Steps in the books that are taken together come to the same as one by one, and never over."""

import asyncio
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from sqlalchemy import func, select

from agentvine.db.blocks import Sql, Steps
from agentvine.db.session import Database
from agentvine.domains.agents.service import create_agent
from agentvine.domains.identity.models import Event
from agentvine.domains.tasks.models import Task
from agentvine.domains.tasks.service import ensure_conversation
from agentvine.domains.usage import budgets
from agentvine.domains.usage.batch_sql import STATEMENTS
from agentvine.domains.usage.batches import Batch, Reserve, Settle, Shrink
from agentvine.domains.usage.calls import Call, Outcome, Payer
from agentvine.domains.usage.errors import BudgetExceeded
from agentvine.domains.usage.ledger import Ledger
from agentvine.domains.usage.models import BudgetCounter, BudgetReservation, TokenUsage
from agentvine.domains.usage.prices import Tokens
from agentvine.kit.clock import Clock, ManualClock
from agentvine.protocol.agents import AgentCreateIn
from agentvine.protocol.enums import AgentType
from agentvine.protocol.usage import BudgetCreateIn
from tests.support.builders.identity import unique
from tests.support.builders.projects import Ground, make_ground
from tests.support.builders.tasks import make_task

pytestmark = pytest.mark.asyncio(loop_scope="module")

DAY = date(2026, 11, 26)
LEAST = Decimal("0.01")


async def make_payer(ground: Ground, **task: Any) -> Payer:
    async with ground.transaction() as tx:
        made = await make_task(tx, ground.owner, ground.repository, **task)
    return Payer(user_id=ground.owner.user_id, project_id=ground.project_id, task_id=made.id)


async def fully_linked(ground: Ground, payer: Payer) -> Payer:
    """The same, at work as an agent, in its task's conversation."""
    wanted = AgentCreateIn(
        name=unique("agent"), type=AgentType.TESTER, project_id=ground.project_id
    )
    async with ground.transaction() as tx:
        agent = await create_agent(tx, ground.owner, wanted)
        task = await tx.get_one(Task, payer.task_id)
        talk = await ensure_conversation(tx, task)
    return replace(payer, agent_id=agent.id, agent_type=agent.type.value, conversation_id=talk)


async def make_budget(ground: Ground, amount: str, **fields: Any) -> uuid.UUID:
    wanted = {
        "name": unique("budget"),
        "scope": "project",
        "project_id": ground.project_id,
        "amount_usd": amount,
        "period": "daily",
        **fields,
    }
    async with ground.transaction() as tx:
        made = await budgets.create_budget(tx, ground.owner, BudgetCreateIn.model_validate(wanted))
    return made.id


def new_call(payer: Payer) -> Call:
    return Call(unique("call"), "claude-sonnet-4-5", payer, DAY)


def cost(amount: str) -> Outcome:
    return Outcome(Tokens(input=100, output=7), Decimal(amount), 12, notes={"source": "test"})


async def stand(ground: Ground) -> dict[str, Any]:
    """What the books of a project hold, and what its ledger says they should."""
    async with ground.database.read() as read:
        counters = (
            await read.execute(
                select(
                    BudgetCounter.budget_id,
                    BudgetCounter.spent_usd,
                    BudgetCounter.reserved_usd,
                    BudgetCounter.spent_tokens,
                )
            )
        ).all()
        rows = (
            await read.scalars(select(TokenUsage).where(TokenUsage.project_id == ground.project_id))
        ).all()
        tasks = (await read.scalars(select(Task).where(Task.project_id == ground.project_id))).all()
        open_calls = await read.scalar(select(func.count()).select_from(BudgetReservation))
    return {
        "counters": {row[0]: (row[1], row[2]) for row in counters if row[0]},
        "counted": {row[0]: row[3] for row in counters if row[0]},
        "ledger": sum((row.cost_usd for row in rows), Decimal(0)),
        "rows": rows,
        "tasks": sum((task.total_cost_usd for task in tasks), Decimal(0)),
        "tokens": sum(task.total_tokens_used for task in tasks),
        "open": open_calls,
    }


async def test_plain_steps_are_all_done_in_one_transaction(shared_database: Database):
    ground = await make_ground(shared_database)
    budget = await make_budget(ground, "10.00")
    ledger = Ledger(shared_database, "test")
    payer = await fully_linked(ground, await make_payer(ground))
    first = new_call(payer)
    await ledger.reserve(first, Decimal(1), LEAST)  # its counter is made, the long way

    more = [Reserve(new_call(payer), Decimal("0.5"), LEAST) for _ in range(3)]
    done = Settle(first, cost("0.25"))
    batch = Batch(DAY, datetime.now(UTC), timedelta(hours=1), "test", more, [done])
    await shared_database.run_block(batch.steps(), STATEMENTS)
    books = await stand(ground)

    assert done.is_done
    assert [ask.granted_usd for ask in more] == [Decimal("0.5")] * 3
    assert books["counters"][budget] == (Decimal("0.25"), Decimal("1.5"))
    [row] = books["rows"]
    assert (row.tokens_in, row.tokens_out, row.request_duration_ms) == (100, 7, 12)
    assert (row.task_id, row.user_id, row.model) == (payer.task_id, payer.user_id, first.model)
    assert (row.agent_id, row.agent_type) == (payer.agent_id, "tester")
    assert row.conversation_id == payer.conversation_id is not None
    assert row.metadata_ == {"is_estimated": False, "source": "test"}
    assert (books["tasks"], books["tokens"]) == (Decimal("0.25"), 107)
    for ask in more:
        await ledger.release(ask.call.request_id)


async def test_what_is_given_back_is_free_for_the_same_batch(shared_database: Database):
    ground = await make_ground(shared_database)
    budget = await make_budget(ground, "1.00")
    ledger = Ledger(shared_database, "test")
    payer = await make_payer(ground)
    held, over, short = (new_call(payer) for _ in range(3))
    await ledger.reserve(held, Decimal("0.70"), LEAST)
    await ledger.reserve(over, Decimal("0.20"), LEAST)
    await ledger.reserve(short, Decimal("0.10"), LEAST)

    shrinks = [
        Shrink(held.request_id, Decimal("0.30")),
        Shrink(over.request_id, Decimal("0.05")),
        Shrink(short.request_id, Decimal("0.50")),
        Shrink("of nobody", Decimal(0)),
    ]
    done, more = Settle(over, cost("0.15")), Reserve(new_call(payer), Decimal(1), LEAST)
    batch = Batch(DAY, datetime.now(UTC), timedelta(hours=1), "test", [more], [done], shrinks)
    await shared_database.run_block(batch.steps(), STATEMENTS)
    full = (await stand(ground))["counters"][budget]
    for call in (held, short, more.call):
        await ledger.settle(call, cost("0.01"))

    assert all(ask.is_done for ask in [done, *shrinks])
    assert more.granted_usd == Decimal("0.45"), "what is left, with what was given back"
    assert full == (Decimal("0.15"), Decimal("0.85"))
    assert (await stand(ground))["counters"][budget] == (Decimal("0.18"), 0)


async def test_giving_back_takes_no_transaction_of_its_own(shared_database: Database):
    ground = await make_ground(shared_database)
    budget = await make_budget(ground, "1.00")
    ledger = Ledger(shared_database, "test")
    payer = await make_payer(ground)
    first = new_call(payer)
    await ledger.reserve(first, Decimal(1), LEAST)

    # Asked for together, they are of one batch: what is given back is there to be granted.
    _, granted = await asyncio.gather(
        ledger.shrink(first.request_id, Decimal("0.40")),
        ledger.reserve(new_call(payer), Decimal(1), LEAST),
    )

    assert granted == Decimal("0.60")
    assert (await stand(ground))["counters"][budget] == (0, Decimal(1))


async def test_a_batch_grants_in_turn_what_is_left_and_refuses_the_rest(
    shared_database: Database,
):
    ground = await make_ground(shared_database)
    budget = await make_budget(ground, "1.00")
    ledger = Ledger(shared_database, "test")
    payer = await make_payer(ground, budget_usd="0.90")

    granted = await asyncio.gather(
        *(ledger.reserve(new_call(payer), Decimal("0.25"), LEAST * 10) for _ in range(6)),
        return_exceptions=True,
    )

    amounts = sorted(each for each in granted if isinstance(each, Decimal))
    assert amounts == [Decimal("0.15"), *[Decimal("0.25")] * 3]
    assert sum(isinstance(each, BudgetExceeded) for each in granted) == 2
    assert (await stand(ground))["counters"][budget] == (0, Decimal("0.90"))


async def test_who_is_to_be_told_of_a_limit_is_told_by_a_batch_too(shared_database: Database):
    ground = await make_ground(shared_database)
    budget = await make_budget(ground, "1.00", action="warn")
    ledger = Ledger(shared_database, "test")
    calls = [new_call(await make_payer(ground)) for _ in range(4)]
    for call in calls:
        await ledger.reserve(call, Decimal("0.5"), LEAST)
    await asyncio.gather(*(ledger.settle(call, cost("0.30")) for call in calls))

    query = select(Event).where(Event.entity_id == str(budget))
    async with shared_database.read() as read:
        told = [each.type for each in await read.scalars(query)]
    assert told.count("budget.threshold_passed") == 1
    assert (await stand(ground))["counters"][budget] == (Decimal("1.20"), 0)


@dataclass
class CountedDatabase:
    """Counts the blocks that it runs; its time stands still, so that no batch is late."""

    database: Database
    blocks: int = 0
    clock: Clock = field(default_factory=lambda: ManualClock(datetime.now(UTC)))

    async def run_block(self, steps: Steps, statements: Mapping[str, Sql]) -> None:
        self.blocks += 1
        await self.database.run_block(steps, statements)

    def transaction(self, *arguments: Any) -> Any:
        return self.database.transaction(*arguments)


async def test_steps_that_come_a_moment_after_each_other_are_of_one_batch(
    shared_database: Database,
):
    ground = await make_ground(shared_database)
    budget = await make_budget(ground, "10.00")
    counted = CountedDatabase(shared_database)
    ledger = Ledger(cast("Database", counted), "test")
    payer = await make_payer(ground)

    async def call(number: int) -> None:
        for _ in range(number * 3):
            await asyncio.sleep(0)
        await ledger.reserve(new_call(payer), Decimal("0.1"), LEAST)

    async def blocks_of(*numbers: int) -> int:
        before = counted.blocks
        await asyncio.gather(*map(call, numbers))
        return counted.blocks - before

    await blocks_of(0)  # the counter is made, the long way
    alone = await blocks_of(0, 1, 2, 3)
    await blocks_of(0, 0)
    crowded = await blocks_of(0, 1, 2, 3)

    assert alone > 1, "who is alone waits for nobody"
    assert crowded == 1
    assert (await stand(ground))["counters"][budget] == (0, Decimal("1.1"))


@pytest.mark.promise("P14", "P15")
@pytest.mark.parametrize("takes_shortcuts", [True, False], ids=["together", "one by one"])
async def test_many_callers_of_several_ledgers_are_never_over_and_the_books_balance(
    shared_database: Database, takes_shortcuts: bool
):
    """Whatever the order of steps, and whoever takes which way."""
    ground = await make_ground(shared_database)
    hard = await make_budget(ground, "2.00")
    soft = await make_budget(ground, "0.50", action="warn", period="monthly")
    ledgers = [
        Ledger(shared_database, "a", takes_shortcuts=takes_shortcuts),
        Ledger(shared_database, "b"),
    ]
    payers = [await make_payer(ground) for _ in range(3)]
    draw = random.Random(3)

    async def caller(number: int) -> None:
        ledger = ledgers[number % 2]
        for _ in range(4):
            call = new_call(payers[number % 3])
            most = Decimal(draw.randint(20_000, 300_000)).scaleb(-6)
            try:
                granted = await ledger.reserve(call, most, LEAST)
            except BudgetExceeded:
                continue
            if draw.random() < 0.2:
                await ledger.release(call.request_id)
                continue
            if draw.random() < 0.3:
                granted /= 2
                await ledger.shrink(call.request_id, granted.quantize(Decimal("0.000001")))
            spent = (granted * draw.randint(1, 100) / 100).quantize(Decimal("0.000001"))
            await ledger.settle(call, replace(cost("0"), cost_usd=spent))

    await asyncio.gather(*(caller(number) for number in range(24)))
    books = await stand(ground)

    assert books["counters"][hard] == (books["ledger"], 0)
    assert books["counters"][soft] == (books["ledger"], 0)
    assert Decimal(1) < books["ledger"] <= Decimal(2)
    assert books["tasks"] == books["ledger"]
    assert books["tokens"] == 107 * len(books["rows"]) == books["counted"][hard]
