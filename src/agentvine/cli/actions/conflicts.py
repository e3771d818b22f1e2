"""Conflicts that are foreseen: for ``repo conflicts``, ``task show`` and ``modification show``."""

from collections.abc import Sequence

from agentvine.cli import resolve
from agentvine.cli.output import Column
from agentvine.cli.session import Session
from agentvine.protocol.modifications import ForeseenConflictOut

_SHOWN_FILES = 5


async def list_conflicts(
    session: Session, *, name: str, project: str | None, limit: int | None
) -> None:
    """All that are foreseen in a repository."""
    repository = await resolve.find_repository(session, name, project)
    rows = await resolve.collect(session.client.modifications.conflicts(repository.id), limit)
    columns = [
        Column[ForeseenConflictOut]("task", lambda row: row.change.task_ref),
        Column[ForeseenConflictOut]("with", _other),
        Column[ForeseenConflictOut]("files", lambda row: few(row.files)),
        Column[ForeseenConflictOut]("title", lambda row: row.change.title),
        Column[ForeseenConflictOut]("tried", lambda row: row.tried_at),
    ]
    session.out.table(rows, columns, nothing="No conflict is foreseen.")


def conflict_line(row: ForeseenConflictOut, task_ref: str) -> str:
    """A conflict from the side of one of its tasks."""
    is_first = row.change.task_ref == task_ref
    other = _other(row) if is_first else row.change.task_ref
    return f"will conflict with {other} in {few(row.files)}"


def few(words: Sequence[str], count: int = _SHOWN_FILES) -> str:
    """The first of some words, and how many more there are."""
    more = len(words) - count
    return ", ".join(words[:count]) + (f" and {more} more" if more > 0 else "")


def _other(row: ForeseenConflictOut) -> str:
    return row.other.task_ref if row.other else row.target_branch
