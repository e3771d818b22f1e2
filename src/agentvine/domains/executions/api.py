"""Routes of the executions slice: attempts, their logs, and the bundles they leave."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.sse import EventSourceResponse, ServerSentEvent

from agentvine.db.hints import heard_of
from agentvine.domains.executions import (
    briefs,
    log_search,
    log_store,
    queries,
    service,
    timeline,
)
from agentvine.domains.executions.enums import ExecutionStatus
from agentvine.domains.executions.errors import (
    BundleDamaged,
    BundleNotFound,
    BundleTooLarge,
    ExecutionNotFound,
    LogGap,
)
from agentvine.domains.executions.importing import BundleImporter, check_bundle
from agentvine.domains.executions.log_search import LogMatch, LogSearch
from agentvine.domains.executions.log_writing import LogWriter
from agentvine.domains.executions.models import Execution, ExecutionLog
from agentvine.domains.work.errors import LeaseLost
from agentvine.http.deps import Paging, Read, State, Tx, Worker, require
from agentvine.http.disconnects import until_over
from agentvine.http.problems import responses
from agentvine.http.state import HttpState
from agentvine.kit.actor import UserActor
from agentvine.kit.pagination import CursorInvalid, Page, encode_cursor
from agentvine.protocol.base import MAX_INTEGER, PageOut
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
from agentvine.protocol.queue import MAX_BUNDLE_BYTES, ExecutionReport

router = APIRouter()

ExecutionReader = Annotated[UserActor, Depends(require("executions:read"))]


async def visible_execution(
    execution_id: Annotated[uuid.UUID, PathParameter()], actor: ExecutionReader, state: State
) -> uuid.UUID:
    """The id of an execution the caller may see; a stream's own code runs too late to refuse."""
    async with state.database.read() as read:
        return (await queries.get_execution(read, actor, execution_id)).id


VisibleExecution = Annotated[uuid.UUID, Depends(visible_execution)]

_SEARCH = responses(ExecutionNotFound, CursorInvalid)
_LINES_PER_READ = 500
_LATE_LINES_SECONDS = 15.0
"""How long the end of a stream waits for lines that the worker's report promised."""
_LINES = "ExecutionLog.id"
_EVENT_ID = re.compile(r"[0-9]{1,18}")
_IMPORT_SECONDS = 10.0
"""A repository that takes longer is left to the chore, and the worker gets its answer."""
_MAX_STREAM_SECONDS = 600.0
"""A stream ends then, and the client goes on from its last event: no connection lives for ever."""


@router.get("/executions", tags=["executions"])
async def list_executions(
    actor: ExecutionReader, read: Read, page: Paging, task_id: uuid.UUID | None = None
) -> PageOut[ExecutionOut]:
    """The attempts you may see, newest first."""
    found = await queries.list_executions(read, actor, page, task_id=task_id)
    return PageOut(
        items=[ExecutionOut.model_validate(row) for row in found.items],
        next_cursor=found.next_cursor,
    )


@router.get(
    "/executions/{execution_id}", tags=["executions"], responses=responses(ExecutionNotFound)
)
async def get_execution(
    execution_id: uuid.UUID, actor: ExecutionReader, read: Read
) -> ExecutionOut:
    """One attempt."""
    return ExecutionOut.model_validate(await queries.get_execution(read, actor, execution_id))


@router.get(
    "/executions/{execution_id}/timeline",
    tags=["executions"],
    responses=responses(ExecutionNotFound),
)
async def get_timeline(execution_id: uuid.UUID, actor: ExecutionReader, read: Read) -> TimelineOut:
    """What happened to an attempt, step by step.

    What happened to its task between this attempt and the next is part of it.
    """
    execution = await queries.get_execution(read, actor, execution_id)
    return await timeline.get_timeline(read, execution)


