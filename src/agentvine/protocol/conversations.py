"""Conversations on the wire, and what is said on the control channel of running work."""

import uuid
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pydantic import Field

from agentvine.protocol.base import Edit, Input, Output

MAX_MESSAGE_CHARACTERS = 20_000
MAX_ATTACHMENT_BYTES = 10 * 1024 * 1024
MAX_ATTACHMENTS = 20
"""Of one message."""


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


class MentionState(StrEnum):
    """What has become of a mention of an agent."""

    WAITING = "waiting"
    ANSWERED = "answered"
    FAILED = "failed"


class ConversationCreateIn(Input):
    """A new conversation, of a project or of one's own."""

    type: ConversationType = ConversationType.GENERAL
    title: str | None = Field(default=None, min_length=1, max_length=200)
    project_id: uuid.UUID | None = None
    participants: list[uuid.UUID] = Field(default_factory=list[uuid.UUID], max_length=50)
    """Agents that take part from the beginning."""


class ConversationEditIn(Edit):
    """Fields left out stay as they are."""

    may_be_emptied = frozenset({"title"})

    title: str | None = Field(default=None, min_length=1, max_length=200)
    status: ConversationStatus | None = None


class MessageIn(Input):
    """What is said, in markdown; ``@name`` of an agent wakes it."""

    content: str = Field(min_length=1, max_length=MAX_MESSAGE_CHARACTERS)
    reply_to_id: uuid.UUID | None = None


class MessageEditIn(Input):
    """Other words for what one has said; nobody is woken by them."""

    content: str = Field(min_length=1, max_length=MAX_MESSAGE_CHARACTERS)


class ParticipantOut(Output):
    """An agent that takes part."""

    agent_id: uuid.UUID
    name: str
    joined_at: datetime


class AttachmentOut(Output):
    """A file that came with a message."""

    id: uuid.UUID
    file_name: str
    file_type: str
    """As its sender calls it; it is served as bytes to be saved, whatever it is."""
    size: int
    sha256: str
    created_at: datetime


class MentionOut(Output):
    """An agent that a message mentions, and what has become of it."""

    agent_id: uuid.UUID
    state: MentionState
    detail: str | None
    """Why there is no answer."""
    reply_id: uuid.UUID | None
    task_id: uuid.UUID | None
    """The task that it was given."""


class MessageOut(Output):
    """What a person or an agent said, and what that cost."""

    id: uuid.UUID
    conversation_id: uuid.UUID
    author_type: str
    """``user`` or ``agent``."""
    author_id: uuid.UUID | None
    author_name: str
    content: str
    """Markdown; empty once it is deleted."""
    content_formatted: str | None
    """Safe HTML."""
    reply_to_id: uuid.UUID | None
    tokens_in: int
    tokens_out: int
    cost_usd: Decimal
    model_used: str | None
    is_edited: bool
    is_deleted: bool
    attachments: list[AttachmentOut]
    mentions: list[MentionOut]
    created_at: datetime
    updated_at: datetime


class ConversationOut(Output):
    """A talk about something."""

    id: uuid.UUID
    title: str | None
    type: ConversationType
    status: ConversationStatus
    project_id: uuid.UUID | None
    created_at: datetime
    updated_at: datetime


class ConversationTotalsOut(ConversationOut):
    """A talk with who takes part in it, and what it came to."""

    participants: list[ParticipantOut]
    message_count: int
    tokens_in: int
    tokens_out: int
    cost_usd: Decimal


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
    attachments: list[AttachmentOut] = Field(default_factory=list[AttachmentOut])
    created_at: datetime
