"""Prices of models on the wire, in dollars a million tokens."""

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import AwareDatetime, Field

from agentvine.protocol.base import Input, Output
from agentvine.protocol.providers import ModelName

Rate = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=6)]
"""Dollars a million tokens."""


class PriceSetIn(Input):
    """What a model costs from a time on, whatever the price table says."""

    model: ModelName
    provider: str | None = Field(default=None, min_length=1, max_length=50)
    """By its name here, or ``anthropic``, ``openai``, ``google``; left out: whoever serves it."""
    input_usd: Rate
    output_usd: Rate
    cache_read_usd: Rate | None = None
    """Read from a cache; left out: as other input."""
    cache_write_usd: Rate | None = None
    """Written into one; left out: as other input."""
    reasoning_usd: Rate | None = None
    """What is thought; left out: as other output."""
    effective_from: AwareDatetime | None = None
    """Left out: from now on."""


class PriceOut(Output):
    """A price that somebody has set."""

    id: uuid.UUID
    model: str
    provider: str | None
    effective_from: datetime
    input_usd: Decimal
    output_usd: Decimal
    cache_read_usd: Decimal | None
    cache_write_usd: Decimal | None
    reasoning_usd: Decimal | None
    created_at: datetime
