"""Merges that were tried beforehand: what is kept of them, and which conflicts they foresee."""

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, or_, select

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.identity import history
from agentvine.domains.modifications.models import Modification, TrialMerge
from agentvine.domains.modifications.states import OPEN
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.models import Repository
from agentvine.domains.tasks.models import Task
from agentvine.kit.actor import Actor
from agentvine.kit.ids import new_id
from agentvine.kit.pagination import Page, PageRequest
from agentvine.protocol.modifications import ForeseenConflictOut, LiveChangeOut

_MAX_HEADS = 500
_MAX_FILES = 200
_TOLD_FILES = 20


@dataclass(frozen=True, slots=True)
class Head:
    """A change that waits to be applied, or to be decided about."""

    modification_id: uuid.UUID
    task_id: uuid.UUID
    task_number: int
    title: str
    repository_id: uuid.UUID
    target_branch: str
    commit: str
    paths: frozenset[str]


@dataclass(frozen=True, slots=True)
class Trial:
    """A merge to be tried: of a change with another one, or with its target."""

    head: Head
    other: Head | None
    """None: the target branch."""
    other_commit: str

    @property
    def key(self) -> tuple[str, str, bool]:
        """What it is known by once it has been tried."""
        return self.head.commit, self.other_commit, self.other is None

    @property
    def shares_files(self) -> bool:
        """Whether both changes name a file."""
        return self.other is not None and not self.head.paths.isdisjoint(self.other.paths)


async def list_heads(read: ReadSession) -> list[Head]:
    """Live changes of all repositories that want trial merges, newest first."""
    query = (
        select(
            Modification.id,
            Task.id,
            Task.number,
            Task.title,
            Repository.id,
            Modification.target_branch,
            Repository.default_branch,
            Modification.head_commit,
            Modification.affected_files,
        )
        .join_from(Modification, Task, Task.id == Modification.task_id)
        .join(Repository, Repository.id == Modification.repository_id)
        .where(_is_live(), Repository.trial_merges)
        .order_by(Modification.id.desc())
        .limit(_MAX_HEADS)
    )
    return [
        Head(
            modification_id=row[0],
            task_id=row[1],
            task_number=row[2],
            title=row[3],
            repository_id=row[4],
            target_branch=row[5] or row[6],
            commit=row[7] or "",
            paths=frozenset(row[8]),
        )
        for row in (await read.execute(query)).all()
    ]


async def list_repositories(read: ReadSession, heads: Sequence[Head]) -> Sequence[Repository]:
    """Where these changes are to go."""
    ids = {head.repository_id for head in heads}
    query = select(Repository).where(Repository.id.in_(ids)).order_by(Repository.id)
    return (await read.scalars(query)).all()


async def has_tried_elsewhere(read: ReadSession, repository_ids: Collection[uuid.UUID]) -> bool:
    """Whether trials are kept of repositories that have nothing live any more."""
    query = select(TrialMerge.id).where(TrialMerge.repository_id.not_in(repository_ids)).limit(1)
    return await read.scalar(query) is not None


async def forget_elsewhere(tx: Transaction, repository_ids: Collection[uuid.UUID]) -> None:
    """Forget the trials of all other repositories."""
    await tx.execute(delete(TrialMerge).where(TrialMerge.repository_id.not_in(repository_ids)))


async def list_tried(read: ReadSession, repository_id: uuid.UUID) -> set[tuple[str, str, bool]]:
    """The keys of what has been tried in a repository."""
    query = select(TrialMerge.first_commit, TrialMerge.second_commit, TrialMerge.is_with_target)
    rows = await read.execute(query.where(TrialMerge.repository_id == repository_id))
    return {(first, second, is_target) for first, second, is_target in rows.all()}


async def forget_others(
    tx: Transaction, repository_id: uuid.UUID, *, heads: Iterable[Head], tips: Iterable[str]
) -> None:
    """Forget what was tried of changes that are live no more, and of earlier target commits."""
    live, targets = {head.commit for head in heads}, set(tips)
    is_current = or_(
        and_(TrialMerge.is_with_target, TrialMerge.second_commit.in_(targets)),
        and_(~TrialMerge.is_with_target, TrialMerge.second_commit.in_(live)),
    )
    await tx.execute(
        delete(TrialMerge).where(
            TrialMerge.repository_id == repository_id,
            or_(TrialMerge.first_commit.not_in(live), ~is_current),
        )
    )


