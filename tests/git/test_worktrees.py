import asyncio
import os
import shutil
import time
from pathlib import Path

import pytest

from agentvine.git.errors import CommitNotFound, RefNameInvalid, WorktreeExists, WorktreeNotFound
from agentvine.git.mirrors import ensure_mirror
from agentvine.git.places import locate
from agentvine.git.runner import Git
from agentvine.git.worktrees import (
    add_worktree,
    find_worktree,
    list_worktrees,
    prune_worktrees,
    remove_folder,
    remove_worktree,
    set_aside,
)
from tests.support.repositories import Repo

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.fixture
async def mirror(git: Git, source: Repo, tmp_path: Path) -> Path:
    path = tmp_path / "m.git"
    await ensure_mirror(git, source.path, path)
    return path


async def test_a_worktree_is_a_clean_checkout_on_its_own_branch(
    git: Git, source: Repo, mirror: Path, tmp_path: Path
) -> None:
    path = tmp_path / "runs" / "one two ünï"
    worktree = await add_worktree(git, mirror, path, base=source.head, branch="agentvine/T-1")
    repo = Repo(path)
    assert repo.status() == ""
    assert (repo.head, repo.git("branch", "--show-current")) == (source.head, "agentvine/T-1")
    assert (path / "src" / "app.py").read_text() == "x = 1\ny = 2\nz = 3\n"
    assert (worktree.path, worktree.branch, worktree.is_missing) == (path, "agentvine/T-1", False)
    assert list_worktrees(mirror) == [worktree] == [find_worktree(mirror, path)]


