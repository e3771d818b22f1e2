"""Submodules and files of git-lfs: what a commit names, and a work tree does not have."""

import shutil
from pathlib import Path

import pytest

from agentvine.git.changes import commit_all, rescue_uncommitted
from agentvine.git.errors import ExternalContentChanged
from agentvine.git.external import External, find_external, refusals, require_external_kept
from agentvine.git.mirrors import ensure_mirror
from agentvine.git.names import rescue_ref
from agentvine.git.runner import Git
from agentvine.git.worktrees import Worktree, add_worktree
from agentvine.protocol.runs import LargeFiles, Submodules, WorkspacePolicy
from tests.support.repositories import Repo, make_repo

ALLOW = ("-c", "protocol.file.allow=always")
ATTRIBUTES = "*.bin filter=lfs diff=lfs merge=lfs -text\n"


def pointer(content: int) -> str:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{content:064x}\nsize 12345\n"


@pytest.fixture
def library(tmp_path: Path) -> Repo:
    return make_repo(tmp_path / "library", {"lib.c": "int x;\n", "doc/a": "a"})


@pytest.fixture
async def worktree(git: Git, source: Repo, library: Repo, tmp_path: Path) -> Worktree:
    """Of a repository with a submodule in ``vendor/lib``."""
    source.git(*ALLOW, "submodule", "--quiet", "add", library.path, "vendor/lib")
    source.commit()
    return await checked_out(git, source, tmp_path)


@pytest.fixture
async def large(git: Git, source: Repo, tmp_path: Path) -> Worktree:
    """Of a repository with a file that git-lfs keeps, and one that it was never given."""
    source.commit({"stored.bin": "in here"})
    source.commit({"a.bin": pointer(1), ".gitattributes": ATTRIBUTES})
    return await checked_out(git, source, tmp_path)


async def checked_out(git: Git, source: Repo, tmp_path: Path) -> Worktree:
    mirror = tmp_path / "m.git"
    await ensure_mirror(git, source.path, mirror)
    return await add_worktree(git, mirror, tmp_path / "run", base=source.head, branch="task")


async def require_kept(git: Git, worktree: Worktree, source: Repo) -> str:
    """Commit all that was done, and look at it."""
    await commit_all(git, worktree, "Work")
    head = Repo(worktree.path).head
    await require_external_kept(git, worktree.mirror, source.head, head)
    return head


async def test_a_repository_that_holds_all_it_names_is_told_apart(git: Git, source: Repo):
    source.commit({"a.bin": pointer(1), ".gitattributes": "*.txt text\n"})
    assert await find_external(git, source.path, source.head) == External()


async def test_submodules_and_large_files_are_found(git: Git, source: Repo, worktree: Worktree):
    source.commit({"a.bin": pointer(1), "b.bin": "in here", ".gitattributes": ATTRIBUTES})
    found = await find_external(git, source.path, source.head)
    assert found == External(("vendor/lib",), ("a.bin",))


async def test_attributes_in_a_folder_and_in_a_macro_count(git: Git, source: Repo):
    source.commit({"deep/.gitattributes": "*.dat filter=lfs\n", "deep/x.dat": pointer(1)})
    source.commit({".gitattributes": "[attr]big filter=lfs -text\n*.mov big\n"})
    source.commit({"y.mov": pointer(2), "y.dat": pointer(3)})
    found = await find_external(git, source.path, source.head)
    assert found.large_files == ("deep/x.dat", "y.mov")


async def test_each_is_refused_until_it_is_allowed():
    found = External(("vendor/lib",), ("a.bin",))
    codes = [error.code for error in refusals(found, WorkspacePolicy())]
    assert codes == ["submodules_refused", "large_files_refused"]
    some = WorkspacePolicy(submodules=Submodules.EMPTY)
    (error,) = refusals(found, some)
    assert "a.bin" in error.detail
    both = WorkspacePolicy(submodules=Submodules.EMPTY, large_files=LargeFiles.POINTERS)
    assert refusals(found, both) == []


async def test_a_submodule_that_is_left_alone_stays_as_it_is(
    git: Git, source: Repo, worktree: Worktree, canary: Path
):
    repo = Repo(worktree.path)
    link = repo.git("ls-tree", "HEAD", "vendor/lib")
    shutil.rmtree(worktree.path / "vendor")  # a tool that removes empty folders
    repo.write({"new": "1"})
    head = await require_kept(git, worktree, source)
    assert repo.git("ls-tree", head, "vendor/lib") == link
    # Fetched by the run, for its tests; what its settings name is not run.
    repo.git(*ALLOW, "submodule", "--quiet", "update", "--init")
    inner = Repo(worktree.path / "vendor" / "lib")
    inner.git("config", "core.fsmonitor", str(canary))
    inner.git("config", "filter.evil.clean", str(canary))
    (worktree.path / "vendor" / "lib" / "lib.c").touch()
    repo.write({"newer": "1"})
    head = await require_kept(git, worktree, source)
    assert repo.git("ls-tree", head, "vendor/lib") == link


