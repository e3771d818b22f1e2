"""A new repository of given files: whole, in an empty place, or not at all."""

from pathlib import Path

import pytest

from agentvine.git.contents import CommittedFile, read_contents
from agentvine.git.creation import create_repository
from agentvine.git.errors import EditRefused, FolderNotEmpty, TooMuchToRead
from agentvine.git.runner import Git
from tests.support.repositories import Repo

FILES = (
    CommittedFile("src/app.py", b"x = 1\r\n", is_executable=False),
    CommittedFile("run.sh", b"#!/bin/sh\n", is_executable=True),
    CommittedFile(".gitignore", b"*.log\n", is_executable=False),
    CommittedFile("kept.log", b"\x00\xff", is_executable=False),
)


def everything_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


async def test_all_files_are_in_the_first_commit_and_come_back_as_they_were(
    git: Git, tmp_path: Path
):
    target = tmp_path / "new" / "deep" / "shop"
    commit = await create_repository(git, target, FILES, "Begin")
    repo = Repo(target)

    assert (repo.head, repo.git("branch", "--show-current"), repo.status()) == (commit, "main", "")
    assert repo.git("log", "--format=%s") == "Begin"
    assert repo.git("config", "core.bare") == "false"
    assert sorted(path.name for path in target.parent.iterdir()) == ["shop"]
    limits = {"max_files": 4, "max_bytes": 100}
    contents = await read_contents(git, target, commit, **limits)
    assert {file.path: file for file in contents.files} == {file.path: file for file in FILES}
    for less in ({"max_files": 3}, {"max_bytes": 10}):
        with pytest.raises(TooMuchToRead, match="4 files"):
            await read_contents(git, target, commit, **limits | less)


async def test_an_empty_folder_stays_the_folder_that_it_is(git: Git, tmp_path: Path):
    target = tmp_path / "shop"
    target.mkdir()
    identity = target.stat().st_ino
    await create_repository(git, target, FILES, "Begin")
    assert target.stat().st_ino == identity
    assert Repo(target).status() == ""


async def test_where_something_is_nothing_is_made(git: Git, tmp_path: Path):
    full, file, link = tmp_path / "full", tmp_path / "file", tmp_path / "link"
    (full / "x").mkdir(parents=True)
    file.write_text("")
    (tmp_path / "elsewhere").mkdir()
    link.symlink_to(tmp_path / "elsewhere")
    before = everything_in(tmp_path)
    for target in (full, file, link):
        with pytest.raises(FolderNotEmpty, match=target.name):
            await create_repository(git, target, FILES, "Begin")
    assert everything_in(tmp_path) == before


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", ".git/hooks/post-commit", ".GIT/x"])
async def test_a_file_outside_leaves_nothing_behind(git: Git, tmp_path: Path, path: str):
    bad = CommittedFile(path, b"", is_executable=False)
    with pytest.raises(EditRefused):
        await create_repository(git, tmp_path / "shop", [*FILES, bad], "Begin")
    assert everything_in(tmp_path) == []


async def test_links_and_submodules_are_left_out_by_name(git: Git, source: Repo, tmp_path: Path):
    (source.path / "link").symlink_to("README.md")
    commit = source.commit()
    contents = await read_contents(git, source.path, commit, max_files=100, max_bytes=10_000)
    assert contents.left_out == ["link"]
    assert "README.md" in [file.path for file in contents.files]
