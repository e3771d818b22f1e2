"""Budgets, and what calls to language models used."""

import uuid
from typing import Any
from urllib.parse import quote

from agentvine.client.pages import Listing
from agentvine.client.transport import Call, Transport, edit, get, post
from agentvine.protocol.base import PageOut
from agentvine.protocol.prices import PriceOut, PriceSetIn
from agentvine.protocol.usage import (
    BudgetCreateIn,
    BudgetEditIn,
    BudgetOut,
    CallBodiesOut,
    CallFilter,
    CallOut,
    SumQuery,
    UsageOut,
    UsageReportIn,
    UsageReportOut,
)


class BudgetsApi:
    """``budgets/``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    def list(self) -> Listing[BudgetOut]:
        """The budgets one may see."""
        return Listing(self._transport, "budgets", {}, PageOut[BudgetOut])

    async def create(self, body: BudgetCreateIn, *, key: str | None = None) -> BudgetOut:
        """A new budget."""
        return await self._transport.fetch(post("budgets", body).with_key(key), BudgetOut)

    async def get(self, budget_id: uuid.UUID) -> BudgetOut:
        """One budget."""
        return await self._transport.fetch(get(f"budgets/{budget_id}"), BudgetOut)

    async def edit(self, budget_id: uuid.UUID, body: BudgetEditIn) -> BudgetOut:
        """Change what is set in the body."""
        return await self._transport.fetch(edit(f"budgets/{budget_id}", body, None), BudgetOut)

    async def delete(self, budget_id: uuid.UUID) -> None:
        """Limit nothing by it any more."""
        await self._transport.send(Call("DELETE", f"budgets/{budget_id}"))


class PricesApi:
    """``prices/``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    def list(self) -> Listing[PriceOut]:
        """The prices that were set."""
        return Listing(self._transport, "prices", {}, PageOut[PriceOut])

    async def set(self, body: PriceSetIn, *, key: str | None = None) -> PriceOut:
        """Let a model cost so much."""
        return await self._transport.fetch(post("prices", body).with_key(key), PriceOut)

    async def remove(self, price_id: uuid.UUID) -> None:
        """Let the price before it hold again."""
        await self._transport.send(Call("DELETE", f"prices/{price_id}"))


class UsageApi:
    """``usage/``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    async def sum(self, wanted: SumQuery) -> UsageOut:
        """What was used, summed up."""
        return await self._transport.fetch(get("usage", _params(wanted)), UsageOut)

    def calls(self, wanted: CallFilter) -> Listing[CallOut]:
        """The calls, newest first."""
        return Listing(self._transport, "usage/calls", _params(wanted), PageOut[CallOut])

    async def bodies(self, request_id: str) -> CallBodiesOut:
        """What was said in a call, where it is kept."""
        return await self._transport.fetch(
            get(f"usage/calls/{quote(request_id, safe='')}/bodies"), CallBodiesOut
        )

    async def report(self, execution_id: uuid.UUID, body: UsageReportIn) -> UsageReportOut:
        """Tell of calls that a runtime made past the gateway; telling again counts nothing."""
        call = post(f"executions/{execution_id}/usage", body, is_repeatable=True)
        return await self._transport.fetch(call, UsageReportOut)


def _params(wanted: CallFilter) -> dict[str, Any]:
    return wanted.model_dump(mode="json", exclude_none=True)