async def test_an_agent_can_commit_in_its_worktree_without_any_configuration(
    git: Git, source: Repo, mirror: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    await add_worktree(git, mirror, path, base=source.head, branch="b")
    repo = Repo(path)
    repo.write({"new.txt": "x"})
    repo.git("add", "new.txt")
    process = await asyncio.create_subprocess_exec(
        *("git", "commit", "-q", "-m", "By the agent"),
        cwd=path,
        env={"PATH": os.defpath, "HOME": str(tmp_path)},
    )
    assert await process.wait() == 0
    assert repo.git("log", "-1", "--format=%an <%ae>") == "AgentVine <agentvine@localhost>"


async def test_worktrees_can_be_made_at_the_same_time(
    git: Git, source: Repo, mirror: Path, tmp_path: Path
) -> None:
    await asyncio.gather(
        *(
            add_worktree(git, mirror, tmp_path / str(n) / "tree", base=source.head, branch=f"b{n}")
            for n in range(8)
        )
    )
    assert {worktree.branch for worktree in list_worktrees(mirror)} == {f"b{n}" for n in range(8)}
    assert all(Repo(tmp_path / str(n) / "tree").status() == "" for n in range(8))


async def test_fetching_and_git_commands_of_agents_are_not_disturbed_by_worktrees_that_come_and_go(
    git: Git, source: Repo, mirror: Path, tmp_path: Path
) -> None:
    await add_worktree(git, mirror, tmp_path / "agent", base=source.head, branch="agent")

    async def come_and_go(number: int) -> None:
        path = tmp_path / f"run{number}"
        for turn in range(4):
            await add_worktree(git, mirror, path, base=source.head, branch=f"b{number}-{turn}")
            await remove_worktree(mirror, path)

    async def list_branches() -> None:
        for _ in range(12):
            await git.run(locate(tmp_path / "agent").place, "worktree", "list")
            await ensure_mirror(git, source.path, mirror)

    await asyncio.gather(*(come_and_go(number) for number in range(3)), list_branches())
    assert [worktree.branch for worktree in list_worktrees(mirror)] == ["agent"]


async def test_of_two_that_want_one_branch_at_the_same_time_one_gets_it(
    git: Git, source: Repo, mirror: Path, tmp_path: Path
) -> None:
    results = await asyncio.gather(
        *(
            add_worktree(git, mirror, tmp_path / str(n), base=source.head, branch="b")
            for n in range(4)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(result, WorktreeExists) for result in results) == 3


async def test_a_worktree_of_a_thousand_files_is_made_quickly(
    git: Git, source: Repo, tmp_path: Path
) -> None:
    source.commit({f"pkg{n % 50}/module{n}.py": f"value = {n}\n" * 20 for n in range(1000)})
    mirror = tmp_path / "m.git"
    await ensure_mirror(git, source.path, mirror)
    started = time.monotonic()
    await add_worktree(git, mirror, tmp_path / "run", base=source.head, branch="b")
    assert time.monotonic() - started < 10  # it takes 0.1 s when nothing else runs


async def test_a_taken_branch_or_path_is_refused_and_a_branch_can_be_replaced(
    git: Git, source: Repo, mirror: Path, tmp_path: Path
) -> None:
    first = source.head
    await add_worktree(git, mirror, tmp_path / "one", base=first, branch="b")
    with pytest.raises(WorktreeExists, match="b is checked out"):
        await add_worktree(git, mirror, tmp_path / "two", base=first, branch="b")
    with pytest.raises(WorktreeExists, match="not empty"):
        await add_worktree(git, mirror, tmp_path / "one", base=first, branch="c")
    with pytest.raises(WorktreeExists, match="checked out"):
        await add_worktree(
            git, mirror, tmp_path / "two", base=first, branch="b", replace_branch=True
        )
    await remove_worktree(mirror, tmp_path / "one")
    with pytest.raises(WorktreeExists, match="already has a branch b"):
        await add_worktree(git, mirror, tmp_path / "two", base=first, branch="b")
    second = source.commit({"a": "1"})
    await ensure_mirror(git, source.path, mirror)
    await add_worktree(git, mirror, tmp_path / "two", base=second, branch="b", replace_branch=True)
    assert Repo(tmp_path / "two").head == second


async def test_an_unknown_base_or_a_bad_branch_name_is_refused(
    git: Git, source: Repo, mirror: Path, tmp_path: Path
) -> None:
    with pytest.raises(CommitNotFound):
        await add_worktree(git, mirror, tmp_path / "x", base="1" * 40, branch="b")
    with pytest.raises(RefNameInvalid):
        await add_worktree(git, mirror, tmp_path / "x", base=source.head, branch="--force")
    assert not (tmp_path / "x").exists()


async def test_removing_takes_the_folder_and_keeps_the_branch(
    git: Git, source: Repo, mirror: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    await add_worktree(git, mirror, path, base=source.head, branch="b")
    (path / "untracked").write_text("x")
    await remove_worktree(mirror, path)
    assert not path.exists()
    assert list_worktrees(mirror) == []
    assert Repo(mirror).rev("refs/heads/b") == source.head
    await remove_worktree(mirror, path)  # once more does no harm


async def test_a_worktree_is_removed_however_it_was_left(
    git: Git, source: Repo, mirror: Path, tmp_path: Path
) -> None:
    for number in range(3):
        await add_worktree(
            git, mirror, tmp_path / str(number), base=source.head, branch=f"b{number}"
        )
    shutil.rmtree(tmp_path / "0")  # the folder is gone
    (tmp_path / "1" / ".git").unlink()  # only the folder is left
    locked = tmp_path / "2" / "cache" / "deep"
    locked.mkdir(parents=True)
    (locked / "file").write_text("x")
    locked.chmod(0o500)  # nothing may be removed from it
    locked.parent.chmod(0o000)  # nor may it be looked into
    for number in range(3):
        await remove_worktree(mirror, tmp_path / str(number))
        assert not (tmp_path / str(number)).exists()
    assert list_worktrees(mirror) == []


async def test_a_worktree_is_set_aside_at_once_and_removed_later(
    git: Git, source: Repo, mirror: Path, tmp_path: Path
) -> None:
    path, aside = tmp_path / "run", tmp_path / "aside"
    await add_worktree(git, mirror, path, base=source.head, branch="b")
    (path / "locked").mkdir(mode=0o500)
    path.chmod(0o500)
    moved = set_aside(mirror, path, aside)
    assert moved is not None
    assert (moved.parent, (moved / "README.md").is_file()) == (aside, True)
    assert not path.exists()
    assert list_worktrees(mirror) == []
    await add_worktree(git, mirror, path, base=source.head, branch="b", replace_branch=True)
    remove_folder(moved)
    assert list(aside.iterdir()) == []
    assert (path / "README.md").is_file()
    assert set_aside(None, tmp_path / "nothing", aside) is None


async def test_a_link_in_the_place_of_a_worktree_is_removed_without_what_it_points_to(
    git: Git, source: Repo, mirror: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    await add_worktree(git, mirror, path, base=source.head, branch="b")
    path.rename(tmp_path / "moved")
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    path.symlink_to(precious)
    await remove_worktree(mirror, path)
    assert not path.is_symlink()
    path.symlink_to(precious)
    assert set_aside(mirror, path, tmp_path / "aside") is None
    assert not path.is_symlink()
    assert (precious / "file").exists()


async def test_pruning_forgets_only_the_worktrees_that_are_gone(
    git: Git, source: Repo, mirror: Path, tmp_path: Path
) -> None:
    for name in ("kept", "lost"):
        await add_worktree(git, mirror, tmp_path / name, base=source.head, branch=name)
    shutil.rmtree(tmp_path / "lost")
    assert find_worktree(mirror, tmp_path / "lost").is_missing
    prune_worktrees(mirror)
    assert [worktree.branch for worktree in list_worktrees(mirror)] == ["kept"]
    with pytest.raises(WorktreeNotFound):
        find_worktree(mirror, tmp_path / "lost")


async def test_a_large_file_pointer_stays_a_pointer(git: Git, source: Repo, tmp_path: Path) -> None:
    head = source.commit(
        {"big.bin": POINTER, ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"}
    )
    mirror = tmp_path / "m.git"
    await ensure_mirror(git, source.path, mirror)
    await add_worktree(git, mirror, tmp_path / "run", base=head, branch="b")
    assert (tmp_path / "run" / "big.bin").read_text() == POINTER
    assert Repo(tmp_path / "run").status() == ""


async def test_a_submodule_is_left_an_empty_folder(git: Git, source: Repo, tmp_path: Path) -> None:
    source.git(*("-c", "protocol.file.allow=always", "submodule", "--quiet", "add"), "./", "sub")
    head = source.commit()
    mirror = tmp_path / "m.git"
    await ensure_mirror(git, source.path, mirror)
    await add_worktree(git, mirror, tmp_path / "run", base=head, branch="b")
    assert list((tmp_path / "run" / "sub").iterdir()) == []
    assert Repo(tmp_path / "run").status() == ""


async def test_a_hostile_repository_runs_nothing_when_it_is_checked_out(
    git: Git, source: Repo, mirror: Path, tmp_path: Path, canary: Path
) -> None:
    head = source.commit({".gitattributes": "* filter=evil\n", "data": "x"})
    await ensure_mirror(git, source.path, mirror)
    # What another run in the same mirror may have set, after the last fetch:
    repo = Repo(mirror)
    for key in ("filter.evil.smudge", "filter.evil.process", "core.fsmonitor"):
        repo.git("config", key, str(canary))
    hooks = mirror / "hooks"
    hooks.mkdir()
    for hook in ("post-checkout", "reference-transaction", "post-index-change"):
        (hooks / hook).symlink_to(canary)
    await add_worktree(git, mirror, tmp_path / "run", base=head, branch="b")
    assert (tmp_path / "run" / "data").read_text() == "x"
