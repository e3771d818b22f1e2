"""Which files of a commit mention some words."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from agentvine.git.names import check_commit_id
from agentvine.git.places import clean_room, locate
from agentvine.git.runner import Git, failed

_MAX_GREP_BYTES = 8 * 1024 * 1024
_MENTIONS_PER_FILE = 100


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
    stdin = "".join(f"{word}\n" for word in words).encode()
    with clean_room(locate(repository)) as room:
        result = await git.capture(room, *args, stdin=stdin, max_output_bytes=_MAX_GREP_BYTES)
    if result.exit_code not in {0, 1} and not result.is_truncated:
        raise failed(args, result)
    found: dict[str, set[str]] = defaultdict(set)
    # Each line is the commit and the path, a NUL, and the word as it stands there; most come again.
    for line in set(result.stdout.split(b"\n")):
        place, _, word = line.partition(b"\0")
        if word:
            found[_shown(place.partition(b":")[2])].add(word.decode("utf-8", "replace").lower())
    return found


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
