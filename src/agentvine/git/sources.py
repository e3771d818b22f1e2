"""What is in a commit: its files, their contents, and which of them mention some words."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agentvine.git.names import check_commit_id
from agentvine.git.places import Place, clean_room, locate
from agentvine.git.runner import Git
from agentvine.git.trees import split_batch
from agentvine.git.places import clean_room, locate
from agentvine.git.runner import Git, failed

_MAX_GREP_BYTES = 8 * 1024 * 1024
_MENTIONS_PER_FILE = 100


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A file of a commit; links and submodules are none."""

    path: str
    """For people's eyes: bytes that are not UTF-8 are shown escaped."""
    blob: str
    size: int


async def list_files(git: Git, repository: Path, commit: str) -> list[TreeFile]:
    """All files of a commit."""
    args = ("ls-tree", "-r", "-l", "-z", "--full-tree", check_commit_id(commit))
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
        listing = await git.run(room, *args)
    files: list[TreeFile] = []
    for entry in listing.split(b"\0"):
        facts, _, path = entry.partition(b"\t")
        # "100644 blob <id> <size>": a link has the mode 120000.
        if facts.startswith(b"100"):
            _, _, blob, size = facts.decode().split()
            files.append(TreeFile(_shown(path), blob, int(size)))
    return files


async def read_blobs(git: Git, repository: Path, blobs: Sequence[str]) -> bytes:
    """Contents one after the other: each ``<id> blob <size> LF <contents> LF``."""
    wanted = "".join(f"{blob}\n" for blob in blobs).encode()
    with clean_room(locate(repository)) as room:
        return await git.run(room, "cat-file", "--batch", stdin=wanted)


async def find_mentions(
    git: Git, repository: Path, commit: str, words: Sequence[str]
) -> dict[str, set[str]]:
    """Which text files mention which of some words, in any case and inside of longer words.

    Args:
        git: The git program.
        repository: Where.
        commit: Whose files.
        words: Plain words, in small letters.

    Returns:
        By path. Of a file that mentions the words all the time, only the first lines count.
    """
    if not words:
        return {}
    args = (
        *("grep", "-I", "-i", "-o", "-z", "--full-name", f"--max-count={_MENTIONS_PER_FILE}"),
        *("-F", "-f", "-", check_commit_id(commit)),
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
    stdin = "".join(f"{word}\n" for word in words).encode()
    with clean_room(locate(repository)) as room:
        result = await git.capture(room, *args, stdin=stdin, max_output_bytes=_MAX_GREP_BYTES)
    if result.exit_code not in {0, 1} and not result.is_truncated:
        raise failed(args, result)
    found: dict[str, set[str]] = defaultdict(set)
    # Each line is the commit and the path, a NUL, and the word as it stands there.
    for line in result.stdout.split(b"\n"):
        place, _, word = line.partition(b"\0")
        if word:
            found[_shown(place.partition(b":")[2])].add(word.decode("utf-8", "replace").lower())
    return found


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")
