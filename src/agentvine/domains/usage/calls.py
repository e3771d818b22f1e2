"""A call to a language model, as the books know it: who pays, what it used, what it cost."""

import json
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

    def __hash__(self) -> int:
        """Of the links that tell payers apart: all eight would cost more than a look at them."""
        return hash((self.execution_id, self.conversation_id))


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
        kept: dict[str, Any] = json.loads(self.to_text())
        return kept

    def to_text(self) -> str:
        """The same, as a text."""
        return _text_of(self.model, self.usage_date, self.payer)

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
def _text_of(model: str, day: date, payer: Payer) -> str:
    named = {each.name: getattr(payer, each.name) for each in fields(Payer)}
    links = {name: None if value is None else str(value) for name, value in named.items()}
    return json.dumps({"model": model, "usage_date": day.isoformat(), "payer": links})


def _id(name: str, value: str | None) -> Any:
    return uuid.UUID(value) if value is not None and name.endswith("_id") else value
