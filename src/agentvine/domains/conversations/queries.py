"""Reads of the conversations slice."""

import uuid
from collections.abc import Sequence

from sqlalchemy import Select, and_, or_, select

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession
from agentvine.domains.conversations.enums import SenderType
from agentvine.domains.conversations.errors import ConversationNotFound
from agentvine.domains.conversations.models import ChatMessage, Conversation
from agentvine.domains.identity.models import User
from agentvine.domains.projects import queries as projects
from agentvine.domains.workers.models import Worker
from agentvine.kit.actor import Actor, UserActor
from agentvine.kit.pagination import Page, PageRequest
from agentvine.protocol.conversations import ChatMessageOut


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


async def list_chat(
    read: ReadSession, conversation: Conversation, page: PageRequest
) -> Page[ChatMessageOut]:
    """What was said on the control channel of a conversation, oldest first."""
    query = select(ChatMessage).where(ChatMessage.conversation_id == conversation.id)
    found = await fetch_page(read, query, ChatMessage.id, page)
    names = await _names_of(read, found.items)
    items = [_out(message, names) for message in found.items]
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


def _out(message: ChatMessage, names: dict[uuid.UUID, str]) -> ChatMessageOut:
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
        created_at=message.created_at,
    )
