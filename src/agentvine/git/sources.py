"""The texts of many files of a commit at once, without a work tree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentvine.git.names import check_commit_id
from agentvine.git.places import Place, clean_room, locate
from agentvine.git.runner import Git
from agentvine.git.trees import split_batch

_MAX_FILES = 2000
_MAX_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sources:
    """Some files of a commit."""

    paths: list[str]
    """All files with the suffixes that were asked for."""
    texts: dict[str, str]
    """The contents of those of them that mention what was asked for."""
    notes: list[str]
    """In sentences what was left out."""


async def read_sources(
    git: Git,
    repository: Path,
    commit: str,
    *,
    suffixes: tuple[str, ...],
    words: Sequence[str],
    pattern: str | None,
    max_file_bytes: int,
) -> Sources:
    """Read the files that mention any of some words; links and submodules are no files.

    Args:
        git: The git program.
        repository: Where the commit is.
        commit: Which.
        suffixes: How the names of the files end.
        words: Plain texts, one of which a file must hold.
        pattern: Or what it must match: an extended POSIX expression.
        max_file_bytes: Larger files are passed over.
    """
    with clean_room(locate(repository)) as room:
        listing = await git.run(
            room, "ls-tree", "-r", "-l", "-z", "--full-tree", check_commit_id(commit)
        )
        files = _files(listing, suffixes)
        mentioned = await _grep(git, room, commit, "-F", words)
        if pattern is not None:
            mentioned |= await _grep(git, room, commit, "-E", [pattern])
        wanted = {
            path: blob
            for path, (blob, size) in files.items()
            if path in mentioned and size <= max_file_bytes
        }
        chosen = _first(wanted, {path: files[path][1] for path in wanted})
        blobs = "".join(f"{blob}\n" for blob in chosen.values())
        contents = await git.run(room, "cat-file", "--batch", stdin=blobs.encode())
    left = len(wanted) - len(chosen)
    notes = [f"{left} more files that may use it were not looked into."] if left else []
    return Sources(
        [_shown(path) for path in files],
        dict(zip(map(_shown, chosen), map(_text, split_batch(contents)), strict=True)),
        notes,
    )


def _files(listing: bytes, suffixes: tuple[str, ...]) -> dict[bytes, tuple[str, int]]:
    ends = tuple(suffix.encode() for suffix in suffixes)
    files: dict[bytes, tuple[str, int]] = {}
    for entry in listing.split(b"\0"):
        facts, _, path = entry.partition(b"\t")
        # "100644 blob <id> <size>": a link has the mode 120000.
        if facts.startswith(b"100") and path.endswith(ends):
            _, _, blob, size = facts.decode().split()
            files[path] = (blob, int(size))
    return files


async def _grep(
    git: Git, room: Place, commit: str, kind: str, patterns: Sequence[str]
) -> set[bytes]:
    # From standard input: there may be more than a command line holds.
    output = await git.run(
        room,
        *("grep", "--name-only", "-z", "-I", kind, "-f", "-", commit),
        stdin="".join(f"{pattern}\n" for pattern in patterns).encode("utf-8", "surrogateescape"),
        allowed_exit_codes=(0, 1),
    )
    return {name.partition(b":")[2] for name in output.split(b"\0") if name}


def _first(wanted: Mapping[bytes, str], sizes: Mapping[bytes, int]) -> dict[bytes, str]:
    chosen: dict[bytes, str] = {}
    total = 0
    for path, blob in wanted.items():
        total += sizes[path]
        if len(chosen) == _MAX_FILES or total > _MAX_BYTES:
            break
        chosen[path] = blob
    return chosen


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")
