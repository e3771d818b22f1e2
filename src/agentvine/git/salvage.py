"""All that a work tree holds, kept before the work tree is taken away for good.

What a run leaves on purpose is committed (``changes``). This is for a tree that nobody answers for
any more: nothing in it may be lost only because it is in an unusual place.
"""

import re

from agentvine.git.changes import rescue_uncommitted
from agentvine.git.commits import write_commit
from agentvine.git.places import clean_room
from agentvine.git.refs import delete_ref, has_commit, is_ancestor, list_refs_with, set_ref, tree_of
from agentvine.git.runner import Git
from agentvine.git.worktrees import Worktree

_LOGGED = re.compile(r"^[0-9a-f]{40,64} ([0-9a-f]{40,64}) ", re.MULTILINE)
_MAX_LOGGED = 200
"""How many of HEAD's last places are looked at."""


async def salvage(git: Git, worktree: Worktree, ref: str, *, message: str) -> str | None:
    """Keep a work tree's files and commits under a reference.

    Kept are: what is committed, on a branch or on none; what is staged, changed or untracked;
    single files that ``.gitignore`` names, when they are small (folders that it names as a whole
    are what can be made again); and commits that HEAD was at and that it has left since.

    Returns:
        The commit; None, and there is no reference, when the source has all of it.
    """
    commit = await rescue_uncommitted(git, worktree, ref, message=message, with_ignored=True)
    left = await _left_behind(git, worktree, commit)
    if left:
        commits = [*([] if commit is None else [commit]), *left]
        with clean_room(worktree.repository) as room:
            tree = await tree_of(git, worktree.repository, commits[0])
            told = f"{message}: with commits that HEAD had left"
            commit = await write_commit(git, room, tree, parents=commits, message=told)
        await set_ref(git, worktree.mirror, ref, commit, reason=message)
    if commit is None:
        return None
    if await list_refs_with(git, worktree.mirror, commit, "refs/remotes/origin/"):
        await delete_ref(git, worktree.mirror, ref)
        return None
    return commit


async def _left_behind(git: Git, worktree: Worktree, kept: str | None) -> list[str]:
    """Commits that only the log of HEAD tells of; the latest ones, which contain the others."""
    try:
        logged = (worktree.git_dir / "logs" / "HEAD").read_text("utf-8", "replace")
    except OSError:
        return []
    found: list[str] = []
    latest_first = dict.fromkeys(reversed(_LOGGED.findall(logged)))
    for commit in list(latest_first)[:_MAX_LOGGED]:
        if not await has_commit(git, worktree.mirror, commit):
            continue
        containing = [*([] if kept is None else [kept]), *found]
        if not [
            each for each in containing if await is_ancestor(git, worktree.mirror, commit, each)
        ]:
            found.append(commit)
    return found
