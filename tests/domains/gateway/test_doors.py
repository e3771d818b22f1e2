"""The server's own calls to models are in the same books as those of runs."""

from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from agentvine.db.session import Database
from agentvine.domains.gateway.doors import ModelDoors
from agentvine.domains.usage.errors import BudgetExceeded
from agentvine.domains.usage.ledger import Ledger
from agentvine.kit.errors import AppError
from agentvine.llm.door import Limits
from agentvine.llm.messages import Conversation
from tests.support.gateway import FixedTargets, make_run
from tests.support.models import scripted_model

USAGE = "usage: {input: 1000, output: 100, cache_read: 300, cache_write: 40}\n"
pytestmark = pytest.mark.asyncio(loop_scope="module")

MODEL = "claude-sonnet-4-6"
PRICE = Decimal("0.004740")
"""1000 at 3, 100 at 15, 300 at 0.30 and 40 at 3.75 dollars a million."""


def doors_to(database: Database, url: str) -> ModelDoors:
    return ModelDoors(
        database.clock, Ledger(database, "test"), FixedTargets([url]), ZoneInfo("UTC")
    )


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_call_leaves_one_row_with_all_links_and_moves_the_budget(
    shared_database: Database, is_stream: bool
):
    run = await make_run(shared_database)
    budget = await run.budget("5.00")
    async with scripted_model(f"{USAGE}turns: [{{text: Fine.}}]") as model:
        doors = doors_to(shared_database, model.url)
        door, talk = doors.door_for(run.payer), Conversation("", "Hello")
        if is_stream:
            async with door.stream(MODEL, talk) as stream:
                assert "".join([piece async for piece in stream]) == "Fine."
        else:
            assert (await door.complete(MODEL, talk)).text == "Fine."
        await doors.close()

    [row] = await run.rows()
    counter = await run.counter(budget)
    assert (row.tokens_in, row.tokens_out) == (1340, 100)
    assert (row.tokens_cache_read, row.tokens_cache_write) == (300, 40)
    assert (row.cost_usd, row.model) == (PRICE, MODEL)
    payer = run.payer
    assert (row.project_id, row.task_id, row.execution_id, row.user_id) == (
        *(payer.project_id, payer.task_id, payer.execution_id, payer.user_id),
    )
    assert row.metadata_["source"] == "door"
    assert (counter.spent_usd, counter.reserved_usd) == (PRICE, 0)


async def test_a_used_up_budget_refuses_before_the_call_and_a_small_one_limits_the_answer(
    shared_database: Database,
):
    run = await make_run(shared_database)
    budget = await run.budget("0.05")
    async with scripted_model(f"{USAGE}turns: [{{text: Fine.}}]") as model:
        doors = doors_to(shared_database, model.url)
        door = doors.door_for(run.payer)
        await door.complete(MODEL, Conversation("", "Hello"), limits=Limits(max_output=50_000))
        with pytest.raises(BudgetExceeded):
            await door.complete(MODEL, Conversation("", "Hello " * 10_000))
        await doors.close()

        [request] = model.requests
    counter = await run.counter(budget)
    assert isinstance(request.body, dict)
    assert 256 <= request.body["max_tokens"] < 3334
    assert (counter.spent_usd, counter.reserved_usd) == (PRICE, 0)
    assert len(await run.rows()) == 1


async def test_a_refused_call_costs_nothing_and_one_that_broke_off_its_bound(
    shared_database: Database,
):
    run = await make_run(shared_database)
    budget = await run.budget("5.00")
    script = "turns: [{faults: [{status: 400}, {cut_after_bytes: 5}], text: Fine.}]"
    async with scripted_model(script) as model:
        doors = doors_to(shared_database, model.url)
        door, once = doors.door_for(run.payer), Limits(attempts=1)
        for _ in range(2):
            with pytest.raises(AppError):
                await door.complete(MODEL, Conversation("", "Hello"), limits=once)
        await doors.close()

    [row] = await run.rows()
    counter = await run.counter(budget)
    assert row.metadata_["is_estimated"] is True
    assert row.tokens_in > 2000
    assert (counter.spent_usd, counter.reserved_usd) == (row.cost_usd, 0)
    assert await run.nothing_is_reserved()
