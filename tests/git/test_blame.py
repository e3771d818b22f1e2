"""Who wrote a line, and what brought it into a branch."""

from pathlib import Path

import pytest

from agentvine.git.blame import blame_line, find_merge
from agentvine.git.errors import FileNotInCommit, LineNotInFile
from agentvine.git.runner import Git
from agentvine.git.trailers import Trailer, read_trailers, with_trailers
from tests.support.repositories import Repo, make_repo

BODY = "".join(f"line {number}: something long enough to be found again\n" for number in range(9))


async def test_a_line_is_followed_through_a_rename_and_into_the_file_it_was_moved_from(
    tmp_path: Path,
):
    repo = make_repo(tmp_path / "repository")
    written = repo.commit({"old näme.txt": BODY})
    repo.git("mv", "old näme.txt", "new.txt")
    repo.commit({"other.txt": "else\n"}, "Rename")
    head = repo.commit({"new.txt": "first\n" + BODY}, "Put a line before")

    found = await blame_line(Git(), repo.path, head, "new.txt", 3)
    assert (found.commit, found.path, found.line) == (written, "old näme.txt", 2)
    assert (found.author, found.author_email) == ("Tess Ter", "tess@example.org")
    assert found.text == BODY.splitlines()[1]
    first = await blame_line(Git(), repo.path, head, "new.txt", 1)
    assert (first.commit, first.message.strip()) == (head, "Put a line before")


@pytest.mark.parametrize("path", ["gone.txt", "../outside", "src"])
async def test_what_is_no_file_of_the_commit_is_named(tmp_path: Path, path: str):
    repo = make_repo(tmp_path / "repository")
    with pytest.raises(FileNotInCommit):
        await blame_line(Git(), repo.path, repo.head, path, 1)


async def test_a_line_that_is_not_there_is_named(tmp_path: Path):
    repo = make_repo(tmp_path / "repository")
    with pytest.raises(LineNotInFile):
        await blame_line(Git(), repo.path, repo.head, "src/app.py", 4)


def merged(repo: Repo, branch: str, message: str = "Merge") -> str:
    repo.git("merge", "-q", "--no-ff", "-m", message, branch)
    return repo.head


async def test_the_merge_is_the_one_on_the_branchs_own_line(tmp_path: Path):
    repo = make_repo(tmp_path / "repository")
    direct = repo.head
    inner = repo.commit_on("inner", {"inner.txt": "i\n"})
    outer = repo.commit_on("outer", {"outer.txt": "o\n"})
    repo.git("switch", "-q", "outer")
    merged(repo, "inner", "Bring the inner one along")
    repo.git("switch", "-q", "main")
    merge = merged(repo, "outer")
    tip = repo.commit({"later.txt": "l\n"})

    assert await find_merge(Git(), repo.path, inner, tip) == merge
    assert await find_merge(Git(), repo.path, outer, tip) == merge
    for own in (direct, merge, tip):
        assert await find_merge(Git(), repo.path, own, tip) is None
    assert await find_merge(Git(), repo.path, tip, direct) is None


def test_trailers_are_read_from_a_squashed_message_and_the_newest_counts():
    first = with_trailers("Add a", {Trailer.TASK: "t", Trailer.EXECUTION: "one"})
    second = with_trailers("Add b", {Trailer.TASK: "t", Trailer.EXECUTION: "two"})
    squashed = f"Everything (#7)\n\n* {first}\n* {second}\nCo-authored-by: Somebody <s@example.org>"
    assert read_trailers(squashed) == {Trailer.TASK: "t", Trailer.EXECUTION: "two"}
    assert read_trailers("AgentVine-Task of somebody: no trailer") == {}
