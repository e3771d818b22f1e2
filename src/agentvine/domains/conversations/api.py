"""Routes of the conversations slice."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends

from agentvine.domains.conversations import queries
from agentvine.domains.conversations.errors import ConversationNotFound
from agentvine.http.deps import Paging, Read, require
from agentvine.http.problems import responses
from agentvine.kit.actor import UserActor
from agentvine.protocol.base import PageOut
from agentvine.protocol.conversations import ChatMessageOut, ConversationOut

router = APIRouter(tags=["conversations"])

ConversationReader = Annotated[UserActor, Depends(require("conversations:read"))]


@router.get("/conversations/{conversation_id}", responses=responses(ConversationNotFound))
async def get_conversation(
    conversation_id: uuid.UUID, actor: ConversationReader, read: Read
) -> ConversationOut:
    """One conversation; a task names its own as ``conversation_id``."""
    found = await queries.get_conversation(read, actor, conversation_id)
    return ConversationOut.model_validate(found)


@router.get("/conversations/{conversation_id}/chat", responses=responses(ConversationNotFound))
async def list_chat(
    conversation_id: uuid.UUID, actor: ConversationReader, read: Read, page: Paging
) -> PageOut[ChatMessageOut]:
    """What running work, people and the server have said there, oldest first."""
    conversation = await queries.get_conversation(read, actor, conversation_id)
    found = await queries.list_chat(read, conversation, page)
    return PageOut(items=list(found.items), next_cursor=found.next_cursor)
