import os
from pathlib import Path

import pytest

from agentvine.git.errors import GitFailed, GitNotFound, GitTimeout
from agentvine.git.places import clean_room, locate
from agentvine.git.runner import Git
from agentvine.kit.guards import WaitingInsideTransaction, transaction_mark
from tests.support.repositories import Repo


async def test_a_missing_git_is_said_so(source: Repo) -> None:
    git = Git(executable="/nonexistent/git")
    with pytest.raises(GitNotFound, match="install git"):
        await git.run(locate(source.path).place, "version")


async def test_a_failure_tells_the_command_and_what_git_said(git: Git, source: Repo) -> None:
    with pytest.raises(GitFailed, match="git cat-file -e nothing ended with 128") as failure:
        await git.run(locate(source.path).place, "cat-file", "-e", "nothing")
    assert "Not a valid object name" in failure.value.stderr


async def test_a_failure_shows_no_credentials(git: Git, source: Repo) -> None:
    url = "https://user:s3cret@localhost:1/p.git"
    with pytest.raises(GitFailed) as failure:
        await git.run(locate(source.path).place, "fetch", url)
    assert "s3cret" not in f"{failure.value} {failure.value.extra} {failure.value.stderr}"
    assert "localhost:1" in str(failure.value)


async def test_a_command_that_hangs_is_stopped(git: Git, source: Repo, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    make_fifo(fifo)
    with pytest.raises(GitTimeout):
        await git.run(locate(source.path).place, "hash-object", fifo, timeout_seconds=0.2)


async def test_git_is_not_run_inside_a_transaction(git: Git, source: Repo) -> None:
    with transaction_mark("a transaction"), pytest.raises(WaitingInsideTransaction):
        await git.run(locate(source.path).place, "version")


async def test_settings_reach_git_but_not_its_command_line(git: Git, source: Repo) -> None:
    named = git.with_settings(("http.https://h/=x.extraHeader", "Authorization: s3cret"))
    place = locate(source.path).place
    output = await named.run(place, "config", "--get", "http.https://h/=x.extraHeader")
    assert output == b"Authorization: s3cret\n"


async def test_the_owners_environment_cannot_weaken_ours(source: Repo, tmp_path: Path) -> None:
    config = tmp_path / "gitconfig"
    config.write_text("[user]\n\tname = Somebody\n")
    git = Git(environment={"GIT_CONFIG_GLOBAL": str(config), "LC_ALL": "de_DE", "HOME": "/x"})
    place = locate(source.path).place
    output = await git.run(place, "config", "--get", "user.name", allowed_exit_codes=(1,))
    assert output == b""


async def test_a_clean_room_sees_objects_but_no_settings_and_no_references(
    git: Git, source: Repo
) -> None:
    source.git("config", "alias.evil", "!touch ran")
    with clean_room(locate(source.path)) as room:
        assert await git.run(room, "cat-file", "-t", source.head) == b"commit\n"
        assert await git.run(room, "for-each-ref") == b""
        output = await git.run(room, "config", "--get", "alias.evil", allowed_exit_codes=(1,))
        assert output == b""


def make_fifo(path: Path) -> None:
    os.mkfifo(path)
