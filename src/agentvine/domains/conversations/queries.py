"""Reads of the conversations slice."""

import re
import uuid
from collections.abc import Sequence

from sqlalchemy import Select, and_, or_, select

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession
from agentvine.domains.agents.models import Agent
from agentvine.domains.agents.queries import visible_agents
from agentvine.domains.conversations.chat_files import file_out, list_files
from agentvine.domains.conversations.enums import (
    ConversationStatus,
    ConversationType,
    MessageId,
    SenderType,
)
from agentvine.domains.conversations.errors import (
    AttachmentNotFound,
    ConversationNotFound,
    MessageNotFound,
)
from agentvine.domains.conversations.models import (
    ChatMessage,
    Conversation,
    Message,
    MessageAttachment,
)
from agentvine.domains.identity.models import User
from agentvine.domains.projects import queries as projects
from agentvine.domains.workers.models import Worker
from agentvine.kit.actor import Actor, UserActor
from agentvine.kit.pagination import Page, PageRequest
from agentvine.protocol.conversations import AttachmentOut, ChatMessageOut

_MAX_MENTIONED = 10
"""By one message: it shall not wake a crowd."""


def visible_conversations(actor: Actor) -> Select[Conversation]:
    """Conversations of projects that the actor may see, and their own that are of none."""
    of_project = Conversation.project_id.in_(projects.visible_projects(actor))
    if not isinstance(actor, UserActor):
        return select(Conversation).where(of_project)
    own = and_(Conversation.project_id.is_(None), Conversation.created_by_user_id == actor.user_id)
    return select(Conversation).where(or_(of_project, own))


async def get_conversation(
    read: ReadSession, actor: Actor, conversation_id: uuid.UUID
) -> Conversation:
    """A conversation that the actor may see.

    Raises:
        ConversationNotFound: There is none, or it is not theirs to see.
    """
    found = await read.scalar(
        visible_conversations(actor).where(Conversation.id == conversation_id)
    )
    if found is None:
        raise ConversationNotFound(f"You can see no conversation with the id {conversation_id}.")
    return found


async def get_conversation_for_change(
    read: ReadSession, actor: Actor, conversation_id: uuid.UUID
) -> Conversation:
    """A conversation that the actor may speak in.

    Raises:
        ConversationNotFound: It is not theirs to see.
        ProjectReadOnly: They may only look.
    """
    found = await get_conversation(read, actor, conversation_id)
    if found.project_id is not None:
        await projects.get_project_for_change(read, actor, found.project_id)
    return found


async def list_conversations(
    read: ReadSession,
    actor: Actor,
    page: PageRequest,
    *,
    project_id: uuid.UUID | None = None,
    type_: ConversationType | None = None,
    status: ConversationStatus | None = None,
) -> Page[Conversation]:
    """The conversations that the actor may see, newest first."""
    query = visible_conversations(actor)
    if project_id is not None:
        query = query.where(Conversation.project_id == project_id)
    if type_ is not None:
        query = query.where(Conversation.type == type_)
    if status is not None:
        query = query.where(Conversation.status == status)
    return await fetch_page(read, query, Conversation.id, page, newest_first=True)


async def get_message(
    read: ReadSession, conversation: Conversation, message_id: uuid.UUID
) -> Message:
    """A message of a conversation.

    Raises:
        MessageNotFound: It has none with this id.
    """
    found = await read.scalar(
        select(Message).where(Message.id == message_id, Message.conversation_id == conversation.id)
    )
    if found is None:
        raise MessageNotFound(f"The conversation has no message with the id {message_id}.")
    return found


async def list_attachments(
    read: ReadSession, message_ids: Sequence[MessageId]
) -> Sequence[MessageAttachment]:
    """The files of messages, oldest first."""
    query = select(MessageAttachment).where(MessageAttachment.message_id.in_(message_ids))
    return (await read.scalars(query.order_by(MessageAttachment.id))).all()


