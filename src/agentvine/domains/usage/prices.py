"""What a call costs: the price table that comes with genai-prices, rounded up to a micro-dollar.

What somebody has set instead is in ``overrides``. A model that neither knows has no price; it is
refused, never free.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_UP, Decimal
from functools import lru_cache

import genai_prices
from genai_prices.types import ModelPrice, TieredPrices

from agentvine.db.types import Money
from agentvine.domains.usage.errors import PriceUnknown

SNAPSHOT = f"genai-prices {genai_prices.__version__}"
"""Which prices were used, kept with every row they priced."""
_MILLION = 1_000_000
_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What went in and out of one call."""

    input: int = 0
    """All that went in, with what the caches held."""
    output: int = 0
    """All that came out, with what was thought."""
    cache_read: int = 0
    """Of the input: read from the provider's cache."""
    cache_write: int = 0
    """Of the input: written into it."""
    cache_write_hour: int = 0
    """Of what was written: what stays there for an hour, which some providers charge more for."""
    reasoning: int = 0
    """Of the output: what was thought."""

    @property
    def total(self) -> int:
        """In and out."""
        return self.input + self.output


@dataclass(frozen=True, slots=True)
class Rates:
    """What a model costs, in dollars a million tokens."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal
    reasoning: Decimal
    source: str
    """Which price it is, kept with every row that it priced."""
    more_for_hour: Decimal = _NOTHING
    """What is added for what stays in the cache for an hour."""
    each_call: Decimal = _NOTHING
    """Dollars for a call, whatever it used."""

    def cost_of(self, tokens: Tokens) -> Decimal:
        """US dollars, rounded up to a micro-dollar."""
        plain = tokens.input - tokens.cache_read - tokens.cache_write
        total = (
            plain * self.input
            + tokens.cache_read * self.cache_read
            + tokens.cache_write * self.cache_write
            + tokens.cache_write_hour * self.more_for_hour
            + (tokens.output - tokens.reasoning) * self.output
            + tokens.reasoning * self.reasoning
        )
        return Money.quantize(self.each_call + total / _MILLION, rounding=ROUND_UP)


def price_of(tokens: Tokens, *, model: str, provider: str | None, at: datetime) -> Decimal:
    """US dollars, exact to the micro-dollar, in the provider's disfavour where it lies between.

    Args:
        tokens: What was used.
        model: As the provider calls it.
        provider: Such as ``anthropic``; the model tells where it is left out.
        at: When: prices change, by the minute.

    Raises:
        PriceUnknown: The table has no such model, or no price for this kind of token.
    """
    brackets = _brackets(model, provider, at.replace(second=0, microsecond=0))
    rates = brackets[0][1]
    for start, dearer in brackets[1:]:
        if tokens.input > start:
            rates = dearer
    return rates.cost_of(tokens)


@lru_cache(maxsize=4096)
def _brackets(model: str, provider: str | None, at: datetime) -> tuple[tuple[int, Rates], ...]:
    """What the table says, by how many tokens go in: above which number, and the rates there.

    A price of the table is a sum of products, which its package puts together anew for each call,
    twenty times as long as the sum takes. So it is asked once for each factor.

    Raises:
        PriceUnknown: The table has no such model.
    """
    try:
        found = genai_prices.calc_price(
            genai_prices.Usage(), model, provider_id=provider, genai_request_timestamp=at
        )
    except LookupError as error:
        asked = f"{provider}'s {model}" if provider else model
        raise PriceUnknown(
            f"The price table has no {asked}: {how_to_set(model, provider)} tells what it costs.",
            model=model,
            provider=provider,
        ) from error
    prices: dict[str, Decimal | TieredPrices | None] = vars(found.model_price)
    starts = {
        tier.start
        for price in prices.values()
        if isinstance(price, TieredPrices)
        for tier in price.tiers
    }
    return tuple((start, _rates_above(prices, start)) for start in sorted({0, *starts}))


def _rates_above(prices: dict[str, Decimal | TieredPrices | None], start: int) -> Rates:
    flat = ModelPrice(**{name: _price_above(price, start) for name, price in prices.items()})

    def total(**tokens: int) -> Decimal:
        return flat.calc_price(genai_prices.Usage(**_NO_TOKENS | tokens))["total_price"]

    each_call = total()
    plain = total(input_tokens=_MILLION)
    written = total(input_tokens=_MILLION, cache_write_tokens=_MILLION)
    for_hour = total(
        input_tokens=_MILLION, cache_write_tokens=_MILLION, cache_write_1h_tokens=_MILLION
    )
    output = total(output_tokens=_MILLION) - each_call
    return Rates(
        input=plain - each_call,
        output=output,
        cache_read=total(input_tokens=_MILLION, cache_read_tokens=_MILLION) - each_call,
        cache_write=written - each_call,
        reasoning=output,
        source=SNAPSHOT,
        more_for_hour=for_hour - written,
        each_call=each_call,
    )


_NO_TOKENS = {
    "input_tokens": 0,
    "output_tokens": 0,
    "cache_read_tokens": 0,
    "cache_write_tokens": 0,
    "cache_write_1h_tokens": 0,
}


def _price_above(price: Decimal | TieredPrices | None, start: int) -> Decimal | None:
    if not isinstance(price, TieredPrices):
        return price
    reached = [tier.price for tier in price.tiers if tier.start <= start]
    return reached[-1] if reached and start else price.base


def how_to_set(model: str, provider: str | None) -> str:
    """The command that gives a model a price."""
    of = f" --provider {provider}" if provider else ""
    return f"`agentvine price set {model}{of} --input USD --output USD` (a million tokens)"
