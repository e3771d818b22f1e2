"""What ``agentvine price`` does."""

import uuid
from datetime import datetime
from decimal import Decimal

from agentvine.cli import resolve
from agentvine.cli.output import Column
from agentvine.cli.session import Session
from agentvine.protocol.prices import PriceOut, PriceSetIn


def _rate(rate: Decimal | None, otherwise: Decimal) -> str:
    return f"{(otherwise if rate is None else rate).normalize():f}"


_COLUMNS = [
    Column[PriceOut]("model", lambda row: row.model),
    Column[PriceOut]("provider", lambda row: row.provider or "any"),
    Column[PriceOut]("input", lambda row: _rate(row.input_usd, row.input_usd)),
    Column[PriceOut]("cache read", lambda row: _rate(row.cache_read_usd, row.input_usd)),
    Column[PriceOut]("cache write", lambda row: _rate(row.cache_write_usd, row.input_usd)),
    Column[PriceOut]("output", lambda row: _rate(row.output_usd, row.output_usd)),
    Column[PriceOut]("reasoning", lambda row: _rate(row.reasoning_usd, row.output_usd)),
    Column[PriceOut]("from", lambda row: f"{row.effective_from:%Y-%m-%d %H:%M}"),
    Column[PriceOut]("id", lambda row: row.id),
]


async def list_prices(session: Session, *, limit: int | None) -> None:
    """The prices that were set."""
    rows = await resolve.collect(session.client.prices.list(), limit)
    session.out.table(rows, _COLUMNS, nothing="None is set; the price table holds.")


async def set_price(
    session: Session,
    *,
    model: str,
    provider: str | None,
    input_usd: Decimal,
    output_usd: Decimal,
    cache_read: Decimal | None,
    cache_write: Decimal | None,
    reasoning: Decimal | None,
    begins: datetime | None,
) -> None:
    """A price."""
    body = PriceSetIn(
        model=model,
        provider=provider,
        input_usd=input_usd,
        output_usd=output_usd,
        cache_read_usd=cache_read,
        cache_write_usd=cache_write,
        reasoning_usd=reasoning,
        effective_from=begins,
    )
    row = await session.client.prices.set(body)
    text = f"{row.model} costs {_rate(row.input_usd, row.input_usd)} USD a million in and "
    session.out.done(f"{text}{_rate(row.output_usd, row.output_usd)} out", row)


async def remove_price(session: Session, *, price_id: uuid.UUID) -> None:
    """Let the price before it hold."""
    await session.client.prices.remove(price_id)
    session.out.done("The price is removed", {"id": str(price_id)})
