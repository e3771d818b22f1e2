"""A work tree of its own for each run, made from a mirror.

The run owns the folder, and may do there what it likes: remove ``.git``, switch branches, leave
locks. So nothing here trusts the folder: a worktree is known by what the *mirror* says of it.
"""

import asyncio
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agentvine.git.errors import RefMoved, WorktreeExists, WorktreeNotFound
from agentvine.git.mirrors import restore_layout
from agentvine.git.names import branch_ref, check_branch_name, check_commit_id
from agentvine.git.places import Repository, clean_room
from agentvine.git.refs import MUST_NOT_EXIST, require_commit, set_ref
from agentvine.git.runner import Git

_HEAD_OF_BRANCH = "ref: refs/heads/"
_ASIDE = "agentvine-worktrees"
"""A folder of the mirror that git does not look into."""


@dataclass(frozen=True, slots=True)
class Worktree:
    """A work tree of a mirror."""

    mirror: Path
    path: Path
    git_dir: Path
    """What the mirror keeps for it: HEAD, index, reflog."""
    branch: str | None
    """What HEAD names now; None when it is detached."""

    @property
    def is_missing(self) -> bool:
        """Whether its folder is gone."""
        return not self.path.is_dir()

    @property
    def repository(self) -> Repository:
        """The worktree as a repository, whatever its folder says it is."""
        return Repository(self.git_dir, self.mirror, self.path)


async def add_worktree(
    git: Git, mirror: Path, path: Path, *, base: str, branch: str, replace_branch: bool = False
) -> Worktree:
    """Make a work tree at a commit, on a new branch.

    Args:
        git: The git program.
        mirror: The bare mirror.
        path: A folder that does not exist, or is empty.
        base: The commit to begin with.
        branch: The branch to make there.
        replace_branch: Whether a branch of this name may be there already and is set anew.

    Raises:
        CommitNotFound: The mirror does not have the base.
        WorktreeExists: The path, or the branch, is taken.
    """
    check_branch_name(branch)
    await require_commit(git, mirror, check_commit_id(base))
    path = _require_empty(path)
    restore_layout(mirror)
    prune_worktrees(mirror)
    if any(worktree.branch == branch for worktree in list_worktrees(mirror)):
        raise WorktreeExists(f"{branch} is checked out in another work tree.", branch=branch)
    try:
        await set_ref(
            git,
            mirror,
            branch_ref(branch),
            base,
            expected=None if replace_branch else MUST_NOT_EXIST,
            reason="agentvine: work begins",
        )
    except RefMoved as error:
        raise WorktreeExists(f"{mirror} already has a branch {branch}.", branch=branch) from error
    worktree = _register(mirror, path, branch)
    index = worktree.git_dir / "index"
    with clean_room(worktree.repository, work_tree=path, index=index) as room:
        # The files, without the filters that a configuration could name for them.
        workers = git.with_settings(("checkout.workers", "0"))  # as many as there are cores
        await workers.run(room, "read-tree", "-u", "--reset", base)
    return worktree


def list_worktrees(mirror: Path) -> list[Worktree]:
    """All work trees of a mirror, also those whose folder is gone."""
    folder = mirror / "worktrees"
    if not folder.is_dir():
        return []
    found = (_read(mirror, git_dir) for git_dir in sorted(folder.iterdir()))
    return [worktree for worktree in found if worktree is not None]


def find_worktree(mirror: Path, path: Path) -> Worktree:
    """The work tree at a path.

    Raises:
        WorktreeNotFound: The mirror has none there.
    """
    # The folder itself may be gone, or be a link by now: compare what its parent resolves to.
    wanted = path.parent.resolve() / path.name
    for worktree in list_worktrees(mirror):
        if worktree.path in {wanted, path}:
            return worktree
    raise WorktreeNotFound(f"{mirror} has no work tree at {path}.", path=str(path))


async def remove_worktree(mirror: Path, path: Path) -> None:
    """Remove a work tree with all that is in it, and what the mirror keeps for it.

    Works as well when either of the two is gone already. Branches and commits stay.
    """
    with suppress(WorktreeNotFound):
        worktree = find_worktree(mirror, path)
        await asyncio.to_thread(remove_folder, path)
        await asyncio.to_thread(_forget, worktree)
        return
    await asyncio.to_thread(remove_folder, path)


