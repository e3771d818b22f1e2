"""Setting aside what a call may cost, when the budget is nearly used up or held by other calls.

Most calls get what their bytes bound at once. What does not fit is looked at twice: the provider
counts what goes in, where it can, and what only other calls' reservations stand in the way of waits
for these to end. A run whose agent asks two things at once is not stopped for that.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from agentvine.domains.gateway.pricing import Bounds, bounds_of
from agentvine.domains.gateway.targets import Target
from agentvine.domains.gateway.wires.asked import Asked
from agentvine.domains.usage.calls import Call
from agentvine.domains.usage.errors import BudgetExceeded
from agentvine.domains.usage.ledger import Ledger

PATIENCE_SECONDS = 30.0
"""How long a call waits for money that others hold; every client waits longer than this."""
_LOOK_SECONDS = 0.5
"""What other processes give back, nobody tells us."""
_SHORT_OUTPUT = 4096
"""An answer that is to be shorter than this is worth asking for an exact count."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A call that is to be made."""

    call: Call
    asked: Asked
    targets: Sequence[Target]
    at: datetime
    count: Callable[[], Awaitable[int | None]]
    """Asks the provider how many tokens go in; None where it cannot tell."""
    is_over: Callable[[], bool]
    """Whether the caller has left."""
    on_wait: Callable[[], None]
    """Told when it begins to wait for what others hold."""

    def bounds(self) -> Bounds:
        """What it costs at most, as far as that is known by now."""
        return bounds_of(self.asked, self.targets, self.at)


async def reserve(
    ledger: Ledger, wish: Wish, bounds: Bounds, *, patience_seconds: float
) -> tuple[Bounds, Decimal]:
    """Set aside what a call may cost, or as much of it as there is; with the bounds it goes by.

    Args:
        ledger: The books.
        wish: The call.
        bounds: What its bytes bound.
        patience_seconds: How long it may wait for what other calls hold.

    Raises:
        BudgetExceeded: A budget that blocks has no room even for the least.
    """
    try:
        granted = await ledger.reserve(wish.call, bounds.most_usd, bounds.least_usd)
    except BudgetExceeded as error:
        granted = None
        is_worth_counting = _least_output(bounds) <= _room(error) < bounds.least_usd
    else:
        is_worth_counting = _is_short(bounds.output_for(wish.asked, granted))
    if is_worth_counting and _is_countable(wish):
        wish.asked.counted = await wish.count()
        bounds = wish.bounds()
    if granted is not None:
        return bounds, granted
    return bounds, await _reserve_patiently(ledger, wish, bounds, patience_seconds)


async def _reserve_patiently(
    ledger: Ledger, wish: Wish, bounds: Bounds, patience_seconds: float
) -> Decimal:
    loop = asyncio.get_running_loop()
    deadline: float | None = None
    while True:
        try:
            return await ledger.reserve(wish.call, bounds.most_usd, bounds.least_usd)
        except BudgetExceeded as error:
            if _room(error) < bounds.least_usd or wish.is_over():
                raise
            if deadline is None:
                deadline = loop.time() + patience_seconds
                wish.on_wait()
            elif loop.time() >= deadline:
                raise
        await ledger.wait_for_room(_LOOK_SECONDS)


def _is_short(limit: int | None) -> bool:
    return limit is not None and limit < _SHORT_OUTPUT


def _is_countable(wish: Wish) -> bool:
    """Whether one provider's count holds for all that may be asked."""
    models = {(target.kind, target.real_model) for target in wish.targets}
    return len(models) == 1 and not wish.asked.is_open


def _least_output(bounds: Bounds) -> Decimal:
    """What the shortest answer costs at least, whatever goes in."""
    return bounds.least_usd - max(quote.input_usd for quote in bounds.quotes)


def _room(error: BudgetExceeded) -> Decimal:
    """What is left once the calls under way have given back all; a limit that is no money: none."""
    if "spent_usd" not in error.extra:
        return Decimal(0)
    return Decimal(error.extra["amount_usd"]) - Decimal(error.extra["spent_usd"])
