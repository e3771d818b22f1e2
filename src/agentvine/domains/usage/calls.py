"""A call to a language model, as the books know it: who pays, what it used, what it cost."""

import uuid
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any

from agentvine.domains.usage.prices import Tokens


@dataclass(frozen=True, slots=True)
class Payer:
    """On whose account a call goes: every link that is known."""

    user_id: uuid.UUID | None = None
    project_id: uuid.UUID | None = None
    agent_id: uuid.UUID | None = None
    agent_type: str | None = None
    task_id: uuid.UUID | None = None
    execution_id: uuid.UUID | None = None
    conversation_id: uuid.UUID | None = None
    message_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a model."""

    request_id: str
    """Counted once, however often it is told."""
    model: str
    payer: Payer
    usage_date: date
    """The day on which it began, in the time zone of the budgets."""

    def to_json(self) -> dict[str, Any]:
        """For a reservation's row."""
        payer = dict(_payer_json(self.payer))
        return {"model": self.model, "usage_date": self.usage_date.isoformat(), "payer": payer}

    @classmethod
    def from_json(cls, request_id: str, kept: dict[str, Any]) -> "Call":
        """What ``to_json`` wrote."""
        payer = {
            field.name: _id(field.name, kept["payer"].get(field.name)) for field in fields(Payer)
        }
        day = date.fromisoformat(kept["usage_date"])
        return cls(request_id, kept["model"], Payer(**payer), day)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call came to."""

    tokens: Tokens
    cost_usd: Decimal
    duration_ms: int | None = None
    is_estimated: bool = False
    """The provider did not tell: this is the most that it can have been."""
    notes: dict[str, Any] | None = None
    """What else is worth keeping, such as the price table's version."""


@lru_cache(maxsize=1024)  # one run makes many calls
def _payer_json(payer: Payer) -> tuple[tuple[str, str | None], ...]:
    named = ((field.name, getattr(payer, field.name)) for field in fields(Payer))
    return tuple((name, None if value is None else str(value)) for name, value in named)


def _id(name: str, value: str | None) -> Any:
    return uuid.UUID(value) if value is not None and name.endswith("_id") else value
