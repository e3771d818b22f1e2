"""Merging into a branch that somebody has checked out."""

import asyncio
import shutil
from pathlib import Path

import pytest

from agentvine.git.errors import GitError, WorkTreeBusy, WorkTreeDirty
from agentvine.git.merges import merge, revert
from agentvine.git.runner import Git
from tests.support.repositories import Repo

LINES = "".join(f"line {n}\n" for n in range(1, 11))


@pytest.fixture
def repo(source: Repo) -> Repo:
    """A repository with ``main`` checked out."""
    source.commit({"text": LINES, "other": "o\n", ".gitignore": "*.log\n.env\n"})
    return source


def task(repo: Repo, name: str = "task", **files: str | None) -> str:
    content = files or {"text": LINES.replace("line 1\n", "changed 1\n")}
    return repo.commit_on(name, content, "main")


async def test_a_clean_work_tree_is_brought_along(git: Git, repo: Repo) -> None:
    head = task(repo, text=None, new_file="n\n")
    landed = await merge(git, repo.path, "main", head, "Task")
    assert landed.work_tree == repo.path
    assert repo.head == landed.commit
    assert repo.git("branch", "--show-current") == "main"
    assert repo.status() == ""
    assert (repo.path / "new_file").exists()
    assert not (repo.path / "text").exists()


async def test_taking_back_brings_it_along_too(git: Git, repo: Repo) -> None:
    landed = await merge(git, repo.path, "main", task(repo), "Task")
    back = await revert(git, repo.path, "main", landed.commit, "Back")
    assert repo.head == back.commit
    assert (repo.path / "text").read_text() == LINES
    assert repo.status() == ""


async def test_changes_to_other_files_stay_as_they_are(git: Git, repo: Repo) -> None:
    repo.write({"other": "mine\n", "untracked": "u\n", "staged": "s\n"})
    repo.git("add", "staged")
    before = repo.status()
    await merge(git, repo.path, "main", task(repo), "Task")
    assert repo.status() == before
    assert (repo.path / "other").read_text() == "mine\n"
    assert "changed 1" in (repo.path / "text").read_text()


@pytest.mark.parametrize("how", ["unstaged", "staged", "staged and undone", "deleted"])
async def test_changes_to_a_touched_file_refuse_the_merge(git: Git, repo: Repo, how: str) -> None:
    head = task(repo)
    if how == "deleted":
        repo.write({"text": None})
    else:
        repo.write({"text": "mine\n"})
    if how.startswith("staged"):
        repo.git("add", "text")
    if how == "staged and undone":
        repo.write({"text": LINES})
    before = (repo.head, repo.status(), repo.git("diff"), repo.git("diff", "--cached"))
    with pytest.raises(WorkTreeDirty, match=r"changes to text that are not committed") as refusal:
        await merge(git, repo.path, "main", head, "Task")
    assert (refusal.value.path, refusal.value.files) == (repo.path, ("text",))
    assert (repo.head, repo.status(), repo.git("diff"), repo.git("diff", "--cached")) == before


@pytest.mark.parametrize("name", ["new ünï", "new.log", ".env"])
async def test_an_untracked_or_ignored_file_is_not_overwritten(
    git: Git, repo: Repo, name: str
) -> None:
    head = task(repo)
    path = repo.path.parent / "side"
    repo.git("worktree", "add", "-q", "--detach", path, head)
    Repo(path).write({name: "theirs\n"})
    Repo(path).git("add", "-f", name)
    Repo(path).git("commit", "-q", "-m", "Add it")
    repo.write({name: "mine\n"})
    with pytest.raises(WorkTreeDirty) as refusal:
        await merge(git, repo.path, "main", Repo(path).head, "Task")
    assert refusal.value.files == (name,)
    assert (repo.path / name).read_text() == "mine\n"


async def test_an_untracked_file_where_a_folder_must_be_refuses_the_merge(
    git: Git, repo: Repo
) -> None:
    head = repo.commit_on("task", {"folder/file": "1\n"}, "main")
    repo.write({"folder": "mine\n"})
    before = repo.head
    with pytest.raises(WorkTreeDirty, match="folder"):
        await merge(git, repo.path, "main", head, "Task")
    assert (repo.path / "folder").read_text() == "mine\n"
    assert repo.head == before


async def test_a_file_that_only_looks_changed_is_no_obstacle(git: Git, repo: Repo) -> None:
    head = task(repo)
    (repo.path / "text").write_text("mine\n")
    (repo.path / "text").write_text(LINES)
    await merge(git, repo.path, "main", head, "Task")
    assert repo.status() == ""


async def test_a_linked_work_tree_is_brought_along_and_the_main_one_left(
    git: Git, repo: Repo, tmp_path: Path
) -> None:
    linked = Repo(tmp_path / "linked ünï")
    repo.git("branch", "release")
    repo.git("worktree", "add", "-q", linked.path, "release")
    head = task(repo)
    repo.write({"text": "mine, on another branch\n"})
    landed = await merge(git, repo.path, "release", head, "Task")
    assert landed.work_tree == linked.path
    assert linked.status() == ""
    assert "changed 1" in (linked.path / "text").read_text()
    assert (repo.path / "text").read_text() == "mine, on another branch\n"
    # asking through the linked work tree is the same
    await revert(git, linked.path, "release", landed.commit, "Back")
    assert (linked.path / "text").read_text() == LINES


