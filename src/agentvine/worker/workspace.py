"""Where a run works: a fresh work tree on the task's branch, and what becomes of it."""

import asyncio
import uuid
from dataclasses import dataclass
from pathlib import Path

import structlog

from agentvine.git.bundles import import_bundle, read_bundle
from agentvine.git.changes import commit_all, head_commit, rescue_uncommitted
from agentvine.git.errors import BundleInvalid, RefNotFound, WorktreeExists
from agentvine.git.external import find_external, notes, refusals, require_external_kept
from agentvine.git.inspection import inspect_repository
from agentvine.git.mirrors import ensure_mirror, resolve_source_branch
from agentvine.git.names import rescue_ref
from agentvine.git.refs import find_ref, set_ref
from agentvine.git.runner import Git
from agentvine.git.taking_up import take_up
from agentvine.git.worktrees import Worktree, add_worktree, find_worktree, remove_folder
from agentvine.kit.ids import short_id
from agentvine.protocol.queue import ClaimedOrder, RepositorySource
from agentvine.worker.places import DataPlaces

log = structlog.get_logger(__name__)

BUILD_PRODUCTS = (
    "__pycache__/",
    "*.py[co]",
    ".pytest_cache/",
    ".mypy_cache/",
    ".ruff_cache/",
    ".hypothesis/",
    ".DS_Store",
    # What aider keeps in the work tree.
    ".aider*",
)
"""Never committed as new files, also where no .gitignore names them."""


TAKEN_UP = "What the earlier attempt did is in the files, not committed: `git diff` shows it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A folder for one run."""

    git: Git
    path: Path
    execution_id: str
    mirror: Path | None = None
    """None when the task has no repository: then the folder is just an empty one."""
    base_commit: str = ""
    branch: str = ""
    target_branch: str = ""
    left_by_set_up: tuple[str, ...] = ()
    """Patterns of untracked files that are no part of the change."""
    notes: tuple[str, ...] = ()
    """What the run will lack, in sentences."""

    @property
    def worktree(self) -> Worktree:
        """As the mirror sees it now: the run may have switched branches."""
        assert self.mirror is not None
        return find_worktree(self.mirror, self.path)

    @property
    def rescue_ref(self) -> str:
        """Where the result is kept in the mirror."""
        return rescue_ref(self.execution_id)

    async def has_work_of(self, execution_id: uuid.UUID) -> bool:
        """Whether the mirror keeps what another attempt did."""
        ref = rescue_ref(str(execution_id))
        return self.mirror is not None and await find_ref(self.git, self.mirror, ref) is not None

    async def bring_work_of(self, execution_id: uuid.UUID, bundle: Path) -> None:
        """Take another attempt's commits into the mirror, to be kept there as if made here.

        Raises:
            BundleInvalid: It is no bundle of one branch, or damaged.
            BundleBaseMissing: The mirror lacks what it builds on.
        """
        assert self.mirror is not None, "the task has a repository"
        refs = read_bundle(bundle).refs
        if len(refs) != 1:
            raise BundleInvalid(f"A bundle of earlier work holds one branch, not {len(refs)}.")
        (name,) = refs
        await import_bundle(self.git, self.mirror, bundle, {name: rescue_ref(str(execution_id))})

    async def take_up(self, execution_id: str) -> str | None:
        """Put what an earlier run left into this one's files; a sentence about it, or None.

        Raises:
            GitError: Git failed; the files are as they were, or as the earlier run left them.
        """
        if self.mirror is None:
            return None
        work = await find_ref(self.git, self.mirror, rescue_ref(execution_id))
        if work is None or work == self.base_commit:
            return None
        conflicts = await take_up(self.git, self.worktree, base=self.base_commit, work=work)
        if conflicts is None:
            return None
        if conflicts:
            return (
                f"What the earlier attempt did does not fit to {self.target_branch} any more "
                f"({', '.join(conflicts[:5])}): the files are those of {self.target_branch}. The "
                f"work is in the commit {work}."
            )
        return TAKEN_UP

    async def commit(self, message: str) -> str | None:
        """Commit all that the run did; its last commit, or None when it changed nothing."""
        if self.mirror is None:
            return None
        await commit_all(
            self.git, self.worktree, message, exclude=(*BUILD_PRODUCTS, *self.left_by_set_up)
        )
        head = await head_commit(self.git, self.worktree)
        if head is None or head == self.base_commit:
            return None
        await set_ref(self.git, self.mirror, self.rescue_ref, head, reason="result of a run")
        return head

    async def require_whole(self, head: str) -> None:
        """See that a commit of the run's can be a change of this repository alone.

        Raises:
            ExternalContentChanged: It touches submodules, or files kept by git-lfs.
        """
        if self.mirror is not None:
            await require_external_kept(self.git, self.mirror, self.base_commit, head)

    async def rescue(self, message: str) -> str | None:
        """Keep all that is there, finished or not; None when that is nothing new."""
        if self.mirror is None:
            return None
        commit = await rescue_uncommitted(
            self.git, self.worktree, self.rescue_ref, message=message, exclude=self.left_by_set_up
        )
        return None if commit == self.base_commit else commit


async def prepare_workspace(git: Git, places: DataPlaces, order: ClaimedOrder) -> Workspace:
    """Bring the mirror up to date, and make a work tree from the target branch.

    Raises:
        SubmodulesRefused: The branch has submodules, and the repository does not allow to do
            without them.
        LargeFilesRefused: The same with files kept by git-lfs.
        GitError: The repository cannot be reached, has no such branch, or git fails.
    """
    path = places.worktree(order.execution_id)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    repository = order.payload.repository
    if repository is None:
        await asyncio.to_thread(path.mkdir, exist_ok=True)
        return Workspace(git=git, path=path, execution_id=str(order.execution_id))
    mirror = places.mirror(repository.id)
    source = find_source(repository)
    await ensure_mirror(git, source, mirror)
    target = order.payload.target_branch or await _default_branch(git, source)
    base = await resolve_source_branch(git, mirror, target)
    external = await find_external(git, mirror, base)
    if refused := refusals(external, order.payload.workspace):
        raise refused[0]
    branch = order.payload.branch_name or f"agentvine/{order.payload.task_ref.lower()}"
    try:
        await add_worktree(git, mirror, path, base=base, branch=branch, replace_branch=True)
    except WorktreeExists:
        # Another worker on this machine has not yet let go of an earlier attempt.
        branch = f"{branch}-{short_id(order.execution_id)}"
        await add_worktree(git, mirror, path, base=base, branch=branch, replace_branch=True)
    return Workspace(
        git=git,
        path=path,
        execution_id=str(order.execution_id),
        mirror=mirror,
        base_commit=base,
        branch=branch,
        target_branch=target,
        notes=tuple(notes(external, order.payload.workspace)),
    )


async def empty_out(*removed: Path) -> None:
    """Remove folders that were set aside; what cannot be removed is tried again at a start."""
    for path in removed:
        try:
            await asyncio.to_thread(remove_folder, path)
        except OSError as error:
            log.warning("folder.not_removed", path=str(path), problem=str(error))


def find_source(repository: RepositorySource) -> str | Path:
    """Where this machine gets the repository from: the path when it is here, else the URL."""
    path = Path(repository.path)
    if repository.git_url is None or (path.is_absolute() and path.exists()):
        return repository.path
    return repository.git_url


async def _default_branch(git: Git, source: str | Path) -> str:
    branch = (await inspect_repository(git, source)).default_branch
    if branch is None:
        raise RefNotFound("The repository has no default branch: name the target branch.")
    return branch