def set_aside(mirror: Path | None, path: Path, aside: Path) -> Path | None:
    """Take a work tree away at once, and leave its files to be removed when there is time.

    Args:
        mirror: What it was made from; None for a folder that is no work tree.
        path: Its folder, in whatever state.
        aside: Where to move it to, on the same disk; made when it is not there.

    Returns:
        What is to be removed; None when nothing is left of it.
    """
    moved: Path | None = None
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        aside.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Moving a folder changes what is above it, which is written in the folder itself.
        path.chmod(path.stat().st_mode | stat.S_IRWXU)
        moved = path.rename(aside / f"{path.name}-{secrets.token_hex(6)}")
    if mirror is not None:
        with suppress(WorktreeNotFound):
            _forget(find_worktree(mirror, path))
    return moved


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it, however its permissions are; or a link to one."""
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        # A run may leave folders that it made read-only: Go's module cache is one.
        if sys.version_info >= (3, 12):
            shutil.rmtree(path, onexc=_make_writable_and_retry)
        else:
            shutil.rmtree(path, onerror=_make_writable_and_retry)


def prune_worktrees(mirror: Path) -> None:
    """Forget the work trees whose folders are gone."""
    for worktree in list_worktrees(mirror):
        if worktree.is_missing:
            _forget(worktree)


def _register(mirror: Path, path: Path, branch: str) -> Worktree:
    # As 'git worktree add' does, but in one move: every git command in the mirror looks into all
    # entries, and fails when it meets one that is half written.
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", path.name)[:40]
    unique = f"{name}-{secrets.token_hex(6)}"
    mirror = mirror.absolute()
    git_dir = mirror / "worktrees" / unique
    path.mkdir(parents=True, exist_ok=True)
    (path / ".git").write_text(f"gitdir: {git_dir}\n", "utf-8", "surrogateescape")
    half_made = mirror / _ASIDE / unique
    half_made.mkdir(parents=True)
    (half_made / "HEAD").write_text(f"{_HEAD_OF_BRANCH}{branch}\n", "utf-8")
    (half_made / "commondir").write_text("../..\n", "utf-8")
    (half_made / "gitdir").write_text(f"{path / '.git'}\n", "utf-8", "surrogateescape")
    git_dir.parent.mkdir(exist_ok=True)
    half_made.rename(git_dir)
    return Worktree(mirror, path, git_dir, branch)


def _forget(worktree: Worktree) -> None:
    # Moved away at once, then removed: see above.
    aside = worktree.mirror / _ASIDE / f"{worktree.git_dir.name}.gone"
    aside.parent.mkdir(exist_ok=True)
    with suppress(FileNotFoundError):
        worktree.git_dir.rename(aside)
    remove_folder(aside)


def _require_empty(path: Path) -> Path:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise WorktreeExists(f"{path} exists and is not empty.", path=str(path))
    return path.absolute()


def _read(mirror: Path, git_dir: Path) -> Worktree | None:
    try:
        dot_git = (git_dir / "gitdir").read_text("utf-8", "surrogateescape").strip()
        head = (git_dir / "HEAD").read_text("utf-8", "surrogateescape").strip()
    except OSError:
        return None
    is_branch = head.startswith(_HEAD_OF_BRANCH)
    branch = head.removeprefix(_HEAD_OF_BRANCH) if is_branch else None
    return Worktree(mirror, Path(dot_git).parent, git_dir, branch)


def _make_writable_and_retry(remove: Callable[[str], object], name: str, problem: object) -> None:
    del problem
    with suppress(FileNotFoundError):
        path = Path(name)
        for folder in (path.parent, path):
            if not folder.is_symlink():
                folder.chmod(folder.stat().st_mode | stat.S_IRWXU)
        if remove in (os.open, os.scandir, os.lstat):
            # It could not even be looked into.
            shutil.rmtree(path)
        else:
            remove(name)
