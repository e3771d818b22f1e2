"""Tells what a run uses of models past the gateway, and ends it when a budget is used up."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import fields
from decimal import ROUND_UP, Decimal

import structlog

from agentvine.client import RetryPolicy
from agentvine.kit.errors import AppError, Internal, LimitReached, Unavailable
from agentvine.protocol.queue import ClaimedOrder
from agentvine.protocol.usage import CallIn, UsageReportIn
from agentvine.runtimes.events import ModelUsage
from agentvine.worker.tools import StopReason, StopSwitch, WorkerTools

_RETRY = RetryPolicy(base_seconds=0.5, cap_seconds=10.0)
_PASSING = (Unavailable, LimitReached, Internal, OSError)
_LAST_WORDS_SECONDS = 5.0
_MICRO = Decimal("0.000001")
_MAX_NAME = 100

log = structlog.get_logger(__name__)


class UsageTeller:
    """Keeps what a run has used in all, and tells what is new of it, each part once."""

    def __init__(self, tools: WorkerTools, order: ClaimedOrder, switch: StopSwitch) -> None:
        """Prepare; ``run`` tells."""
        self._tools = tools
        self._order = order
        self._switch = switch
        self._seen: dict[str, ModelUsage] = {}
        self._told: dict[str, ModelUsage] = {}
        self._parts = 0
        self._pending: UsageReportIn | None = None
        """What was sent and not acknowledged: it is sent again as it was."""
        self._changed = asyncio.Event()

    def note_usage(self, models: Mapping[str, ModelUsage]) -> None:
        """Take note, and have it told soon."""
        self._seen |= models
        self._changed.set()

    async def run(self) -> None:
        """Tell what is new until cancelled; with a budget used up, the run is to stop."""
        failures = 0
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                exceeded = await self._tell()
            except _PASSING as error:
                log.warning("usage.not_told", problem=str(error))
                await asyncio.sleep(_RETRY.pause(failures, None))
                failures += 1
                self._changed.set()
                continue
            except AppError as error:
                log.warning("usage.not_kept", code=error.code, problem=error.detail)
                return
            failures = 0
            if exceeded:
                log.info("run.budget_used_up", budgets=exceeded)
                self._switch.stop(StopReason.BUDGET_EXHAUSTED)

    async def close(self) -> None:
        """Tell the rest; call it when ``run`` has ended. The run is over: nothing stops it now."""
        with contextlib.suppress(AppError, OSError, TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                await self._tell()

    async def _tell(self) -> list[str]:
        """Send what is new, after what may not have arrived; the budgets that are used up."""
        exceeded: list[str] = []
        while (report := self._pending or self._next()) is not None:
            self._pending = report
            answer = await self._tools.client.usage.report(self._order.execution_id, report)
            self._pending = None
            exceeded = answer.exceeded
        return exceeded

    def _next(self) -> UsageReportIn | None:
        calls: list[CallIn] = []
        for model, usage in self._seen.items():
            new = _less(usage, self._told.get(model, ModelUsage()))
            cached = new.cache_read_tokens + new.cache_write_tokens
            if not (new.input_tokens or new.output_tokens or cached):
                continue
            self._parts += 1
            calls.append(
                CallIn(
                    request_id=f"part {self._parts}",
                    model=model[:_MAX_NAME],
                    tokens_in=new.input_tokens + cached,
                    tokens_out=new.output_tokens,
                    tokens_cache_read=new.cache_read_tokens,
                    tokens_cache_write=new.cache_write_tokens,
                    cost_usd=_dollars(new.cost_usd),
                )
            )
        if not calls:
            return None
        self._told = dict(self._seen)
        return UsageReportIn(order_id=self._order.order_id, fence=self._order.fence, calls=calls)


def _less(usage: ModelUsage, told: ModelUsage) -> ModelUsage:
    """What was used since; a count that went down is one that the program has begun anew."""
    differences: dict[str, int | float | None] = {}
    for field in fields(ModelUsage):
        now, before = getattr(usage, field.name), getattr(told, field.name)
        differences[field.name] = None if now is None else max(0, now - (before or 0))
    return ModelUsage(**differences)  # pyright: ignore[reportArgumentType]  # each in its own field


def _dollars(cost: float | None) -> Decimal | None:
    return None if cost is None else Decimal(str(cost)).quantize(_MICRO, rounding=ROUND_UP)
