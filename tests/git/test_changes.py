import os
import random
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agentvine.git.changes import commit_all, head_commit
from agentvine.git.commits import Author
from agentvine.git.errors import GitFailed
from agentvine.git.mirrors import ensure_mirror
from agentvine.git.runner import Git
from agentvine.git.worktrees import Worktree, add_worktree
from tests.support.repositories import Repo

NewWorktree = Callable[[], Awaitable[Worktree]]


@pytest.fixture
def new_worktree(git: Git, source: Repo, tmp_path: Path) -> NewWorktree:
    async def make() -> Worktree:
        mirror = tmp_path / "m.git"
        await ensure_mirror(git, source.path, mirror)
        return await add_worktree(git, mirror, tmp_path / "run", base=source.head, branch="task")

    return make


async def test_everything_is_committed_and_the_work_tree_is_clean(
    git: Git, source: Repo, new_worktree: NewWorktree
) -> None:
    source.commit({".gitignore": "*.log\n", "gone": "x"})
    worktree = await new_worktree()
    repo = Repo(worktree.path)
    repo.write({"src/app.py": "x = 2\n", 'new/ünï "q"\n': "n", "gone": None, "build.log": "l"})
    (worktree.path / "run.sh").write_text("#!/bin/sh\n")
    (worktree.path / "run.sh").chmod(0o755)
    (worktree.path / "link").symlink_to("nowhere")
    commit = await commit_all(git, worktree, "Do the work\n\nWith a body.")
    assert commit is not None
    assert commit == repo.head == repo.rev("task")
    assert repo.parents(commit) == [source.head]
    assert repo.files(commit) == [
        *(".gitignore", "README.md", "link", 'new/ünï "q"\n', "run.sh", "src/app.py")
    ]
    assert repo.git("ls-tree", commit, "run.sh").startswith("100755")
    assert repo.status() == ""
    assert repo.git("log", "-1", "--format=%B|%an|%cn") == (
        "Do the work\n\nWith a body.\n|AgentVine|AgentVine"
    )


async def test_no_change_is_no_commit(git: Git, source: Repo, new_worktree: NewWorktree) -> None:
    worktree = await new_worktree()
    (worktree.path / "README.md").touch()
    assert await commit_all(git, worktree, "Nothing") is None
    assert await head_commit(git, worktree) == source.head


async def test_what_was_written_within_the_tick_of_the_checkout_is_committed(
    git: Git, source: Repo, new_worktree: NewWorktree
) -> None:
    # Many a git compares whole seconds.
    source.commit({"same": "old"})
    worktree = await new_worktree()
    path, index = worktree.path / "same", worktree.git_dir / "index"
    tick = path.stat().st_mtime_ns - 10 * 10**9
    os.utime(path, ns=(tick, tick))
    Repo(worktree.path).git("update-index", "--refresh")
    path.write_text("new")
    for each in (path, index):
        os.utime(each, ns=(tick, tick))
    only_by_changes = git.with_settings(("core.trustctime", "false"))
    commit = await commit_all(only_by_changes, worktree, "Work")
    assert commit is not None
    assert Repo(worktree.path).show(commit, "same") == "new"


async def test_a_second_commit_builds_on_the_first(git: Git, new_worktree: NewWorktree) -> None:
    worktree = await new_worktree()
    Repo(worktree.path).write({"a": "1"})
    first = await commit_all(git, worktree, "One")
    Repo(worktree.path).write({"a": "2"})
    second = await commit_all(git, worktree, "Two")
    assert second is not None
    assert Repo(worktree.path).parents(second) == [first]
    assert await commit_all(git, worktree, "Three") is None


async def test_what_the_agent_committed_itself_is_no_change_of_ours(
    git: Git, new_worktree: NewWorktree
) -> None:
    worktree = await new_worktree()
    own = Repo(worktree.path).commit({"a": "1"})
    assert await commit_all(git, worktree, "Ours") is None
    assert await head_commit(git, worktree) == own


