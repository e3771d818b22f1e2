"""One call in the books, from its reservation to its settlement."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import structlog

from agentvine.domains.gateway.bodies import Tape
from agentvine.domains.gateway.pricing import Bounds, Quote, cost_of, output_cost
from agentvine.domains.gateway.targets import Target
from agentvine.domains.gateway.wires.asked import Asked
from agentvine.domains.gateway.wires.used import Scanner
from agentvine.domains.usage.calls import Call, Outcome
from agentvine.domains.usage.ledger import Ledger
from agentvine.domains.usage.prices import SNAPSHOT, Tokens
from agentvine.kit.clock import Clock

log = structlog.get_logger(__name__)

_WORTH_GIVING_BACK = Decimal("0.05")
"""Less than this is not worth a step in the books."""


@dataclass(slots=True)
class Meter:
    """Sees to it that a call is counted, whatever becomes of it."""

    ledger: Ledger
    call: Call
    asked: Asked
    bounds: Bounds
    granted_usd: Decimal
    limit: int | None
    """The answer's limit, where the money that is left pays no more."""
    scanner: Scanner
    at: datetime
    clock: Clock
    tape: Tape | None = None
    """The answer, where what is said is kept."""
    quote: Quote | None = None
    """Who answers, once somebody does."""
    lost: list[Target] = field(default_factory=list[Target])
    """Who was asked and went silent: whether they count it, nobody knows."""
    refused_by: Target | None = None
    """Who has answered with an error, so far."""
    refusal: bytes | None = None
    """What it said, where that is read already."""
    cut_by: str | None = None
    """Who ended the answer before its end."""
    _shrinking: "asyncio.Task[None] | None" = None
    _is_shrunk: bool = False

    @property
    def quotes(self) -> Sequence[Quote]:
        """Who may be asked."""
        return self.bounds.quotes

    def look(self) -> None:
        """Give back what is not needed, as soon as the provider has told what went in."""
        if self._is_shrunk or not self.scanner.counts.is_told or self.quote is None:
            return
        self._is_shrunk = True
        tokens = self.scanner.counts.tokens()
        spent = cost_of(Tokens(**_without_output(tokens)), self.quote.target, self.at)
        needed = spent + output_cost(self.quote, self.asked, self.limit)
        if self.granted_usd - needed >= _WORTH_GIVING_BACK:
            giving = self.ledger.shrink(self.call.request_id, needed)
            self._shrinking = asyncio.create_task(giving)

    def record(self, chunk: bytes) -> None:
        """Keep a part of the answer, if answers are kept."""
        if self.tape is not None:
            self.tape.take(chunk)

    async def close(self) -> None:
        """Count it: what was told, or else the most that can have been."""
        try:
            await self._count()
        finally:
            if self._shrinking is not None:
                await self._shrinking

    async def _count(self) -> None:
        if self.quote is None and not self.lost:
            await self.ledger.release(self.call.request_id)
            return
        target = self.quote.target if self.quote else self.lost[-1]
        tokens, is_estimated = self._tokens()
        cost = cost_of(tokens, target, self.at)
        if cost > self.granted_usd:
            log.error(
                "gateway.call_above_bound",
                request_id=self.call.request_id,
                cost_usd=str(cost),
                bound_usd=str(self.granted_usd),
            )
        outcome = Outcome(
            tokens,
            cost,
            round((self.clock.now() - self.at).total_seconds() * 1000),
            is_estimated,
            self._notes(target),
        )
        await self.ledger.settle(self.call, outcome)

    def _tokens(self) -> tuple[Tokens, bool]:
        counts = self.scanner.counts
        if counts.is_final:
            return counts.tokens(), False
        longest = self.limit or self.asked.max_output
        seen = self.scanner.text_bytes
        if longest is not None:
            seen = min(seen, longest * self.asked.answers)
        told = counts.tokens()
        if told.input:
            return Tokens(**{**_without_output(told), "output": max(told.output, seen)}), True
        return Tokens(input=self.asked.input_bound, output=max(told.output, seen)), True

    def _notes(self, target: Target) -> dict[str, object]:
        notes: dict[str, object] = {
            "source": "gateway",
            "provider": target.name or target.priced_as,
            "prices": _priced_by(target),
            "reserved_usd": str(self.granted_usd),
        }
        if self.scanner.counts.reasoning:
            notes["tokens_reasoning"] = self.scanner.counts.reasoning
        if self.asked.model != target.real_model:
            notes["asked_model"] = self.asked.model
        if self.limit is not None:
            notes["limited_to"] = self.limit
        if self.lost:
            notes["lost_attempts"] = len(self.lost)
        if self.cut_by:
            notes["cut_by"] = self.cut_by
        return notes


def _priced_by(target: Target) -> str:
    if target.is_free:
        return "free"
    return SNAPSHOT if target.rates is None else target.rates.source


def _without_output(tokens: Tokens) -> dict[str, int]:
    return {
        "input": tokens.input,
        "cache_read": tokens.cache_read,
        "cache_write": tokens.cache_write,
        "cache_write_hour": tokens.cache_write_hour,
    }