@pytest.mark.parametrize("is_fetched", [True, False])
async def test_work_in_a_submodules_folder_is_kept_and_is_no_change(
    git: Git, source: Repo, worktree: Worktree, *, is_fetched: bool
):
    repo = Repo(worktree.path)
    if is_fetched:
        repo.git(*ALLOW, "submodule", "--quiet", "update", "--init")
    repo.write({"vendor/lib/lib.c": "int y;\n", "vendor/lib/more.c": "int z;\n"})
    rescued = await rescue_uncommitted(git, worktree, rescue_ref("x"))
    assert rescued is not None
    assert repo.show(rescued, "vendor/lib/more.c") == "int z;"
    with pytest.raises(ExternalContentChanged, match="vendor/lib") as caught:
        await require_kept(git, worktree, source)
    assert caught.value.files == ("vendor/lib",)
    assert repo.show("HEAD", "vendor/lib/lib.c") == "int y;"


async def test_a_submodule_is_not_moved(git: Git, source: Repo, worktree: Worktree):
    repo = Repo(worktree.path)
    repo.git(*ALLOW, "submodule", "--quiet", "update", "--init")
    moved = Repo(worktree.path / "vendor" / "lib").commit({"lib.c": "int y;\n"})
    repo.git("update-index", "--cacheinfo", f"160000,{moved},vendor/lib")
    repo.git("commit", "-q", "-m", "Move it")
    with pytest.raises(ExternalContentChanged, match="their own repositories"):
        await require_kept(git, worktree, source)


async def test_a_repository_that_a_run_has_added_as_it_is_is_committed_as_files(
    git: Git, source: Repo, tmp_path: Path
):
    worktree = await checked_out(git, source, tmp_path)
    repo = Repo(worktree.path)
    (worktree.path / "inner").mkdir()
    Repo(worktree.path / "inner").git("init", "-q")
    Repo(worktree.path / "inner").commit({"file": "1"})
    repo.git("add", "inner")
    repo.git("commit", "-q", "-m", "Only a link")
    head = await require_kept(git, worktree, source)
    assert repo.show(head, "inner/file") == "1"


async def test_a_submodule_may_be_removed_with_its_entry(
    git: Git, source: Repo, worktree: Worktree
):
    repo = Repo(worktree.path)
    (worktree.path / "vendor" / "lib").rmdir()
    repo.write({".gitmodules": None})
    head = await require_kept(git, worktree, source)
    assert repo.files(head) == ["README.md", "src/app.py"]


async def test_a_submodule_that_is_added_is_no_change(
    git: Git, source: Repo, library: Repo, tmp_path: Path
):
    worktree = await checked_out(git, source, tmp_path)
    Repo(worktree.path).git(*ALLOW, "submodule", "--quiet", "add", library.path, "lib")
    with pytest.raises(ExternalContentChanged, match="lib"):
        await require_kept(git, worktree, source)


async def test_large_files_may_be_renamed_and_removed(git: Git, source: Repo, large: Worktree):
    repo = Repo(large.path)
    (large.path / "a.bin").rename(large.path / "b.bin")
    repo.write({"plain": "1", "stored.bin": "as before, in here"})
    head = await require_kept(git, large, source)
    assert repo.show(head, "b.bin").startswith("version https://git-lfs")
    repo.write({"b.bin": None})
    await require_kept(git, large, source)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("a.bin", "the file itself"),
        ("new.bin", "another one"),
        ("new.bin", pointer(2)),
        ("a.bin", pointer(2)),
        ("stored.bin", pointer(2)),
    ],
)
async def test_what_git_lfs_should_keep_is_not_committed(
    git: Git, source: Repo, large: Worktree, path: str, content: str
):
    Repo(large.path).write({path: content})
    with pytest.raises(ExternalContentChanged, match=path) as caught:
        await require_kept(git, large, source)
    assert caught.value.files == (path,)


async def test_a_change_may_end_the_use_of_git_lfs(git: Git, source: Repo, large: Worktree):
    Repo(large.path).write({".gitattributes": "", "a.bin": "the file itself"})
    await require_kept(git, large, source)
