"""Moving a branch forward to a prepared commit, together with the work tree that shows it.

A branch that nobody has checked out is a reference, moved by compare-and-swap. One that somebody
has checked out must not be moved under their feet: their files would then look like a change that
takes everything back. There the prepared commit is merged, fast-forward only, in that work tree,
and only when none of the files it touches has changes of theirs.
"""

import os
from collections.abc import Collection
from pathlib import Path

from agentvine.git.errors import RefMoved, WorkTreeBusy, WorkTreeDirty
from agentvine.git.locks import file_lock
from agentvine.git.names import branch_ref
from agentvine.git.places import Place, Repository, clean_room, find_repository, locate
from agentvine.git.refs import resolve_branch, set_ref
from agentvine.git.runner import Git, failed, paths, text

_FILTER_SETTINGS = r"^filter\..*\.(clean|smudge|process|required)$"
_OPERATIONS = ("rebase-merge", "rebase-apply", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD")
_SHOWN_FILES = 10
_LOCK_SECONDS = 120.0


async def move_branch(
    git: Git, repository: Path, branch: str, *, expected: str, commit: str, reason: str
) -> Path | None:
    """Move a branch from one commit to a descendant of it.

    Returns:
        The work tree that was brought along, if the branch is checked out in one.

    Raises:
        RefMoved: The branch is no longer at the expected commit.
        WorkTreeDirty: It is checked out, with changes to files that the commit touches.
        WorkTreeBusy: It is checked out, and a rebase, a merge or another git command is under way.
        RepositoryBusy: Another of our merges there takes very long.
    """
    location = locate(repository)
    showing = await work_trees_showing(git, location, branch)
    if not showing:
        await set_ref(git, repository, branch_ref(branch), commit, expected=expected, reason=reason)
        return None
    if len(showing) > 1:
        raise WorkTreeBusy(
            f"{branch} is checked out in {len(showing)} work trees: leave it in all but one.",
            paths=[str(tree.work_tree) for tree in showing],
        )
    tree = showing[0]
    touched = await _touched_files(git, location, expected, commit)
    # Another of our merges, half done, would look like changes that are not committed.
    async with file_lock(tree.git_dir, timeout_seconds=_LOCK_SECONDS):
        if await resolve_branch(git, repository, branch) != expected:
            raise RefMoved(f"{branch} was changed by somebody else meanwhile.")
        await _require_clean(git, tree, touched, branch)
        await _fast_forward(git, repository, tree, branch, expected=expected, commit=commit)
    return tree.work_tree


async def work_trees_showing(git: Git, location: Repository, branch: str) -> list[Repository]:
    """The work trees that have a branch checked out.

    Raises:
        WorkTreeBusy: The branch is being rebased in one.
    """
    output = await git.run(Place(location.common_dir), "worktree", "list", "--porcelain", "-z")
    showing: list[Repository] = []
    for block in output.split(b"\0\0"):
        path, *facts = block.split(b"\0")
        tree = find_repository(Path(os.fsdecode(path.removeprefix(b"worktree "))))
        if not path or b"bare" in facts or tree is None or tree.work_tree is None:
            # A bare repository shows nothing, and a work tree whose folder is gone neither.
            continue
        if _rebased_branch(tree) == branch:
            raise WorkTreeBusy(
                f"{branch} is being rebased in {tree.work_tree}: finish that first.",
                path=str(tree.work_tree),
            )
        if f"branch {branch_ref(branch)}".encode() in facts:
            showing.append(tree)
    return showing


def _rebased_branch(tree: Repository) -> str | None:
    # While it rebases, git has the branch's name in a file and HEAD is detached.
    for operation in ("rebase-merge", "rebase-apply"):
        name = tree.git_dir / operation / "head-name"
        if name.is_file():
            return name.read_text("utf-8", "replace").strip().removeprefix("refs/heads/")
    return None


async def _touched_files(git: Git, location: Repository, old: str, new: str) -> dict[bytes, bytes]:
    """The files that differ, with the letter that git gives to what happened to each."""
    with clean_room(location) as room:
        output = await git.run(
            room, "diff-tree", "-r", "-z", "--no-renames", "--name-status", old, new
        )
    fields = output.split(b"\0")
    return dict(zip(fields[1::2], fields[::2], strict=False))


async def _require_clean(
    git: Git, tree: Repository, touched: dict[bytes, bytes], branch: str
) -> None:
    assert tree.work_tree is not None
    for operation in _OPERATIONS:
        if (tree.git_dir / operation).exists():
            raise WorkTreeBusy(
                f"{branch} is checked out in {tree.work_tree}, in the middle of another "
                "operation: finish that first.",
                path=str(tree.work_tree),
            )
    quiet = git.with_settings(*await _without_filters(git, tree))
    # Compares the contents of files that only look changed, as 'git status' does.
    await quiet.capture(tree.place, "update-index", "-q", "--refresh")
    unstaged = await quiet.run(tree.place, "diff-files", "--name-only", "-z")
    staged = await quiet.run(
        tree.place, "diff-index", "--cached", "--name-only", "--no-renames", "-z", "HEAD"
    )
    changed = {*unstaged.split(b"\0"), *staged.split(b"\0")}
    files = touched.keys() & (changed | _in_the_way(tree.work_tree, touched))
    if files:
        raise _dirty(tree.work_tree, branch, paths(b"\0".join(sorted(files))))
    await _require_no_filter(git, tree, touched, branch)


def _in_the_way(work_tree: Path, touched: dict[bytes, bytes]) -> set[bytes]:
    """Files that are there already though the commit adds them: untracked, perhaps ignored."""
    return {
        name
        for name, status in touched.items()
        if status == b"A" and os.path.lexists(work_tree / os.fsdecode(name))
    }


async def _require_no_filter(
    git: Git, tree: Repository, touched: Collection[bytes], branch: str
) -> None:
    """Refuse to write files that are kept through a filter, such as git-lfs or git-crypt.

    A filter is a program that the repository names; without it, the files would be written as
    they are stored, and look changed.
    """
    drivers = {key.split(".", 1)[1].rsplit(".", 1)[0] for key in await _filters(git, tree)}
    if not drivers:
        return
    output = await git.run(
        tree.place, "check-attr", "-z", "--stdin", "filter", stdin=b"\0".join(touched) + b"\0"
    )
    fields = paths(output)
    filtered = [
        name for name, value in zip(fields[::3], fields[2::3], strict=True) if value in drivers
    ]
    if filtered:
        assert tree.work_tree is not None
        raise WorkTreeDirty(
            f"{branch} is checked out in {tree.work_tree}, where {_listed(filtered)} would need "
            "a filter program, which AgentVine does not run: check out another branch there.",
            path=tree.work_tree,
            files=filtered,
        )


async def _fast_forward(
    git: Git, repository: Path, tree: Repository, branch: str, *, expected: str, commit: str
) -> None:
    settings = await _without_filters(git, tree)
    # The branch's own options could add a strategy, which is a program.
    settings.append((f"branch.{branch}.mergeOptions", ""))
    args = (
        *("merge", "--ff-only", "--quiet", "--no-stat", "--no-autostash"),
        *("--no-overwrite-ignore", "--no-verify-signatures", "--end-of-options", commit),
    )
    result = await git.with_settings(*settings).capture(tree.place, *args)
    current = await resolve_branch(git, repository, branch)
    if result.exit_code == 0 and current == commit:
        return
    if current != expected:
        raise RefMoved(f"{branch} was changed by somebody else meanwhile.", current=current)
    assert tree.work_tree is not None
    if b"index.lock" in result.stderr:
        raise WorkTreeBusy(
            f"Another git command works in {tree.work_tree}: try again when it has ended.",
            path=str(tree.work_tree),
        )
    # Git names the files that are in the way on lines of their own, after a tab.
    named = [line[1:] for line in text(result.stderr).splitlines() if line.startswith("\t")]
    if named:
        raise _dirty(tree.work_tree, branch, named)
    raise failed(args, result)


async def _without_filters(git: Git, tree: Repository) -> list[tuple[str, str]]:
    """Settings that switch off every filter that the repository's configuration names."""
    return [
        (key, "false" if key.endswith(".required") else "") for key in await _filters(git, tree)
    ]


async def _filters(git: Git, tree: Repository) -> list[str]:
    output = await git.run(
        tree.place,
        *("config", "--name-only", "-z", "--get-regexp", _FILTER_SETTINGS),
        allowed_exit_codes=(0, 1),
    )
    return paths(output)


def _dirty(path: Path, branch: str, files: list[str]) -> WorkTreeDirty:
    return WorkTreeDirty(
        f"{branch} is checked out in {path}, with changes to {_listed(files)} that are not "
        "committed: commit or stash them, then try again.",
        path=path,
        files=files,
    )


def _listed(files: list[str]) -> str:
    more = len(files) - _SHOWN_FILES
    return ", ".join(files[:_SHOWN_FILES]) + (f" and {more} more" if more > 0 else "")
