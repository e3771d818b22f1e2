"""What mirrors keep of runs goes when its source has it; a mirror that nobody uses goes whole.

Nothing goes of which the source had no copy at the last fetch: no commit of a failed or unreviewed
attempt, on a task's branch or under a rescue reference, and no mirror that holds one.
"""

import os
from pathlib import Path

from agentvine.git.errors import RepositoryBusy
from agentvine.git.locks import file_lock
from agentvine.git.mirrors import lock_path
from agentvine.git.names import RESCUE_PREFIX
from agentvine.git.places import locate
from agentvine.git.refs import delete_ref, list_refs_with
from agentvine.git.runner import Git, text
from agentvine.git.worktrees import list_worktrees, set_aside

_AT_SOURCE = "refs/remotes/origin/"


async def drop_merged_rescues(
    git: Git, mirror: Path, *, made_before: float, dry_run: bool = False
) -> list[str]:
    """Remove old rescue references whose commits the source has by now; their names.

    Args:
        git: The git program.
        mirror: Where they are.
        made_before: Younger commits keep theirs, in seconds since 1970.
        dry_run: Only look.
    """
    output = await git.run(
        locate(mirror).place,
        *("for-each-ref", "--format=%(committerdate:unix) %(objectname) %(refname)", RESCUE_PREFIX),
    )
    dropped: list[str] = []
    for line in text(output).splitlines():
        made_at, commit, name = line.split(" ", 2)
        if float(made_at or 0) >= made_before:
            continue
        if not await list_refs_with(git, mirror, commit, _AT_SOURCE):
            continue
        if not dry_run:
            await delete_ref(git, mirror, name)
        dropped.append(name)
    return dropped


async def retire_mirror(
    git: Git,
    mirror: Path,
    aside: Path,
    *,
    unused_since: float,
    dry_run: bool = False,
    patience_seconds: float = 10.0,
) -> str | None:
    """Move a mirror out of the way that was not used for long.

    Args:
        git: The git program.
        mirror: The mirror.
        aside: Where to move it to, on the same disk; whoever asks removes it there.
        unused_since: In seconds since 1970; what was fetched or worked in later stays.
        dry_run: Only look.
        patience_seconds: How long to wait for whoever fetches.

    Returns:
        Why it stays; None when it is, or would be, out of the way.
    """
    try:
        # With the lock, nobody fetches meanwhile; and who has fetched has made it young.
        async with file_lock(lock_path(mirror), timeout_seconds=patience_seconds):
            if _used_at(mirror) >= unused_since:
                return "it was used lately"
            if any(not worktree.is_missing for worktree in list_worktrees(mirror)):
                return "work trees hang on it"
            if await _holds_what_source_lacks(git, mirror):
                return "it holds commits that its source does not have"
            if not dry_run:
                set_aside(None, mirror, aside)
            return None
    except RepositoryBusy:
        return "it is being fetched"


def _used_at(mirror: Path) -> float:
    places = (mirror, mirror / "worktrees")
    return max(path.stat().st_mtime for path in places if os.path.lexists(path))


async def _holds_what_source_lacks(git: Git, mirror: Path) -> bool:
    ours = ("--glob=refs/heads/*", "--glob=refs/agentvine/*")
    theirs = ("--not", f"--glob={_AT_SOURCE}*")
    output = await git.run(locate(mirror).place, "rev-list", "--max-count=1", *ours, *theirs)
    return bool(output.strip())
