"""Files that tasks touch, and who waits for whom because of them.

Of the tasks of one repository and target branch whose files meet, one at a time is queued, runs, or
has a change that waits to be applied: it holds its files. Who waits holds nothing, and so keeps
nobody else waiting, until it has waited for ``STARVED_AFTER``: from then on, who comes later waits
for it, too. Tasks wait for holders, which wait for no files, and for those who have waited longer:
never in a circle.
"""

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import and_, delete, or_, select, update

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.projects.models import Repository
from agentvine.domains.tasks.enums import TaskFileSource, TaskPriority, TaskStatus
from agentvine.domains.tasks.models import Task, TaskFile
from agentvine.domains.tasks.states import RUNNING
from agentvine.kit.globs import condense, find_common
from agentvine.kit.ids import new_id
from agentvine.protocol.paths import MAX_PATH, MAX_PATTERNS
from agentvine.protocol.tasks import FileWaitOut, TaskFileOut

CHANNEL = "files"
"""The channel of the chore that lets go who waits for files."""

STARVED_AFTER = timedelta(minutes=30)
HOLDING = RUNNING | {TaskStatus.QUEUED, TaskStatus.REVIEW}

_TURN = "waits a moment: others of its repository are being queued"
_SHOWN_TASKS = 5
_SHOWN_FILES = 3
_MAX_FILES = 50


@dataclass(frozen=True, slots=True)
class Stake:
    """What a task touches, and how it stands."""

    task_id: uuid.UUID
    number: int
    title: str
    status: TaskStatus
    status_reason: str | None
    priority: TaskPriority
    target_branch: str | None
    parent_id: uuid.UUID | None
    waits_since: datetime | None
    patterns: tuple[str, ...] = ()

    @property
    def is_held(self) -> bool:
        """Whether the task holds its files."""
        return self.status in HOLDING

    def has_starved(self, now: datetime) -> bool:
        """Whether it has waited so long that others must not begin before it."""
        return self.waits_since is not None and self.waits_since <= now - STARVED_AFTER

    def comes_before(self, other: "Stake") -> bool:
        """Whether it has waited for longer than another one."""
        if self.waits_since is None or other.waits_since is None:
            return self.waits_since is not None
        return (self.waits_since, self.task_id) < (other.waits_since, other.task_id)


@dataclass(frozen=True, slots=True)
class Wait:
    """A task that another one waits for, and where their files meet."""

    other: Stake
    files: tuple[str, ...]


def find_waits(
    mine: Stake, others: Collection[Stake], now: datetime, *, besides: Collection[uuid.UUID] = ()
) -> list[Wait]:
    """For whom a task waits.

    Args:
        mine: The task.
        others: The tasks of its repository that hold files or wait for them.
        now: The time.
        besides: Tasks it does not wait for: those that it is a part of.
    """
    # What is a part of a holder does not stand in line behind those who wait for that one.
    stands_in_line = not any(other.is_held and other.task_id in besides for other in others)
    found = [
        Wait(other, tuple(common))
        for other in others
        if other.task_id != mine.task_id
        and other.task_id not in besides
        and other.target_branch == mine.target_branch
        and (
            other.is_held
            or (stands_in_line and other.has_starved(now) and other.comes_before(mine))
        )
        and (common := find_common(mine.patterns, other.patterns))
    ]
    return sorted(found, key=lambda wait: wait.other.number)


def describe(waits: Sequence[Wait]) -> str:
    """For whom a task waits, in one line."""
    told = [
        f"T-{wait.other.number}{_how(wait.other)} ({_few(wait.files, _SHOWN_FILES)})"
        for wait in waits
    ]
    return f"waits for files of {_few(told, _SHOWN_TASKS)}"


def _how(other: Stake) -> str:
    if not other.is_held:
        return ", before it in line"
    # It goes on when somebody decides, and not before.
    return ", whose change is in review" if other.status is TaskStatus.REVIEW else ""


def wait_out(wait: Wait) -> FileWaitOut:
    """A wait as clients see it."""
    return FileWaitOut(
        task_id=wait.other.task_id,
        ref=f"T-{wait.other.number}",
        title=wait.other.title,
        status=wait.other.status,
        files=list(wait.files[:_MAX_FILES]),
    )


async def hold_files(tx: Transaction, task: Task) -> str | None:
    """Let a task that is about to be queued hold its files; or why it has to wait for them.

    The caller holds the task's lock. Nobody else's is waited for: of two that are queued at the
    same moment, one is told to wait, and is looked at again after the other's transaction.
    """
    own = TaskFile.task_id == task.id
    since = (await tx.scalars(select(TaskFile.live_since).where(own))).all()
    if not all(since):
        await tx.execute(update(TaskFile).where(own).values(live_since=tx.now))
    repository = await tx.get(Repository, task.repository_id) if since else None
    if repository is None or not repository.overlap_waits:
        return None
    if not await tx.dialect.try_lock(tx, f"files of {repository.id}"):
        tx.hint(CHANNEL)
        return _TURN
    waits = await list_waits(tx, task, tx.now)
    return describe(waits) if waits else None


async def list_waits(read: ReadSession, task: Task, now: datetime) -> list[Wait]:
    """For whom a task has to wait that holds or waits for its files."""
    if task.repository_id is None:
        return []
    await read.flush()  # the tasks' states are read as they are now
    stakes = await list_stakes(read, task.repository_id)
    mine = next((stake for stake in stakes if stake.task_id == task.id), None)
    if mine is None:
        return []
    return find_waits(mine, stakes, now, besides=await list_ancestors(read, mine))


