"""Trying a merge, making it, and taking it back: all without a work tree.

``git merge-tree --write-tree`` (git 2.38) computes the merged tree in the object store alone. The
target branch is then moved by compare-and-swap; when somebody else was first, everything is
computed again on what they left.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from agentvine.git.commits import Author, write_commit
from agentvine.git.errors import (
    GitTooOld,
    MergeConflict,
    NoCommonHistory,
    NotMerged,
    RefMoved,
)
from agentvine.git.landing import move_branch
from agentvine.git.names import check_commit_id
from agentvine.git.places import Place, Repository, clean_room, locate
from agentvine.git.refs import is_ancestor, require_commit, resolve_branch, tree_of
from agentvine.git.runner import Git, failed, paths, text

_ATTEMPTS = 10
_USAGE_ERROR = 129
_SHOWN_FILES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialMerge:
    """What a merge would come to."""

    target_commit: str
    """The target branch's tip that it was tried on."""
    tree: str | None
    """The merged tree; None when there are conflicts."""
    conflicts: tuple[str, ...] = ()
    """The files that cannot be merged."""
    is_merged_already: bool = False

    @property
    def is_clean(self) -> bool:
        """Whether the merge can be made."""
        return not self.conflicts


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """A branch that now holds a change, or no longer holds it."""

    commit: str
    """The merge or revert; the one that was made before when ``is_new`` is false."""
    target_before: str
    """Where the target branch was."""
    is_new: bool
    """False when there was nothing left to do."""
    work_tree: Path | None = None
    """The work tree that had the branch checked out and was brought along."""


async def trial_merge(git: Git, repository: Path, target_branch: str, head: str) -> TrialMerge:
    """Find out whether a commit can be merged into a branch; nothing is changed.

    Raises:
        RefNotFound: There is no such branch.
        CommitNotFound: There is no such commit.
        NoCommonHistory: The two have no commit in common.
        GitTooOld: Git is older than 2.38.
    """
    location = locate(repository)
    await require_commit(git, repository, check_commit_id(head))
    target = await resolve_branch(git, repository, target_branch)
    if await is_ancestor(git, repository, head, target):
        tree = await tree_of(git, location, target)
        return TrialMerge(target_commit=target, tree=tree, is_merged_already=True)
    with clean_room(location) as room:
        tree, conflicts = await _merge_trees(git, room, target, head)
    return TrialMerge(target_commit=target, tree=tree, conflicts=conflicts)


async def merged_tree(
    git: Git, repository: Path, ours: str, theirs: str
) -> tuple[str | None, tuple[str, ...]]:
    """The tree that a merge of two commits would have, or the files in conflict.

    Raises:
        NoCommonHistory: The two have no commit in common.
        GitTooOld: Git is older than 2.38.
    """
    with clean_room(locate(repository)) as room:
        return await _merge_trees(git, room, ours, theirs)


async def merge(
    git: Git,
    repository: Path,
    target_branch: str,
    head: str,
    message: str,
    *,
    author: Author | None = None,
) -> Landed:
    """Merge a commit into a branch, always with a merge commit.

    Doing it again changes nothing and gives the merge commit that was made. When the commit
    brings nothing that the branch does not have, no commit is made either.

    Raises:
        RefNotFound: There is no such branch.
        CommitNotFound: There is no such commit.
        MergeConflict: They contradict each other; the files are named.
        NoCommonHistory: The two have no commit in common.
        WorkTreeDirty: The branch is checked out, with changes to files that the merge touches.
        WorkTreeBusy: The branch is checked out, and something else is under way there.
        RefMoved: Others changed the branch again and again.
        GitTooOld: Git is older than 2.38.
    """

    async def attempt() -> Landed:
        trial = await trial_merge(git, repository, target_branch, head)
        target = trial.target_commit
        if trial.is_merged_already:
            made = await _merge_commit_of(git, repository, target, head)
            return Landed(commit=made or target, target_before=target, is_new=False)
        if trial.tree is None:
            raise _conflict(f"Merging into {target_branch}", trial.conflicts)
        return await _land(
            git,
            repository,
            _Prepared(target_branch, target, trial.tree, (target, head), message, author),
        )

    return await _until_not_moved(attempt)


