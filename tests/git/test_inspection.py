import os
from pathlib import Path

import pytest

from agentvine.git.errors import NotARepository, RemoteUnreachable, RepositoryUrlInvalid
from agentvine.git.inspection import inspect_repository
from agentvine.git.runner import Git
from tests.support.repositories import Repo, make_bare


async def test_a_repository_tells_its_default_branch_and_head(git: Git, source: Repo) -> None:
    source.git("branch", "-m", "main", "trünk")
    info = await inspect_repository(git, source.path)
    assert info.path == str(source.path)
    assert (info.default_branch, info.head_commit) == ("trünk", source.head)
    assert info.is_local
    assert (info.is_bare, info.is_empty) == (False, False)
    assert (info.is_linked_worktree, info.is_subfolder) == (False, False)
    assert info.remote_url is None


async def test_a_bare_repository_is_recognised(git: Git, source: Repo, tmp_path: Path) -> None:
    bare = make_bare(tmp_path / "bare.git", source)
    info = await inspect_repository(git, str(bare.path))
    assert info.is_bare
    assert (info.default_branch, info.head_commit) == ("main", source.head)
    assert info.remote_url == str(source.path)


async def test_credentials_of_the_remote_are_not_told(git: Git, source: Repo) -> None:
    source.git("remote", "add", "origin", "https://me:s3cret@example.org/p.git")
    info = await inspect_repository(git, source.path)
    assert info.remote_url == "https://example.org/p.git"


async def test_a_missing_path_a_file_and_a_bare_folder_are_told_apart(
    git: Git, source: Repo, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for path, reason, words in (
        (tmp_path / "missing", "missing", "does not exist"),
        (source.path / "README.md", "file", "is a file"),
        (folder, "no_repository", "git init"),
    ):
        with pytest.raises(NotARepository, match=words) as refusal:
            await inspect_repository(git, path)
        assert refusal.value.extra["reason"] == reason


async def test_an_empty_repository_is_one_without_a_head(git: Git, tmp_path: Path) -> None:
    bare = make_bare(tmp_path / "empty.git")
    info = await inspect_repository(git, bare.path)
    assert info.is_empty
    assert (info.default_branch, info.head_commit) == ("main", None)


async def test_a_subfolder_leads_to_the_top(git: Git, source: Repo) -> None:
    info = await inspect_repository(git, source.path / "src")
    assert info.is_subfolder
    assert info.path == str(source.path)
    assert info.asked_path == str(source.path / "src")


async def test_a_linked_worktree_names_its_repository(
    git: Git, source: Repo, tmp_path: Path
) -> None:
    linked = tmp_path / "linked"
    source.git("worktree", "add", "-q", "-b", "side", linked)
    info = await inspect_repository(git, linked)
    assert info.is_linked_worktree
    assert (info.path, info.main_path) == (str(linked), str(source.path))
    assert info.default_branch == "main"


async def test_a_detached_head_leaves_the_remotes_or_the_usual_branch_the_default(
    git: Git, source: Repo, tmp_path: Path
) -> None:
    source.git("branch", "side")
    source.git("checkout", "-q", "--detach")
    assert (await inspect_repository(git, source.path)).default_branch == "main"

    source.git("checkout", "-q", "side")
    clone = Repo(tmp_path / "clone")
    source.git("clone", "-q", source.path, clone.path)
    clone.git("checkout", "-q", "--detach")
    assert (await inspect_repository(git, clone.path)).default_branch == "side"


async def test_a_detached_head_among_odd_branches_leaves_the_default_unknown(
    git: Git, source: Repo
) -> None:
    source.git("branch", "-m", "main", "one")
    source.git("checkout", "-q", "--detach")
    assert (await inspect_repository(git, source.path)).default_branch == "one"
    source.git("branch", "two")
    info = await inspect_repository(git, source.path)
    assert (info.default_branch, info.is_empty) == (None, True)


async def test_a_damaged_repository_is_said_so(git: Git, source: Repo) -> None:
    (source.path / ".git" / "config").write_text("[core\nrepositoryformatversion = zero")
    with pytest.raises(NotARepository, match="damaged"):
        await inspect_repository(git, source.path)


async def test_a_broken_link_to_a_worktrees_repository_is_no_repository(
    git: Git, tmp_path: Path
) -> None:
    folder = tmp_path / "lost"
    folder.mkdir()
    (folder / ".git").write_text("gitdir: /nonexistent/.git/worktrees/lost\n")
    with pytest.raises(NotARepository):
        await inspect_repository(git, folder)


async def test_a_file_url_is_the_folder_it_names(git: Git, source: Repo) -> None:
    info = await inspect_repository(git, f"file://{source.path}")
    assert (info.path, info.is_local) == (str(source.path), True)


async def test_an_address_that_does_not_answer_is_unreachable(git: Git) -> None:
    with pytest.raises(RemoteUnreachable, match=r"127\.0\.0\.1:1") as failure:
        await inspect_repository(git, "https://me:s3cret@127.0.0.1:1/p.git")
    assert "s3cret" not in f"{failure.value.detail} {failure.value.extra}"


async def test_a_forbidden_address_is_refused_before_anything_is_asked(
    git: Git, canary: Path
) -> None:
    with pytest.raises(RepositoryUrlInvalid):
        await inspect_repository(git, f"ext::{canary}")


async def test_looking_at_a_repository_runs_nothing_that_it_names(
    git: Git, source: Repo, canary: Path
) -> None:
    for key in ("core.fsmonitor", "core.sshCommand", "core.pager", "core.askPass"):
        source.git("config", key, str(canary))
    source.git("config", "alias.symbolic-ref", f"!{canary}")
    info = await inspect_repository(git, source.path / "src")
    assert info.default_branch == "main"


async def test_a_repository_of_another_user_can_be_looked_at(git: Git, source: Repo) -> None:
    if os.geteuid() == 0:  # only root can give it away; for others this is the usual case again
        for path in (source.path, source.path / ".git"):
            os.chown(path, 12345, 12345)
    assert (await inspect_repository(git, source.path)).default_branch == "main"
