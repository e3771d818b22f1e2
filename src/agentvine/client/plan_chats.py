"""The dialogues in which plans are made."""

import uuid
from collections.abc import AsyncIterator
from typing import TypeVar

import httpx2
from pydantic import ValidationError

from agentvine.client.errors import NotAnAgentVineServer
from agentvine.client.pages import Listing
from agentvine.client.transport import Call, Transport, get, post
from agentvine.protocol.base import PageOut
from agentvine.protocol.planning_chat import (
    ChatDeltaOut,
    ChatSayIn,
    PlanChatMessageOut,
    PlanChatOut,
)
from agentvine.protocol.plans import ArtifactOut

M = TypeVar("M", ChatDeltaOut, PlanChatMessageOut)

_SILENCE_SECONDS = 60.0
"""A stream silent for longer is taken for dead; the server sends a comment far more often."""


class PlanChatsApi:
    """``plans/PLAN/chat``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    def list(self, plan_id: uuid.UUID) -> Listing[PlanChatOut]:
        """The dialogues beside a version, newest first."""
        return Listing(self._transport, f"plans/{plan_id}/chat", {}, PageOut[PlanChatOut])

    async def open(self, plan_id: uuid.UUID) -> PlanChatOut:
        """Begin one."""
        return await self._transport.fetch(post(f"plans/{plan_id}/chat"), PlanChatOut)

    async def get(self, plan_id: uuid.UUID, chat_id: uuid.UUID) -> PlanChatOut:
        """All that was said."""
        return await self._transport.fetch(get(f"plans/{plan_id}/chat/{chat_id}"), PlanChatOut)

    async def say(self, plan_id: uuid.UUID, chat_id: uuid.UUID, body: ChatSayIn) -> PlanChatOut:
        """Say something; the answer comes by ``follow``."""
        call = post(f"plans/{plan_id}/chat/{chat_id}/messages", body)
        return await self._transport.fetch(call, PlanChatOut)

    async def again(self, plan_id: uuid.UUID, chat_id: uuid.UUID) -> PlanChatOut:
        """Ask once more what was interrupted or failed."""
        call = post(f"plans/{plan_id}/chat/{chat_id}/again")
        return await self._transport.fetch(call, PlanChatOut)

    async def accept(
        self, plan_id: uuid.UUID, chat_id: uuid.UUID, proposal_id: uuid.UUID
    ) -> ArtifactOut:
        """Write a proposal into the draft."""
        path = f"plans/{plan_id}/chat/{chat_id}/proposals/{proposal_id}/accept"
        return await self._transport.fetch(post(path, is_repeatable=True), ArtifactOut)

    async def complete(self, plan_id: uuid.UUID, chat_id: uuid.UUID) -> PlanChatOut:
        """End it."""
        call = post(f"plans/{plan_id}/chat/{chat_id}/complete", is_repeatable=True)
        return await self._transport.fetch(call, PlanChatOut)

    async def follow(
        self, plan_id: uuid.UUID, chat_id: uuid.UUID, *, after: int = 0
    ) -> AsyncIterator[ChatDeltaOut | PlanChatMessageOut]:
        """Pieces of answers and whole messages, after the first ``after`` ones, to the last."""
        seen, is_over = f"{after}.0", False
        while not is_over:
            call = Call(
                "GET",
                f"plans/{plan_id}/chat/{chat_id}/stream",
                headers={"Accept": "text/event-stream", "Last-Event-ID": seen},
                read_timeout=_SILENCE_SECONDS,
            )
            async with self._transport.stream(call) as response:
                async for event in httpx2.EventSource(response):
                    seen = event.id or seen
                    if event.event == "end":
                        is_over = True
                    elif event.event == "delta":
                        yield _read(event.data, ChatDeltaOut)
                    elif event.event == "message":
                        yield _read(event.data, PlanChatMessageOut)


def _read(data: str, model: type[M]) -> M:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise NotAnAgentVineServer(f"The chat holds something unknown: {error}") from error
