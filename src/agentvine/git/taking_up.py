"""Going on where an earlier run has ended: its files in a fresh work tree, uncommitted."""

from pathlib import Path

from agentvine.git.merges import merged_tree
from agentvine.git.names import check_commit_id
from agentvine.git.places import clean_room, locate
from agentvine.git.refs import require_commit, tree_of
from agentvine.git.runner import Git
from agentvine.git.worktrees import Worktree


async def take_up(git: Git, worktree: Worktree, *, base: str, work: str) -> tuple[str, ...] | None:
    """Put the files of earlier work into a work tree, as changes to what it stands at.

    Where the branch has moved on meanwhile, the two are merged; what does not fit is not forced,
    and nothing is changed then.

    Args:
        git: The git program.
        worktree: Just made at the base.
        base: The commit that it stands at.
        work: The commit that has the work, of the same mirror.

    Returns:
        The files in conflict; empty when all is there. None when the work changes nothing.

    Raises:
        CommitNotFound: The mirror does not have one of the commits.
        NoCommonHistory: The two have no commit in common.
        GitTooOld: Git is older than 2.38.
    """
    mirror: Path = worktree.mirror
    for commit in (base, work):
        await require_commit(git, mirror, check_commit_id(commit))
    tree, conflicts = await merged_tree(git, mirror, base, work)
    if tree is None:
        return conflicts
    if tree == await tree_of(git, locate(mirror), base):
        return None
    index = worktree.git_dir / "index"
    with clean_room(worktree.repository, work_tree=worktree.path, index=index) as room:
        await git.run(room, "read-tree", "-u", "--reset", tree)
        # The index is the base's again, so that an agent sees as changed what it changed.
        await git.run(room, "read-tree", base)
    return ()