async def test_an_author_is_credited_and_a_hostile_name_is_harmless(
    git: Git, new_worktree: NewWorktree
) -> None:
    worktree = await new_worktree()
    Repo(worktree.path).write({"a": "1"})
    author = Author("Ada <x>\nparent 0", "ada@example.org>")
    await commit_all(git, worktree, "\0-m x", author=author)
    log = Repo(worktree.path).git("log", "-1", "--format=%an|%ae|%cn|%s")
    assert log == "Ada xparent 0|ada@example.org|AgentVine|-m x"


async def test_untracked_files_can_be_left_out(git: Git, new_worktree: NewWorktree) -> None:
    worktree = await new_worktree()
    repo = Repo(worktree.path)
    repo.write({"junit.xml": "<x/>", "out/a": "1", "src/b": "2", "README.md": "changed\n"})
    commit = await commit_all(git, worktree, "Work", exclude=["junit.xml", "/out/", "README.md"])
    assert commit is not None
    assert repo.files(commit) == ["README.md", "src/app.py", "src/b"]
    assert repo.show(commit, "README.md") == "changed"  # tracked files are never left out
    assert (worktree.path / "junit.xml").exists()


async def test_files_and_folders_may_take_each_others_place(
    git: Git, source: Repo, new_worktree: NewWorktree
) -> None:
    source.commit({"file": "1", "folder/a": "1", "folder/b": "2", "linked/c": "3"})
    worktree = await new_worktree()
    repo = Repo(worktree.path)
    repo.write({"file": None})
    repo.write({"file/inside": "1"})
    shutil.rmtree(worktree.path / "folder")
    repo.write({"folder": "now a file"})
    (worktree.path / "linked").rename(worktree.path / "elsewhere")
    (worktree.path / "linked").symlink_to("elsewhere")
    commit = await commit_all(git, worktree, "Swap")
    assert commit is not None
    assert set(repo.files(commit)) == {
        *("README.md", "src/app.py", "file/inside", "folder", "linked", "elsewhere/c")
    }
    assert repo.status() == ""


async def test_a_repository_made_inside_the_work_tree_is_committed_as_files(
    git: Git, new_worktree: NewWorktree
) -> None:
    worktree = await new_worktree()
    for name in ("empty", "made/in"):
        inner = worktree.path / name
        inner.mkdir(parents=True)
        Repo(inner).git("init", "-q")
        Repo(inner).write({".gitignore": "node_modules\n", "index.js": "1", "node_modules/x": "2"})
    Repo(worktree.path / "made" / "in").commit()
    Repo(worktree.path / "made" / "in").git("init", "-q", "deep")
    Repo(worktree.path / "made" / "in" / "deep").write({"file": "3"})
    commit = await commit_all(git, worktree, "Generate")
    assert commit is not None
    assert set(Repo(worktree.path).files(commit)) == {
        *("README.md", "src/app.py", "empty/.gitignore", "empty/index.js"),
        *("made/in/.gitignore", "made/in/index.js", "made/in/deep/file"),
    }


async def test_neither_hooks_nor_filters_nor_settings_run_on_a_commit(
    git: Git, source: Repo, new_worktree: NewWorktree, canary: Path
) -> None:
    source.commit({".gitattributes": "* filter=evil\n"})
    worktree = await new_worktree()
    repo = Repo(worktree.path)
    for key in ("filter.evil.clean", "filter.evil.process", "core.fsmonitor", "gpg.program"):
        repo.git("config", key, str(canary))
    repo.git("config", "commit.gpgSign", "true")
    repo.git("config", "filter.evil.required", "true")
    hooks = worktree.mirror / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("pre-commit", "commit-msg", "post-commit", "reference-transaction"):
        (hooks / hook).symlink_to(canary)
    (worktree.path / "data").write_text("as it is\n")
    commit = await commit_all(git, worktree, "Work")
    assert commit is not None
    assert Repo(worktree.mirror).show(commit, "data") == "as it is"


async def test_line_ends_are_stored_as_the_attributes_say(
    git: Git, source: Repo, new_worktree: NewWorktree
) -> None:
    source.commit({".gitattributes": "*.txt text eol=crlf\n", "a.txt": "1\r\n2\r\n"})
    worktree = await new_worktree()
    assert (worktree.path / "a.txt").read_bytes() == b"1\r\n2\r\n"
    (worktree.path / "a.txt").write_bytes(b"1\r\n3\r\n")
    commit = await commit_all(git, worktree, "Work")
    assert commit is not None
    assert Repo(worktree.path).git("cat-file", "-p", f"{commit}:a.txt") == "1\n3"
    assert Repo(worktree.path).status() == ""


