"""What workers have left on this machine; for ``agentvine doctor``. Looks, and changes nothing."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agentvine.git.errors import GitError
from agentvine.git.refs import list_rescue_refs
from agentvine.git.runner import Git
from agentvine.kit.orphans import OrphanJournal
from agentvine.worker.disk import tree_size
from agentvine.worker.folders import RunFolder, read_folders
from agentvine.worker.lock import is_locked
from agentvine.worker.places import DataPlaces, WorkerPlaces
from agentvine.worker.setup_cache import SetupCache


@dataclass(frozen=True, slots=True)
class Stored:
    """Something that takes room on the disk."""

    kind: str
    """``trees``, ``mirrors``, ``set-ups``, or ``removed``: on its way out."""
    name: str
    """The execution's id, or the repository's."""
    size_bytes: int
    used_at: float
    """When it was made or last used, as the file system tells time."""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What is there that no living worker looks after."""

    live_workers: list[str] = field(default_factory=list[str])
    worktrees: list[Path] = field(default_factory=list[Path])
    """Work trees of executions that nobody runs."""
    processes: list[str] = field(default_factory=list[str])
    """Runs whose programs may still go on: their worker has died."""
    interrupted: list[str] = field(default_factory=list[str])
    """Executions that were broken off; their worker reports them at its next start."""
    undelivered: list[str] = field(default_factory=list[str])
    """Executions whose report is still to be delivered; by a worker of the same name."""
    refused: list[Path] = field(default_factory=list[Path])
    """Reports that the server would not take."""
    stored: list[Stored] = field(default_factory=list[Stored])
    """What takes room, in use or not."""
    rescued: dict[str, str] = field(default_factory=dict[str, str])
    """Executions whose commits a mirror keeps, by their mirror's path."""

    @property
    def is_clean(self) -> bool:
        """Whether there is nothing to be done; rescued work is no disorder."""
        return not any(
            (self.worktrees, self.processes, self.interrupted, self.undelivered, self.refused)
        )


async def find_leftovers(data_dir: Path, git: Git) -> Leftovers:
    """Look through a data directory."""
    places = DataPlaces(data_dir)
    found = Leftovers()
    in_use: set[str] = set()
    for worker in _workers(places):
        folders = _folders(worker)
        if is_locked(worker.lock):
            found.live_workers.append(worker.name)
            in_use |= {str(folder.order.execution_id) for folder in folders}
        else:
            _note_claims(found, folders)
        if worker.processes.is_dir():
            found.processes.extend(OrphanJournal(worker.processes).find_orphans())
        if worker.refused.is_dir():
            found.refused.extend(sorted(worker.refused.iterdir()))
    found.worktrees.extend(path for path in _entries(places.worktrees) if path.name not in in_use)
    found.stored.extend(await asyncio.to_thread(lambda: list(_stored(places))))
    for mirror in _entries(places.mirrors):
        if mirror.suffix == ".git":
            found.rescued.update(dict.fromkeys(await _rescued(git, mirror), str(mirror)))
    return found


def _note_claims(found: Leftovers, folders: list[RunFolder]) -> None:
    for folder in folders:
        execution = str(folder.order.execution_id)
        if folder.get_report() is None:
            found.interrupted.append(execution)
        else:
            found.undelivered.append(execution)


def _stored(places: DataPlaces) -> Iterator[Stored]:
    folders = (
        *(("trees", path) for path in _entries(places.worktrees)),
        *(("mirrors", path) for path in _entries(places.mirrors)),
        *(("removed", path) for path in _entries(places.removed)),
    )
    for kind, path in folders:
        with suppress(OSError):  # its run has ended meanwhile
            used_at = path.stat().st_mtime
            yield Stored(kind, path.name.removesuffix(".git"), tree_size(path), used_at)
    for entry in SetupCache(places.cache, max_bytes=0).entries():
        yield Stored("set-ups", entry.repository, entry.size_bytes, entry.used_at)


def _workers(places: DataPlaces) -> Iterator[WorkerPlaces]:
    return (places.worker(path.name) for path in _entries(places.workers))


def _folders(worker: WorkerPlaces) -> list[RunFolder]:
    return list(read_folders(worker.runs, remove_damaged=False))


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


async def _rescued(git: Git, mirror: Path) -> list[str]:
    try:
        return list(await list_rescue_refs(git, mirror))
    except GitError:
        # Half a mirror: nothing was rescued there.
        return []
