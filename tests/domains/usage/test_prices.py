"""What a call costs, to the micro-dollar."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_UP, Decimal

import genai_prices
import pytest
from genai_prices.data import providers
from genai_prices.types import ModelPrice, TieredPrices

from agentvine.db.types import Money
from agentvine.domains.usage.errors import PriceUnknown
from agentvine.domains.usage.prices import Tokens, price_of

NOW = datetime(2026, 11, 26, tzinfo=UTC)


@pytest.mark.parametrize(
    ("tokens", "dollars"),
    [
        # 3 USD a million in, 15 out, 0.30 from the cache, 3.75 into it
        (Tokens(input=1_000_000), "3"),
        (Tokens(output=1_000_000), "15"),
        (Tokens(input=1_000, output=100, cache_read=500, cache_write=200), "0.0033"),
        (Tokens(input=1), "0.000003"),
        (Tokens(input=1, cache_read=1), "0.000001"),  # 0.0000003, rounded up
        (Tokens(), "0"),
    ],
)
def test_a_call_costs_what_the_table_says_rounded_up(tokens: Tokens, dollars: str):
    small = Tokens(
        tokens.input // 10, tokens.output // 10, tokens.cache_read // 10, tokens.cache_write // 10
    )
    if tokens.input == 1_000_000:
        # Long prompts are dearer; the plain price is that of short ones.
        assert (
            price_of(small, model="claude-sonnet-4-5", provider="anthropic", at=NOW)
            == Decimal(dollars) / 10
        )
        return
    cost = price_of(tokens, model="claude-sonnet-4-5", provider="anthropic", at=NOW)
    assert cost == Decimal(dollars)


def test_a_model_that_nobody_knows_has_no_price():
    with pytest.raises(PriceUnknown):
        price_of(Tokens(input=1), model="no-such-model", provider="anthropic", at=NOW)
    with pytest.raises(PriceUnknown):
        price_of(Tokens(input=1), model="llama3", provider="no-such-provider", at=NOW)


def kinds_of_models() -> Iterator[tuple[str, str]]:
    """One provider and model of the table for each kind of price that it has."""
    seen: set[object] = set()
    for provider in providers:
        for model in provider.models:
            prices = (
                model.prices if isinstance(model.prices, ModelPrice) else model.prices[0].prices
            )
            kind = frozenset(
                (name, isinstance(price, TieredPrices) and len(price.tiers))
                for name, price in vars(prices).items()
                if price is not None
            )
            if kind not in seen:
                seen.add(kind)
                yield provider.id, model.id


def test_whatever_a_call_used_it_costs_what_the_table_says():
    draw = random.Random(7)
    compared = 0
    for provider, model in kinds_of_models():
        for size in (0, 999, 128_000, 200_001, 1_500_000):
            read = draw.randint(0, size)
            written = draw.randint(0, size - read)
            hour, out = draw.randint(0, written), draw.randint(0, 9999)
            usage = genai_prices.Usage(
                input_tokens=size,
                output_tokens=out,
                cache_read_tokens=read,
                cache_write_tokens=written,
                cache_write_1h_tokens=hour,
            )
            try:
                told = genai_prices.calc_price(
                    usage, model, provider_id=provider, genai_request_timestamp=NOW
                ).total_price
            except LookupError:
                continue
            tokens = Tokens(size, out, read, written, hour)
            found = price_of(tokens, model=model, provider=provider, at=NOW)
            assert found == Money.quantize(told, rounding=ROUND_UP), (provider, model, tokens)
            compared += 1
    assert compared > 100


def test_a_long_prompt_is_priced_by_the_rates_for_long_ones():
    short, long = (
        price_of(Tokens(input=size), model="gemini-2.5-pro", provider="google", at=NOW)
        for size in (200_000, 200_001)
    )
    assert long > short * Decimal("1.9")
