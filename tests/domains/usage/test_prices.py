"""What a call costs, to the micro-dollar."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

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
