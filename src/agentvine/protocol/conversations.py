"""Conversations on the wire, and what is said on the control channel of running work."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from agentvine.protocol.base import Output


class ConversationType(StrEnum):
    """What a conversation is about."""

    ISSUE = "issue"
    GENERAL = "general"
    TASK = "task"
    REVIEW = "review"


class ConversationStatus(StrEnum):
    """Where a conversation stands."""

    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    ARCHIVED = "archived"


class SenderType(StrEnum):
    """Who speaks on the control channel."""

    USER = "user"
    WORKER = "worker"
    SYSTEM = "system"
    CONTROLLER = "controller"
    """The server where it answers by a rule."""


class ChatMessageType(StrEnum):
    """What a line on the control channel is."""

    TEXT = "text"
    QUESTION = "question"
    RESPONSE = "response"
    STATUS = "status"
    ERROR = "error"


class ConversationOut(Output):
    """A talk about something."""

    id: uuid.UUID
    title: str | None
    type: ConversationType
    status: ConversationStatus
    project_id: uuid.UUID | None
    created_at: datetime
    updated_at: datetime


class ChatMessageOut(Output):
    """A line on the control channel: a status, an error, a question, an answer."""

    id: uuid.UUID
    conversation_id: uuid.UUID
    type: ChatMessageType
    text: str
    sender_type: SenderType
    sender_id: uuid.UUID | None
    sender_name: str
    """A user's or a worker's name; else what the sender is."""
    is_agent: bool
    """Whether the worker's agent says it, rather than the worker."""
    parent_id: uuid.UUID | None
    """What it answers."""
    execution_id: uuid.UUID | None
    details: dict[str, Any]
    """More about it: of a question what was asked and answered, of a status how much is done."""
    created_at: datetime
