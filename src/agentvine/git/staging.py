"""A work tree as git would commit it, without touching the work tree or trusting its settings.

``git add`` looks into submodules, refuses repositories inside the work tree, and runs the filters
that a configuration names. Here the lists come from ``ls-files`` and go to ``update-index``, in a
clean room and with an index of our own.
"""

import os
import secrets
import shutil
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from agentvine.git.errors import GitFailed
from agentvine.git.external import LINK_MODE, declared_submodules
from agentvine.git.places import Place, clean_room, find_repository
from agentvine.git.runner import Git, text
from agentvine.git.worktrees import Worktree

_MAX_IGNORED_FILE_BYTES = 2**20
_MAX_IGNORED_BYTES = 16 * 2**20
_RAW = "* -text -ident -filter !working-tree-encoding\n"
"""Attributes that outrank the work tree's: every file is stored byte by byte."""


@contextmanager
def staging_room(worktree: Worktree, *, with_index: bool = True) -> Generator[Place]:
    """A clean room on the work tree, with a copy of its index that may be written.

    The copy lies beside the original, so that it can take its place in one move.

    Args:
        worktree: Whose files.
        with_index: Begin with the worktree's index, whose stamps save reading unchanged files;
            else with an empty one.
    """
    copy = worktree.git_dir / f"index.agentvine-{secrets.token_hex(6)}"
    try:
        if with_index:
            with suppress(FileNotFoundError):
                # With its time: git reads a file again whose stamp is not older than its index,
                # since it may have been written anew within one second.
                shutil.copy2(worktree.git_dir / "index", copy)
        with clean_room(worktree.repository, work_tree=worktree.path, index=copy) as room:
            yield room
    finally:
        copy.unlink(missing_ok=True)
        copy.with_name(f"{copy.name}.lock").unlink(missing_ok=True)


async def stage_all(git: Git, room: Place, *, exclude: Sequence[str] = ()) -> str:
    """Bring the room's index up to the work tree, and store it.

    Args:
        git: The git program.
        room: A staging room.
        exclude: Patterns, as in ``.gitignore``, of untracked files to leave out.

    Returns:
        The id of the tree.
    """
    patterns = [f"--exclude={pattern}" for pattern in exclude]
    changed = await git.run(
        room, "ls-files", "-z", "-m", "-d", "-o", "--exclude-standard", *patterns
    )
    index = [
        _IndexEntry.parse(line) for line in _split(await git.run(room, "ls-files", "-z", "-s"))
    ]
    links = {entry.path: entry.id for entry in index if entry.mode == LINK_MODE}
    names = set(_split(changed)) | {entry.path for entry in index if entry.is_unmerged}
    assert room.work_tree is not None
    top = os.fsencode(room.work_tree)
    files = await _with_inner_repositories(git, room, names - links.keys())
    files += await _at_submodules(git, room, links)
    # Behind a link that has taken a folder's place there is nothing of this work tree.
    hidden = {name for name in files if _is_behind_link(top, name)}
    if hidden:
        await _update(git, room, "--force-remove", names=hidden)
    await _update(git, room, "--add", "--remove", "--replace", names=set(files) - hidden)
    return text(await git.run(room, "write-tree"))


async def stage_readable(git: Git, room: Place, *, exclude: Sequence[str] = ()) -> str:
    """Store all of the work tree that can be read, byte by byte, whatever stands in the way.

    For results that must not be lost: attributes are ignored, unreadable files are left out. The
    room begins with an empty index.
    """
    info = room.git_dir / "info"
    info.mkdir(exist_ok=True)
    (info / "attributes").write_text(_RAW)
    try:
        return await stage_all(git, room, exclude=exclude)
    except GitFailed:
        pass
    assert room.work_tree is not None
    top = os.fsencode(room.work_tree)
    patterns = [f"--exclude={pattern}" for pattern in exclude]
    listed = await git.run(room, "ls-files", "-z", "-o", "--exclude-standard", *patterns)
    files = await _with_inner_repositories(git, room, _split(listed))
    names = [name for name in files if _is_readable(top, name)]
    await _update(git, room, "--add", "--replace", names=names)
    return text(await git.run(room, "write-tree"))


async def stage_ignored(git: Git, room: Place) -> str:
    """Add files that ``.gitignore`` names, one by one and small: settings, notes, little databases.

    A folder that it names as a whole is left out; what tools make is in such.
    """
    assert room.work_tree is not None
    listed = await git.run(room, "ls-files", "-z", "-o", "-i", "--exclude-standard", "--directory")
    top, left = os.fsencode(room.work_tree), _MAX_IGNORED_BYTES
    names: list[bytes] = []
    for name in _split(listed):
        size = _size_of_file(top, name)
        if size is not None and size <= min(left, _MAX_IGNORED_FILE_BYTES):
            left -= size
            names.append(name)
    await _update(git, room, "--add", names=names)
    return text(await git.run(room, "write-tree"))


