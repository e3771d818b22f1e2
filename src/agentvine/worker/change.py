"""What a run changed, as it is reported: its files, and the commits as a bundle.

The server looks at the commits itself; what is told here serves the log of the run.
"""

import asyncio
import hashlib
from pathlib import Path

from agentvine.git.bundles import create_bundle
from agentvine.git.diffs import FileChange, changed_files
from agentvine.git.names import branch_ref
from agentvine.kit.errors import LimitReached
from agentvine.protocol.enums import ChangeKind
from agentvine.protocol.queue import MAX_BUNDLE_BYTES, ChangeReport, FileImpact
from agentvine.worker.workspace import Workspace


class ChangeTooLarge(LimitReached):
    """The change is too large to be sent."""

    code = "change_too_large"
    permanent = True


async def describe_change(
    workspace: Workspace, head: str, bundle: Path, *, is_partial: bool
) -> ChangeReport | None:
    """Describe what lies between the work tree's base and its result.

    Args:
        workspace: Where the run worked.
        head: Its last commit.
        bundle: The file to write the commits to.
        is_partial: Whether the run failed.

    Returns:
        The change; None when the files are the same after all.

    Raises:
        ChangeTooLarge: The bundle is larger than the server takes.
        GitError: Git failed.
    """
    git, mirror, base = workspace.git, workspace.mirror, workspace.base_commit
    assert mirror is not None
    files = await changed_files(git, mirror, base, head)
    if not files:
        return None
    await create_bundle(git, mirror, bundle, refs={branch_ref(workspace.branch): head}, base=base)
    size, digest = await asyncio.to_thread(_measure, bundle)
    if size > MAX_BUNDLE_BYTES:
        raise ChangeTooLarge(
            f"The change takes {size / 2**20:.0f} MiB, and {MAX_BUNDLE_BYTES // 2**20} MiB is the "
            f"most that can be sent. It is kept in {mirror} as {workspace.rescue_ref}; keep large "
            "files out of git, and run the task again."
        )
    return ChangeReport(
        base_commit=base,
        head_commit=head,
        branch_name=workspace.branch,
        target_branch=workspace.target_branch,
        is_partial=is_partial,
        files=[_told(file) for file in files],
        bundle_sha256=digest,
    )


def _told(change: FileChange) -> FileImpact:
    return FileImpact(
        path=change.path,
        old_path=change.old_path,
        kind=ChangeKind(change.kind.value),
        added_lines=change.added_lines,
        removed_lines=change.removed_lines,
        is_binary=change.is_binary,
    )


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
