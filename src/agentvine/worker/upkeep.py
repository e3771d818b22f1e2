"""Clearing a data directory of what nobody needs, without losing work.

Work trees are taken away by their worker at the end of each run. What stays is what a worker did
not live to see to. It is taken away when it is old, after all that is in it was put under a rescue
reference of its mirror; what cannot be kept first is left where it is. Rescue references stay.
"""

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import structlog

from agentvine.git.names import rescue_ref
from agentvine.git.refs import find_ref
from agentvine.git.retirement import drop_merged_rescues, retire_mirror
from agentvine.git.runner import Git
from agentvine.git.salvage import salvage
from agentvine.git.worktrees import Worktree, list_worktrees, remove_folder, remove_worktree
from agentvine.kit.clock import Clock
from agentvine.kit.errors import AppError
from agentvine.kit.orphans import OrphanJournal
from agentvine.worker.disk import tree_size
from agentvine.worker.folders import RunFolder, read_folders
from agentvine.worker.lock import WorkerLock, is_locked
from agentvine.worker.places import DataPlaces, WorkerPlaces
from agentvine.worker.setup_cache import SetupCache
from agentvine.worker.setup_cache import remove as remove_entry
from agentvine.worker.tools import WorkerTools

_EVERY_SECONDS = 6 * 3600.0
_MESSAGE = "Left behind by a worker"

log = structlog.get_logger(__name__)


class TreeState(StrEnum):
    """Who answers for a work tree."""

    RUNNING = "running"
    """A living worker."""
    AWAITED = "awaited"
    """A worker that does not live: its next start reports the run, and takes the tree away."""
    ABANDONED = "abandoned"
    """Nobody."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A work tree on this machine."""

    execution_id: str
    path: str
    state: TreeState
    worker: str | None
    branch: str | None
    size_bytes: int
    used_at: float
    """When something in it last changed, as far as its folder and index tell."""


@dataclass(frozen=True, slots=True)
class Cleared:
    """What was done about one thing; or would be, when it was only asked."""

    kind: str
    """``tree``, ``removed``, ``refused``, ``set-up``, ``mirror`` or ``rescue``."""
    name: str
    size_bytes: int
    is_removed: bool
    detail: str


async def list_trees(data_dir: Path) -> list[Tree]:
    """All work trees, the oldest first."""
    return [tree for tree, _, _ in await asyncio.to_thread(_trees, DataPlaces(data_dir))]


async def prune_trees(
    data_dir: Path,
    git: Git,
    clock: Clock,
    *,
    older_than_seconds: float,
    awaited_too: bool,
    dry_run: bool,
) -> AsyncIterator[Cleared]:
    """Take away work trees that no living worker uses, and folders that were set aside.

    Args:
        data_dir: Where workers keep their things.
        git: The git program.
        clock: Whose time the age is reckoned by.
        older_than_seconds: What was used since then stays.
        awaited_too: Whether not only those go that nobody answers for.
        dry_run: Only say what would be done.
    """
    places = DataPlaces(data_dir)
    wanted = {TreeState.ABANDONED, *([TreeState.AWAITED] if awaited_too else [])}
    oldest = clock.now().timestamp() - older_than_seconds
    for tree, worktree, owner in await asyncio.to_thread(_trees, places):
        if tree.state in wanted and tree.used_at <= oldest:
            yield await _clear_tree(git, tree, worktree, owner, dry_run=dry_run)
    for path in _entries(places.removed):
        # Its run is reported, or was rescued, before it came here.
        yield await _clear_folder("removed", path, dry_run=dry_run)
    for worker in map(places.worker, _names(places.workers)):
        for folder in read_folders(worker.refused, remove_damaged=False):
            if folder.path.stat().st_mtime <= oldest:
                yield await _clear_refused(git, places, folder, dry_run=dry_run)


