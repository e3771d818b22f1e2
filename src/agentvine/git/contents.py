"""Whole contents of a commit."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agentvine.git.errors import TooMuchToRead
from agentvine.git.names import check_commit_id
from agentvine.git.places import clean_room, locate
from agentvine.git.runner import Git


@dataclass(frozen=True, slots=True)
class CommittedFile:
    """A file as it was committed."""

    path: str
    content: bytes
    is_executable: bool


@dataclass(frozen=True, slots=True)
class Contents:
    """All files of a commit."""

    files: list[CommittedFile]
    left_out: list[str]
    """Links and submodules, which are no files; and names that are no text."""


async def read_contents(
    git: Git, repository: Path, commit: str, *, max_files: int, max_bytes: int
) -> Contents:
    """Read every file of a commit.

    Raises:
        TooMuchToRead: There are more files, or more bytes, than that.
    """
    with clean_room(locate(repository)) as room:
        listing = await git.run(
            room, "ls-tree", "-r", "-l", "-z", "--full-tree", check_commit_id(commit)
        )
        chosen: list[tuple[str, str, bool]] = []
        left_out: list[str] = []
        total = 0
        for entry in filter(None, listing.split(b"\0")):
            facts, _, name = entry.partition(b"\t")
            mode, _, blob, size = facts.decode().split()
            path = name.decode("utf-8", "backslashreplace")
            if not mode.startswith("100") or path.encode() != name:
                left_out.append(path)
                continue
            chosen.append((path, blob, mode == "100755"))
            total += int(size)
        if len(chosen) > max_files or total > max_bytes:
            raise TooMuchToRead(
                f"It has {len(chosen)} files of {total} bytes; at most {max_files} of "
                f"{max_bytes} can be taken."
            )
        blobs = "".join(f"{blob}\n" for _, blob, _ in chosen)
        output = await git.run(room, "cat-file", "--batch", stdin=blobs.encode())
    contents = split_batch(output)
    files = [
        CommittedFile(path, content, is_executable)
        for (path, _, is_executable), content in zip(chosen, contents, strict=True)
    ]
    return Contents(files, left_out)


def split_batch(output: bytes) -> Iterator[bytes]:
    """The contents in what ``git cat-file --batch`` printed, in the order of the question."""
    # "<id> blob <size> LF <contents> LF", one after the other.
    position = 0
    while position < len(output):
        end = output.index(b"\n", position)
        size = int(output[position:end].rsplit(b" ", 1)[1])
        yield output[end + 1 : end + 1 + size]
        position = end + size + 2
