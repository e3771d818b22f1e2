"""What agents remember, on the wire: facts by category and key, and what is recalled of them."""

import json
import uuid
from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, Field, field_validator

from agentvine.protocol.base import Input, Output

MAX_MEMORY_BYTES = 64 * 1024
MAX_RECALLED = 200
MAX_RECALL_TOKENS = 100_000
RECALL_TOKENS = 2000
"""What is recalled where nobody says how much."""


class MemoryIn(Input):
    """Something to remember; what was remembered under the same category and key is replaced."""

    project_id: uuid.UUID | None = None
    """None: in general, whatever the project."""
    category: str = Field(min_length=1, max_length=50)
    key: str = Field(min_length=1, max_length=200)
    value: Any
    """Any JSON but null."""
    importance: int = Field(default=5, ge=1, le=10)
    """From 9 on it is told to every run, whatever that is about."""
    expires_at: AwareDatetime | None = None

    @field_validator("value")
    @classmethod
    def _is_of_bounded_size(cls, value: object) -> object:
        if value is None:
            raise ValueError("null is nothing to remember; forget it instead")
        if len(json.dumps(value, ensure_ascii=False).encode()) > MAX_MEMORY_BYTES:
            raise ValueError(
                f"a memory has at most {MAX_MEMORY_BYTES} bytes; a document holds more"
            )
        return value


class MemoryOut(Output):
    """Something that an agent remembers."""

    id: uuid.UUID
    agent_id: uuid.UUID
    project_id: uuid.UUID | None
    category: str
    key: str
    value: Any
    importance: int
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime


class RecalledOut(Output):
    """A memory, and how much it has to do with what was asked."""

    memory: MemoryOut
    score: float
    """Between 0 and 1: relevance, importance and recency, weighed."""
    tokens: int
    """About as many as it costs to tell."""


class RecallOut(Output):
    """What an agent recalls, the most useful first."""

    items: list[RecalledOut]
    tokens: int
    left_out: int
    """How many more there were that the tokens or the limit had no room for."""


class ForgottenOut(Output):
    """How much was forgotten."""

    count: int