async def test_locks_left_by_a_killed_git_are_no_obstacle(
    git: Git, new_worktree: NewWorktree
) -> None:
    worktree = await new_worktree()
    for lock in (
        worktree.git_dir / "index.lock",
        worktree.git_dir / "HEAD.lock",
        worktree.mirror / "refs/heads/task.lock",
    ):
        lock.touch()
    Repo(worktree.path).write({"a": "1"})
    commit = await commit_all(git, worktree, "Work")
    assert commit == Repo(worktree.path).head
    assert Repo(worktree.path).status() == ""


async def test_the_work_is_committed_though_the_agent_removed_dot_git(
    git: Git, source: Repo, new_worktree: NewWorktree
) -> None:
    worktree = await new_worktree()
    (worktree.path / ".git").unlink()
    Repo(worktree.path).git("init", "-q")
    Repo(worktree.path).commit({"a": "1"})
    commit = await commit_all(git, worktree, "Work")
    assert commit is not None
    mirror = Repo(worktree.mirror)
    assert mirror.rev("refs/heads/task") == commit
    assert mirror.files(commit) == ["README.md", "a", "src/app.py"]


async def test_a_detached_head_is_committed_on(
    git: Git, source: Repo, new_worktree: NewWorktree
) -> None:
    worktree = await new_worktree()
    Repo(worktree.path).git("checkout", "-q", "--detach")
    Repo(worktree.path).write({"a": "1"})
    commit = await commit_all(git, worktree, "Work")
    assert commit == await head_commit(git, worktree)
    assert Repo(worktree.mirror).rev("refs/heads/task") == source.head


async def test_a_file_that_cannot_be_stored_fails_the_commit_and_changes_nothing(
    git: Git, source: Repo, new_worktree: NewWorktree
) -> None:
    worktree = await new_worktree()
    Repo(worktree.path).write(
        {".gitattributes": "*.t working-tree-encoding=UTF-16\n", "a.t": b"\xff\xfeodd"}
    )
    with pytest.raises(GitFailed, match=r"a\.t"):
        await commit_all(git, worktree, "Work")
    assert Repo(worktree.path).head == source.head
    assert not list(worktree.git_dir.glob("index.agentvine*"))


@pytest.mark.parametrize("seed", range(6))
async def test_what_is_committed_is_what_git_add_would_take(
    git: Git, source: Repo, new_worktree: NewWorktree, seed: int
) -> None:
    chance = random.Random(seed)
    names = [f"{'/'.join(chance.choices('abc', k=chance.randint(1, 3)))}{n}" for n in range(40)]
    source.commit({name: f"{name}\n" for name in names} | {".gitignore": "*1\n/b\n"})
    worktree = await new_worktree()
    repo = Repo(worktree.path)
    for _ in range(60):
        mutate(worktree.path, chance)
    commit = await commit_all(git, worktree, "Work")
    tree = repo.rev(f"{commit or 'HEAD'}^{{tree}}")
    repo.git("read-tree", source.head)
    repo.git("add", "-A")
    assert repo.git("write-tree") == tree


def mutate(top: Path, chance: random.Random) -> None:
    """Change something at random, as a program would: files, folders, links, modes."""
    existing = [path for path in top.rglob("*") if ".git" not in path.parts]
    path = chance.choice(existing)
    match chance.randint(0, 6):
        case 0 if not path.is_dir():
            path.unlink()
        case 1 if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
            path.write_text("now a file")
        case 2 if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
            path.symlink_to(chance.choice(["a", "README.md", ".."]))
        case 3 if path.is_file() and not path.is_symlink():
            path.unlink()
            path.mkdir()
            (path / "inner2").write_text("2")
        case 4 if path.is_file():
            path.write_text(f"changed {chance.random()}")
        case 5 if path.is_file():
            path.chmod(0o755)
        case _ if path.is_dir():
            (path / f"new{chance.randint(0, 9)}").write_text("new")
        case _:
            pass
