"""Limits and pauses of the queue."""

import uuid
from collections.abc import Sequence

from pydantic import TypeAdapter

from agentvine.client.transport import Call, Transport, get, post
from agentvine.protocol.limits import (
    LimitIn,
    LimitOut,
    LimitTarget,
    PauseIn,
    ReasonIn,
    ResumeIn,
    StoppedOut,
)

_LIMITS = TypeAdapter(list[LimitOut])


class LimitsApi:
    """``queue/limits``, and what pauses and resumes."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    async def list(self) -> Sequence[LimitOut]:
        """What is limited or paused."""
        return await self._transport.fetch_as(get("queue/limits"), _LIMITS)

    async def set(self, target: LimitTarget, capacity: int) -> LimitOut:
        """Let at most so many run at a time."""
        body = LimitIn(scope=target.scope, key=target.key, capacity=capacity)
        call = Call("PUT", "queue/limits", body=body, is_repeatable=True)
        return await self._transport.fetch(call, LimitOut)

    async def remove(self, target: LimitTarget) -> None:
        """Let as many run as there are slots."""
        params = {"scope": target.scope.value, "key": target.key}
        await self._transport.send(Call("DELETE", "queue/limits", params=params))

    async def pause(self, target: LimitTarget, reason: str = "") -> LimitOut:
        """Let nothing of this kind begin."""
        body = PauseIn(scope=target.scope, key=target.key, reason=reason)
        call = post("queue/pause", body, is_repeatable=True)
        return await self._transport.fetch(call, LimitOut)

    async def resume(self, target: LimitTarget, reason: str = "") -> None:
        """Let it begin again."""
        body = ResumeIn(scope=target.scope, key=target.key, reason=reason)
        await self._transport.send(post("queue/resume", body))

    async def pause_project(self, project_id: uuid.UUID, reason: str = "") -> LimitOut:
        """Let nothing of a project of one's own begin."""
        call = post(f"projects/{project_id}/pause", ReasonIn(reason=reason), is_repeatable=True)
        return await self._transport.fetch(call, LimitOut)

    async def resume_project(self, project_id: uuid.UUID, reason: str = "") -> None:
        """Let it begin again."""
        await self._transport.send(post(f"projects/{project_id}/resume", ReasonIn(reason=reason)))

    async def stop(self, reason: str = "") -> StoppedOut:
        """Stop everything at once."""
        call = post("queue/stop", ReasonIn(reason=reason), is_repeatable=True)
        return await self._transport.fetch(call, StoppedOut)
