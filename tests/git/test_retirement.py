"""What a mirror keeps goes when its source has it too, and never before."""

import os
import time
from pathlib import Path

import pytest

from agentvine.git.locks import file_lock
from agentvine.git.mirrors import ensure_mirror, lock_path
from agentvine.git.names import rescue_ref
from agentvine.git.refs import find_ref, set_ref
from agentvine.git.retirement import drop_merged_rescues, retire_mirror
from agentvine.git.runner import Git
from agentvine.git.worktrees import add_worktree, remove_worktree
from tests.support.repositories import Repo

DAY = 86_400.0
REF = rescue_ref("run-1")


@pytest.fixture
async def mirror(git: Git, source: Repo, tmp_path: Path) -> Repo:
    path = tmp_path / "mirrors" / "m.git"
    await ensure_mirror(git, source.path, path)
    return Repo(path)


def age(mirror: Repo, days: float) -> None:
    changed = time.time() - days * DAY
    for path in (mirror.path, mirror.path / "worktrees"):
        if path.exists():
            os.utime(path, (changed, changed))


async def rescued(git: Git, source: Repo, mirror: Repo) -> str:
    """The commit of a run, that nobody but the mirror has."""
    path = mirror.path.with_name("tree")
    await add_worktree(git, mirror.path, path, base=source.head, branch="task")
    commit = Repo(path).commit({"result": "of a run"})
    await set_ref(git, mirror.path, REF, commit)
    await remove_worktree(mirror.path, path)
    return commit


async def merge(git: Git, source: Repo, mirror: Repo, commit: str) -> None:
    source.git("fetch", "-q", mirror.path, f"{REF}:refs/heads/reviewed")
    source.git("merge", "-q", "--no-ff", "-m", "Merge", "reviewed")
    source.git("branch", "-q", "-D", "reviewed")
    await ensure_mirror(git, source.path, mirror.path)


async def test_a_rescue_ref_goes_when_its_commit_is_merged_and_old(
    git: Git, source: Repo, mirror: Repo
) -> None:
    commit = await rescued(git, source, mirror)
    soon = time.time() + DAY
    assert await drop_merged_rescues(git, mirror.path, made_before=soon) == []
    await merge(git, source, mirror, commit)
    assert await drop_merged_rescues(git, mirror.path, made_before=time.time() - DAY) == []
    assert await drop_merged_rescues(git, mirror.path, made_before=soon, dry_run=True) == [REF]
    assert await find_ref(git, mirror.path, REF) == commit
    assert await drop_merged_rescues(git, mirror.path, made_before=soon) == [REF]
    assert await find_ref(git, mirror.path, REF) is None


async def test_a_mirror_goes_when_it_is_old_and_its_source_has_all_of_it(
    git: Git, source: Repo, mirror: Repo, tmp_path: Path
) -> None:
    aside, limit = tmp_path / "removed", time.time() - 14 * DAY

    async def retire(**options: bool) -> str | None:
        return await retire_mirror(git, mirror.path, aside, unused_since=limit, **options)

    assert await retire() == "it was used lately"
    commit = await rescued(git, source, mirror)
    age(mirror, 30)
    assert await retire() == "it holds commits that its source does not have"
    mirror.git("update-ref", "-d", REF)
    age(mirror, 30)
    assert await retire() == "it holds commits that its source does not have", "the task's branch"
    await set_ref(git, mirror.path, REF, commit)
    await merge(git, source, mirror, commit)
    assert await retire() == "it was used lately", "a fetch makes it young"
    age(mirror, 30)
    assert await retire(dry_run=True) is None
    assert mirror.path.is_dir()
    assert await retire() is None
    assert not mirror.path.exists()
    assert len(list(aside.iterdir())) == 1
    await ensure_mirror(git, source.path, mirror.path)
    assert mirror.rev("refs/remotes/origin/main") == source.head


async def test_a_mirror_in_use_stays(git: Git, source: Repo, mirror: Repo, tmp_path: Path) -> None:
    await add_worktree(git, mirror.path, tmp_path / "tree", base=source.head, branch="task")
    age(mirror, 30)
    now = time.time()
    why = await retire_mirror(git, mirror.path, tmp_path / "removed", unused_since=now - DAY)
    assert why == "work trees hang on it"
    async with file_lock(lock_path(mirror.path), timeout_seconds=1):
        why = await retire_mirror(
            git, mirror.path, tmp_path / "removed", unused_since=now - DAY, patience_seconds=0
        )
    assert why == "it is being fetched"
    assert mirror.path.is_dir()
