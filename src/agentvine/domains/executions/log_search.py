"""Looking for a text in logs: literally, without regard to case, a bounded piece at a time.

An answer may hold less than was asked for, or nothing, and yet name where to go on: so much was
looked through, and more is there.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select

from agentvine.db.planning import by_no_index
from agentvine.db.session import ReadSession
from agentvine.domains.executions.models import Execution, ExecutionLog
from agentvine.domains.projects import queries as projects
from agentvine.domains.tasks.models import Task
from agentvine.kit.actor import Actor
from agentvine.kit.pagination import CursorInvalid, Page, PageRequest, encode_cursor
from agentvine.protocol.base import MAX_INTEGER

MAX_TEXT = 200
MAX_CONTEXT = 20
_LINES = 20_000
_MATCHES = 100
_EXECUTIONS = 50
"""The most that one request looks through, or answers with."""
_LISTED = "log search"
_AGAIN = "Ask again without the cursor to start from the first page."


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSearch:
    """What to look for, and how many lines around it to show."""

    text: str
    stream: str | None = None
    context: int = 0

    @property
    def pattern(self) -> str:
        """A LIKE pattern for all that matches, and perhaps more.

        The databases differ in which letters beyond ASCII have two cases, so those match anything
        here; ``matches`` decides.
        """
        escaped = (f"\\{each}" if each in "\\%_" else each for each in self.text)
        return f"%{''.join(each if each.isascii() else '_' for each in escaped)}%"

    def matches(self, message: str) -> bool:
        """Whether a line holds the text."""
        return self.text.lower() in message.lower()


@dataclass(frozen=True, slots=True)
class Attempt:
    """Whose log it is."""

    execution_id: uuid.UUID
    task_id: uuid.UUID
    number: int


@dataclass(frozen=True, slots=True)
class LogMatch:
    """A line that holds the text, with those around it."""

    attempt: Attempt
    line: ExecutionLog
    before: Sequence[ExecutionLog]
    after: Sequence[ExecutionLog]


async def search_log(
    read: ReadSession, execution: Execution, wanted: LogSearch, page: PageRequest
) -> Page[LogMatch]:
    """Lines of one attempt, oldest first. The caller has seen to it that the actor may see it.

    Raises:
        CursorInvalid: The cursor is not this search's.
    """
    start = _start(page)
    if start is not None and start.execution_id != execution.id:
        raise CursorInvalid("The cursor belongs to another attempt's log.")
    attempt = Attempt(execution.id, execution.task_id, execution.attempt)
    return await _search(read, [attempt], wanted, page, start)


async def search_logs(
    read: ReadSession,
    actor: Actor,
    wanted: LogSearch,
    page: PageRequest,
    *,
    task_id: uuid.UUID | None = None,
    project_id: uuid.UUID | None = None,
) -> Page[LogMatch]:
    """Lines of all attempts that the actor may see, the newest attempt first.

    Raises:
        CursorInvalid: The cursor is not this search's.
    """
    start = _start(page)
    query = (
        select(Execution.id, Execution.task_id, Execution.attempt)
        .join(Task, Task.id == Execution.task_id)
        .where(Task.project_id.in_(projects.visible_projects(actor)))
        .order_by(Execution.id.desc())
        .limit(_EXECUTIONS)
    )
    if task_id is not None:
        query = query.where(Execution.task_id == task_id)
    if project_id is not None:
        query = query.where(Task.project_id == project_id)
    if start is not None:
        query = query.where(Execution.id <= start.execution_id)
    attempts = [Attempt(*row) for row in await read.execute(query)]
    return await _search(read, attempts, wanted, page, start)


async def _search(
    read: ReadSession,
    attempts: Sequence[Attempt],
    wanted: LogSearch,
    page: PageRequest,
    start: "_Start | None",
) -> Page[LogMatch]:
    most = min(page.limit, _MATCHES)
    found: list[LogMatch] = []
    lines_left = _LINES
    at: str | None = None
    for attempt in attempts:
        begin = start if start and start.execution_id == attempt.execution_id else None
        begin = begin or _Start(attempt.execution_id, 0, 0)
        looked = await _look(read, attempt, wanted, begin, lines_left, most - len(found))
        found += looked.matches
        lines_left -= looked.line_count
        at = encode_cursor(_LISTED, looked.next.key)
        if not looked.is_end or lines_left <= 0 or len(found) >= most:
            return Page(found, at)
    return Page(found, at if len(attempts) == _EXECUTIONS else None)


@dataclass(frozen=True, slots=True)
class _Start:
    """Where to go on: after which line, and after which one lines may be shown as context."""

    execution_id: uuid.UUID
    after: int
    context_after: int

    @property
    def key(self) -> str:
        """The same as a cursor's key."""
        return f"{self.execution_id} {self.after} {self.context_after}"


