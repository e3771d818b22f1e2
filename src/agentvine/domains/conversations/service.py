"""Commands on conversations and on what is said in them."""

import uuid
from dataclasses import dataclass

from sqlalchemy import delete

from agentvine.db.base import table_of
from agentvine.db.session import Transaction
from agentvine.domains.agents import queries as agents
from agentvine.domains.agents.enums import AgentId, AgentType
from agentvine.domains.agents.models import Agent
from agentvine.domains.conversations import queries
from agentvine.domains.conversations.enums import (
    AuthorType,
    ConversationId,
    ConversationStatus,
    MentionState,
    MessageAttachmentId,
    MessageId,
    MessageMentionId,
)
from agentvine.domains.conversations.errors import (
    ConversationClosed,
    MessageDeleted,
    MessageNotYours,
    TooManyAttachments,
)
from agentvine.domains.conversations.models import (
    Conversation,
    ConversationParticipant,
    Message,
    MessageAttachment,
    MessageMention,
)
from agentvine.domains.conversations.states import OPEN, set_status
from agentvine.domains.identity import history
from agentvine.domains.identity.enums import UserId
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.enums import ProjectId
from agentvine.kit.actor import UserActor
from agentvine.kit.ids import new_id
from agentvine.kit.markup import render_markdown, words_of_markdown
from agentvine.protocol.conversations import (
    MAX_ATTACHMENTS,
    ConversationCreateIn,
    ConversationEditIn,
)

