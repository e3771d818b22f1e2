"""Ids and enumerations of the conversations slice."""

from enum import StrEnum
from typing import NewType
from uuid import UUID

from agentvine.protocol.conversations import (
    ChatMessageType,
    ConversationStatus,
    ConversationType,
    MentionState,
    SenderType,
)
from agentvine.protocol.questions import QuestionState

__all__ = [
    "AuthorType",
    "ChatAttachmentId",
    "ChatMessageId",
    "ChatMessageType",
    "ConversationId",
    "ConversationStatus",
    "ConversationType",
    "MentionState",
    "MessageAttachmentId",
    "MessageId",
    "MessageMentionId",
    "QuestionState",
    "SenderType",
]

ConversationId = NewType("ConversationId", UUID)
MessageId = NewType("MessageId", UUID)
MessageAttachmentId = NewType("MessageAttachmentId", UUID)
MessageMentionId = NewType("MessageMentionId", UUID)
ChatMessageId = NewType("ChatMessageId", UUID)
ChatAttachmentId = NewType("ChatAttachmentId", UUID)


class AuthorType(StrEnum):
    """Who wrote a message."""

    USER = "user"
    AGENT = "agent"
