"""Executions: attempts, their logs and their bundles."""

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterator
from typing import TypeVar

import httpx2
from pydantic import BaseModel, TypeAdapter, ValidationError

from agentvine.client.errors import NotAnAgentVineServer
from agentvine.client.pages import Listing
from agentvine.client.transport import Call, RetryPolicy, Transport, get, post
from agentvine.kit.errors import LimitReached, Unavailable
from agentvine.protocol.attempts import AttemptOut
from agentvine.protocol.base import PageOut
from agentvine.protocol.briefs import BriefIn, RunBriefOut, SessionIn
from agentvine.protocol.executions import (
    BundleOut,
    ExecutionOut,
    LogBatchIn,
    LogBatchOut,
    LogLineOut,
    LogMatchOut,
    TimelineOut,
)
from agentvine.protocol.models import ModelAccessIn, ModelAccessOut
from agentvine.protocol.tools import ToolAccessIn, ToolAccessOut

M = TypeVar("M", bound=BaseModel)

_BUNDLE_SECONDS = 120.0
_SILENCE_SECONDS = 60.0
"""A stream silent for longer is taken for dead; the server sends a comment far more often."""
_RECONNECT = RetryPolicy(base_seconds=0.1, cap_seconds=3.0)
_LOG_PAGE = TypeAdapter(PageOut[LogLineOut])