async def list_current_waits(read: ReadSession, task: Task) -> list[Wait]:
    """For whom a task waits at this moment because of its files."""
    if task.status is not TaskStatus.BLOCKED or task.waits_for_files_since is None:
        return []
    now = await read.scalar(select(read.dialect.now_sql()))
    assert now is not None, "the database knows the time"
    return await list_waits(read, task, now)


async def list_stakes(read: ReadSession, repository_id: uuid.UUID) -> list[Stake]:
    """What the tasks of a repository touch that are queued, run, are in review or wait."""
    query = (
        select(
            Task.id,
            Task.number,
            Task.title,
            Task.status,
            Task.status_reason,
            Task.priority,
            Task.branch_name,
            Task.parent_task_id,
            Task.waits_for_files_since,
            TaskFile.pattern,
        )
        .join_from(TaskFile, Task, Task.id == TaskFile.task_id)
        .where(
            TaskFile.repository_id == repository_id,
            TaskFile.live_since.is_not(None),
            Task.deleted_at.is_(None),
        )
        .order_by(Task.id)
    )
    found: dict[uuid.UUID, Stake] = {}
    patterns: dict[uuid.UUID, list[str]] = defaultdict(list)
    for row in (await read.execute(query)).all():
        found.setdefault(row[0], Stake(*row[:9]))
        patterns[row[0]].append(row[9])
    return [replace(stake, patterns=tuple(patterns[key])) for key, stake in found.items()]


async def list_ancestors(read: ReadSession, stake: Stake) -> set[uuid.UUID]:
    """The tasks that a task is a part of, directly or not."""
    found: set[uuid.UUID] = set()
    parent_id = stake.parent_id
    while parent_id is not None and parent_id not in found:
        found.add(parent_id)
        parent_id = await read.scalar(select(Task.parent_task_id).where(Task.id == parent_id))
    return found


async def set_files(
    tx: Transaction, task: Task, patterns: Iterable[str], source: TaskFileSource
) -> None:
    """Say what a task touches, in place of what the same source said before."""
    await tx.execute(delete(TaskFile).where(TaskFile.task_id == task.id, TaskFile.source == source))
    if task.repository_id is None:
        return
    is_live = task.status in HOLDING or task.waits_for_files_since is not None
    tx.add_all(
        TaskFile(
            id=new_id(),
            task_id=task.id,
            repository_id=task.repository_id,
            pattern=pattern,
            source=source,
            live_since=tx.now if is_live else None,
        )
        for pattern in condense(patterns, count=MAX_PATTERNS, length=MAX_PATH)
    )
    await tx.flush()


async def learn_files(tx: Transaction, task: Task, paths: Iterable[str]) -> None:
    """Remember what an attempt has changed; a change in review holds that, and no more."""
    await set_files(tx, task, paths, TaskFileSource.HISTORY)
    if task.status is TaskStatus.REVIEW:
        await tx.execute(
            update(TaskFile)
            .where(TaskFile.task_id == task.id, TaskFile.source != TaskFileSource.HISTORY)
            .values(live_since=None)
        )
    tx.hint(CHANNEL)


async def release_files(tx: Transaction, task: Task) -> None:
    """Let others have the files of a task that has ended."""
    freed = await tx.execute(
        update(TaskFile)
        .where(TaskFile.task_id == task.id, TaskFile.live_since.is_not(None))
        .values(live_since=None)
        .returning(TaskFile.id)
    )
    if freed.first() is not None:
        tx.hint(CHANNEL)


async def list_files(read: ReadSession, task_id: uuid.UUID) -> list[TaskFileOut]:
    """What a task touches, by source and pattern."""
    query = select(TaskFile).where(TaskFile.task_id == task_id)
    rows = (await read.scalars(query.order_by(TaskFile.source, TaskFile.pattern))).all()
    return [TaskFileOut(pattern=row.pattern, source=row.source) for row in rows]


async def list_waiting(read: ReadSession, limit: int) -> Sequence[Task]:
    """Tasks that wait for files, longest waiting first."""
    query = (
        select(Task)
        .where(
            Task.waits_for_files_since.is_not(None),
            Task.status == TaskStatus.BLOCKED,
            Task.deleted_at.is_(None),
        )
        .order_by(Task.waits_for_files_since, Task.id)
        .limit(limit)
    )
    return (await read.scalars(query)).all()


async def lock_idle_owners(tx: Transaction, limit: int) -> Sequence[uuid.UUID]:
    """Tasks that neither hold files nor wait for them, and yet count as if they did; locked."""
    query = (
        select(Task.id)
        .where(
            Task.id.in_(select(TaskFile.task_id).where(TaskFile.live_since.is_not(None))),
            or_(
                Task.deleted_at.is_not(None),
                and_(
                    Task.status.not_in(HOLDING),
                    or_(Task.waits_for_files_since.is_(None), Task.status != TaskStatus.BLOCKED),
                ),
            ),
        )
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    )
    return (await tx.scalars(query)).all()


async def drop_stakes(tx: Transaction, task_ids: Collection[uuid.UUID]) -> None:
    """Let files go of tasks that the caller has locked."""
    await tx.execute(update(TaskFile).where(TaskFile.task_id.in_(task_ids)).values(live_since=None))


def _few(items: Sequence[str], count: int) -> str:
    more = len(items) - count
    return ", ".join(items[:count]) + (f" and {more} more" if more > 0 else "")
