"""Tables of the conversations slice."""

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from agentvine.db.base import Base
from agentvine.db.columns import (
    big_integer,
    choice,
    document,
    flag,
    foreign_key,
    integer,
    money,
    partial_index,
    stamp,
    stamp_now,
    uuid_key,
    varchar,
)
from agentvine.db.types import Uuid
from agentvine.domains.agents.enums import AgentId
from agentvine.domains.conversations.enums import (
    AuthorType,
    ChatAttachmentId,
    ChatMessageId,
    ChatMessageType,
    ConversationId,
    ConversationStatus,
    ConversationType,
    MentionState,
    MessageAttachmentId,
    MessageId,
    MessageMentionId,
    QuestionState,
    SenderType,
)
from agentvine.domains.identity.enums import UserId
from agentvine.domains.projects.enums import ProjectId


class Conversation(Base):
    """A talk about an issue, a task, a review, or in general."""

    __tablename__ = "conversations"
    __table_args__ = (
        Index("idx_conversations_project", "project_id"),
        Index("idx_conversations_status", "status"),
        Index("idx_conversations_created_by_user", "created_by_user_id"),
        Index("idx_conversations_created_by_agent", "created_by_agent_id"),
    )

    id: Mapped[ConversationId] = uuid_key()
    title: Mapped[str | None] = varchar(200)
    type: Mapped[ConversationType] = choice(ConversationType, 20)
    status: Mapped[ConversationStatus] = choice(
        ConversationStatus, 20, default=ConversationStatus.ACTIVE, nullable=True
    )
    project_id: Mapped[ProjectId | None] = foreign_key("projects.id", on_delete="CASCADE")
    created_by_user_id: Mapped[UserId | None] = foreign_key("users.id")
    created_by_agent_id: Mapped[AgentId | None] = foreign_key("agents.id")
    created_at: Mapped[datetime] = stamp_now()
    updated_at: Mapped[datetime] = stamp_now()


class ConversationParticipant(Base):
    """An agent that takes part in a conversation."""

    __tablename__ = "conversation_participants"
    __table_args__ = (Index("idx_conversation_participants_agent", "agent_id"),)

    conversation_id: Mapped[ConversationId] = foreign_key(
        "conversations.id", on_delete="CASCADE", primary_key=True
    )
    agent_id: Mapped[AgentId] = foreign_key("agents.id", on_delete="CASCADE", primary_key=True)
    joined_at: Mapped[datetime] = stamp_now()


class Message(Base):
    """What a person or an agent said, and what it cost."""

    __tablename__ = "messages"
    __table_args__ = (
        Index("idx_messages_conversation_created", "conversation_id", "created_at"),
        Index("idx_messages_agent", "agent_id"),
        Index("idx_messages_user", "user_id"),
        Index("idx_messages_reply_to", "reply_to_id"),
    )

    id: Mapped[MessageId] = uuid_key()
    conversation_id: Mapped[ConversationId] = foreign_key("conversations.id", on_delete="CASCADE")
    author_type: Mapped[AuthorType] = choice(AuthorType, 20)
    user_id: Mapped[UserId | None] = foreign_key("users.id", on_delete="SET NULL")
    agent_id: Mapped[AgentId | None] = foreign_key("agents.id", on_delete="SET NULL")
    content: Mapped[str] = mapped_column(Text())
    content_formatted: Mapped[str | None] = mapped_column(Text())
    reply_to_id: Mapped[MessageId | None] = foreign_key("messages.id")
    tokens_in: Mapped[int] = integer(0)
    tokens_out: Mapped[int] = integer(0)
    cost_usd: Mapped[Decimal] = money(10, 6, "0")
    model_used: Mapped[str | None] = varchar(100)
    is_edited: Mapped[bool] = flag(default=False)
    created_at: Mapped[datetime] = stamp_now()
    updated_at: Mapped[datetime] = stamp_now()
    deleted_at: Mapped[datetime | None] = stamp()
    """What was said is gone then; the row stays, for the replies to it and for what it cost."""


class MessageAttachment(Base):
    """A file that came with a message; its content is a file of the data directory."""

    __tablename__ = "message_attachments"
    __table_args__ = (
        Index("idx_message_attachments_message", "message_id"),
        Index("idx_message_attachments_sha256", "sha256"),
    )

    id: Mapped[MessageAttachmentId] = uuid_key()
    message_id: Mapped[MessageId] = foreign_key("messages.id", on_delete="CASCADE")
    file_name: Mapped[str] = varchar(255)
    file_type: Mapped[str] = varchar(100)
    size: Mapped[int] = big_integer(0)
    sha256: Mapped[str] = varchar(64)
    created_at: Mapped[datetime] = stamp_now(nullable=False)


