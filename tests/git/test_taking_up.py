"""Earlier work in a fresh work tree."""

from pathlib import Path

import pytest

from agentvine.git.changes import commit_all, rescue_uncommitted
from agentvine.git.mirrors import ensure_mirror, resolve_source_branch
from agentvine.git.names import rescue_ref
from agentvine.git.refs import find_ref
from agentvine.git.runner import Git
from agentvine.git.taking_up import take_up
from agentvine.git.worktrees import Worktree, add_worktree
from tests.support.repositories import Repo

REF = rescue_ref("01a20c12-3edd-77f1-87b0-000000000000")


class Work:
    """A mirror, in which an earlier run has left something."""

    def __init__(self, git: Git, source: Repo, folder: Path) -> None:
        self.git, self.source, self.folder = git, source, folder
        self.mirror = folder / "m.git"

    async def leave(self) -> str:
        """What the earlier run did: a commit of its own, a change, a new file and a removed one."""
        await ensure_mirror(self.git, self.source.path, self.mirror)
        first = await self.tree("first")
        repo = Repo(first.path)
        repo.write({"src/app.py": "x = 1\ny = 2\nz = 4\n"})
        await commit_all(self.git, first, "By the agent")
        repo.write({"new/file.txt": "new\n"})
        (first.path / "README.md").unlink()
        await rescue_uncommitted(self.git, first, REF)
        work = await find_ref(self.git, self.mirror, REF)
        assert work is not None
        return work

    async def tree(self, name: str) -> Worktree:
        self.base = await resolve_source_branch(self.git, self.mirror, "main")
        path = self.folder / name
        return await add_worktree(self.git, self.mirror, path, base=self.base, branch=name)

    async def move_on(self, files: dict[str, str]) -> None:
        self.source.commit(files, "Meanwhile")
        await ensure_mirror(self.git, self.source.path, self.mirror)


@pytest.fixture
def work(git: Git, source: Repo, tmp_path: Path) -> Work:
    return Work(git, source, tmp_path)


async def test_all_that_was_left_is_there_as_changes_not_committed(work: Work):
    left = await work.leave()
    second = await work.tree("second")

    assert await take_up(work.git, second, base=work.base, work=left) == ()

    repo = Repo(second.path)
    assert repo.head == work.base
    assert (second.path / "src/app.py").read_text() == "x = 1\ny = 2\nz = 4\n"
    assert (second.path / "new/file.txt").read_text() == "new\n"
    assert not (second.path / "README.md").exists()
    seen = {line.split()[-1] for line in repo.status().splitlines()}
    assert seen == {"src/app.py", "new/", "README.md"}
    assert await commit_all(work.git, second, "Both") is not None
    assert repo.git("show", "HEAD:new/file.txt") == "new"


async def test_what_came_to_the_branch_meanwhile_is_kept(work: Work):
    left = await work.leave()
    await work.move_on({"other.txt": "other\n"})
    second = await work.tree("second")

    assert await take_up(work.git, second, base=work.base, work=left) == ()

    assert (second.path / "other.txt").read_text() == "other\n"
    assert (second.path / "new/file.txt").read_text() == "new\n"


async def test_what_does_not_fit_is_named_and_nothing_is_changed(work: Work):
    left = await work.leave()
    await work.move_on({"src/app.py": "x = 1\ny = 2\nz = 5\n"})
    second = await work.tree("second")

    assert await take_up(work.git, second, base=work.base, work=left) == ("src/app.py",)

    assert Repo(second.path).status() == ""


async def test_what_has_landed_already_is_nothing_to_take_up(work: Work):
    left = await work.leave()
    work.source.git("rm", "-q", "README.md")
    await work.move_on({"src/app.py": "x = 1\ny = 2\nz = 4\n", "new/file.txt": "new\n"})
    second = await work.tree("second")

    assert await take_up(work.git, second, base=work.base, work=left) is None
