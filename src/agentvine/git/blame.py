"""Where a line comes from: the commit that wrote it, and the one that brought it into a branch."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agentvine.git.commits import read_message
from agentvine.git.errors import FileNotInCommit, GitFailed, LineNotInFile
from agentvine.git.names import check_commit_id
from agentvine.git.places import clean_room, locate
from agentvine.git.runner import Git, failed, text

_TIMEOUT_SECONDS = 60.0
_PLAIN_NAMES = ("core.quotePath", "false")


@dataclass(frozen=True, slots=True, kw_only=True)
class LineOrigin:
    """The commit that wrote a line, and what the line was called then."""

    commit: str
    author: str
    author_email: str
    authored_at: datetime
    message: str
    path: str
    """The file's name in that commit."""
    line: int
    """The line's number in that commit."""
    text: str


async def blame_line(git: Git, repository: Path, commit: str, path: str, line: int) -> LineOrigin:
    """The commit that wrote a line of a file as it is at a commit.

    Lines that were moved within the file, or came from another file of the same commit, are
    followed to where they were written; so are renamed files.

    Args:
        git: The git program.
        repository: Where.
        commit: Whose version of the file is meant.
        path: The file, from the repository's top.
        line: Its number, from 1.

    Raises:
        FileNotInCommit: There is no such file.
        LineNotInFile: It has fewer lines.
        GitFailed: Git failed.
    """
    where = (f"-L{line},{line}", check_commit_id(commit), "--", path)
    args = ("blame", "-M", "-C", "--porcelain", *where)
    with clean_room(locate(repository)) as room:
        result = await git.with_settings(_PLAIN_NAMES).capture(
            room, *args, timeout_seconds=_TIMEOUT_SECONDS
        )
        if result.exit_code != 0:
            raise _told(failed(args, result), commit, path, line)
        facts = _read(result.stdout)
        message, _ = await read_message(git, room, facts["commit"])
    return LineOrigin(
        commit=facts["commit"],
        author=facts.get("author", ""),
        author_email=facts.get("author-mail", "").strip("<>"),
        authored_at=datetime.fromtimestamp(int(facts.get("author-time", "0")), UTC),
        message=message,
        path=facts.get("filename", path),
        line=int(facts["line"]),
        text=facts["text"],
    )


async def find_merge(git: Git, repository: Path, commit: str, tip: str) -> str | None:
    """The commit on a branch's own line that brought another one in.

    None when the commit is on that line itself, or the branch does not hold it.

    Args:
        git: The git program.
        repository: Where.
        commit: The commit that was brought in.
        tip: The branch's newest commit.
    """
    ends = (f"^{check_commit_id(commit)}", check_commit_id(tip))
    with clean_room(locate(repository)) as room:
        own = text(await git.run(room, "rev-list", "--first-parent", "--parents", *ends))
        if not own:
            return None
        oldest = own.rsplit("\n", 1)[-1].split(" ")
        if commit in oldest[1:2]:
            return None
        holding = text(await git.run(room, "rev-list", "--ancestry-path", *ends)).split("\n")
    wanted = set(holding)
    line = [entry.split(" ", 1)[0] for entry in own.split("\n")]
    return next((each for each in reversed(line) if each in wanted), None)


def _read(output: bytes) -> dict[str, str]:
    # "<commit> <line then> <line now> <count>", then "name value" lines, then TAB and the text.
    head, *lines = output.split(b"\n")
    commit, line, *_ = text(head).split(" ")
    facts = {"commit": commit, "line": line, "text": ""}
    for entry in lines:
        shown = entry.decode("utf-8", "replace")
        if shown.startswith("\t"):
            facts["text"] = shown[1:]
            break
        name, _, value = shown.partition(" ")
        facts[name] = value
    return facts


def _told(error: GitFailed, commit: str, path: str, line: int) -> Exception:
    if "no such path" in error.stderr or "is outside repository" in error.stderr:
        return FileNotInCommit(f"{commit} has no file {path}.", commit=commit, path=path)
    if "has only" in error.stderr or "-L invalid" in error.stderr:
        return LineNotInFile(f"{path} has no line {line}.", path=path, line=line)
    return error
