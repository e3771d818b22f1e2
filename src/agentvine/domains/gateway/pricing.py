"""What a call may cost at most, what it cost, and how long an answer the money that is left pays.

A token has a byte at least: so the bytes of a request bound what goes in, and the limit it sets
bounds what comes out. Where too little is left for that, the limit is lowered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from functools import lru_cache

from agentvine.domains.gateway.targets import Target
from agentvine.domains.gateway.wires.asked import Asked
from agentvine.domains.usage.errors import PriceUnknown
from agentvine.domains.usage.prices import Tokens, price_of

LEAST_OUTPUT = 256
"""With room for fewer tokens a call is refused."""
_UNTOLD_OUTPUT = 131_072
"""More than any model answers where the request sets no limit."""
_USUAL_OUTPUT = 16_384
"""What every model can be limited to."""
_HOUR_MARK = b'"1h"'
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Quote:
    """What a request costs at one target."""

    target: Target
    input_usd: Decimal
    """All of it, if everything were written into the cache."""
    output_usd: Decimal
    """A million tokens of the answer."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a request costs at most, at whichever of its targets."""

    quotes: tuple[Quote, ...]
    most_usd: Decimal
    least_usd: Decimal
    """With the shortest answer that is worth asking for."""

    def output_for(self, asked: Asked, granted_usd: Decimal) -> int | None:
        """The limit of an answer that so much pays; None where the request may stay as it is."""
        if granted_usd >= self.most_usd:
            return None
        tokens = min(self._tokens(quote, asked, granted_usd) for quote in self.quotes)
        return min(tokens, asked.max_output or _USUAL_OUTPUT)

    @staticmethod
    def _tokens(quote: Quote, asked: Asked, granted_usd: Decimal) -> int:
        if quote.output_usd <= 0:
            return asked.max_output or _USUAL_OUTPUT
        left = (granted_usd - quote.input_usd) * _MILLION / (quote.output_usd * asked.answers)
        return max(0, int(left.to_integral_value(rounding=ROUND_DOWN)))


def bounds_of(asked: Asked, targets: Sequence[Target], at: datetime) -> Bounds:
    """What a request costs at most at those of its targets whose price is known.

    Raises:
        PriceUnknown: Nobody knows the price at any of them.
    """
    quotes: list[Quote] = []
    unknown: PriceUnknown | None = None
    for target in targets:
        try:
            quotes.append(_quote(asked, target, at))
        except PriceUnknown as error:
            unknown = unknown or error
    if not quotes:
        raise unknown or PriceUnknown("Nobody is there to be asked.")
    longest = asked.max_output or _UNTOLD_OUTPUT
    return Bounds(
        tuple(quotes),
        max(_total(quote, longest * asked.answers) for quote in quotes),
        max(_total(quote, min(LEAST_OUTPUT, longest) * asked.answers) for quote in quotes),
    )


def cost_of(tokens: Tokens, target: Target, at: datetime) -> Decimal:
    """What a call cost.

    Raises:
        PriceUnknown: Nobody knows the price.
    """
    if target.is_free:
        return Decimal(0)
    if target.rates is not None:
        return target.rates.cost_of(tokens)
    return price_of(tokens, model=target.real_model, provider=target.priced_as, at=at)


def output_cost(quote: Quote, asked: Asked, limit: int | None) -> Decimal:
    """What the longest answer costs that the request, or a lower limit, lets through."""
    longest = limit or asked.max_output or _UNTOLD_OUTPUT
    return _total(quote, longest * asked.answers) - quote.input_usd


def _quote(asked: Asked, target: Target, at: datetime) -> Quote:
    size = asked.input_bound
    # Rounded up by a sixteenth at most, so that few sizes have to be priced.
    step = max(64, 1 << (size.bit_length() - 5))
    size = -(-size // step) * step
    minute = at.replace(second=0, microsecond=0)
    return Quote(target, *_prices(target, size, _HOUR_MARK in asked.raw, minute))


@lru_cache(maxsize=4096)
def _prices(target: Target, size: int, has_hour: bool, at: datetime) -> tuple[Decimal, Decimal]:
    """What an input of a size costs at most, and a million tokens of an answer to it."""
    plain = Tokens(input=size)
    written = Tokens(size, 0, 0, size, size if has_hour else 0)
    read = Tokens(input=size, cache_read=size)
    most = max(cost_of(tokens, target, at) for tokens in (plain, written, read))
    said = Tokens(input=size, output=_MILLION)
    thought = Tokens(input=size, output=_MILLION, reasoning=_MILLION)
    answer = max(cost_of(tokens, target, at) for tokens in (said, thought))
    return most, answer - cost_of(plain, target, at)


def _total(quote: Quote, output: int) -> Decimal:
    # Rounded up, like every price: by a micro-dollar too much rather than too little.
    whole = quote.output_usd * output / _MILLION
    return quote.input_usd + whole.quantize(Decimal("0.000001"), rounding="ROUND_UP")
