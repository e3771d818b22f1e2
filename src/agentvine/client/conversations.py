"""Conversations, and what was said on the control channel of running work."""

import uuid

from agentvine.client.pages import Listing
from agentvine.client.transport import Transport, get
from agentvine.protocol.base import PageOut
from agentvine.protocol.conversations import ChatMessageOut, ConversationOut


class ConversationsApi:
    """``conversations/``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    async def get(self, conversation_id: uuid.UUID) -> ConversationOut:
        """One conversation."""
        return await self._transport.fetch(get(f"conversations/{conversation_id}"), ConversationOut)

    def chat(self, conversation_id: uuid.UUID) -> Listing[ChatMessageOut]:
        """What running work, people and the server have said there, oldest first."""
        path = f"conversations/{conversation_id}/chat"
        return Listing(self._transport, path, {}, PageOut[ChatMessageOut])
