"""What a run has changed: committed on its branch, or kept aside when it was not finished.

The caller makes sure that nothing else works in the work tree any more.
"""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from agentvine.git.commits import Author, write_commit
from agentvine.git.errors import GitFailed
from agentvine.git.names import check_ref_name
from agentvine.git.places import Place, clean_room
from agentvine.git.refs import set_ref, tree_of
from agentvine.git.runner import Git, failed, text
from agentvine.git.staging import stage_all, stage_ignored, stage_readable, staging_room
from agentvine.git.worktrees import Worktree


async def head_commit(git: Git, worktree: Worktree) -> str | None:
    """The commit that the work tree's HEAD is at; None when its branch has none."""
    output = await git.run(
        Place(worktree.git_dir),
        *("rev-parse", "--verify", "--quiet", "HEAD^{commit}"),
        allowed_exit_codes=(0, 1, 128),
    )
    return text(output) or None


async def commit_all(
    git: Git,
    worktree: Worktree,
    message: str,
    *,
    exclude: Sequence[str] = (),
    author: Author | None = None,
) -> str | None:
    """Commit everything on the branch that is checked out, and leave the work tree clean.

    Untracked files are included unless ``.gitignore`` names them; no hook and no filter runs.

    Args:
        git: The git program.
        worktree: Where.
        message: The commit's message.
        exclude: Patterns, as in ``.gitignore``, of untracked files to leave out.
        author: Who is credited.

    Returns:
        The commit, or None when there was nothing to commit. Commits that the run made itself
        count as nothing here: compare ``head_commit`` with the base.
    """
    _remove_left_locks(worktree)
    head = await head_commit(git, worktree)
    with staging_room(worktree) as room:
        tree = await stage_all(git, room, exclude=exclude)
        if head is not None and tree == await tree_of(git, worktree.repository, head):
            return None
        parents = [] if head is None else [head]
        commit = await write_commit(
            git, room, tree, parents=parents, message=message, author=author
        )
        await _move_head(git, worktree, commit, expected=head)
        assert room.index is not None
        room.index.replace(worktree.git_dir / "index")
    return commit


async def list_untracked(git: Git, worktree: Worktree) -> list[str]:
    """What is in the work tree, is not tracked, and not named by ``.gitignore``.

    As patterns for ``exclude``; a folder of such files counts as one. Names that are no text are
    left out.
    """
    with staging_room(worktree) as room:
        listed = ("ls-files", "-z", "-o", "--exclude-standard", "--directory")
        output = await git.run(room, *listed, "--no-empty-directory")
    names = (name for name in output.split(b"\0") if name)
    return [exclude_pattern(name.decode()) for name in names if _is_text(name)]


def exclude_pattern(path: str) -> str:
    """The pattern, as in ``.gitignore``, that stands for one path of the work tree and no other."""
    return "/" + re.sub(r"([\\*?\[ ])", r"\\\1", path)


def _is_text(name: bytes) -> bool:
    try:
        return name.decode().isprintable()
    except UnicodeDecodeError:
        return False


async def rescue_uncommitted(
    git: Git,
    worktree: Worktree,
    ref: str,
    *,
    message: str = "Rescued work",
    exclude: Sequence[str] = (),
    with_ignored: bool = False,
) -> str | None:
    """Keep all that a run has left, committed or not, under a reference.

    The work tree, its index and its branch stay as they are, however broken: in the middle of a
    merge, with an unreadable index, with files that cannot be read, without ``.git``. What was
    staged and then changed again is kept as the second parent, as ``git stash`` does. Left out are
    untracked files that ``exclude`` names, as for ``commit_all``, and those that ``.gitignore``
    names; ``with_ignored`` keeps small ones that are not in a folder it names as a whole.

    Returns:
        The commit; HEAD's own when there is nothing besides it. None when there is nothing at all.
    """
    check_ref_name(ref)
    head = await head_commit(git, worktree)
    commit = head
    if not worktree.is_missing:
        tree, staged = await _stage_whatever_is_there(
            git, worktree, exclude, with_ignored=with_ignored
        )
        parents = [] if head is None else [head]
        head_tree = None if head is None else await tree_of(git, worktree.repository, head)
        with clean_room(worktree.repository) as room:
            if staged not in {None, tree, head_tree}:
                assert staged is not None
                parents.append(
                    await write_commit(
                        git, room, staged, parents=parents, message=f"{message}: what was staged"
                    )
                )
            if tree != head_tree or len(parents) > 1:
                commit = await write_commit(git, room, tree, parents=parents, message=message)
    if commit is not None:
        await set_ref(git, worktree.mirror, ref, commit, reason=message)
    return commit


async def _stage_whatever_is_there(
    git: Git, worktree: Worktree, exclude: Sequence[str], *, with_ignored: bool
) -> tuple[str, str | None]:
    """The tree of the work tree's files, and that of its index when it has a whole one."""
    staged: str | None = None
    try:
        with staging_room(worktree) as room:
            with suppress(GitFailed):  # it is unmerged, or damaged
                staged = text(await git.run(room, "write-tree"))
            tree = await stage_all(git, room, exclude=exclude)
            return (await stage_ignored(git, room) if with_ignored else tree), staged
    except (GitFailed, OSError):
        with staging_room(worktree, with_index=False) as room:
            tree = await stage_readable(git, room, exclude=exclude)
            return (await stage_ignored(git, room) if with_ignored else tree), staged


async def _move_head(git: Git, worktree: Worktree, commit: str, *, expected: str | None) -> None:
    args = ("update-ref", "-m", "agentvine", "HEAD", commit, expected or "0" * len(commit))
    result = await git.capture(Place(worktree.git_dir), *args)
    if result.exit_code != 0:
        raise failed(args, result)


def _remove_left_locks(worktree: Worktree) -> None:
    # A run that was killed in the middle of a git command leaves its lock files.
    paths = [worktree.git_dir / "index.lock", worktree.git_dir / "HEAD.lock"]
    if worktree.branch is not None:
        ref = Path(os.path.normpath(worktree.mirror / "refs" / "heads" / worktree.branch))
        paths.append(ref.with_name(f"{ref.name}.lock"))
    for path in paths:
        path.unlink(missing_ok=True)
