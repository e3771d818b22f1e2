"""Prices that somebody has set hold from their time on, before the table's."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from agentvine.db.session import Database
from agentvine.domains.usage import overrides
from agentvine.domains.usage.errors import PriceExists, PriceNotFound, PriceUnknown
from agentvine.domains.usage.models import PriceOverride
from agentvine.domains.usage.prices import SNAPSHOT, Tokens
from agentvine.protocol.prices import PriceSetIn
from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.scene import make_people, make_scene

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT = datetime(2026, 11, 26, tzinfo=UTC)
MILLION = Tokens(1_000_000, 1_000_000, 200_000, 100_000, reasoning=300_000)


async def set_price(database: Database, model: str, **fields: Any) -> PriceOverride:
    rates = {"input_usd": "1", "output_usd": "10", "effective_from": AT}
    async with database.transaction() as tx:
        wanted = PriceSetIn(**{"model": model, **rates, **fields})
        return await overrides.set_price(tx, wanted)


async def price(
    database: Database, model: str, provider: str | None = None, at: datetime = AT
) -> tuple[Decimal, str]:
    async with database.read() as read:
        return await overrides.price_call(read, MILLION, model=model, provider=provider, at=at)


async def test_each_kind_of_token_has_its_price(shared_database: Database):
    model = unique("model")
    plain = await set_price(shared_database, model)
    rates = {"cache_read_usd": "0.1", "cache_write_usd": "1.25", "reasoning_usd": "20"}
    special = await set_price(shared_database, model, provider="mine", **rates)

    assert await price(shared_database, model) == (Decimal("11.000000"), f"override {plain.id}")
    # 700,000 at 1, 200,000 at 0.1, 100,000 at 1.25; 700,000 at 10, 300,000 at 20.
    found = await price(shared_database, model, "mine")
    assert found == (Decimal("13.845000"), f"override {special.id}")
    assert await price(shared_database, model, "another") == (11, f"override {plain.id}")


async def test_a_price_holds_from_its_time_until_the_next(shared_database: Database):
    model = unique("model")
    later = AT + timedelta(days=1)
    await set_price(shared_database, model)
    free = await set_price(
        shared_database, model, input_usd="0", output_usd="0", effective_from=later
    )

    assert (await price(shared_database, model, at=later - timedelta(seconds=1)))[0] == 11
    assert (await price(shared_database, model, at=later))[0] == 0
    with pytest.raises(PriceUnknown, match=f"agentvine price set {model} --input"):
        await price(shared_database, model, at=AT - timedelta(seconds=1))
    with pytest.raises(PriceExists):
        await set_price(shared_database, model)
    async with shared_database.transaction() as tx:
        await overrides.remove_price(tx, free.id)
    with pytest.raises(PriceNotFound):
        async with shared_database.transaction() as tx:
            await overrides.remove_price(tx, free.id)
    assert (await price(shared_database, model, at=later))[0] == 11


async def test_what_a_model_of_the_table_costs_can_be_said_otherwise(shared_database: Database):
    model = "claude-sonnet-4-5"
    assert (await price(shared_database, model, "anthropic"))[1] == SNAPSHOT
    made = await set_price(shared_database, model, provider="anthropic", input_usd="0.000001")
    found = await price(shared_database, model, "anthropic")
    assert found == (Decimal("10.000001"), f"override {made.id}")


async def test_a_runtimes_report_is_priced_so_and_says_by_which_price(shared_api: Api):
    people = await make_people(shared_api)
    scene = await make_scene(shared_api, people)
    model = unique("model")
    rates = {"model": model, "input_usd": "2", "output_usd": "4"}
    await people.admin.post("/prices", rates)
    call = {"request_id": "9", "model": model, "tokens_in": 500_000, "tokens_out": 250_000}
    body = {"order_id": scene.names["order_id"], "fence": 1, "calls": [call]}
    await people.worker.post(f"/executions/{scene.names['execution_id']}/usage", body)

    [found] = (await people.owner.get("/usage/calls", params={"model": model}))["items"]

    assert found["cost_usd"] == "2.000000"
    assert model in [row["model"] for row in (await people.viewer.get("/prices"))["items"]]