async def prune_set_ups(
    data_dir: Path,
    clock: Clock,
    *,
    older_than_seconds: float,
    repository: str | None,
    dry_run: bool,
) -> AsyncIterator[Cleared]:
    """Take away what set-up commands have made; the next task of its repository makes it again.

    Args:
        data_dir: Where workers keep their things.
        clock: Whose time the age is reckoned by.
        older_than_seconds: What was used since then stays.
        repository: Only what belongs to this one.
        dry_run: Only say what would be done.
    """
    oldest = clock.now().timestamp() - older_than_seconds
    for entry in SetupCache(DataPlaces(data_dir).cache, max_bytes=0).entries():
        if entry.used_at <= oldest and repository in {None, entry.repository}:
            if not dry_run:
                await asyncio.to_thread(remove_entry, entry.path)
            name = f"{entry.repository}/{entry.path.name[:12]}"
            yield Cleared("set-up", name, entry.size_bytes, True, "the next task makes it again")


async def prune_mirrors(
    data_dir: Path,
    git: Git,
    clock: Clock,
    *,
    older_than_seconds: float,
    repository: str | None,
    dry_run: bool,
) -> AsyncIterator[Cleared]:
    """Take away rescue refs whose commits the source has, and mirrors that nobody uses.

    Args:
        data_dir: Where workers keep their things.
        git: The git program.
        clock: Whose time the age is reckoned by.
        older_than_seconds: What was made, or used, since then stays.
        repository: Only what belongs to this one.
        dry_run: Only say what would be done.
    """
    places = DataPlaces(data_dir)
    oldest = clock.now().timestamp() - older_than_seconds
    for mirror in _entries(places.mirrors):
        name = mirror.name.removesuffix(".git")
        if not _is_id(name) or repository not in {None, name}:
            continue
        size = await asyncio.to_thread(tree_size, mirror)
        try:
            for ref in await drop_merged_rescues(git, mirror, made_before=oldest, dry_run=dry_run):
                yield Cleared("rescue", ref, 0, True, "its repository has these commits by now")
            why = "a run of it is not settled"
            if name not in _claimed_repositories(places):
                why = await retire_mirror(
                    git, mirror, places.removed, unused_since=oldest, dry_run=dry_run
                )
        except (AppError, OSError) as error:
            why = str(error)
        yield Cleared("mirror", name, size, why is None, why or "the next task fetches it again")


async def keep_up(tools: WorkerTools) -> None:
    """Prune now and then for as long as the worker lives; never ends by itself."""
    config = tools.config
    while config.leftover_seconds:
        try:
            async for done in _prune_all(tools, config.leftover_seconds):
                event = "leftover.removed" if done.is_removed else "leftover.kept"
                log.info(event, kind=done.kind, name=done.name, detail=done.detail)
        except (AppError, OSError) as error:
            log.warning("leftovers.not_cleared", problem=str(error))
        except Exception:
            # The supervisor of this loop: what is left lying about would fill the disk.
            log.exception("leftovers.crashed")
        await asyncio.sleep(_EVERY_SECONDS)


async def _prune_all(tools: WorkerTools, older_than_seconds: float) -> AsyncIterator[Cleared]:
    where = (tools.config.data_dir, tools.git, tools.clock)
    # Mirrors first: what they leave aside goes with the folders that trees have left.
    async for done in prune_mirrors(
        *where, older_than_seconds=older_than_seconds, repository=None, dry_run=False
    ):
        yield done
    async for done in prune_trees(
        *where, older_than_seconds=older_than_seconds, awaited_too=True, dry_run=False
    ):
        yield done


def _trees(places: DataPlaces) -> list[tuple[Tree, Worktree | None, WorkerPlaces | None]]:
    # The folders first: a claim is on disk before its work tree is made, and until after it went.
    paths = _entries(places.worktrees)
    owners = {
        str(folder.order.execution_id): worker
        for worker in map(places.worker, _names(places.workers))
        for folder in read_folders(worker.runs, remove_damaged=False)
    }
    known = {
        worktree.path: worktree
        for mirror in _entries(places.mirrors)
        for worktree in list_worktrees(mirror)
    }
    found: list[tuple[Tree, Worktree | None, WorkerPlaces | None]] = []
    for path in paths:
        worktree, owner = known.get(path.resolve()) or known.get(path), owners.get(path.name)
        state = TreeState.ABANDONED
        if owner is not None:
            state = TreeState.RUNNING if is_locked(owner.lock) else TreeState.AWAITED
        with suppress(FileNotFoundError):  # its run has ended meanwhile
            tree = Tree(
                execution_id=path.name,
                path=str(path),
                state=state,
                worker=owner.name if owner else None,
                branch=worktree.branch if worktree else None,
                size_bytes=tree_size(path),
                used_at=_last_use(path, worktree),
            )
            found.append((tree, worktree, owner))
    return sorted(found, key=lambda each: each[0].used_at)