async def test_a_detached_head_leaves_the_branch_to_us(git: Git, repo: Repo) -> None:
    repo.git("checkout", "-q", "--detach")
    repo.write({"text": "mine\n"})
    landed = await merge(git, repo.path, "main", task(repo), "Task")
    assert landed.work_tree is None
    assert repo.rev("main") == landed.commit
    assert (repo.path / "text").read_text() == "mine\n"


async def test_a_work_tree_whose_folder_is_gone_is_no_obstacle(
    git: Git, repo: Repo, tmp_path: Path
) -> None:
    repo.git("branch", "release")
    repo.git("worktree", "add", "-q", tmp_path / "gone", "release")
    shutil.rmtree(tmp_path / "gone")
    landed = await merge(git, repo.path, "release", task(repo), "Task")
    assert (landed.work_tree, repo.rev("release")) == (None, landed.commit)


async def test_a_rebase_a_merge_or_a_lock_under_way_refuses_the_merge(git: Git, repo: Repo) -> None:
    head = task(repo)
    clash = task(repo, "clash", other="theirs\n")
    repo.commit({"other": "ours\n"})
    tip = repo.head
    for command in ("merge", "rebase"):
        with pytest.raises(AssertionError, match=r"onflict|CONFLICT"):
            repo.git(command, clash)
        with pytest.raises(WorkTreeBusy):
            await merge(git, repo.path, "main", head, "Task")
        repo.git(command, "--abort")
    lock = repo.path / ".git" / "index.lock"
    lock.touch()
    with pytest.raises(WorkTreeBusy, match="git command"):
        await merge(git, repo.path, "main", head, "Task")
    lock.unlink()
    assert repo.head == tip
    await merge(git, repo.path, "main", head, "Task")


async def test_a_branch_checked_out_twice_refuses_the_merge(
    git: Git, repo: Repo, tmp_path: Path
) -> None:
    head = task(repo)
    repo.git("worktree", "add", "-q", "--force", tmp_path / "second", "main")
    with pytest.raises(WorkTreeBusy, match="2 work trees"):
        await merge(git, repo.path, "main", head, "Task")


async def test_merges_at_the_same_time_into_a_checked_out_branch_all_land(
    git: Git, repo: Repo
) -> None:
    heads = [repo.commit_on(f"t{n}", {f"file{n}": f"{n}\n"}, "main") for n in range(3)]

    await asyncio.gather(*(merge(git, repo.path, "main", head, "Task") for head in heads))
    assert repo.status() == ""
    assert {f"file{n}" for n in range(3)} <= set(repo.files("main"))


async def test_a_hostile_work_tree_runs_nothing(git: Git, repo: Repo, canary: Path) -> None:
    head = task(repo)
    for key in (
        "core.fsmonitor",
        "filter.evil.clean",
        "filter.evil.smudge",
        "filter.ev=il.x.process",
        "gpg.program",
        "core.editor",
        "diff.external",
    ):
        repo.git("config", key, str(canary))
    repo.git("config", "filter.evil.required", "true")
    repo.git("config", "branch.main.mergeOptions", "--squash -S")
    repo.git("config", "merge.autoStash", "true")
    info = repo.path / ".git" / "info"
    info.mkdir(exist_ok=True)
    (info / "attributes").write_text("other filter=evil\nREADME.md filter=ev=il.x\n")
    (repo.path / ".git" / "hooks").mkdir(exist_ok=True)
    for hook in ("post-merge", "post-checkout", "reference-transaction", "post-index-change"):
        (repo.path / ".git" / "hooks" / hook).symlink_to(canary)
    (repo.path / "other").touch()
    (repo.path / "README.md").touch()
    landed = await merge(git, repo.path, "main", head, "Task")
    assert landed.work_tree == repo.path
    assert "changed 1" in (repo.path / "text").read_text()


async def test_a_file_that_needs_a_filter_is_not_written_without_it(
    git: Git, repo: Repo, canary: Path
) -> None:
    repo.commit({".gitattributes": "*.bin filter=lfs\n", "big.bin": "pointer 1\n"})
    pointer = repo.commit_on("big", {"big.bin": "pointer 2\n"}, "main")
    small = task(repo)
    repo.git("config", "filter.lfs.smudge", str(canary))
    repo.git("config", "filter.lfs.clean", str(canary))
    with pytest.raises(WorkTreeDirty, match=r"big\.bin would need a filter program") as refusal:
        await merge(git, repo.path, "main", pointer, "Big")
    assert refusal.value.files == ("big.bin",)
    await merge(git, repo.path, "main", small, "Small")


async def test_a_partial_clone_fetches_nothing_with_its_program(
    git: Git, repo: Repo, tmp_path: Path, canary: Path
) -> None:
    head = task(repo)
    repo.git("config", "uploadpack.allowFilter", "true")
    partial = Repo(tmp_path / "partial")
    repo.git("clone", "-q", "--filter=blob:none", f"file://{repo.path}", partial.path)
    partial.git("config", "remote.origin.uploadpack", str(canary))
    with pytest.raises(GitError):
        await merge(git, partial.path, "main", head, "Task")
    assert partial.status() == ""
