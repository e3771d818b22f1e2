"""Ids and enumerations of the conversations slice."""

from enum import StrEnum
from typing import NewType
from uuid import UUID

from agentvine.protocol.questions import QuestionState

__all__ = [
    "AuthorType",
    "ChatAttachmentId",
    "ChatMessageId",
    "ChatMessageType",
    "ConversationId",
    "ConversationStatus",
    "ConversationType",
    "MessageId",
    "QuestionState",
    "SenderType",
]

ConversationId = NewType("ConversationId", UUID)
MessageId = NewType("MessageId", UUID)
ChatMessageId = NewType("ChatMessageId", UUID)
ChatAttachmentId = NewType("ChatAttachmentId", UUID)


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


class AuthorType(StrEnum):
    """Who wrote a message."""

    USER = "user"
    AGENT = "agent"


class SenderType(StrEnum):
    """Who speaks on the control channel."""

    USER = "user"
    WORKER = "worker"
    SYSTEM = "system"
    CONTROLLER = "controller"


class ChatMessageType(StrEnum):
    """What a line on the control channel is."""

    TEXT = "text"
    QUESTION = "question"
    RESPONSE = "response"
    STATUS = "status"
    ERROR = "error"