def _is_id(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False


def _claimed_repositories(places: DataPlaces) -> set[str]:
    workers = [places.worker(name) for name in _names(places.workers)]
    return {
        str(folder.order.payload.repository.id)
        for worker in workers
        for runs in (worker.runs, worker.refused)
        for folder in read_folders(runs, remove_damaged=False)
        if folder.order.payload.repository is not None
    }


def _last_use(path: Path, worktree: Worktree | None) -> float:
    latest = path.stat().st_mtime
    for name in ("index", "HEAD") if worktree else ():
        assert worktree is not None
        with suppress(FileNotFoundError):
            latest = max(latest, (worktree.git_dir / name).stat().st_mtime)
    return latest


async def _clear_tree(
    git: Git, tree: Tree, worktree: Worktree | None, owner: WorkerPlaces | None, *, dry_run: bool
) -> Cleared:
    path = Path(tree.path)
    if _has_programs(path.parent.parent, tree.execution_id):
        is_removed = False
        detail = "its programs may still run; `agentvine doctor --fix` ends them"
    elif worktree is None:
        is_removed = await asyncio.to_thread(_is_empty, path)
        detail = "it is empty" if is_removed else "no mirror knows it: what is in it cannot be kept"
        if is_removed and not dry_run:
            await asyncio.to_thread(remove_folder, path)
    elif dry_run:
        is_removed, detail = True, f"what is new in it would be kept in {worktree.mirror}"
    else:
        try:
            with _held(owner):
                is_removed, detail = True, await _salvaged(git, tree, worktree)
        except (AppError, OSError) as error:
            is_removed, detail = False, str(error)
    return Cleared("tree", tree.execution_id, tree.size_bytes, is_removed, detail)


async def _salvaged(git: Git, tree: Tree, worktree: Worktree) -> str:
    ref = rescue_ref(f"{tree.execution_id}-left-behind")
    commit = await salvage(git, worktree, ref, message=_MESSAGE)
    await remove_worktree(worktree.mirror, Path(tree.path))
    return f"what was in it is {commit[:12]}, {ref}" if commit else "nothing in it was new"


@contextmanager
def _held(owner: WorkerPlaces | None) -> Generator[None]:
    """Keep the tree's worker from starting meanwhile.

    Raises:
        WorkerAlreadyRuns: It has just started.
    """
    if owner is None:
        yield
        return
    with WorkerLock(owner.lock, owner.name):
        yield


def _has_programs(data_dir: Path, execution_id: str) -> bool:
    workers = DataPlaces(data_dir).workers
    journals = (workers / name / "processes" for name in _names(workers))
    return any(
        run_id.startswith(execution_id)
        for journal in journals
        if journal.is_dir()
        for run_id in OrphanJournal(journal).find_orphans()
    )


async def _clear_folder(kind: str, path: Path, *, dry_run: bool) -> Cleared:
    size = await asyncio.to_thread(tree_size, path)
    if not dry_run:
        try:
            await asyncio.to_thread(remove_folder, path)
        except OSError as error:
            return Cleared(kind, path.name, size, False, str(error))
    return Cleared(kind, path.name, size, True, "nobody needs it")


async def _clear_refused(
    git: Git, places: DataPlaces, folder: RunFolder, *, dry_run: bool
) -> Cleared:
    repository = folder.order.payload.repository
    size = await asyncio.to_thread(tree_size, folder.path)
    if folder.bundle.exists() and repository is not None:
        ref = rescue_ref(str(folder.order.execution_id))
        mirror = places.mirror(repository.id)
        if not mirror.is_dir() or await find_ref(git, mirror, ref) is None:
            detail = f"its commits are in {folder.bundle} alone"
            return Cleared("refused", folder.path.name, size, False, detail)
    if not dry_run:
        await asyncio.to_thread(shutil.rmtree, folder.path, ignore_errors=True)
    return Cleared("refused", folder.path.name, size, True, "a report that the server refused")


def _is_empty(path: Path) -> bool:
    return not any(path.iterdir())


def _names(folder: Path) -> list[str]:
    return [path.name for path in _entries(folder)]


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
