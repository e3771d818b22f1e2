"""What a dialogue keeps: one JSON document, each message with its state, tokens and cost."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, Field

from agentvine.domains.plans.models import ChatSession
from agentvine.protocol.planning_chat import ChatState, PlanChatMessageOut, PlanChatOut

STALE = timedelta(seconds=60)
"""An answer that nobody has renewed for so long was left by a server that is gone."""


class Proposal(BaseModel):
    """An artifact that the model proposes."""

    id: uuid.UUID
    artifact_type: str
    content: Any
    problem: str | None = None
    artifact_id: uuid.UUID | None = None


class ChatEntry(BaseModel):
    """A message."""

    id: uuid.UUID
    role: str
    text: str = ""
    state: ChatState = ChatState.COMPLETE
    error: str | None = None
    author: str | None = None
    model: str | None = None
    files: list[str] = Field(default_factory=list[str])
    documents: list[uuid.UUID] = Field(default_factory=list[uuid.UUID])
    tags: list[str] = Field(default_factory=list[str])
    proposals: list[Proposal] = Field(default_factory=list[Proposal])
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: Decimal = Decimal(0)
    created_at: datetime
    renewed_at: datetime | None = None

    def seen(self, now: datetime) -> "ChatEntry":
        """The message as it stands: nobody writes an answer that was left."""
        if self.state is ChatState.ANSWERING and (self.renewed_at or self.created_at) < now - STALE:
            return self.model_copy(update={"state": ChatState.INTERRUPTED})
        return self


def read_entries(session: ChatSession, now: datetime) -> list[ChatEntry]:
    """The messages, oldest first, as they stand."""
    return [ChatEntry.model_validate(row).seen(now) for row in session.messages]


def write_entries(session: ChatSession, entries: Sequence[ChatEntry]) -> None:
    """Replace the document; a new object, so that the change is noticed."""
    session.messages = [entry.model_dump(mode="json") for entry in entries]


def chat_out(session: ChatSession, now: datetime) -> PlanChatOut:
    """A dialogue as clients see it."""
    entries = read_entries(session, now)
    return PlanChatOut(
        id=session.id,
        plan_id=session.plan_id,
        status=session.status,
        messages=[entry_out(entry) for entry in entries],
        created_at=session.created_at,
    )


def entry_out(entry: ChatEntry) -> PlanChatMessageOut:
    """A message as clients see it."""
    return PlanChatMessageOut.model_validate(entry.model_dump())