@dataclass(frozen=True, slots=True)
class _IndexEntry:
    mode: bytes
    id: str
    is_unmerged: bool
    path: bytes

    @classmethod
    def parse(cls, line: bytes) -> "_IndexEntry":
        facts, _, path = line.partition(b"\t")
        mode, name, stage = facts.split(b" ")
        return cls(mode, name.decode(), stage != b"0", path)


async def _at_submodules(git: Git, room: Place, links: Mapping[bytes, str]) -> list[bytes]:
    """What is to be staged at and below the submodules: nothing, unless somebody worked there.

    Git itself looks at an inner HEAD alone: files in the folder of a submodule that was not
    fetched are invisible to it, and a folder that was cleaned away is a submodule removed.
    """
    assert room.work_tree is not None
    declared = _declared(room.work_tree) if links else set[bytes]()
    names: list[bytes] = []
    for name, commit in links.items():
        folder = room.work_tree / os.fsdecode(name)
        if _is_behind_link(os.fsencode(room.work_tree), name) or folder.is_symlink():
            names.append(name)
        elif not folder.exists():
            names += [] if name in declared else [name]
        elif not folder.is_dir():
            names.append(name)
        elif name not in declared or await _is_worked_in(git, folder, commit):
            names += await _files_of_inner_repository(git, room, name + b"/")
    return names


def _declared(work_tree: Path) -> set[bytes]:
    path = work_tree / ".gitmodules"
    try:
        return set() if path.is_symlink() else declared_submodules(path.read_bytes())
    except OSError:
        return set()


async def _is_worked_in(git: Git, folder: Path, commit: str) -> bool:
    """Whether a submodule's folder holds anything else than the commit's files."""
    if _is_empty(folder):
        return False
    inner = find_repository(folder)
    if inner is None or not (inner.common_dir / "objects").is_dir():
        return True
    with clean_room(inner, work_tree=folder) as room:
        index = replace(room, index=room.git_dir / "index")
        if (await git.capture(index, "read-tree", commit)).exit_code != 0:
            return True
        listed = ("ls-files", "-z", "-m", "-d", "-o", "--exclude-standard")
        return bool(await git.run(index, *listed))


def _is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


async def _update(git: Git, room: Place, *options: str, names: Iterable[bytes]) -> None:
    # In order, so that a file which has become a folder goes before what is in the folder.
    stdin = b"".join(name + b"\0" for name in sorted(names))
    if stdin:
        await git.run(room, "update-index", *options, "-z", "--stdin", stdin=stdin)


async def _with_inner_repositories(git: Git, room: Place, names: Collection[bytes]) -> list[bytes]:
    files = [name for name in names if not name.endswith(b"/")]
    for folder in sorted(set(names).difference(files)):
        files += await _files_of_inner_repository(git, room, folder)
    return files


async def _files_of_inner_repository(git: Git, room: Place, folder: bytes) -> list[bytes]:
    # Many a generator runs 'git init' in what it makes. Recording only the inner commit, as git
    # does for submodules, would keep nothing: the commit is nowhere else.
    assert room.work_tree is not None
    inner = Place(
        room.git_dir,
        work_tree=room.work_tree / os.fsdecode(folder),
        index=room.git_dir / "no-index",
        objects=room.objects,
    )
    names = _split(await git.run(inner, "ls-files", "-z", "-o", "--exclude-standard"))
    return await _with_inner_repositories(git, room, [folder + name for name in names])


def _split(output: bytes) -> list[bytes]:
    return [name for name in output.split(b"\0") if name]


def _is_behind_link(top: bytes, name: bytes) -> bool:
    parts = name.split(b"/")[:-1]
    return any(
        os.path.islink(os.path.join(top, *parts[: depth + 1]))  # noqa: PTH114, PTH118 - names are bytes
        for depth in range(len(parts))
    )


def _is_readable(top: bytes, name: bytes) -> bool:
    path = os.path.join(top, name)  # noqa: PTH118 - names are bytes
    if os.path.islink(path):  # noqa: PTH114 - names are bytes
        return True
    try:
        with open(path, "rb"):  # noqa: PTH123 - names are bytes
            return True
    except OSError:
        return False


def _size_of_file(top: bytes, name: bytes) -> int | None:
    """How large a file is; None for what is no file, or cannot be read."""
    path = os.path.join(top, name)  # noqa: PTH118 - names are bytes
    if not os.path.isfile(path) or os.path.islink(path):  # noqa: PTH113, PTH114 - names are bytes
        return None
    return os.path.getsize(path) if _is_readable(top, name) else None  # noqa: PTH202 - likewise
