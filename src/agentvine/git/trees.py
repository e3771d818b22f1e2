"""All files of a commit with their ids, and the contents behind ids, without a work tree."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from agentvine.git.names import check_commit_id
from agentvine.git.places import clean_room, locate
from agentvine.git.runner import Git


class EntryKind(StrEnum):
    """What a path of a commit is."""

    FILE = "file"
    EXECUTABLE = "executable"
    LINK = "link"
    SUBMODULE = "submodule"


_KINDS = {
    b"100755": EntryKind.EXECUTABLE,
    b"120000": EntryKind.LINK,
    b"160000": EntryKind.SUBMODULE,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a commit."""

    path: str
    r"""Bytes that are not UTF-8 are shown as ``\xff``."""
    kind: EntryKind
    object_id: str
    """Git's hash of the content; of a submodule, the commit."""
    size: int
    """In bytes; 0 of a submodule."""
    is_named_by_text: bool
    """Whether the path is the file's name, and not a picture of bytes that are no text."""

    @property
    def is_file(self) -> bool:
        """Whether there is a file's content behind the id."""
        return self.kind in {EntryKind.FILE, EntryKind.EXECUTABLE}


async def list_entries(git: Git, repository: Path, commit: str) -> list[Entry]:
    """Every path of a commit, in git's order.

    Raises:
        GitError: Git failed, or the list was too long to be read.
    """
    with clean_room(locate(repository)) as room:
        listing = await git.run(
            room, "ls-tree", "-r", "-l", "-z", "--full-tree", check_commit_id(commit)
        )
    return list(_entries(listing))


async def read_blobs(git: Git, repository: Path, ids: Sequence[str]) -> dict[str, bytes]:
    """The contents behind ids; the caller knows their sizes and bounds them.

    Raises:
        GitError: Git failed.
    """
    output = await read_batch(git, repository, ids)
    return dict(zip(ids, _split_batch(output), strict=True))


async def read_batch(git: Git, repository: Path, ids: Sequence[str]) -> bytes:
    """Contents one after the other: each ``<id> blob <size> LF <contents> LF``.

    Raises:
        GitError: Git failed.
    """
    stdin = "".join(f"{check_commit_id(object_id)}\n" for object_id in ids).encode()
    with clean_room(locate(repository)) as room:
        return await git.run(room, "cat-file", "--batch", stdin=stdin)


def _split_batch(output: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(output):
        end = output.index(b"\n", position)
        size = int(output[position:end].rsplit(b" ", 1)[1])
        yield output[end + 1 : end + 1 + size]
        position = end + size + 2


def _entries(listing: bytes) -> Iterator[Entry]:
    for line in listing.split(b"\0"):
        # "100644 blob <id> <size>"; a submodule's size is "-".
        facts, _, path = line.partition(b"\t")
        if not path:
            continue
        mode, _, object_id, size = facts.split()
        shown = path.decode("utf-8", "backslashreplace")
        yield Entry(
            path=shown,
            kind=_KINDS.get(mode, EntryKind.FILE),
            object_id=object_id.decode(),
            size=int(size) if size.isdigit() else 0,
            is_named_by_text=shown.encode() == path,
        )
