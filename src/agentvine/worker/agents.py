"""What an agent's run needs beside a work tree: brief, home, and a keeper of its session."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import structlog
from pydantic import BaseModel

from agentvine.client import RetryPolicy
from agentvine.kit.errors import AppError, Internal, LimitReached, NotFound, Unavailable
from agentvine.protocol.briefs import BriefIn, RunBriefOut, SessionIn
from agentvine.protocol.enums import LogLevel
from agentvine.protocol.models import ModelAccessIn
from agentvine.protocol.queue import ClaimedOrder
from agentvine.protocol.tools import ToolAccessIn
from agentvine.runtimes.agent_log import RAW
from agentvine.runtimes.base import McpAccess, ModelAccess, OutputSink, RunContext
from agentvine.worker.disk import write_durably
from agentvine.worker.tools import StopSwitch, WorkerTools
from agentvine.worker.usage import UsageTeller

T = TypeVar("T")

_RETRY = RetryPolicy(base_seconds=0.5, cap_seconds=10.0)
_PASSING = (Unavailable, LimitReached, Internal, OSError)
_BRIEFED_SINCE = 3
"""The minor version of the protocol in which servers began to give briefs and to keep raw lines."""
_SESSION_FILE = "agentvine-session.json"
_LAST_WORDS_SECONDS = 2.0
_KEPT = timedelta(days=14)

log = structlog.get_logger(__name__)


@asynccontextmanager
async def briefed(
    tools: WorkerTools, order: ClaimedOrder, context: RunContext, switch: StopSwitch
) -> AsyncGenerator[RunContext]:
    """The context of a run, with all that an agent is given, for as long as the block runs.

    Raises:
        LeaseLost: The server says that the claim is not ours any more.
    """
    home = tools.places.data.home(order.payload.task_id, order.payload.runtime)
    await asyncio.to_thread(home.mkdir, parents=True, exist_ok=True, mode=0o700)
    brief = _with_session_of(home, await _ask_for_brief(tools, order, context.stop))
    if tools.runtimes.get(order.payload.runtime).uses_models:
        context = await _with_models(tools, order, context)
    context = await _with_tools(tools, order, context)
    keeper = SessionTeller(tools, order, home)
    usage = UsageTeller(tools, order, switch)
    telling = [asyncio.create_task(each.run()) for each in (keeper, usage)]
    sandbox = context.sandbox
    try:
        yield replace(
            context,
            brief=brief,
            home=home,
            session=keeper,
            # What goes through the gateway is counted there.
            usage=usage if context.models is None else context.usage,
            sandbox=replace(sandbox, writable=(*sandbox.writable, home)) if sandbox else None,
            output=_WithoutRaw(context.output)
            if tools.client.server_minor < _BRIEFED_SINCE
            else context.output,
        )
    finally:
        for each in telling:
            each.cancel()
        await asyncio.wait(telling)
        await keeper.close()
        await usage.close()


class SessionTeller:
    """Keeps the name of a run's session on our disk, and tells the server."""

    def __init__(self, tools: WorkerTools, order: ClaimedOrder, home: Path) -> None:
        """Prepare; ``run`` tells."""
        self._tools = tools
        self._order = order
        self._home = home
        self._seen: SessionIn | None = None
        self._told: SessionIn | None = None
        self._changed = asyncio.Event()

    async def note_session(self, session_id: str, model: str | None) -> None:
        """Keep it at once, and have it told soon."""
        seen = SessionIn(
            order_id=self._order.order_id,
            fence=self._order.fence,
            session_id=session_id[:200],
            model=model[:100] if model else None,
        )
        if seen != self._seen:
            self._seen = seen
            content = _KeptSession(session_id=seen.session_id).model_dump_json().encode()
            await asyncio.to_thread(write_durably, self._home / _SESSION_FILE, content)
            self._changed.set()

    async def run(self) -> None:
        """Tell what is new until cancelled."""
        failures = 0
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._tell()
                failures = 0
            except _PASSING as error:
                log.warning("session.not_told", problem=str(error))
                await asyncio.sleep(_RETRY.pause(failures, None))
                failures += 1
                self._changed.set()
            except AppError as error:
                # The lease was lost, or the server is older: the run goes on without.
                log.warning("session.not_kept", code=error.code, problem=error.detail)
                return

    async def close(self) -> None:
        """Tell once more what was not told; call it when ``run`` has ended."""
        with contextlib.suppress(AppError, OSError, TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                await self._tell()

    async def _tell(self) -> None:
        seen = self._seen
        if seen is not None and seen != self._told:
            await self._tools.client.executions.put_session(self._order.execution_id, seen)
            self._told = seen


async def forget_old_homes(homes: Path, *, now: datetime) -> None:
    """Remove the homes of agents whose task has not run here for two weeks."""
    await asyncio.to_thread(_forget, homes, (now - _KEPT).timestamp())


def _forget(homes: Path, before: float) -> None:
    for home in homes.glob("*/*"):
        with contextlib.suppress(OSError):
            marker = home / _SESSION_FILE
            seen = max(each.stat().st_mtime for each in (home, marker) if each.exists())
            if seen < before:
                shutil.rmtree(home, ignore_errors=True)
                # Only once it is empty: a task may have a home for another runtime.
                home.parent.rmdir()


async def _persist(ask: Callable[[], Awaitable[T]], stop: asyncio.Event, what: str) -> T | None:
    """What the server says, however long it takes; None for an older one, or when told to stop."""
    failures = 0
    while not stop.is_set():
        try:
            return await ask()
        except NotFound:
            break
        except _PASSING as error:
            log.warning("agent.not_told", what=what, problem=str(error))
            after = error.retry_after if isinstance(error, AppError) else None
            pause = _RETRY.pause(failures, after)
            failures += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await stop.wait()
    return None


async def _ask_for_brief(
    tools: WorkerTools, order: ClaimedOrder, stop: asyncio.Event
) -> RunBriefOut | None:
    claim = BriefIn(order_id=order.order_id, fence=order.fence)
    executions = tools.client.executions
    return await _persist(lambda: executions.brief(order.execution_id, claim), stop, "brief")


async def _with_models(tools: WorkerTools, order: ClaimedOrder, context: RunContext) -> RunContext:
    """With the run's own key for the gateway, or with what is to be set where nobody answers."""
    claim = ModelAccessIn(order_id=order.order_id, fence=order.fence)
    executions = tools.client.executions
    told = await _persist(
        lambda: executions.model_access(order.execution_id, claim), context.stop, "models"
    )
    if told is None or not told.is_available:
        return replace(context, models_problem=told.problem if told else None)
    access = ModelAccess(
        base_url=f"{(told.url or tools.client.base_url).rstrip('/')}{told.path}",
        key=told.key,
        models=tuple(told.models),
        default_model=told.default_model,
    )
    return replace(context, models=access)


async def _with_tools(tools: WorkerTools, order: ClaimedOrder, context: RunContext) -> RunContext:
    """With the run's own key for our tools; a server of an earlier version has none."""
    claim = ToolAccessIn(order_id=order.order_id, fence=order.fence)
    executions = tools.client.executions
    told = await _persist(
        lambda: executions.tool_access(order.execution_id, claim), context.stop, "tools"
    )
    if told is None:
        return context
    url = f"{tools.client.base_url.rstrip('/')}{told.path}"
    return replace(context, mcp=McpAccess(url=url, key=told.key))


def _with_session_of(home: Path, brief: RunBriefOut | None) -> RunBriefOut | None:
    """Without the session, if it is not one that this very home holds; its work stays named."""
    if brief is None or brief.session is None:
        return brief
    try:
        kept = _KeptSession.model_validate_json((home / _SESSION_FILE).read_bytes())
    except (OSError, ValueError):
        kept = None
    if kept is not None and kept.session_id == brief.session.session_id:
        return brief
    work = brief.earlier_work or brief.session.execution_id
    return brief.model_copy(update={"session": None, "earlier_work": work})


class _KeptSession(BaseModel):
    """The file in an agent's home."""

    session_id: str


@dataclass(frozen=True, slots=True)
class _WithoutRaw:
    """For a server that does not know the stream of raw lines."""

    sink: OutputSink

    async def write(
        self,
        stream: str,
        message: str,
        *,
        level: LogLevel = LogLevel.INFO,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        if stream != RAW:
            await self.sink.write(stream, message, level=level, metadata=metadata)
