"""Whole contents of a commit."""

from dataclasses import dataclass
from pathlib import Path

from agentvine.git.errors import TooMuchToRead
from agentvine.git.runner import Git
from agentvine.git.trees import EntryKind, list_entries, read_blobs


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
    entries = await list_entries(git, repository, commit)
    chosen = [entry for entry in entries if entry.is_file and entry.is_named_by_text]
    left_out = [entry.path for entry in entries if not (entry.is_file and entry.is_named_by_text)]
    total = sum(entry.size for entry in chosen)
    if len(chosen) > max_files or total > max_bytes:
        raise TooMuchToRead(
            f"It has {len(chosen)} files of {total} bytes; at most {max_files} of "
            f"{max_bytes} can be taken."
        )
    blobs = await read_blobs(git, repository, [entry.object_id for entry in chosen])
    files = [
        CommittedFile(entry.path, blobs[entry.object_id], entry.kind is EntryKind.EXECUTABLE)
        for entry in chosen
    ]
    return Contents(files, left_out)
