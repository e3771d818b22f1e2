"""Conversations as they are read: pages of messages in their order, and what it all came to."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Select, and_, func, not_, select

from agentvine.db.session import ReadSession
from agentvine.domains.agents.models import Agent
from agentvine.domains.conversations.models import (
    Conversation,
    ConversationParticipant,
    Message,
    MessageMention,
)
from agentvine.domains.conversations.queries import list_attachments
from agentvine.domains.identity.models import User
from agentvine.kit.pagination import (
    Cursor,
    CursorInvalid,
    Page,
    PageRequest,
    encode_cursor,
)
from agentvine.protocol.conversations import (
    AttachmentOut,
    ConversationOut,
    ConversationTotalsOut,
    MentionOut,
    MessageOut,
    ParticipantOut,
)


async def list_messages(
    read: ReadSession, conversation: Conversation, page: PageRequest
) -> Page[MessageOut]:
    """What was said, oldest first: by the index over conversation and time."""
    listed = f"messages of {conversation.id}"
    query = messages_of(conversation.id, _position(page.after, listed))
    rows = (await read.scalars(query.limit(page.limit + 1))).all()
    shown = rows[: page.limit]
    items = await messages_out(read, shown)
    if len(rows) <= page.limit:
        return Page(items)
    last = shown[-1]
    return Page(items, encode_cursor(listed, f"{last.created_at.isoformat()} {last.id}"))


def messages_of(
    conversation_id: uuid.UUID, after: tuple[datetime, uuid.UUID] | None
) -> Select[Message]:
    """The messages behind a place, in their order; two of one instant are told apart by id."""
    query = select(Message).where(Message.conversation_id == conversation_id)
    if after is not None:
        moment, last_id = after
        seen = and_(Message.created_at == moment, Message.id <= last_id)
        query = query.where(Message.created_at >= moment, not_(seen))
    return query.order_by(Message.created_at, Message.id)


async def list_last(read: ReadSession, conversation_id: uuid.UUID, count: int) -> list[Message]:
    """The last so many messages that are still there, oldest first."""
    query = (
        select(Message)
        .where(Message.conversation_id == conversation_id, Message.deleted_at.is_(None))
        .order_by(Message.created_at.desc(), Message.id.desc())
        .limit(count)
    )
    return list(reversed((await read.scalars(query)).all()))


async def messages_out(read: ReadSession, messages: Sequence[Message]) -> list[MessageOut]:
    """Messages with their authors' names, files and mentions."""
    ids = [message.id for message in messages]
    files = await list_attachments(read, ids)
    query = select(MessageMention).where(MessageMention.message_id.in_(ids))
    mentions = (await read.scalars(query.order_by(MessageMention.id))).all()
    names = await names_of(read, messages)
    return [
        MessageOut(
            id=message.id,
            conversation_id=message.conversation_id,
            author_type=message.author_type.value,
            author_id=message.user_id or message.agent_id,
            author_name=names.get(message.user_id or message.agent_id, "somebody"),
            content=message.content,
            content_formatted=message.content_formatted,
            reply_to_id=message.reply_to_id,
            tokens_in=message.tokens_in,
            tokens_out=message.tokens_out,
            cost_usd=message.cost_usd,
            model_used=message.model_used,
            is_edited=message.is_edited,
            is_deleted=message.deleted_at is not None,
            attachments=[
                AttachmentOut.model_validate(file)
                for file in files
                if file.message_id == message.id
            ],
            mentions=[
                MentionOut.model_validate(each)
                for each in mentions
                if each.message_id == message.id
            ],
            created_at=message.created_at,
            updated_at=message.updated_at,
        )
        for message in messages
    ]


async def totals_out(read: ReadSession, conversation: Conversation) -> ConversationTotalsOut:
    """A conversation with its agents, and the sums over what was said."""
    sums = select(
        func.count(),
        func.coalesce(func.sum(Message.tokens_in), 0),
        func.coalesce(func.sum(Message.tokens_out), 0),
        func.sum(Message.cost_usd),
    ).where(Message.conversation_id == conversation.id)
    count, tokens_in, tokens_out, cost = (await read.execute(sums)).one()
    query = (
        select(Agent.id, Agent.name, ConversationParticipant.joined_at)
        .join(ConversationParticipant, ConversationParticipant.agent_id == Agent.id)
        .where(ConversationParticipant.conversation_id == conversation.id)
        .order_by(ConversationParticipant.joined_at, Agent.id)
    )
    participants = [
        ParticipantOut(agent_id=agent_id, name=name, joined_at=joined_at)
        for agent_id, name, joined_at in await read.execute(query)
    ]
    return ConversationTotalsOut(
        **ConversationOut.model_validate(conversation).model_dump(),
        participants=participants,
        message_count=count,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        cost_usd=cost or Decimal(0),
    )


async def names_of(read: ReadSession, messages: Sequence[Message]) -> dict[uuid.UUID | None, str]:
    """The names of who has said these messages, by their ids."""
    people = {message.user_id for message in messages if message.user_id}
    speakers = {message.agent_id for message in messages if message.agent_id}
    names: dict[uuid.UUID | None, str] = {}
    for row in await read.execute(select(User.id, User.username).where(User.id.in_(people))):
        names[row[0]] = row[1]
    for row in await read.execute(select(Agent.id, Agent.name).where(Agent.id.in_(speakers))):
        names[row[0]] = row[1]
    return names


def _position(after: Cursor | None, listed: str) -> tuple[datetime, uuid.UUID] | None:
    if after is None:
        return None
    moment, _, last_id = after.key.rpartition(" ")
    try:
        found = datetime.fromisoformat(moment), uuid.UUID(last_id)
    except ValueError as error:
        raise CursorInvalid("Ask again without the cursor to start from the first page.") from error
    if after.listed != listed or found[0].tzinfo is None:
        raise CursorInvalid("The cursor belongs to another list.")
    return found
