"""Routes of the conversations slice: talks, what is said in them, files, the control channel."""

import asyncio
import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from agentvine.domains.agents.errors import AgentNotFound, AgentUnusable
from agentvine.domains.conversations import chat_files, queries, reading, service
from agentvine.domains.conversations.attaching import AttachmentDesk
from agentvine.domains.conversations.enums import ConversationStatus, ConversationType
from agentvine.domains.conversations.errors import (
    AttachmentNotFound,
    AttachmentRefused,
    ConversationClosed,
    ConversationNotFound,
    ConversationTransitionInvalid,
    MessageDeleted,
    MessageNotFound,
    MessageNotYours,
    TooManyAttachments,
)
from agentvine.domains.identity.idempotency import CreateOnce
from agentvine.domains.projects.errors import (
    ProjectArchived,
    ProjectNotFound,
    ProjectNotYours,
    ProjectReadOnly,
)
from agentvine.http.deps import Paging, Read, State, Tx, require
from agentvine.http.files import AttachmentTooLarge, file_response, read_file
from agentvine.http.problems import responses
from agentvine.kit.actor import UserActor
from agentvine.protocol.base import PageOut
from agentvine.protocol.conversations import (
    AttachmentOut,
    ChatMessageOut,
    ConversationCreateIn,
    ConversationEditIn,
    ConversationOut,
    ConversationTotalsOut,
    MessageEditIn,
    MessageIn,
    MessageOut,
)

router = APIRouter(tags=["conversations"])

ConversationReader = Annotated[UserActor, Depends(require("conversations:read"))]
ConversationWriter = Annotated[UserActor, Depends(require("conversations:write"))]

_WRITE = (ConversationNotFound, ProjectReadOnly)
_MESSAGE = (*_WRITE, MessageNotFound, MessageDeleted, MessageNotYours)


@router.get("/conversations")
async def list_conversations(
    actor: ConversationReader,
    read: Read,
    page: Paging,
    project_id: uuid.UUID | None = None,
    type: Annotated[ConversationType | None, Query()] = None,  # noqa: A002  # as clients call it
    status: ConversationStatus | None = None,
) -> PageOut[ConversationOut]:
    """The conversations you may see, newest first."""
    found = await queries.list_conversations(
        read, actor, page, project_id=project_id, type_=type, status=status
    )
    items = [ConversationOut.model_validate(row) for row in found.items]
    return PageOut(items=items, next_cursor=found.next_cursor)


@router.post(
    "/conversations",
    status_code=201,
    responses=responses(
        ProjectNotFound, ProjectReadOnly, ProjectArchived, AgentNotFound, AgentUnusable
    ),
)
async def create_conversation(
    body: ConversationCreateIn, actor: ConversationWriter, tx: Tx, once: CreateOnce
) -> ConversationOut:
    """Begin a conversation."""

    async def create() -> ConversationOut:
        made = await service.create_conversation(tx, actor, body)
        return ConversationOut.model_validate(made)

    return await once.run(tx, body, ConversationOut, create)


@router.get("/conversations/{conversation_id}", responses=responses(ConversationNotFound))
async def get_conversation(
    conversation_id: uuid.UUID, actor: ConversationReader, read: Read
) -> ConversationTotalsOut:
    """One conversation, who takes part, and what it cost; a task names its own."""
    found = await queries.get_conversation(read, actor, conversation_id)
    return await reading.totals_out(read, found)


@router.patch(
    "/conversations/{conversation_id}",
    responses=responses(*_WRITE, ConversationTransitionInvalid),
)
async def edit_conversation(
    conversation_id: uuid.UUID, body: ConversationEditIn, actor: ConversationWriter, tx: Tx
) -> ConversationOut:
    """Call a conversation otherwise, or let it rest, end or go on."""
    found = await queries.get_conversation_for_change(tx, actor, conversation_id)
    return ConversationOut.model_validate(await service.edit_conversation(tx, found, body))


@router.put(
    "/conversations/{conversation_id}/participants/{agent_id}",
    status_code=204,
    responses=responses(*_WRITE, AgentNotFound, AgentUnusable),
)
async def add_participant(
    conversation_id: uuid.UUID, agent_id: uuid.UUID, actor: ConversationWriter, tx: Tx
) -> None:
    """Let an agent take part."""
    found = await queries.get_conversation_for_change(tx, actor, conversation_id)
    await service.add_participant(tx, actor, found, agent_id)


@router.delete(
    "/conversations/{conversation_id}/participants/{agent_id}",
    status_code=204,
    responses=responses(*_WRITE),
)
async def remove_participant(
    conversation_id: uuid.UUID, agent_id: uuid.UUID, actor: ConversationWriter, tx: Tx
) -> None:
    """Let an agent take part no more; what it said stays."""
    found = await queries.get_conversation_for_change(tx, actor, conversation_id)
    await service.remove_participant(tx, found, agent_id)


@router.get("/conversations/{conversation_id}/messages", responses=responses(ConversationNotFound))
async def list_talk(
    conversation_id: uuid.UUID, actor: ConversationReader, read: Read, page: Paging
) -> PageOut[MessageOut]:
    """What people and agents have said, oldest first."""
    conversation = await queries.get_conversation(read, actor, conversation_id)
    found = await reading.list_messages(read, conversation, page)
    return PageOut(items=list(found.items), next_cursor=found.next_cursor)


