"""Files of the control channel: those of a question, of an answer, and those that a run is given.

A person's file is there before what it goes with: it is put on the question, and the answer that
names it takes it along. All of it is read by whoever may read the conversation.
"""

import uuid
from collections.abc import Sequence

from sqlalchemy import or_, select

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.conversations.enums import ChatAttachmentId, ChatMessageId
from agentvine.domains.conversations.errors import AttachmentNotFound, TooManyAttachments
from agentvine.domains.conversations.models import ChatAttachment, ChatMessage
from agentvine.domains.conversations.storage import KeptFile
from agentvine.kit.actor import UserActor
from agentvine.kit.ids import new_id
from agentvine.protocol.conversations import MAX_ATTACHMENTS, AttachmentOut

_MAX_TYPE = 50
_UNKNOWN_TYPE = "application/octet-stream"


async def add_file(tx: Transaction, message: ChatMessage, kept: KeptFile) -> ChatAttachment:
    """Let a message name a kept file; its lock is the caller's.

    Raises:
        TooManyAttachments: It has as many as it may.
    """
    if len(await list_files(tx, [message.id])) >= MAX_ATTACHMENTS:
        raise TooManyAttachments(f"A message has at most {MAX_ATTACHMENTS}.")
    row = ChatAttachment(
        id=ChatAttachmentId(new_id()),
        message_id=message.id,
        file_name=kept.file_name,
        file_path=kept.sha256,
        file_type=kept.file_type if len(kept.file_type) <= _MAX_TYPE else _UNKNOWN_TYPE,
        file_size_bytes=kept.size,
        metadata_={"by": tx.actor.label},
        created_at=tx.now,
    )
    tx.add(row)
    await tx.flush()
    return row


async def list_files(
    read: ReadSession, message_ids: Sequence[ChatMessageId]
) -> Sequence[ChatAttachment]:
    """The files of messages, oldest first."""
    query = select(ChatAttachment).where(ChatAttachment.message_id.in_(message_ids))
    return (await read.scalars(query.order_by(ChatAttachment.id))).all()


async def find_own_files(
    read: ReadSession, actor: UserActor, question: ChatMessage, ids: Sequence[uuid.UUID]
) -> list[ChatAttachment]:
    """Those files that a person has put on a question, or given with its answer, in this order.

    Raises:
        AttachmentNotFound: One of them is not theirs, or is of something else.
    """
    is_there = or_(ChatMessage.id == question.id, ChatMessage.parent_message_id == question.id)
    query = (
        select(ChatAttachment)
        .join(ChatMessage, ChatMessage.id == ChatAttachment.message_id)
        .where(ChatAttachment.id.in_(ids), is_there)
    )
    found = {row.id: row for row in await read.scalars(query) if is_by(row, actor)}
    return [_in(found, each) for each in dict.fromkeys(ids)]


async def find_given_files(
    read: ReadSession,
    actor: UserActor,
    conversation_id: uuid.UUID | None,
    execution_id: uuid.UUID,
    ids: Sequence[uuid.UUID],
) -> list[ChatAttachment]:
    """Those files that a person has put there for a run, in this order.

    Raises:
        AttachmentNotFound: One of them is not theirs, or is of another run.
    """
    query = (
        select(ChatAttachment)
        .join(ChatMessage, ChatMessage.id == ChatAttachment.message_id)
        .where(
            ChatAttachment.id.in_(ids),
            ChatMessage.conversation_id == conversation_id,
            ChatMessage.execution_id == execution_id,
        )
    )
    found = {row.id: row for row in await read.scalars(query) if is_by(row, actor)}
    return [_in(found, each) for each in dict.fromkeys(ids)]


async def get_file(
    read: ReadSession, conversation_id: uuid.UUID | None, attachment_id: uuid.UUID
) -> ChatAttachment:
    """A file of a conversation's control channel.

    Raises:
        AttachmentNotFound: There is none with this id.
    """
    query = (
        select(ChatAttachment)
        .join(ChatMessage, ChatMessage.id == ChatAttachment.message_id)
        .where(ChatAttachment.id == attachment_id, ChatMessage.conversation_id == conversation_id)
    )
    found = await read.scalar(query)
    if found is None:
        raise AttachmentNotFound(f"Nothing there has a file with the id {attachment_id}.")
    return found


def is_by(row: ChatAttachment, actor: UserActor) -> bool:
    """Whether somebody has put a file there."""
    return (row.metadata_ or {}).get("by") == actor.label


def file_out(row: ChatAttachment) -> AttachmentOut:
    """A file on the wire."""
    return AttachmentOut(
        id=row.id,
        file_name=row.file_name,
        file_type=row.file_type or _UNKNOWN_TYPE,
        size=row.file_size_bytes or 0,
        sha256=row.file_path,
        created_at=row.created_at,
    )


def _in(found: dict[ChatAttachmentId, ChatAttachment], wanted: uuid.UUID) -> ChatAttachment:
    row = found.get(ChatAttachmentId(wanted))
    if row is None:
        raise AttachmentNotFound(f"You have put no file with the id {wanted} there.")
    return row
