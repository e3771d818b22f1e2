import os
import shutil
from pathlib import Path

import pytest

from agentvine.git.changes import rescue_uncommitted
from agentvine.git.errors import RefMoved, RefNameInvalid, RefNotFound
from agentvine.git.mirrors import ensure_mirror
from agentvine.git.names import rescue_ref
from agentvine.git.refs import (
    MUST_NOT_EXIST,
    delete_ref,
    find_ref,
    list_rescue_refs,
    resolve_ref,
    set_ref,
)
from agentvine.git.runner import Git
from agentvine.git.worktrees import Worktree, add_worktree
from tests.support.repositories import Repo

REF = rescue_ref("run-1")


@pytest.fixture
async def worktree(git: Git, source: Repo, tmp_path: Path) -> Worktree:
    source.commit({"both": "base\n", "gone": "x\n", ".gitignore": "*.log\n"})
    source.commit_on("other", {"both": "theirs\n"})
    mirror = tmp_path / "m.git"
    await ensure_mirror(git, source.path, mirror)
    return await add_worktree(git, mirror, tmp_path / "run", base=source.head, branch="task")


def state(worktree: Worktree) -> tuple[str, str, bytes]:
    repo = Repo(worktree.path)
    return repo.status(), repo.head, (worktree.git_dir / "index").read_bytes()


async def test_tracked_staged_and_untracked_work_is_kept_and_nothing_is_touched(
    git: Git, source: Repo, worktree: Worktree
) -> None:
    repo = Repo(worktree.path)
    repo.write({"staged": "s\n"})
    repo.git("add", "staged")
    repo.write({"README.md": "changed\n", "new/file": "n\n", "gone": None, "x.log": "ignored"})
    before = state(worktree)
    commit = await rescue_uncommitted(git, worktree, REF, message="Kept")
    assert state(worktree) == before
    assert commit is not None
    mirror = Repo(worktree.mirror)
    assert mirror.rev(REF) == commit
    assert mirror.parents(commit)[0] == source.head
    assert mirror.files(commit) == [
        *(".gitignore", "README.md", "both", "new/file", "src/app.py", "staged")
    ]
    assert mirror.show(commit, "README.md") == "changed"


async def test_what_was_staged_and_then_changed_again_is_the_second_parent(
    git: Git, source: Repo, worktree: Worktree
) -> None:
    repo = Repo(worktree.path)
    repo.write({"README.md": "staged\n", "lost": "only staged\n"})
    repo.git("add", "-A")
    repo.write({"README.md": "hello\n", "lost": None})  # as in HEAD again
    commit = await rescue_uncommitted(git, worktree, REF)
    assert commit is not None
    head, staged = repo.parents(commit)
    assert head == source.head
    assert repo.show(staged, "README.md") == "staged"
    assert repo.show(staged, "lost") == "only staged"
    assert repo.show(commit, "README.md") == "hello"


async def test_when_all_is_committed_the_commit_itself_is_kept(
    git: Git, worktree: Worktree
) -> None:
    own = Repo(worktree.path).commit({"a": "1"})
    assert await rescue_uncommitted(git, worktree, REF) == own
    assert Repo(worktree.mirror).rev(REF) == own


async def test_work_in_the_middle_of_a_conflicting_merge_is_kept(
    git: Git, worktree: Worktree
) -> None:
    repo = Repo(worktree.path)
    ours = repo.commit({"both": "ours\n"})
    with pytest.raises(AssertionError, match=r"CONFLICT|merge"):
        repo.git("merge", "origin/other")
    repo.write({"more": "1\n"})
    commit = await rescue_uncommitted(git, worktree, REF)
    assert commit is not None
    assert repo.parents(commit) == [ours]
    assert "<<<<<<<" in repo.show(commit, "both")
    assert repo.show(commit, "more") == "1"
    assert "UU both" in repo.status()


async def test_work_behind_a_broken_index_is_kept(git: Git, worktree: Worktree) -> None:
    Repo(worktree.path).write({"new": "n\n", "gone": None})
    for damage in (b"garbage", b""):
        (worktree.git_dir / "index").write_bytes(damage)
        commit = await rescue_uncommitted(git, worktree, REF)
        assert commit is not None
        files = Repo(worktree.mirror).files(commit)
        assert files == [".gitignore", "README.md", "both", "new", "src/app.py"]
        assert (worktree.git_dir / "index").read_bytes() == damage
    (worktree.git_dir / "index").unlink()
    assert await rescue_uncommitted(git, worktree, REF) is not None