class ExecutionsApi:
    """``executions/``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    def list(self, *, task_id: uuid.UUID | None = None) -> Listing[ExecutionOut]:
        """Attempts, newest first."""
        return Listing(self._transport, "executions", {"task_id": task_id}, PageOut[ExecutionOut])

    async def get(self, execution_id: uuid.UUID) -> ExecutionOut:
        """One attempt."""
        return await self._transport.fetch(get(f"executions/{execution_id}"), ExecutionOut)

    def attempts(self, task_id: uuid.UUID) -> Listing[AttemptOut]:
        """The attempts at a task in figures, oldest first."""
        return Listing(self._transport, f"tasks/{task_id}/attempts", {}, PageOut[AttemptOut])

    async def figures(self, execution_id: uuid.UUID) -> AttemptOut:
        """One attempt in figures."""
        return await self._transport.fetch(get(f"executions/{execution_id}/figures"), AttemptOut)

    async def timeline(self, execution_id: uuid.UUID) -> TimelineOut:
        """What happened to an attempt, step by step."""
        return await self._transport.fetch(get(f"executions/{execution_id}/timeline"), TimelineOut)

    async def logs(
        self,
        execution_id: uuid.UUID,
        *,
        after: int = 0,
        limit: int | None = None,
        stream: str | None = None,
    ) -> PageOut[LogLineOut]:
        """Stored lines whose id is greater than ``after``, oldest first."""
        params = {"after": after, "limit": limit, "stream": stream}
        call = get(f"executions/{execution_id}/logs", params)
        return await self._transport.fetch_as(call, _LOG_PAGE)

    def search(
        self,
        text: str,
        *,
        execution_id: uuid.UUID | None = None,
        task_id: uuid.UUID | None = None,
        project_id: uuid.UUID | None = None,
        stream: str | None = None,
        context: int = 0,
    ) -> Listing[LogMatchOut]:
        """Lines that hold a text, whatever the case of its letters: of one attempt, or of many.

        Args:
            text: Taken literally; at most 200 characters.
            execution_id: Only this attempt's, oldest first.
            task_id: Else only this task's, the newest attempt first.
            project_id: Only this project's.
            stream: Only what went to one stream.
            context: How many lines to get before and after each; at most 20.
        """
        params = {"text": text, "stream": stream, "context": context}
        if execution_id is not None:
            path = f"executions/{execution_id}/logs/search"
        else:
            path = "logs/search"
            params |= {"task_id": task_id, "project_id": project_id}
        return Listing(self._transport, path, params, PageOut[LogMatchOut])

    async def model_access(self, execution_id: uuid.UUID, body: ModelAccessIn) -> ModelAccessOut:
        """A key for the gateway; one that was given before is dead."""
        call = post(f"executions/{execution_id}/model-access", body, is_repeatable=True)
        return await self._transport.fetch(call, ModelAccessOut)

    async def tool_access(self, execution_id: uuid.UUID, body: ToolAccessIn) -> ToolAccessOut:
        """A key for the MCP server; one that was given before is dead."""
        call = post(f"executions/{execution_id}/tool-access", body, is_repeatable=True)
        return await self._transport.fetch(call, ToolAccessOut)

    async def append_logs(self, execution_id: uuid.UUID, body: LogBatchIn) -> LogBatchOut:
        """Store a batch of lines; a batch sent twice is stored once."""
        call = post(f"executions/{execution_id}/logs", body, is_repeatable=True)
        return await self._transport.fetch(call, LogBatchOut)

    async def brief(self, execution_id: uuid.UUID, body: BriefIn) -> RunBriefOut:
        """What the agent of a claimed attempt is told before it begins."""
        call = post(f"executions/{execution_id}/brief", body, is_repeatable=True)
        return await self._transport.fetch(call, RunBriefOut)

    async def earlier_work(self, execution_id: uuid.UUID, body: BriefIn) -> bytes:
        """The git bundle of the attempt that the brief names as earlier work."""
        path = f"executions/{execution_id}/earlier-work"
        call = Call("POST", path, body=body, is_repeatable=True, read_timeout=_BUNDLE_SECONDS)
        return (await self._transport.send(call)).content

    async def put_session(self, execution_id: uuid.UUID, body: SessionIn) -> None:
        """Tell the session by which the attempt's agent can be resumed."""
        path = f"executions/{execution_id}/session"
        await self._transport.send(Call("PUT", path, body=body, is_repeatable=True))

    async def tail(
        self, execution_id: uuid.UUID, *, after: int = 0, give_up_seconds: float = 300.0
    ) -> AsyncIterator[LogLineOut | ExecutionOut]:
        """Follow an attempt: every line once and in order, and at last the finished attempt.

        A dropped connection is taken up again where it broke; only after ``give_up_seconds``
        without an answer from the server does the error come through.
        """
        failures = 0
        last_contact = time.monotonic()
        while True:
            try:
                async for item in self._follow(execution_id, after):
                    failures, last_contact = 0, time.monotonic()
                    if isinstance(item, ExecutionOut):
                        yield item
                        return
                    # After a reconnect a line may come again.
                    if item.id > after:
                        after = item.id
                        yield item
                last_contact = time.monotonic()
                pause = _RECONNECT.base_seconds
            except NotAnAgentVineServer:
                raise
            except (Unavailable, LimitReached) as error:
                if time.monotonic() - last_contact > give_up_seconds:
                    raise
                pause = _RECONNECT.pause(failures, error.retry_after)
                failures += 1
            await asyncio.sleep(pause)

    async def put_bundle(
        self, execution_id: uuid.UUID, bundle: bytes, *, order_id: uuid.UUID, fence: int
    ) -> BundleOut:
        """Store the change of an attempt as a git bundle."""
        call = Call(
            "PUT",
            f"executions/{execution_id}/bundle",
            params={
                "order_id": order_id,
                "fence": fence,
                "sha256": hashlib.sha256(bundle).hexdigest(),
            },
            body=bundle,
            is_repeatable=True,
            read_timeout=_BUNDLE_SECONDS,
        )
        return await self._transport.fetch(call, BundleOut)

    async def get_bundle(self, execution_id: uuid.UUID) -> bytes:
        """The stored bundle."""
        response = await self._transport.send(get(f"executions/{execution_id}/bundle"))
        return response.content

    async def _follow(
        self, execution_id: uuid.UUID, after: int
    ) -> AsyncIterator[LogLineOut | ExecutionOut]:
        call = Call(
            "GET",
            f"executions/{execution_id}/logs/stream",
            headers={"Accept": "text/event-stream", "Last-Event-ID": str(after)},
            read_timeout=_SILENCE_SECONDS,
        )
        async with self._transport.stream(call) as response:
            async for event in httpx2.EventSource(response):
                if event.event == "log":
                    yield _read(event.data, LogLineOut)
                elif event.event == "end":
                    yield _read(event.data, ExecutionOut)


def _read(data: str, model: type[M]) -> M:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise NotAnAgentVineServer(
            f"The log stream holds something this client does not understand: {error}"
        ) from error