async def get_attachment(
    read: ReadSession, message: Message, attachment_id: uuid.UUID
) -> MessageAttachment:
    """A file of a message.

    Raises:
        AttachmentNotFound: It has none with this id.
    """
    for each in await list_attachments(read, [message.id]):
        if each.id == attachment_id:
            return each
    raise AttachmentNotFound(f"The message has no file with the id {attachment_id}.")


async def get_attachment_of(
    read: ReadSession, conversation: Conversation, attachment_id: uuid.UUID
) -> MessageAttachment:
    """A file of any of a conversation's messages.

    Raises:
        AttachmentNotFound: There is none with this id.
    """
    found = await read.scalar(
        select(MessageAttachment)
        .join(Message, Message.id == MessageAttachment.message_id)
        .where(MessageAttachment.id == attachment_id, Message.conversation_id == conversation.id)
    )
    if found is None:
        raise AttachmentNotFound(f"Nothing there has a file with the id {attachment_id}.")
    return found


async def list_mentioned(
    read: ReadSession, actor: Actor, conversation: Conversation, words: str
) -> list[Agent]:
    """The active agents whose names stand behind an @ in a text; the project's own come first."""
    if "@" not in words:
        return []
    usable = Agent.project_id.is_(None)
    if conversation.project_id is not None:
        usable |= Agent.project_id == conversation.project_id
    query = (
        select(Agent)
        .where(Agent.id.in_(visible_agents(actor)), Agent.is_active.is_(True), usable)
        .order_by(Agent.project_id.is_(None), Agent.id)
    )
    found: dict[str, Agent] = {}
    for agent in await read.scalars(query):
        name = agent.name.casefold()
        pattern = rf"(?<![\w@]){re.escape('@' + name)}(?![\w-])"
        if name not in found and re.search(pattern, words.casefold()):
            found[name] = agent
    return list(found.values())[:_MAX_MENTIONED]


async def list_chat(
    read: ReadSession, conversation: Conversation, page: PageRequest
) -> Page[ChatMessageOut]:
    """What was said on the control channel of a conversation, oldest first."""
    query = select(ChatMessage).where(ChatMessage.conversation_id == conversation.id)
    found = await fetch_page(read, query, ChatMessage.id, page)
    names = await _names_of(read, found.items)
    files = await list_files(read, [message.id for message in found.items])
    items = [
        _out(message, names, [file_out(file) for file in files if file.message_id == message.id])
        for message in found.items
    ]
    return Page(items=items, next_cursor=found.next_cursor)


async def _names_of(read: ReadSession, messages: Sequence[ChatMessage]) -> dict[uuid.UUID, str]:
    users = {each.sender_id for each in messages if each.sender_type is SenderType.USER}
    workers = {each.sender_id for each in messages if each.sender_type is SenderType.WORKER}
    names: dict[uuid.UUID, str] = {}
    for ids, key, name in ((users, User.id, User.username), (workers, Worker.id, Worker.name)):
        wanted = [each for each in ids if each is not None]
        if wanted:
            rows = await read.execute(select(key, name).where(key.in_(wanted)))
            names |= {row[0]: row[1] for row in rows}
    return names


def _out(
    message: ChatMessage, names: dict[uuid.UUID, str], files: list[AttachmentOut]
) -> ChatMessageOut:
    sender = message.sender_type.value
    details = message.metadata_ or {}
    return ChatMessageOut(
        id=message.id,
        conversation_id=message.conversation_id,
        type=message.message_type,
        text=message.message,
        sender_type=message.sender_type,
        sender_id=message.sender_id,
        sender_name=names.get(message.sender_id, sender) if message.sender_id else sender,
        is_agent=details.get("by") == "agent",
        parent_id=message.parent_message_id,
        execution_id=message.execution_id,
        details=details,
        attachments=files,
        created_at=message.created_at,
    )
