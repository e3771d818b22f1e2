"""What people are told, and how much of it over which channel, on the wire."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from agentvine.protocol.base import MAX_INTEGER, Edit, Input, Output


class Severity(StrEnum):
    """How urgent a notification is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Channel(StrEnum):
    """A way by which a person is told outside of AgentVine."""

    EMAIL = "email"
    TELEGRAM = "telegram"


class NotificationType(StrEnum):
    """What a notification is about."""

    QUESTION_ASKED = "question_asked"
    CHANGE_TO_REVIEW = "change_to_review"
    TASK_FAILED = "task_failed"
    BUDGET_EXHAUSTED = "budget_exhausted"
    TEST = "test"


class Wanted(StrEnum):
    """How much a person wants to be told over a channel."""

    NONE = "none"
    IMPORTANT = "important"
    ALL = "all"

    def includes(self, severity: Severity) -> bool:
        """Whether what is so urgent is to be told; important is what is more than information."""
        if self is Wanted.IMPORTANT:
            return severity is not Severity.INFO
        return self is Wanted.ALL


class RelatedOut(Output):
    """What a notification tells of."""

    entity_type: str
    entity_id: str


class DeliveryOut(Output):
    """What went wrong on a channel so far."""

    error: str
    gave_up: bool


class NotificationOut(Output):
    """What one person has to know, and how far it was sent."""

    id: uuid.UUID
    type: str
    title: str
    message: str
    severity: Severity
    project_id: uuid.UUID | None
    agent_id: uuid.UUID | None
    related: RelatedOut | None
    is_read: bool
    sent_email: bool
    sent_telegram: bool
    attempts: int
    next_attempt_at: datetime | None
    delivery: dict[Channel, DeliveryOut]
    created_at: datetime


class UnreadOut(Output):
    """How much a person has not read yet."""

    unread: int


class PreferencesOut(Output):
    """What one is told over which channel, and where."""

    email: Wanted
    email_address: str
    telegram: Wanted
    telegram_chat_id: int | None


ChatId = Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)]
"""Telegram's number of a chat; groups have negative ones."""


class PreferencesIn(Edit):
    """Fields left out stay as they are."""

    may_be_emptied = frozenset({"telegram_chat_id"})

    email: Wanted | None = None
    telegram: Wanted | None = None
    telegram_chat_id: ChatId | None = None


class ChatCodeOut(Output):
    """What proves to the server's bot that a chat is one's own, once."""

    code: str
    expires_at: datetime


class TestIn(Input):
    """Which channels to try; with none, each that one can be reached by."""

    channels: list[Channel] = Field(default_factory=list[Channel], max_length=len(Channel))