@router.get(
    "/executions/{execution_id}/logs", tags=["executions"], responses=responses(ExecutionNotFound)
)
async def read_logs(
    execution_id: uuid.UUID,
    actor: ExecutionReader,
    read: Read,
    after: Annotated[
        int, Query(ge=0, le=MAX_INTEGER, description="The id of the last line you have")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
    stream: str | None = None,
) -> PageOut[LogLineOut]:
    """Lines in the order they were stored; go on with ``after`` = the last line's id."""
    await queries.get_execution(read, actor, execution_id)
    rows = await log_store.read_lines(read, execution_id, after=after, limit=limit, stream=stream)
    more = encode_cursor(_LINES, rows[-1].id) if len(rows) == limit else None
    return PageOut(items=[_line_out(row) for row in rows], next_cursor=more)


async def log_search_of(
    text: Annotated[
        str,
        Query(min_length=1, max_length=log_search.MAX_TEXT, pattern=r"^[^\x00]+$"),
    ],
    stream: str | None = None,
    context: Annotated[
        int, Query(ge=0, le=log_search.MAX_CONTEXT, description="Lines to show before and after")
    ] = 0,
) -> LogSearch:
    """What to look for in logs."""
    return LogSearch(text=text, stream=stream, context=context)


WantedText = Annotated[LogSearch, Depends(log_search_of)]


@router.get("/executions/{execution_id}/logs/search", tags=["executions"], responses=_SEARCH)
async def search_log(
    execution_id: uuid.UUID, actor: ExecutionReader, read: Read, page: Paging, wanted: WantedText
) -> PageOut[LogMatchOut]:
    """Lines of one attempt that hold a text, whatever the case of its letters.

    A page may be short, or empty, although ``next_cursor`` is set: each looks through a bounded
    number of lines. Go on until there is no cursor.
    """
    execution = await queries.get_execution(read, actor, execution_id)
    return _matches_out(await log_search.search_log(read, execution, wanted, page))


@router.get("/logs/search", tags=["executions"], responses=_SEARCH)
async def search_logs(
    actor: ExecutionReader,
    read: Read,
    page: Paging,
    wanted: WantedText,
    *,
    task_id: uuid.UUID | None = None,
    project_id: uuid.UUID | None = None,
) -> PageOut[LogMatchOut]:
    """The same in the logs of all attempts you may see, or of a task's or a project's."""
    found = await log_search.search_logs(
        read, actor, wanted, page, task_id=task_id, project_id=project_id
    )
    return _matches_out(found)


@router.get(
    "/executions/{execution_id}/logs/stream",
    tags=["executions"],
    responses=responses(ExecutionNotFound),
    response_class=EventSourceResponse,
)
async def follow_logs(
    execution_id: VisibleExecution,
    actor: ExecutionReader,
    state: State,
    request: Request,
    last_event_id: Annotated[str | None, Header()] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Lines as they come (event ``log``), and ``end`` when there will be no more.

    Resumed with ``Last-Event-ID``. An open stream ends by itself after ten minutes; reconnect.
    """
    after = int(last_event_id) if last_event_id and _EVENT_ID.fullmatch(last_event_id) else 0
    async with until_over(request, state.stopping) as over:
        async for event in _follow(state, actor, execution_id, after, over):
            yield event


async def _follow(
    state: HttpState,
    actor: UserActor,
    execution_id: uuid.UUID,
    after: int,
    over: asyncio.Event,
) -> AsyncIterator[ServerSentEvent]:
    clock = state.clock
    deadline = clock.monotonic() + _MAX_STREAM_SECONDS
    ended_at: float | None = None
    async with state.database.hints.subscribe(log_store.CHANNEL) as hints:
        while clock.monotonic() < deadline and not over.is_set():
            async with state.database.read() as read:
                # Both of one snapshot: what was stored before the end is among the lines.
                execution = await queries.get_execution(read, actor, execution_id)
                rows = await log_store.read_lines(
                    read, execution_id, after=after, limit=_LINES_PER_READ
                )
                is_whole = await log_store.has_all_lines(read, execution_id, _lines_sent(execution))
            for row in rows:
                after = row.id
                yield ServerSentEvent(event="log", id=str(row.id), data=_line_out(row))
            if len(rows) == _LINES_PER_READ:
                continue
            if execution.status is not ExecutionStatus.RUNNING:
                ended_at = ended_at or clock.monotonic()
                if is_whole or clock.monotonic() - ended_at > _LATE_LINES_SECONDS:
                    yield ServerSentEvent(event="end", data=ExecutionOut.model_validate(execution))
                    return
            await heard_of(
                hints, str(execution_id), over, state.settings.queue.poll_interval_seconds
            )


def _lines_sent(execution: Execution) -> dict[str, int]:
    """Per stream, how many lines the worker says there are; nothing while it runs."""
    if execution.report is None:
        return {}
    return ExecutionReport.model_validate(execution.report).log_high_water


@router.post(
    "/executions/{execution_id}/logs",
    tags=["protocol"],
    responses=responses(LeaseLost, LogGap),
)
async def append_logs(
    execution_id: uuid.UUID, body: LogBatchIn, actor: Worker, state: State
) -> LogBatchOut:
    """Store lines; a batch sent twice is stored once."""
    high = await state.effect(LogWriter).append(actor, execution_id, body)
    return LogBatchOut(stream=body.stream, high_seq=high)


@router.post("/executions/{execution_id}/brief", tags=["protocol"], responses=responses(LeaseLost))
async def read_brief(
    execution_id: uuid.UUID, body: BriefIn, actor: Worker, read: Read
) -> RunBriefOut:
    """What an agent is told before it begins; for the worker that holds its claim."""
    return await briefs.get_brief(read, actor, execution_id, body)


@router.post(
    "/executions/{execution_id}/earlier-work",
    tags=["protocol"],
    responses=responses(LeaseLost, BundleNotFound),
    response_class=Response,
)
async def read_earlier_work(
    execution_id: uuid.UUID, body: BriefIn, actor: Worker, read: Read
) -> Response:
    """The git bundle of the attempt that the brief names; for the worker that holds the claim."""
    content = await briefs.get_earlier_bundle(read, actor, execution_id, body)
    return Response(content, media_type="application/octet-stream")


@router.put(
    "/executions/{execution_id}/session",
    tags=["protocol"],
    responses=responses(LeaseLost),
    status_code=204,
)
async def put_session(execution_id: uuid.UUID, body: SessionIn, actor: Worker, tx: Tx) -> None:
    """Keep the session by which the attempt's agent can be resumed; as soon as it is seen."""
    await briefs.note_session(tx, actor, execution_id, body)


@router.put(
    "/executions/{execution_id}/bundle",
    tags=["protocol"],
    responses=responses(LeaseLost, BundleDamaged, BundleTooLarge),
)
async def put_bundle(  # three facts travel in the query, the body is raw bytes
    execution_id: uuid.UUID,
    request: Request,
    actor: Worker,
    state: State,
    *,
    order_id: uuid.UUID,
    fence: int,
    sha256: Annotated[str, Query(pattern="^[0-9a-f]{64}$")],
) -> BundleOut:
    """Keep the commits of an execution, and bring them into its repository."""
    content = await _read_body(request)
    await check_bundle(content, sha256)
    async with state.database.transaction(actor) as tx:
        bundle = await service.store_bundle(
            tx, actor, execution_id, claim=(order_id, fence), content=content, sha256=sha256
        )
        answer = BundleOut.model_validate(bundle)
    await state.effect(BundleImporter).try_import(execution_id, within_seconds=_IMPORT_SECONDS)
    return answer


@router.get(
    "/executions/{execution_id}/bundle",
    tags=["executions"],
    responses=responses(ExecutionNotFound, BundleNotFound),
    response_class=Response,
)
async def get_bundle(execution_id: uuid.UUID, actor: ExecutionReader, read: Read) -> Response:
    """The commits of an execution, as a git bundle."""
    await queries.get_execution(read, actor, execution_id)
    bundle = await queries.get_bundle(read, execution_id)
    return Response(
        bundle.content,
        media_type="application/octet-stream",
        headers={
            "Content-Disposition": f'attachment; filename="{execution_id}.bundle"',
            "X-Content-Type-Options": "nosniff",
        },
    )


async def _read_body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BUNDLE_BYTES:
            raise BundleTooLarge(
                f"A change may take {MAX_BUNDLE_BYTES // 2**20} MiB; keep large files out of git."
            )
        parts.append(part)
    return b"".join(parts)


def _matches_out(found: Page[LogMatch]) -> PageOut[LogMatchOut]:
    items = [
        LogMatchOut(
            execution_id=match.attempt.execution_id,
            task_id=match.attempt.task_id,
            attempt=match.attempt.number,
            line=_line_out(match.line),
            before=[_line_out(row) for row in match.before],
            after=[_line_out(row) for row in match.after],
        )
        for match in found.items
    ]
    return PageOut(items=items, next_cursor=found.next_cursor)


def _line_out(row: ExecutionLog) -> LogLineOut:
    return LogLineOut(
        id=row.id,
        stream=row.stream,
        seq=row.seq,
        level=row.level,
        message=row.message,
        logged_at=row.logged_at,
        metadata=row.metadata_ or {},
    )