async def revert(
    git: Git,
    repository: Path,
    target_branch: str,
    commit: str,
    message: str,
    *,
    author: Author | None = None,
) -> Landed:
    """Take the change of a commit back, with a new commit on top of the branch.

    A merge commit is taken back towards its first parent. Doing it again changes nothing.

    Raises:
        RefNotFound: There is no such branch.
        CommitNotFound: There is no such commit.
        NotMerged: The branch does not contain the commit.
        MergeConflict: Later changes build on it; the files are named.
        WorkTreeDirty: The branch is checked out, with changes to files that the revert touches.
        WorkTreeBusy: The branch is checked out, and something else is under way there.
        RefMoved: Others changed the branch again and again.
        GitTooOld: Git is older than 2.38.
    """

    async def attempt() -> Landed:
        await require_commit(git, repository, check_commit_id(commit))
        target = await resolve_branch(git, repository, target_branch)
        if not await is_ancestor(git, repository, commit, target):
            raise NotMerged(f"{target_branch} does not contain {commit}.", commit=commit)
        tree, conflicts = await _revert_trees(git, locate(repository), target, commit)
        if tree is None:
            raise _conflict(f"Taking {commit[:12]} back from {target_branch}", conflicts)
        return await _land(
            git, repository, _Prepared(target_branch, target, tree, (target,), message, author)
        )

    return await _until_not_moved(attempt)


@dataclass(frozen=True, slots=True)
class _Prepared:
    branch: str
    target: str
    tree: str
    parents: tuple[str, ...]
    message: str
    author: Author | None


async def _land(git: Git, repository: Path, prepared: _Prepared) -> Landed:
    location, target = locate(repository), prepared.target
    if prepared.tree == await tree_of(git, location, target):
        return Landed(commit=target, target_before=target, is_new=False)
    with clean_room(location) as room:
        commit = await write_commit(
            git,
            room,
            prepared.tree,
            parents=prepared.parents,
            message=prepared.message,
            author=prepared.author,
        )
    work_tree = await move_branch(
        git,
        repository,
        prepared.branch,
        expected=target,
        commit=commit,
        reason="agentvine: " + prepared.message.strip().split("\n", 1)[0][:80],
    )
    return Landed(commit=commit, target_before=target, is_new=True, work_tree=work_tree)


async def _until_not_moved(attempt: Callable[[], Awaitable[Landed]]) -> Landed:
    for _ in range(_ATTEMPTS - 1):
        try:
            return await attempt()
        except RefMoved:
            # Somebody else was first: what they left is merged with next.
            await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311 - only spreads the load
    return await attempt()


async def _merge_trees(
    git: Git, room: Place, ours: str, theirs: str
) -> tuple[str | None, tuple[str, ...]]:
    args = ("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs)
    result = await git.capture(room, *args)
    if result.exit_code in {0, 1} and result.stdout:
        tree, *files = paths(result.stdout)
        return (tree, ()) if result.exit_code == 0 else (None, tuple(sorted(set(files))))
    if result.exit_code == _USAGE_ERROR:
        version = text(await git.run(room, "version"))
        raise GitTooOld(f"{version} cannot try a merge: install git 2.38 or later.")
    if b"unrelated histories" in result.stderr:
        raise NoCommonHistory(f"{ours} and {theirs} have no commit in common.")
    raise failed(args, result)


async def _revert_trees(
    git: Git, location: Repository, target: str, commit: str
) -> tuple[str | None, tuple[str, ...]]:
    """Merge with the sides reversed: from the commit, to the target and to the commit's parent.

    Git before 2.40 finds the base of a merge by itself, so the three trees are given a history of
    their own, in which the commit is the base. Nothing refers to it; housekeeping removes it.
    """
    base_tree = await tree_of(git, location, commit)
    with clean_room(location) as room:
        parents = text(await git.run(room, "rev-list", "--parents", "-n1", commit)).split(" ")[1:]
        if parents:
            before = await tree_of(git, location, parents[0])
        else:
            before = text(await git.run(room, "mktree"))
        base = await write_commit(git, room, base_tree, parents=(), message="base")
        sides = [
            await write_commit(git, room, tree, parents=(base,), message=name)
            for tree, name in (
                (await tree_of(git, location, target), "target"),
                (before, "before"),
            )
        ]
        return await _merge_trees(git, room, *sides)


async def _merge_commit_of(git: Git, repository: Path, target: str, head: str) -> str | None:
    """The commit on the target's own line that merged the head, if it came by a merge."""
    with clean_room(locate(repository)) as room:
        lines = await git.run(
            room, "rev-list", "--first-parent", "--merges", "--parents", f"^{head}", target
        )
    for line in text(lines).splitlines():
        commit, _, *merged = line.split(" ")
        if head in merged:
            return commit
    return None


def _conflict(what: str, files: tuple[str, ...]) -> MergeConflict:
    more = len(files) - _SHOWN_FILES
    listed = ", ".join(files[:_SHOWN_FILES]) + (f" and {more} more" if more > 0 else "")
    return MergeConflict(f"{what} conflicts in {listed}.", files=files)
