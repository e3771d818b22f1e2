"""What a call costs: the price table that comes with genai-prices, rounded up to a micro-dollar.

What somebody has set instead is in ``overrides``. A model that neither knows has no price; it is
refused, never free.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_UP, Decimal

import genai_prices

from agentvine.db.types import Money
from agentvine.domains.usage.errors import PriceUnknown

SNAPSHOT = f"genai-prices {genai_prices.__version__}"
"""Which prices were used, kept with every row they priced."""


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


def price_of(tokens: Tokens, *, model: str, provider: str | None, at: datetime) -> Decimal:
    """US dollars, exact to the micro-dollar, in the provider's disfavour where it lies between.

    Args:
        tokens: What was used.
        model: As the provider calls it.
        provider: Such as ``anthropic``; the model tells where it is left out.
        at: When: prices change.

    Raises:
        PriceUnknown: The table has no such model, or no price for this kind of token.
    """
    usage = genai_prices.Usage(
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write,
        cache_write_1h_tokens=tokens.cache_write_hour,
    )
    try:
        priced = genai_prices.calc_price(
            usage, model, provider_id=provider, genai_request_timestamp=at
        )
    except LookupError as error:
        asked = f"{provider}'s {model}" if provider else model
        raise PriceUnknown(
            f"The price table has no {asked}: {how_to_set(model, provider)} tells what it costs.",
            model=model,
            provider=provider,
        ) from error
    return Money.quantize(priced.total_price, rounding=ROUND_UP)


def how_to_set(model: str, provider: str | None) -> str:
    """The command that gives a model a price."""
    of = f" --provider {provider}" if provider else ""
    return f"`agentvine price set {model}{of} --input USD --output USD` (a million tokens)"