class MessageMention(Base):
    """An agent that a message has mentioned: it answers once, however often that is tried."""

    __tablename__ = "message_mentions"
    __table_args__ = (
        UniqueConstraint("message_id", "agent_id"),
        Index("idx_message_mentions_agent", "agent_id"),
        Index("idx_message_mentions_reply", "reply_id"),
        partial_index("idx_message_mentions_waiting", "id", where="state = 'waiting'"),
    )

    id: Mapped[MessageMentionId] = uuid_key()
    message_id: Mapped[MessageId] = foreign_key("messages.id", on_delete="CASCADE")
    agent_id: Mapped[AgentId] = foreign_key("agents.id", on_delete="CASCADE")
    state: Mapped[MentionState] = choice(MentionState, 20, default=MentionState.WAITING)
    detail: Mapped[str | None] = mapped_column(Text())
    attempts: Mapped[int] = integer(0, nullable=False)
    leased_until: Mapped[datetime | None] = stamp()
    """Until when some server is at it."""
    reply_id: Mapped[MessageId | None] = foreign_key("messages.id", on_delete="SET NULL")
    task_id: Mapped[uuid.UUID | None] = mapped_column(Uuid())
    """Tasks stand above this slice, hence no foreign key."""
    created_at: Mapped[datetime] = stamp_now(nullable=False)


class ChatMessage(Base):
    """A line on the control channel of running work: a status, a question, an answer."""

    __tablename__ = "chat_messages"
    __table_args__ = (
        Index("idx_chat_messages_conversation", "conversation_id"),
        Index("idx_chat_messages_sender", "sender_type", "sender_id"),
        Index("idx_chat_messages_created", "created_at"),
        Index("idx_chat_messages_parent", "parent_message_id"),
        Index("idx_chat_messages_execution", "execution_id"),
        Index("idx_chat_messages_answered_by", "answered_by_id"),
        Index("idx_chat_messages_expires", "expires_at"),
        # One question per key of a run, however often it is asked.
        partial_index(
            "uq_chat_messages_question",
            "execution_id",
            "question_key",
            where="question_key IS NOT NULL",
            unique=True,
        ),
        # The inbox: few rows of many.
        partial_index("idx_chat_messages_open", "id", where="question_state = 'open'"),
    )

    id: Mapped[ChatMessageId] = uuid_key()
    conversation_id: Mapped[ConversationId] = foreign_key("conversations.id", on_delete="CASCADE")
    sender_type: Mapped[SenderType] = choice(SenderType, 10)
    sender_id: Mapped[uuid.UUID | None] = mapped_column(Uuid())
    message: Mapped[str] = mapped_column(Text())
    message_type: Mapped[ChatMessageType] = choice(
        ChatMessageType, 20, default=ChatMessageType.TEXT
    )
    metadata_: Mapped[dict[str, Any]] = document(dict, nullable=True, name="metadata")
    parent_message_id: Mapped[ChatMessageId | None] = foreign_key(
        "chat_messages.id", on_delete="SET NULL"
    )
    execution_id: Mapped[uuid.UUID | None] = mapped_column(Uuid())
    """Executions stand above this slice, hence no foreign key."""
    expires_at: Mapped[datetime | None] = stamp()
    answered_by_id: Mapped[UserId | None] = foreign_key("users.id", on_delete="SET NULL")
    answered_at: Mapped[datetime | None] = stamp()
    question_key: Mapped[str | None] = varchar(200)
    """The runtime's own id of a question, unique in its execution."""
    question_state: Mapped[QuestionState | None] = choice(QuestionState, 20)
    """NULL for what is no question."""
    question_hash: Mapped[str | None] = varchar(64)
    """What is asked: a later attempt that asks the same takes it over, with its answer."""
    created_at: Mapped[datetime] = stamp_now()
    edited_at: Mapped[datetime | None] = stamp()


class ChatAttachment(Base):
    """A file that came with a line on the control channel: a question, an answer, a file alone."""

    __tablename__ = "chat_attachments"
    __table_args__ = (
        Index("idx_chat_attachments_message", "message_id"),
        Index("idx_chat_attachments_file_path", "file_path"),
    )

    id: Mapped[ChatAttachmentId] = uuid_key()
    message_id: Mapped[ChatMessageId] = foreign_key("chat_messages.id", on_delete="CASCADE")
    file_name: Mapped[str] = varchar(255)
    file_path: Mapped[str] = varchar(500)
    """Where its content is in the store of the data directory: the content's SHA-256."""
    file_type: Mapped[str | None] = varchar(50)
    file_size_bytes: Mapped[int | None] = mapped_column(BigInteger())
    metadata_: Mapped[dict[str, Any]] = document(dict, nullable=True, name="metadata")
    created_at: Mapped[datetime] = stamp_now()