async def keep_trial(
    tx: Transaction, repository: Repository, trial: Trial, files: Sequence[str]
) -> None:
    """Keep what a trial merge came to; a conflict is told once to whoever watches."""
    if trial.key in await list_tried(tx, repository.id):
        return
    tx.add(
        TrialMerge(
            id=new_id(),
            repository_id=repository.id,
            first_commit=trial.head.commit,
            second_commit=trial.other_commit,
            is_with_target=trial.other is None,
            is_clean=not files,
            files=list(files[:_MAX_FILES]),
        )
    )
    await tx.flush()
    if not files:
        return
    for head, other in ((trial.head, trial.other), (trial.other, trial.head)):
        if head is not None:
            history.announce(
                tx,
                "modification.conflict_foreseen",
                entity=("modification", head.modification_id),
                project_id=repository.project_id,
                payload={
                    "task": f"T-{head.task_number}",
                    "with": f"T-{other.task_number}" if other else head.target_branch,
                    "files": list(files[:_TOLD_FILES]),
                },
            )


async def list_conflicts(
    read: ReadSession,
    actor: Actor,
    repository_id: uuid.UUID,
    page: PageRequest,
    *,
    task_id: uuid.UUID | None = None,
) -> Page[ForeseenConflictOut]:
    """Conflicts that live changes of a repository will run into, newest first.

    Raises:
        RepositoryNotFound: There is none, or it is not theirs to see.
    """
    repository = await projects.get_repository(read, actor, repository_id)
    of_task = [] if task_id is None else [_touches(Modification.task_id == task_id)]
    return await _page(read, repository.id, page, of_task)


async def list_conflicts_of(
    read: ReadSession, modification: Modification
) -> Sequence[ForeseenConflictOut]:
    """Conflicts that a change will run into, the newest of them; for whoever may see the change."""
    if modification.repository_id is None:
        return ()
    is_its = _touches(Modification.id == modification.id)
    return (await _page(read, modification.repository_id, PageRequest(limit=50), [is_its])).items


async def _page(
    read: ReadSession,
    repository_id: uuid.UUID,
    page: PageRequest,
    conditions: Sequence[ColumnElement[bool]],
) -> Page[ForeseenConflictOut]:
    query = select(TrialMerge).where(
        TrialMerge.repository_id == repository_id, ~TrialMerge.is_clean, *conditions
    )
    found = await fetch_page(read, query, TrialMerge.id, page, newest_first=True)
    commits = {row.first_commit for row in found.items} | {row.second_commit for row in found.items}
    live = await _changes_by_commit(read, repository_id, commits)
    conflicts = [
        ForeseenConflictOut(
            change=live[row.first_commit],
            other=None if row.is_with_target else live[row.second_commit],
            target_branch=live[row.first_commit].target_branch,
            files=row.files,
            tried_at=row.created_at,
        )
        for row in found.items
        # One that has just been applied or turned down is forgotten with the chore's next step.
        if row.first_commit in live and (row.is_with_target or row.second_commit in live)
    ]
    return Page(conflicts, found.next_cursor)


def _touches(is_wanted: ColumnElement[bool]) -> ColumnElement[bool]:
    heads = select(Modification.head_commit).where(is_wanted, _is_live())
    return or_(
        TrialMerge.first_commit.in_(heads),
        and_(~TrialMerge.is_with_target, TrialMerge.second_commit.in_(heads)),
    )


async def _changes_by_commit(
    read: ReadSession, repository_id: uuid.UUID, commits: Collection[str]
) -> dict[str, LiveChangeOut]:
    query = (
        select(Modification.head_commit, Modification.id, Task, Modification.target_branch)
        .join_from(Modification, Task, Task.id == Modification.task_id)
        .where(
            Modification.repository_id == repository_id,
            Modification.head_commit.in_(commits),
            _is_live(),
        )
    )
    return {
        commit: LiveChangeOut(
            modification_id=modification_id,
            task_id=task.id,
            task_ref=f"T-{task.number}",
            title=task.title,
            target_branch=branch or task.branch_name or "",
        )
        for commit, modification_id, task, branch in (await read.execute(query)).all()
        if commit is not None
    }


def _is_live() -> ColumnElement[bool]:
    return and_(Modification.status.in_(OPEN), Modification.head_commit.is_not(None))
