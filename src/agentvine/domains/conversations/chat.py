"""The control channel of running work: what its workers, people and the server say there."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.conversations.enums import ChatMessageType, ConversationId, SenderType
from agentvine.domains.conversations.models import ChatMessage
from agentvine.domains.identity import history
from agentvine.kit.actor import Actor, UserActor, WorkerActor
from agentvine.kit.ids import new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something is said."""

    conversation_id: ConversationId
    project_id: uuid.UUID
    execution_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Sender:
    """Who says it."""

    type: SenderType
    id: uuid.UUID | None = None


CONTROLLER = Sender(SenderType.CONTROLLER)
"""The server where it answers by a rule."""
SYSTEM_SENDER = Sender(SenderType.SYSTEM)


def sender_of(actor: Actor) -> Sender:
    """Who speaks when this actor does."""
    match actor:
        case UserActor():
            return Sender(SenderType.USER, actor.user_id)
        case WorkerActor():
            return Sender(SenderType.WORKER, actor.worker_id)
        case _:
            return SYSTEM_SENDER


async def count_said(read: ReadSession, execution_id: uuid.UUID, kind: ChatMessageType) -> int:
    """How many messages of a kind an attempt has left."""
    query = select(func.count()).where(
        ChatMessage.execution_id == execution_id, ChatMessage.message_type == kind
    )
    return await read.scalar(query) or 0


def say(
    tx: Transaction,
    place: Place,
    sender: Sender,
    kind: ChatMessageType,
    text: str,
    *,
    metadata: Mapping[str, Any] | None = None,
    parent: ChatMessage | None = None,
) -> ChatMessage:
    """Add a message, and tell those who follow."""
    message = ChatMessage(
        id=new_id(),
        conversation_id=place.conversation_id,
        sender_type=sender.type,
        sender_id=sender.id,
        message=text,
        message_type=kind,
        metadata_=dict(metadata or {}),
        parent_message_id=parent.id if parent else None,
        execution_id=place.execution_id,
        created_at=tx.now,
    )
    tx.add(message)
    history.announce(
        tx,
        f"chat.{kind.value}",
        entity=("chat_message", message.id),
        project_id=place.project_id,
        payload={"conversation_id": str(place.conversation_id)},
    )
    return message
