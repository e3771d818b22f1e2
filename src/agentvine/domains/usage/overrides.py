"""Prices that somebody has set: they hold from a time on, before the table's. All are audited."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import select

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.identity import history
from agentvine.domains.usage.enums import PriceOverrideId
from agentvine.domains.usage.errors import PriceExists, PriceNotFound
from agentvine.domains.usage.models import PriceOverride
from agentvine.domains.usage.prices import SNAPSHOT, Rates, Tokens, price_of
from agentvine.kit.ids import new_id
from agentvine.kit.pagination import Page, PageRequest
from agentvine.protocol.prices import PriceSetIn


@dataclass(frozen=True, slots=True)
class PriceBook:
    """The prices that were set for one model, read at one time."""

    rows: Sequence[PriceOverride] = ()

    def rates_of(self, provider: str | None) -> Rates | None:
        """The newest price in force at a provider; one of the provider's own before one for all."""
        fitting = [row for row in self.rows if row.provider in (None, provider)]
        newest = max(
            fitting, key=lambda row: (row.provider is not None, row.effective_from), default=None
        )
        return None if newest is None else _rates(newest)


async def read_prices(read: ReadSession, model: str, at: datetime | None = None) -> PriceBook:
    """The prices that were set for a model and are in force, now or at another time."""
    query = select(PriceOverride).where(
        PriceOverride.model == model,
        PriceOverride.effective_from <= (read.dialect.now_sql() if at is None else at),
    )
    return PriceBook((await read.scalars(query)).all())


async def price_call(
    read: ReadSession, tokens: Tokens, *, model: str, provider: str | None, at: datetime
) -> tuple[Decimal, str]:
    """What a call cost, and by which price: one that was set, or else the table's.

    Raises:
        PriceUnknown: Nobody knows what it costs.
    """
    rates = (await read_prices(read, model, at)).rates_of(provider)
    if rates is not None:
        return rates.cost_of(tokens), rates.source
    return price_of(tokens, model=model, provider=provider, at=at), SNAPSHOT


async def list_prices(read: ReadSession, page: PageRequest) -> Page[PriceOverride]:
    """All prices that were set, past and coming ones too."""
    return await fetch_page(read, select(PriceOverride), PriceOverride.id, page)


async def set_price(tx: Transaction, wanted: PriceSetIn) -> PriceOverride:
    """Let a model cost so much, from now or another time on. What was counted stays as it was.

    Raises:
        PriceExists: There is one from the same time on.
    """
    begins = wanted.effective_from or tx.now
    twin = select(PriceOverride.id).where(
        PriceOverride.model == wanted.model,
        PriceOverride.provider.is_not_distinct_from(wanted.provider),
        PriceOverride.effective_from == begins,
    )
    if await tx.scalar(twin) is not None:
        raise PriceExists("Remove it first, or name another time.")
    fields = wanted.model_dump(exclude={"effective_from"})
    price = PriceOverride(
        id=PriceOverrideId(new_id()),
        effective_from=begins,
        **fields,
    )
    tx.add(price)
    after = wanted.model_dump(mode="json") | {"effective_from": begins.isoformat()}
    history.record(tx, "price.set", entity=("price", price.id), after=after)
    await tx.flush()
    await tx.refresh(price)
    return price


async def remove_price(tx: Transaction, price_id: uuid.UUID) -> None:
    """Let the price before it hold again, or the table's. What was counted stays as it was.

    Raises:
        PriceNotFound: There is none.
    """
    price = await tx.get(PriceOverride, price_id)
    if price is None:
        raise PriceNotFound(f"There is no price with the id {price_id}.")
    before = {"model": price.model, "provider": price.provider}
    history.record(tx, "price.removed", entity=("price", price.id), before=before)
    await tx.delete(price)


def _rates(row: PriceOverride) -> Rates:
    return Rates(
        input=row.input_usd,
        output=row.output_usd,
        cache_read=row.input_usd if row.cache_read_usd is None else row.cache_read_usd,
        cache_write=row.input_usd if row.cache_write_usd is None else row.cache_write_usd,
        reasoning=row.output_usd if row.reasoning_usd is None else row.reasoning_usd,
        source=f"override {row.id}",
    )
