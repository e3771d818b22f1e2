"""Conversations, and what was said on the control channel of running work."""

import uuid

from agentvine.client.pages import Listing
from agentvine.client.transport import Call, Transport, edit, get, post, send_file
from agentvine.protocol.base import PageOut
from agentvine.protocol.conversations import (
    AttachmentOut,
    ChatMessageOut,
    ConversationCreateIn,
    ConversationEditIn,
    ConversationOut,
    ConversationStatus,
    ConversationTotalsOut,
    ConversationType,
    MessageEditIn,
    MessageIn,
    MessageOut,
)


class ConversationsApi:
    """``conversations/``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    def list(
        self,
        *,
        project_id: uuid.UUID | None = None,
        type_: ConversationType | None = None,
        status: ConversationStatus | None = None,
    ) -> Listing[ConversationOut]:
        """The conversations one may see, newest first."""
        params = {
            "project_id": project_id,
            "type": type_,
            "status": status,
        }
        return Listing(self._transport, "conversations", params, PageOut[ConversationOut])

    async def create(
        self, body: ConversationCreateIn, *, key: str | None = None
    ) -> ConversationOut:
        """Begin one."""
        call = post("conversations", body).with_key(key)
        return await self._transport.fetch(call, ConversationOut)

    async def get(self, conversation_id: uuid.UUID) -> ConversationTotalsOut:
        """One conversation, who takes part, and what it cost."""
        call = get(f"conversations/{conversation_id}")
        return await self._transport.fetch(call, ConversationTotalsOut)

    async def edit(self, conversation_id: uuid.UUID, body: ConversationEditIn) -> ConversationOut:
        """Call it otherwise, or let it rest, end or go on."""
        call = edit(f"conversations/{conversation_id}", body, None)
        return await self._transport.fetch(call, ConversationOut)

    async def add_participant(self, conversation_id: uuid.UUID, agent_id: uuid.UUID) -> None:
        """Let an agent take part."""
        path = f"conversations/{conversation_id}/participants/{agent_id}"
        await self._transport.send(Call("PUT", path, is_repeatable=True))

    async def remove_participant(self, conversation_id: uuid.UUID, agent_id: uuid.UUID) -> None:
        """Let an agent take part no more."""
        path = f"conversations/{conversation_id}/participants/{agent_id}"
        await self._transport.send(Call("DELETE", path, is_repeatable=True))

    def messages(self, conversation_id: uuid.UUID) -> Listing[MessageOut]:
        """What people and agents have said, oldest first."""
        path = f"conversations/{conversation_id}/messages"
        return Listing(self._transport, path, {}, PageOut[MessageOut])

    async def say(
        self, conversation_id: uuid.UUID, body: MessageIn, *, key: str | None = None
    ) -> MessageOut:
        """Say something; agents that it mentions are woken."""
        call = post(f"conversations/{conversation_id}/messages", body).with_key(key)
        return await self._transport.fetch(call, MessageOut)

    async def edit_message(
        self, conversation_id: uuid.UUID, message_id: uuid.UUID, body: MessageEditIn
    ) -> MessageOut:
        """Say it otherwise."""
        call = edit(f"conversations/{conversation_id}/messages/{message_id}", body, None)
        return await self._transport.fetch(call, MessageOut)

    async def delete_message(self, conversation_id: uuid.UUID, message_id: uuid.UUID) -> None:
        """Take it back, with its files."""
        path = f"conversations/{conversation_id}/messages/{message_id}"
        await self._transport.send(Call("DELETE", path))

    async def attach(
        self,
        conversation_id: uuid.UUID,
        message_id: uuid.UUID,
        name: str,
        content: bytes,
        *,
        type_: str = "application/octet-stream",
    ) -> AttachmentOut:
        """Attach a file to what one has said."""
        path = f"conversations/{conversation_id}/messages/{message_id}/attachments"
        return await self._transport.fetch(send_file(path, name, content, type_), AttachmentOut)

    async def attachment(
        self, conversation_id: uuid.UUID, message_id: uuid.UUID, attachment_id: uuid.UUID
    ) -> bytes:
        """A file's content."""
        path = f"conversations/{conversation_id}/messages/{message_id}/attachments/{attachment_id}"
        return (await self._transport.send(get(path))).content

    async def chat_attachment(self, conversation_id: uuid.UUID, attachment_id: uuid.UUID) -> bytes:
        """The content of a file of the control channel."""
        path = f"conversations/{conversation_id}/chat/attachments/{attachment_id}"
        return (await self._transport.send(get(path))).content

    def chat(self, conversation_id: uuid.UUID) -> Listing[ChatMessageOut]:
        """What running work, people and the server have said there, oldest first."""
        path = f"conversations/{conversation_id}/chat"
        return Listing(self._transport, path, {}, PageOut[ChatMessageOut])
