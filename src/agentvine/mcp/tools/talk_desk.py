"""People's assistants follow conversations, and say there what somebody wants said."""

import asyncio
import uuid
from typing import Literal

from pydantic import Field

from agentvine.domains.conversations import queries, reading, service
from agentvine.domains.conversations.attaching import AttachmentDesk
from agentvine.domains.conversations.enums import ConversationStatus
from agentvine.domains.conversations.models import Conversation
from agentvine.mcp.calls import PersonCall
from agentvine.mcp.files import file_shown
from agentvine.mcp.table import PersonTool, Picture
from agentvine.mcp.talks import talk_words
from agentvine.mcp.words import Paged, ToolInput, listed, read_id
from agentvine.protocol.conversations import (
    MAX_MESSAGE_CHARACTERS,
    ConversationCreateIn,
    ConversationType,
    MessageOut,
)


class ListConversations(Paged):
    """List conversations of people and agents, newest first.

    Use it to find the one that is meant; read_conversation then shows what was said.
    """

    project_id: str = Field(default="", max_length=40, description="Only this project's.")
    status: Literal["active", "paused", "completed", "archived", ""] = Field(
        default="active", description="Empty: all."
    )


class ReadConversation(Paged):
    """Read what was said in a conversation, oldest first: the last messages, or from the start.

    Long messages are shortened; with message one of them is shown whole. Use it after post_message,
    too, to see what a mentioned agent has answered; an answer takes some seconds to minutes.
    """

    conversation: str = Field(min_length=1, max_length=40, description="See list_conversations.")
    limit: int = Field(default=10, ge=1, le=50)
    from_start: bool = Field(default=False, description="Begin with the first message.")
    message: str = Field(default="", max_length=40, description="Only this one, whole.")


class ReadAttachment(ToolInput):
    """Read a text that came with a message, or look at a picture; read_conversation names its id.

    A long text comes part by part. What is neither text nor picture cannot be read so.
    """

    conversation: str = Field(min_length=1, max_length=40, description="See list_conversations.")
    attachment: str = Field(min_length=1, max_length=40, description="Its id.")
    start: int = Field(default=0, ge=0, description="From which character on.")


class StartConversation(ToolInput):
    """Begin a conversation in which people and agents of a project can talk.

    Use it where list_conversations shows none that fits; post_message then says the first thing.
    """

    title: str = Field(min_length=1, max_length=200)
    project_id: str = Field(
        default="", max_length=40, description="See list_repositories; empty: of no project."
    )
    type: Literal["general", "issue", "task", "review"] = "general"


class PostMessage(ToolInput):
    """Say something in a conversation, in the name of the person whom you work for.

    An @name of an agent wakes it: an architect or a reviewer answers there, a coder or a tester
    gets a task, which costs money. Mention agents only where the person wants that, and say only
    what the person wants said.
    """

    conversation: str = Field(min_length=1, max_length=40, description="See list_conversations.")
    text: str = Field(min_length=1, max_length=MAX_MESSAGE_CHARACTERS, description="Markdown.")
    reply_to: str = Field(default="", max_length=40, description="The message that it replies to.")


async def _list(call: PersonCall, given: ListConversations) -> str:
    project_id = read_id(given.project_id, "project") if given.project_id else None
    status = ConversationStatus(given.status) if given.status else None
    async with call.state.database.read() as read:
        found = await queries.list_conversations(
            read, call.actor, given.page, project_id=project_id, status=status
        )
    return listed([_line(row) for row in found.items], found.next_cursor, "There are none.")


async def _read(call: PersonCall, given: ReadConversation) -> str:
    conversation_id = read_id(given.conversation, "conversation")
    async with call.state.database.read() as read:
        found = await queries.get_conversation(read, call.actor, conversation_id)
        if given.message:
            message_id = read_id(given.message, "message")
            message = await queries.get_message(read, found, message_id)
            return talk_words(await reading.messages_out(read, [message]))
        totals = await reading.totals_out(read, found)
        next_cursor, shown = None, list[MessageOut]()
        if given.from_start or given.cursor:
            page = await reading.list_messages(read, found, given.page)
            shown, next_cursor = list(page.items), page.next_cursor
        else:
            last = await reading.list_last(read, found.id, given.limit)
            shown = await reading.messages_out(read, last)
    agents = ", ".join(each.name for each in totals.participants) or "none"
    about = f"{totals.message_count} messages, agents: {agents}, cost ${totals.cost_usd}"
    said = listed([talk_words(shown)] if shown else [], next_cursor, "Nothing was said yet.")
    return f"{_line(found)}\n{about}\n\n{said}"


async def _read_attachment(call: PersonCall, given: ReadAttachment) -> str | Picture:
    conversation_id = read_id(given.conversation, "conversation")
    attachment_id = read_id(given.attachment, "file")
    async with call.state.database.read() as read:
        found = await queries.get_conversation(read, call.actor, conversation_id)
        file = await queries.get_attachment_of(read, found, attachment_id)
    content = await call.state.effect(AttachmentDesk).read(file.sha256)
    return file_shown(file.file_name, content, given.start)


async def _start(call: PersonCall, given: StartConversation) -> str:
    wanted = ConversationCreateIn(
        type=ConversationType(given.type),
        title=given.title,
        project_id=read_id(given.project_id, "project") if given.project_id else None,
    )
    async with call.state.database.transaction(call.actor) as tx:
        return f"Begun: {_line(await service.create_conversation(tx, call.actor, wanted))}"


async def _post(call: PersonCall, given: PostMessage) -> str:
    conversation_id = read_id(given.conversation, "conversation")
    reply_to: uuid.UUID | None = read_id(given.reply_to, "message") if given.reply_to else None
    said = await asyncio.to_thread(service.prepare, given.text)
    async with call.state.database.transaction(call.actor) as tx:
        found = await queries.get_conversation_for_change(tx, call.actor, conversation_id)
        message = await service.say(tx, call.actor, found, said, reply_to)
        return f"Said:\n{talk_words(await reading.messages_out(tx, [message]))}"


def _line(row: Conversation) -> str:
    return f"[{row.type.value}, {row.status.value}] {row.title or 'without a title'} (id {row.id})"


TOOLS = (
    PersonTool(
        name="list_conversations",
        takes=ListConversations,
        scope="conversations:read",
        do=_list,
        is_read_only=True,
    ),
    PersonTool(
        name="read_conversation",
        takes=ReadConversation,
        scope="conversations:read",
        do=_read,
        is_read_only=True,
    ),
    PersonTool(
        name="read_attachment",
        takes=ReadAttachment,
        scope="conversations:read",
        do=_read_attachment,
        is_read_only=True,
    ),
    PersonTool(
        name="start_conversation",
        takes=StartConversation,
        scope="conversations:write",
        do=_start,
    ),
    PersonTool(name="post_message", takes=PostMessage, scope="conversations:write", do=_post),
)