async def test_work_is_kept_though_some_of_it_cannot_be_stored_as_asked(
    git: Git, worktree: Worktree
) -> None:
    repo = Repo(worktree.path)
    repo.write({".gitattributes": "*.t working-tree-encoding=UTF-16\n", "a.t": b"\xff\xfeodd"})
    repo.write({"secret": "s", "new": "n\n"})
    (worktree.path / "secret").chmod(0)
    os.mkfifo(worktree.path / "fifo")
    commit = await rescue_uncommitted(git, worktree, REF)
    assert commit is not None
    files = set(repo.files(commit))
    assert {"a.t", "new", "README.md"} <= files
    assert "fifo" not in files
    if os.geteuid() != 0:  # root can read everything
        assert "secret" not in files


async def test_work_is_kept_though_dot_git_is_gone(git: Git, worktree: Worktree) -> None:
    (worktree.path / ".git").unlink()
    Repo(worktree.path).write({"new": "n\n"})
    commit = await rescue_uncommitted(git, worktree, REF)
    assert commit is not None
    assert Repo(worktree.mirror).show(commit, "new") == "n"


async def test_a_generated_repository_inside_is_kept(git: Git, worktree: Worktree) -> None:
    inner = worktree.path / "app"
    inner.mkdir()
    Repo(inner).git("init", "-q")
    Repo(inner).commit({"index.js": "1"})
    commit = await rescue_uncommitted(git, worktree, REF)
    assert commit is not None
    assert "app/index.js" in Repo(worktree.mirror).files(commit)


async def test_of_a_vanished_folder_the_commits_are_kept(git: Git, worktree: Worktree) -> None:
    own = Repo(worktree.path).commit({"a": "1"})
    shutil.rmtree(worktree.path)
    assert await rescue_uncommitted(git, worktree, REF) == own


async def test_work_on_a_branch_without_commits_is_kept(git: Git, worktree: Worktree) -> None:
    Repo(worktree.path).git("checkout", "-q", "--orphan", "fresh")
    Repo(worktree.path).write({"new": "n\n"})
    commit = await rescue_uncommitted(git, worktree, REF)
    assert commit is not None
    assert Repo(worktree.mirror).show(commit, "new") == "n"


async def test_rescuing_runs_nothing_that_the_run_has_set_up(
    git: Git, worktree: Worktree, canary: Path
) -> None:
    repo = Repo(worktree.path)
    repo.write({".gitattributes": "* filter=evil\n", "new": "n\n"})
    for key in ("filter.evil.clean", "filter.evil.process", "core.fsmonitor"):
        repo.git("config", key, str(canary))
    assert await rescue_uncommitted(git, worktree, REF) is not None


async def test_rescue_refs_are_listed_and_removed(
    git: Git, source: Repo, worktree: Worktree
) -> None:
    mirror = worktree.mirror
    for run in ("a", "b"):
        await set_ref(git, mirror, rescue_ref(run), source.head)
    assert await list_rescue_refs(git, mirror) == {"a": source.head, "b": source.head}
    await delete_ref(git, mirror, rescue_ref("a"))
    await delete_ref(git, mirror, rescue_ref("a"))
    assert await list_rescue_refs(git, mirror) == {"b": source.head}


async def test_a_reference_is_set_only_from_the_expected_value(git: Git, source: Repo) -> None:
    first = source.head
    second = source.commit({"a": "1"})
    ref = "refs/agentvine/x"
    await set_ref(git, source.path, ref, first, expected=MUST_NOT_EXIST)
    with pytest.raises(RefMoved):
        await set_ref(git, source.path, ref, second, expected=MUST_NOT_EXIST)
    with pytest.raises(RefMoved) as refusal:
        await set_ref(git, source.path, ref, first, expected=second)
    assert refusal.value.extra["current"] == first
    await set_ref(git, source.path, ref, second, expected=first)
    assert await find_ref(git, source.path, ref) == second
    assert await find_ref(git, source.path, "refs/agentvine/none") is None
    with pytest.raises(RefNotFound):
        await resolve_ref(git, source.path, "refs/agentvine/none")
    with pytest.raises(RefNameInvalid):
        await set_ref(git, source.path, "HEAD", first)