@dataclass(frozen=True, slots=True)
class _Looked:
    """What was found in a stretch of one log."""

    matches: Sequence[LogMatch]
    next: _Start
    line_count: int
    is_end: bool


async def _look(  # the bounds of one stretch
    read: ReadSession,
    attempt: Attempt,
    wanted: LogSearch,
    begin: _Start,
    most_lines: int,
    most_matches: int,
) -> _Looked:
    ids = select(ExecutionLog.id).where(*_of(attempt, wanted))
    ids = ids.where(ExecutionLog.id > begin.context_after).order_by(ExecutionLog.id)
    # One more tells whether there are more; those around the stretch may be shown as context.
    known = list(await read.scalars(ids.limit(most_lines + 2 * wanted.context + 1)))
    stretch = [line_id for line_id in known if line_id > begin.after][:most_lines]
    if not stretch:
        return _Looked([], begin, 0, is_end=True)
    query = (
        select(ExecutionLog)
        .where(
            *_of(attempt, wanted),
            ExecutionLog.id > begin.after,
            ExecutionLog.id <= stretch[-1],
            ExecutionLog.message.ilike(wanted.pattern, escape="\\"),
        )
        .order_by(ExecutionLog.id)
        .limit(most_matches)
    )
    rows = (await read.scalars(query)).all()
    is_full = len(rows) == most_matches
    up_to = rows[-1].id if is_full else stretch[-1]
    first = known.index(up_to) - wanted.context
    matches = [row for row in rows if wanted.matches(row.message)]
    return _Looked(
        await _with_context(read, attempt, matches, known, wanted.context),
        _Start(attempt.execution_id, up_to, known[first] if first >= 0 else begin.context_after),
        len(stretch),
        is_end=up_to == known[-1],
    )


async def _with_context(
    read: ReadSession,
    attempt: Attempt,
    rows: Sequence[ExecutionLog],
    known: Sequence[int],
    count: int,
) -> list[LogMatch]:
    """The lines with those around them; ``known`` has the ids of the log's lines in order."""
    place = {line_id: number for number, line_id in enumerate(known)}
    sides = [
        (known[max(at - count, 0) : at], known[at + 1 : at + 1 + count])
        for at in (place[row.id] for row in rows)
    ]
    beside = {line_id for pair in sides for side in pair for line_id in side}
    query = select(ExecutionLog).where(ExecutionLog.id.in_(beside))
    found = await read.scalars(query) if beside else ()
    lines: dict[int, ExecutionLog] = {line.id: line for line in found}
    return [
        LogMatch(attempt, row, [lines[i] for i in before], [lines[i] for i in after])
        for row, (before, after) in zip(rows, sides, strict=True)
    ]


def _of(attempt: Attempt, wanted: LogSearch) -> list[ColumnElement[bool]]:
    conditions = [ExecutionLog.execution_id == attempt.execution_id]
    if wanted.stream is not None:
        conditions.append(by_no_index(ExecutionLog.stream == wanted.stream))
    return conditions


def _start(page: PageRequest) -> _Start | None:
    if page.after is None:
        return None
    if page.after.listed != _LISTED:
        raise CursorInvalid("The cursor belongs to another list.")
    try:
        execution_id, after, context_after = page.after.key.split(" ")
        start = _Start(uuid.UUID(execution_id), int(after), int(context_after))
    except ValueError as error:
        raise CursorInvalid(_AGAIN) from error
    if not 0 <= start.context_after <= start.after <= MAX_INTEGER:
        raise CursorInvalid(_AGAIN)
    return start