MENTIONS = "mentions"
"""Hints when an agent is mentioned."""
WORKS_IN_TASKS = frozenset({AgentType.CODER, AgentType.TESTER})
"""Agents that are given a task where they are mentioned; the others answer by themselves."""
_TASK_SCOPE = "tasks:write"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What somebody says, rendered before the transaction: long texts take a while."""

    content: str
    html: str
    words: str
    """Where mentions are looked for."""


def prepare(content: str) -> Prepared:
    """Render a text; to be called in a thread."""
    return Prepared(content, render_markdown(content), words_of_markdown(content))


async def create_conversation(
    tx: Transaction, actor: UserActor, wanted: ConversationCreateIn
) -> Conversation:
    """Begin a conversation in a project, or one's own.

    Raises:
        ProjectNotFound: The project is not theirs to see.
        ProjectReadOnly: They may only look.
        ProjectArchived: Nothing new begins there.
        AgentNotFound: A participant is not theirs to see.
    """
    if wanted.project_id is not None:
        await projects.get_active_project_for_change(tx, actor, wanted.project_id)
    conversation = Conversation(
        id=ConversationId(new_id()),
        title=wanted.title,
        type=wanted.type,
        status=ConversationStatus.ACTIVE,
        project_id=ProjectId(wanted.project_id) if wanted.project_id else None,
        created_by_user_id=UserId(actor.user_id),
    )
    tx.add(conversation)
    await tx.flush()
    for agent_id in dict.fromkeys(wanted.participants):
        await add_participant(tx, actor, conversation, agent_id)
    _record(tx, "conversation.created", conversation)
    await tx.flush()
    await tx.refresh(conversation)
    return conversation


async def edit_conversation(
    tx: Transaction, conversation: Conversation, change: ConversationEditIn
) -> Conversation:
    """Call it otherwise, or let it rest, end or go on.

    Raises:
        ConversationTransitionInvalid: It cannot go there.
    """
    if "title" in change.model_fields_set:
        conversation.title = change.title
        _record(tx, "conversation.edited", conversation)
    if change.status is not None:
        set_status(tx, conversation, change.status)
    await tx.flush()
    await tx.refresh(conversation)
    return conversation


async def add_participant(
    tx: Transaction, actor: UserActor, conversation: Conversation, agent_id: uuid.UUID
) -> None:
    """Let an agent take part; doing it again changes nothing.

    Raises:
        AgentNotFound: It is not theirs to see.
        AgentUnusable: It is inactive, or another project's.
    """
    if conversation.project_id is not None:
        await agents.get_agent_for_task(tx, actor, agent_id, conversation.project_id)
    else:
        await agents.get_agent(tx, actor, agent_id)
    await _join(tx, conversation, agent_id)


async def remove_participant(
    tx: Transaction, conversation: Conversation, agent_id: uuid.UUID
) -> None:
    """Let an agent take part no more; what it said stays."""
    await tx.execute(
        delete(ConversationParticipant).where(
            ConversationParticipant.conversation_id == conversation.id,
            ConversationParticipant.agent_id == agent_id,
        )
    )


async def say(
    tx: Transaction,
    actor: UserActor,
    conversation: Conversation,
    said: Prepared,
    reply_to_id: uuid.UUID | None = None,
) -> Message:
    """Say something; agents that it mentions are woken.

    Raises:
        ConversationClosed: It is completed or archived.
        MessageNotFound: What it replies to is not there.
    """
    if conversation.status not in OPEN:
        raise ConversationClosed(
            f"It is {conversation.status.value}; make it active again to go on."
        )
    if reply_to_id is not None:
        await queries.get_message(tx, conversation, reply_to_id)
    message = Message(
        id=MessageId(new_id()),
        conversation_id=conversation.id,
        author_type=AuthorType.USER,
        user_id=UserId(actor.user_id),
        content=said.content,
        content_formatted=said.html,
        reply_to_id=MessageId(reply_to_id) if reply_to_id else None,
        created_at=tx.now,
    )
    tx.add(message)
    await tx.flush()
    for agent in await queries.list_mentioned(tx, actor, conversation, said.words):
        await _mention(tx, actor, conversation, message, agent)
    _announce(tx, "message.said", conversation, message)
    await _touched(tx, conversation, message)
    return message


async def edit_message(
    tx: Transaction, actor: UserActor, conversation: Conversation, message: Message, said: Prepared
) -> Message:
    """Put other words in the place of one's own; that is marked.

    Raises:
        MessageNotYours: Somebody else has said it.
        MessageDeleted: It is gone.
    """
    if message.user_id != actor.user_id:
        raise MessageNotYours("Only who has said something can say it otherwise.")
    if message.deleted_at is not None:
        raise MessageDeleted("Say it anew.")
    message.content, message.content_formatted = said.content, said.html
    message.is_edited = True
    _record_message(tx, "message.edited", conversation, message)
    await _touched(tx, conversation, message)
    return message


async def delete_message(
    tx: Transaction, actor: UserActor, conversation: Conversation, message: Message
) -> None:
    """Take back what was said, with its files; replies to it stay, and so does what it cost.

    Raises:
        MessageNotYours: It is neither one's own, nor is the project.
    """
    if message.user_id != actor.user_id and conversation.project_id is not None:
        await projects.get_own_project(tx, actor, conversation.project_id)
    message.content, message.content_formatted = "", None
    message.deleted_at = message.deleted_at or tx.now
    await tx.execute(delete(MessageAttachment).where(MessageAttachment.message_id == message.id))
    await tx.execute(
        delete(MessageMention).where(
            MessageMention.message_id == message.id, MessageMention.state == MentionState.WAITING
        )
    )
    _record_message(tx, "message.deleted", conversation, message)


async def attach(
    tx: Transaction,
    actor: UserActor,
    conversation: Conversation,
    message: Message,
    row: MessageAttachment,
) -> MessageAttachment:
    """Name a file that is kept already.

    Raises:
        MessageNotYours: Somebody else has said the message.
        MessageDeleted: It is gone.
        TooManyAttachments: It has as many as it may.
    """
    if message.user_id != actor.user_id:
        raise MessageNotYours("Attach files to what you have said yourself.")
    if message.deleted_at is not None:
        raise MessageDeleted("Say it anew.")
    if len(await queries.list_attachments(tx, [message.id])) >= MAX_ATTACHMENTS:
        raise TooManyAttachments(f"A message has at most {MAX_ATTACHMENTS}; say another one.")
    row.id = MessageAttachmentId(new_id())
    row.message_id, row.created_at = message.id, tx.now
    tx.add(row)
    _record_message(tx, "message.attached", conversation, message)
    await tx.flush()
    return row


async def _mention(
    tx: Transaction,
    actor: UserActor,
    conversation: Conversation,
    message: Message,
    agent: Agent,
) -> None:
    await _join(tx, conversation, agent.id)
    problem = None
    if agent.type in WORKS_IN_TASKS and actor.scopes and _TASK_SCOPE not in actor.scopes:
        # What a token may not do itself, it does not do by way of an agent either.
        problem = f"The token that said it lacks the scope {_TASK_SCOPE}."
    mention = MessageMention(
        id=MessageMentionId(new_id()),
        message_id=message.id,
        agent_id=agent.id,
        state=MentionState.WAITING if problem is None else MentionState.FAILED,
        detail=problem,
        created_at=tx.now,
    )
    tx.add(mention)
    tx.hint(MENTIONS, str(mention.id))


async def _join(tx: Transaction, conversation: Conversation, agent_id: uuid.UUID) -> None:
    row = {
        "conversation_id": conversation.id,
        "agent_id": AgentId(agent_id),
        "joined_at": tx.now,
    }
    keys = ("conversation_id", "agent_id")
    await tx.execute(tx.dialect.upsert(table_of(ConversationParticipant), row, keys=keys))


async def _touched(tx: Transaction, conversation: Conversation, message: Message) -> None:
    await tx.flush()  # the database stamps the time of the change
    await tx.refresh(message)


def _record(tx: Transaction, action: str, conversation: Conversation) -> None:
    history.record(
        tx,
        action,
        entity=("conversation", conversation.id),
        project_id=conversation.project_id,
        after={"title": conversation.title, "type": conversation.type.value},
    )


def _record_message(
    tx: Transaction, action: str, conversation: Conversation, message: Message
) -> None:
    history.record(
        tx,
        action,
        entity=("message", message.id),
        project_id=conversation.project_id,
        after={"conversation_id": str(conversation.id)},
    )


def _announce(tx: Transaction, event: str, conversation: Conversation, message: Message) -> None:
    history.announce(
        tx,
        event,
        entity=("message", message.id),
        project_id=conversation.project_id,
        payload={"conversation_id": str(conversation.id)},
    )