@router.post(
    "/conversations/{conversation_id}/messages",
    status_code=201,
    responses=responses(*_WRITE, ConversationClosed, MessageNotFound),
)
async def say_something(
    conversation_id: uuid.UUID,
    body: MessageIn,
    actor: ConversationWriter,
    state: State,
    once: CreateOnce,
) -> MessageOut:
    """Say something in markdown; agents mentioned as `@name` are woken."""
    said = await asyncio.to_thread(service.prepare, body.content)
    async with state.database.transaction(actor) as tx:

        async def create() -> MessageOut:
            found = await queries.get_conversation_for_change(tx, actor, conversation_id)
            message = await service.say(tx, actor, found, said, body.reply_to_id)
            (out,) = await reading.messages_out(tx, [message])
            return out

        return await once.run(tx, body, MessageOut, create)


@router.patch(
    "/conversations/{conversation_id}/messages/{message_id}", responses=responses(*_MESSAGE)
)
async def edit_message(
    conversation_id: uuid.UUID,
    message_id: uuid.UUID,
    body: MessageEditIn,
    actor: ConversationWriter,
    state: State,
) -> MessageOut:
    """Say it otherwise; the message is marked as edited, and wakes nobody again."""
    said = await asyncio.to_thread(service.prepare, body.content)
    async with state.database.transaction(actor) as tx:
        found = await queries.get_conversation_for_change(tx, actor, conversation_id)
        message = await queries.get_message(tx, found, message_id)
        message = await service.edit_message(tx, actor, found, message, said)
        (out,) = await reading.messages_out(tx, [message])
        return out


@router.delete(
    "/conversations/{conversation_id}/messages/{message_id}",
    status_code=204,
    responses=responses(*_WRITE, MessageNotFound, MessageNotYours, ProjectNotYours),
)
async def delete_message(
    conversation_id: uuid.UUID, message_id: uuid.UUID, actor: ConversationWriter, tx: Tx
) -> None:
    """Take back what was said, with its files; replies to it stay."""
    found = await queries.get_conversation_for_change(tx, actor, conversation_id)
    message = await queries.get_message(tx, found, message_id)
    await service.delete_message(tx, actor, found, message)


@router.post(
    "/conversations/{conversation_id}/messages/{message_id}/attachments",
    status_code=201,
    responses=responses(*_MESSAGE, AttachmentTooLarge, AttachmentRefused, TooManyAttachments),
)
async def attach(
    conversation_id: uuid.UUID,
    message_id: uuid.UUID,
    request: Request,
    actor: ConversationWriter,
    state: State,
    name: Annotated[str, Query(min_length=1, max_length=1000)],
) -> AttachmentOut:
    """Attach a file to what you have said: its bytes are the body, its kind the Content-Type."""
    async with state.database.read() as read:
        found = await queries.get_conversation_for_change(read, actor, conversation_id)
        await queries.get_message(read, found, message_id)
    row = await state.effect(AttachmentDesk).attach(
        actor,
        (conversation_id, message_id),
        name=name,
        type_=request.headers.get("content-type", ""),
        content=await read_file(request),
    )
    return AttachmentOut.model_validate(row)


@router.get(
    "/conversations/{conversation_id}/messages/{message_id}/attachments/{attachment_id}",
    responses=responses(ConversationNotFound, MessageNotFound, AttachmentNotFound),
    response_class=Response,
)
async def get_attachment(
    conversation_id: uuid.UUID,
    message_id: uuid.UUID,
    attachment_id: uuid.UUID,
    actor: ConversationReader,
    state: State,
) -> Response:
    """A file, to be saved: no browser shows or runs it here, whatever it is."""
    async with state.database.read() as read:
        found = await queries.get_conversation(read, actor, conversation_id)
        message = await queries.get_message(read, found, message_id)
        attachment = await queries.get_attachment(read, message, attachment_id)
    content = await state.effect(AttachmentDesk).read(attachment.sha256)
    return file_response(attachment.file_name, content)


@router.get("/conversations/{conversation_id}/chat", responses=responses(ConversationNotFound))
async def list_chat(
    conversation_id: uuid.UUID, actor: ConversationReader, read: Read, page: Paging
) -> PageOut[ChatMessageOut]:
    """What running work, people and the server have said there, oldest first."""
    conversation = await queries.get_conversation(read, actor, conversation_id)
    found = await queries.list_chat(read, conversation, page)
    return PageOut(items=list(found.items), next_cursor=found.next_cursor)


@router.get(
    "/conversations/{conversation_id}/chat/attachments/{chat_file_id}",
    responses=responses(ConversationNotFound, AttachmentNotFound),
    response_class=Response,
)
async def get_chat_attachment(
    conversation_id: uuid.UUID, chat_file_id: uuid.UUID, actor: ConversationReader, state: State
) -> Response:
    """A file of the control channel, to be saved: no browser shows or runs it here."""
    async with state.database.read() as read:
        found = await queries.get_conversation(read, actor, conversation_id)
        file = await chat_files.get_file(read, found.id, chat_file_id)
    content = await state.effect(AttachmentDesk).read(file.file_path)
    return file_response(file.file_name, content)
