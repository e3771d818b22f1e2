from pathlib import Path

import pytest

from agentvine.git.errors import PushRejected, RemoteUnreachable, RepositoryUrlInvalid
from agentvine.git.pushes import push
from agentvine.git.refs import MUST_NOT_EXIST
from agentvine.git.runner import Git
from tests.support.repositories import Repo, make_bare

REF = "refs/heads/agentvine/T-1"


@pytest.fixture
def remote(source: Repo, tmp_path: Path) -> Repo:
    return make_bare(tmp_path / "remote ünï.git", source)


async def test_a_commit_is_pushed_to_a_new_branch_and_forward(
    git: Git, source: Repo, remote: Repo
) -> None:
    first = source.commit({"a": "1"})
    await push(git, source.path, remote.path, commit=first, ref=REF)
    second = source.commit({"a": "2"})
    await push(git, source.path, f"file://{remote.path}", commit=second, ref=REF)
    assert remote.rev(REF) == second


async def test_a_step_that_is_not_forward_needs_a_lease(
    git: Git, source: Repo, remote: Repo
) -> None:
    base = source.head
    one = source.commit_on("one", {"a": "1"})
    two = source.commit_on("two", {"a": "2"})
    await push(git, source.path, remote.path, commit=one, ref=REF, expected=MUST_NOT_EXIST)
    with pytest.raises(PushRejected, match="non-fast-forward"):
        await push(git, source.path, remote.path, commit=two, ref=REF)
    for wrong in (base, MUST_NOT_EXIST):
        with pytest.raises(PushRejected, match="stale info"):
            await push(git, source.path, remote.path, commit=two, ref=REF, expected=wrong)
    assert remote.rev(REF) == one
    await push(git, source.path, remote.path, commit=two, ref=REF, expected=one)
    assert remote.rev(REF) == two


async def test_a_rule_of_the_remote_is_told(git: Git, source: Repo, remote: Repo) -> None:
    first = source.commit({"a": "1"})
    await push(git, source.path, remote.path, commit=first, ref="refs/heads/main")
    remote.git("config", "receive.denyDeletes", "true")
    remote.git("config", "receive.denyNonFastForwards", "true")
    side = source.commit_on("side", {"b": "1"}, "HEAD~1")
    with pytest.raises(PushRejected, match=r"denyNonFastForwards|non-fast-forward") as refusal:
        await push(
            git, source.path, remote.path, commit=side, ref="refs/heads/main", expected=first
        )
    assert refusal.value.extra["ref"] == "refs/heads/main"


async def test_a_remote_that_is_not_there_is_unreachable(
    git: Git, source: Repo, tmp_path: Path
) -> None:
    for url in (str(tmp_path / "nothing"), "https://me:s3cret@127.0.0.1:1/p.git"):
        with pytest.raises(RemoteUnreachable) as failure:
            await push(git, source.path, url, commit=source.head, ref=REF)
        assert "s3cret" not in f"{failure.value.detail} {failure.value.extra}"
    with pytest.raises(RepositoryUrlInvalid):
        await push(git, source.path, "ext::sh -c x", commit=source.head, ref=REF)


async def test_the_repository_cannot_redirect_the_push_nor_run_anything(
    git: Git, source: Repo, remote: Repo, tmp_path: Path, canary: Path
) -> None:
    elsewhere = make_bare(tmp_path / "elsewhere.git")
    source.git("config", f"url.{elsewhere.path}.insteadOf", str(remote.path))
    source.git("config", f"url.{elsewhere.path}.pushInsteadOf", str(remote.path))
    source.git("config", f"remote.{remote.path}.receivepack", str(canary))
    for repo, folder in ((source, source.path / ".git"), (remote, remote.path)):
        repo.git("config", "core.alternateRefsCommand", str(canary))
        repo.git("config", "push.gpgSign", "if-asked")
        repo.git("config", "gpg.program", str(canary))
        (folder / "hooks").mkdir(exist_ok=True)
        for hook in ("pre-push", "pre-receive", "update", "post-receive", "reference-transaction"):
            (folder / "hooks" / hook).symlink_to(canary)
    await push(git, source.path, remote.path, commit=source.head, ref=REF)
    assert remote.rev(REF) == source.head
    assert elsewhere.git("for-each-ref") == ""


async def test_a_push_checks_nothing_out_at_the_remote(
    git: Git, source: Repo, tmp_path: Path, canary: Path
) -> None:
    other = Repo(tmp_path / "other")
    source.git("clone", "-q", source.path, other.path)
    other.git("config", "receive.denyCurrentBranch", "updateInstead")
    other.git("config", "filter.evil.smudge", str(canary))
    commit = source.commit({".gitattributes": "* filter=evil\n", "a": "1"})
    with pytest.raises(PushRejected, match="currently checked out"):
        await push(git, source.path, other.path, commit=commit, ref="refs/heads/main")
