"""What a work tree may hold in unusual places, and that none of it is lost with the tree."""

from pathlib import Path

import pytest

from agentvine.git.mirrors import ensure_mirror
from agentvine.git.names import rescue_ref
from agentvine.git.refs import find_ref
from agentvine.git.runner import Git
from agentvine.git.salvage import salvage
from agentvine.git.worktrees import Worktree, add_worktree, remove_worktree
from tests.support.repositories import Repo

REF = rescue_ref("run-1-left-behind")


@pytest.fixture
async def worktree(git: Git, source: Repo, tmp_path: Path) -> Worktree:
    source.commit({"changed": "base\n", ".gitignore": "*.local\nbuild/\n"})
    mirror = tmp_path / "m.git"
    await ensure_mirror(git, source.path, mirror)
    return await add_worktree(git, mirror, tmp_path / "run", base=source.head, branch="task")


async def test_whatever_a_tree_holds_outlives_it(git: Git, worktree: Worktree) -> None:
    tree = Repo(worktree.path)
    pushed_nowhere = tree.commit({"committed": "1\n"})
    tree.git("checkout", "-q", "--detach", "HEAD~1")
    left_again = tree.commit({"on no branch": "2\n"})
    tree.git("checkout", "-q", "-B", "another", "HEAD~1")
    on_another = tree.commit({"another": "3\n"})
    tree.git("checkout", "-q", "--detach")
    detached = tree.commit({"detached": "4\n"})
    tree.write({"staged": "5\n"})
    tree.git("add", "staged")
    tree.write({"staged": "6\n", "changed": "7\n", "new/file": "8\n", "new/x.local": "9\n"})
    tree.write({".env.local": "10\n", "big.local": b"x" * 2**21, "build/product": "11\n"})

    commit = await salvage(git, worktree, REF, message="Kept")
    await remove_worktree(worktree.mirror, worktree.path)
    # Later runs of the task set its branch anew; nothing may hang on it.
    mirror = Repo(worktree.mirror)
    for branch in ("task", "another"):
        mirror.git("update-ref", "-d", f"refs/heads/{branch}")
    mirror.git("reflog", "expire", "--expire=now", "--all")
    mirror.git("gc", "-q", "--prune=now")

    assert commit is not None
    assert mirror.rev(REF) == commit
    for work in (pushed_nowhere, left_again, on_another, detached):
        mirror.git("merge-base", "--is-ancestor", work, commit)
    kept = {name: mirror.show(commit, name) for name in mirror.files(commit)}
    assert kept.items() >= {
        "detached": "4", "staged": "6", "changed": "7", "new/file": "8",
        "new/x.local": "9", ".env.local": "10", "another": "3",
    }.items()  # fmt: skip
    assert not kept.keys() & {"big.local", "build/product"}, "what can be made again"
    history = mirror.git("log", "--format=%H", commit).split()
    assert "5" in [
        mirror.show(each, "staged") for each in history if "staged" in mirror.files(each)
    ]
    assert not worktree.path.exists()


async def test_a_tree_with_nothing_new_leaves_nothing(git: Git, worktree: Worktree) -> None:
    Repo(worktree.path).write({"build/product": "1\n"})

    assert await salvage(git, worktree, REF, message="Kept") is None
    assert await find_ref(git, worktree.mirror, REF) is None


async def test_a_broken_tree_is_kept_as_far_as_it_can_be_read(git: Git, worktree: Worktree) -> None:
    tree = Repo(worktree.path)
    own = tree.commit({"committed": "1\n"})
    tree.write({"new": "2\n", "x.local": "3\n"})
    (worktree.git_dir / "index").write_bytes(b"garbage")
    (worktree.git_dir / "logs" / "HEAD").write_bytes(b"\xff" * 100 + b"\n" + b"0" * 81)
    (worktree.path / ".git").unlink()

    commit = await salvage(git, worktree, REF, message="Kept")

    assert commit is not None
    mirror = Repo(worktree.mirror)
    assert mirror.parents(commit) == [own]
    assert mirror.show(commit, "new") == "2"
    assert mirror.show(commit, "x.local") == "3"
