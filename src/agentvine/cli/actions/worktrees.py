"""What ``agentvine worktree`` and ``agentvine worker cache`` do."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Protocol, cast

from agentvine.cli.actions.doctor import Stored, find_leftovers
from agentvine.cli.formats import fmt_bytes
from agentvine.cli.lazy import load
from agentvine.cli.output import Column
from agentvine.cli.session import Session
from agentvine.config.settings import environment_for_child
from agentvine.git.runner import Git
from agentvine.kit.clock import SystemClock

_CACHED = ("mirrors", "set-ups")


class Tree(Protocol):
    """A work tree, as the worker's side tells."""

    execution_id: str
    path: str
    state: str
    worker: str | None
    branch: str | None
    size_bytes: int
    used_at: float


class Cleared(Protocol):
    """What was done about one thing."""

    kind: str
    name: str
    size_bytes: int
    is_removed: bool
    detail: str


async def list_trees(session: Session) -> None:
    """All work trees here."""
    trees = cast("list[Tree]", await load(session.parts.list_trees)(session.settings.data_dir))
    columns = [
        Column[Tree]("execution", lambda row: row.execution_id),
        Column[Tree]("state", lambda row: row.state),
        Column[Tree]("worker", lambda row: row.worker),
        Column[Tree]("branch", lambda row: row.branch),
        Column[Tree]("size", lambda row: fmt_bytes(row.size_bytes)),
        Column[Tree]("used", lambda row: datetime.fromtimestamp(row.used_at, UTC)),
    ]
    session.out.table(trees, columns, nothing="No work tree is here.")


async def prune_trees(session: Session, *, older_than: int, awaited: bool, dry_run: bool) -> None:
    """Remove old ones; what is in them is kept first."""
    cleared = load(session.parts.prune_trees)(
        session.settings.data_dir,
        Git(environment=environment_for_child()),
        SystemClock(),
        older_than_seconds=older_than,
        awaited_too=awaited,
        dry_run=dry_run,
    )
    await _tell(session, cleared, dry_run=dry_run)


async def list_cache(session: Session) -> None:
    """Mirrors and set-ups."""
    left = await find_leftovers(session)
    rows = [each for each in left.stored if each.kind in _CACHED]
    columns = [
        Column[Stored]("kind", lambda row: row.kind),
        Column[Stored]("repository", lambda row: row.name),
        Column[Stored]("size", lambda row: fmt_bytes(row.size_bytes)),
        Column[Stored]("used", lambda row: datetime.fromtimestamp(row.used_at, UTC)),
    ]
    session.out.table(rows, columns, nothing="Nothing is kept here yet.")


async def prune_cache(
    session: Session, *, older_than: int, repository: uuid.UUID | None, dry_run: bool
) -> None:
    """Remove set-ups and mirrors that were not used for long."""
    chosen = {
        "older_than_seconds": older_than,
        "repository": None if repository is None else str(repository),
        "dry_run": dry_run,
    }
    folder, clock = session.settings.data_dir, SystemClock()
    git = Git(environment=environment_for_child())
    set_ups = load(session.parts.prune_set_ups)(folder, clock, **chosen)
    mirrors = load(session.parts.prune_mirrors)(folder, git, clock, **chosen)
    await _tell(session, _both(set_ups, mirrors), dry_run=dry_run)


async def _both(*parts: AsyncIterator[Cleared]) -> AsyncIterator[Cleared]:
    for part in parts:
        async for each in part:
            yield each


async def _tell(session: Session, cleared: AsyncIterator[Cleared], *, dry_run: bool) -> None:
    done: list[Cleared] = []
    async for each in cleared:
        done.append(each)
        word = ("would remove" if dry_run else "removed") if each.is_removed else "kept"
        size = fmt_bytes(each.size_bytes)
        session.out.line(f"{word} {each.kind} {each.name} ({size}): {each.detail}")
    if session.out.as_json:
        session.out.data(done)
        return
    total = fmt_bytes(sum(each.size_bytes for each in done if each.is_removed))
    session.out.line(f"{'would free' if dry_run else 'freed'} {total}" if done else "nothing to do")
