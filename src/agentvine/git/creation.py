"""A new repository with its first commit, made of given files: whole, or not at all."""

import asyncio
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from agentvine.git.commits import write_commit
from agentvine.git.contents import CommittedFile
from agentvine.git.errors import EditRefused, FolderNotEmpty
from agentvine.git.names import branch_ref
from agentvine.git.places import Place
from agentvine.git.runner import Git, text
from agentvine.kit.inner_paths import why_not_inside


async def create_repository(
    git: Git, target: Path, files: Sequence[CommittedFile], message: str, *, branch: str = "main"
) -> str:
    """Make a repository of files, all of which are committed, and give the commit.

    It is made beside the target and moved there at the end.

    Args:
        git: The git program.
        target: A folder that is empty or not there; those above it are made.
        files: What is in it.
        message: Of the commit.
        branch: What is checked out.

    Raises:
        FolderNotEmpty: Something is there, or became so meanwhile.
        EditRefused: A file would not be one of the repository's.
    """
    reference = branch_ref(branch)
    for file in files:
        if (why := why_not_inside(file.path)) is not None:
            raise EditRefused(f"{file.path} {why}.", files=[file.path])
    check_target(target)
    half_made = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    half_made.mkdir(parents=True)
    try:
        await asyncio.to_thread(_write, half_made, files)
        git_dir = half_made / ".git"
        git_dir.mkdir()
        # Told of a work tree, `init` would write down where it is, and that changes; told of none,
        # it takes the repository for a bare one.
        await git.run(
            Place(git_dir), "init", "--quiet", "--template=", f"--initial-branch={branch}"
        )
        await git.run(Place(git_dir), "config", "core.bare", "false")
        place = Place(git_dir, work_tree=half_made)
        # A template may hold files that its own .gitignore names.
        await git.run(place, "add", "--force", "--all", ".")
        tree = text(await git.run(place, "write-tree"))
        commit = await write_commit(git, place, tree, parents=[], message=message)
        await git.run(place, "update-ref", reference, commit)
        _move(half_made, target)
    finally:
        shutil.rmtree(half_made, ignore_errors=True)
    return commit


def check_target(target: Path) -> None:
    """See that a repository can be made there.

    Raises:
        FolderNotEmpty: Something is there, and be it a link.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise FolderNotEmpty(f"{target} is there, and is no folder.")
    if target.exists() and any(target.iterdir()):
        raise FolderNotEmpty(f"{target} is not empty; name a folder that is, or a new one.")


def _write(folder: Path, files: Sequence[CommittedFile]) -> None:
    for file in files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        if file.is_executable:
            path.chmod(0o755)


def _move(half_made: Path, target: Path) -> None:
    check_target(target)
    if not target.exists():
        half_made.rename(target)
        return
    # Somebody may stand in the empty folder: it stays the same one.
    for path in sorted(half_made.iterdir(), key=lambda path: path.name == ".git"):
        path.rename(target / path.name)
