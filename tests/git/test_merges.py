import asyncio
from pathlib import Path

import pytest

from agentvine.git.errors import (
    CommitNotFound,
    GitTooOld,
    MergeConflict,
    NoCommonHistory,
    NotMerged,
    RefNotFound,
)
from agentvine.git.merges import merge, revert, trial_merge
from agentvine.git.runner import Git
from tests.support.repositories import Repo, make_bare

LINES = "".join(f"line {n}\n" for n in range(1, 11))


@pytest.fixture
def bare(source: Repo, tmp_path: Path) -> Repo:
    """A repository that nobody has checked out."""
    source.commit({"text": LINES})
    return make_bare(tmp_path / "bare.git", source)


def changed(number: int, text: str = "changed") -> str:
    return LINES.replace(f"line {number}\n", f"{text} {number}\n")


async def test_a_trial_changes_nothing(git: Git, bare: Repo) -> None:
    head = bare.commit_on("task", {"text": changed(1)}, "main")
    before = bare.git("for-each-ref")
    trial = await trial_merge(git, bare.path, "main", head)
    assert trial.is_clean
    assert trial.target_commit == bare.rev("main")
    assert trial.tree == bare.rev(f"{head}^{{tree}}")
    assert bare.git("for-each-ref") == before


async def test_a_merge_is_a_commit_with_both_parents_even_where_a_step_forward_would_do(
    git: Git, bare: Repo
) -> None:
    base = bare.rev("main")
    head = bare.commit_on("task", {"text": changed(1)}, "main")
    landed = await merge(git, bare.path, "main", head, "Merge the task\n\nWith a body.")
    assert landed.is_new
    assert (landed.target_before, landed.work_tree) == (base, None)
    assert bare.rev("main") == landed.commit
    assert bare.parents(landed.commit) == [base, head]
    assert bare.git("log", "-1", "--format=%B|%an", "main") == (
        "Merge the task\n\nWith a body.\n|AgentVine"
    )


async def test_changes_on_both_sides_of_one_file_are_joined(git: Git, bare: Repo) -> None:
    head = bare.commit_on("task", {"text": changed(1)}, "main")
    other = bare.commit_on("other", {"text": changed(9), "ünï name": "o\n"}, "main")
    await merge(git, bare.path, "main", other, "Other")
    landed = await merge(git, bare.path, "main", head, "Task")
    assert "changed 1\n" in bare.show(landed.commit, "text")
    assert "changed 9\n" in bare.show(landed.commit, "text")


async def test_a_conflict_names_its_files_and_changes_nothing(git: Git, bare: Repo) -> None:
    ours = {"text": changed(1, "ours"), "nëw file": "ours\n", "README.md": None}
    theirs = {"text": changed(1, "theirs"), "nëw file": "theirs\n", "README.md": "changed\n"}
    await merge(git, bare.path, "main", bare.commit_on("one", ours, "main"), "One")
    before = bare.rev("main")
    head = bare.commit_on("two", theirs, f"{before}~1")
    trial = await trial_merge(git, bare.path, "main", head)
    assert (trial.is_clean, trial.tree) == (False, None)
    assert trial.conflicts == ("README.md", "nëw file", "text")
    with pytest.raises(MergeConflict, match="nëw file") as refusal:
        await merge(git, bare.path, "main", head, "Two")
    assert refusal.value.files == trial.conflicts
    assert refusal.value.extra == {"files": list(trial.conflicts)}
    assert bare.rev("main") == before


async def test_a_change_follows_a_renamed_file_and_two_renames_conflict(
    git: Git, bare: Repo
) -> None:
    renamed = bare.commit_on("rename", {"text": None, "moved/text": LINES}, "main")
    edited = bare.commit_on("edit", {"text": changed(5)}, "main")
    elsewhere = bare.commit_on("elsewhere", {"text": None, "other/text": LINES}, "main")
    await merge(git, bare.path, "main", renamed, "Rename")
    landed = await merge(git, bare.path, "main", edited, "Edit")
    assert "changed 5" in bare.show(landed.commit, "moved/text")
    assert "text" not in bare.files(landed.commit)
    with pytest.raises(MergeConflict) as refusal:
        await merge(git, bare.path, "main", elsewhere, "Rename again")
    assert {"moved/text", "other/text"} <= set(refusal.value.files)


async def test_merging_again_gives_the_merge_that_was_made(git: Git, bare: Repo) -> None:
    head = bare.commit_on("task", {"text": changed(1)}, "main")
    first = await merge(git, bare.path, "main", head, "Task")
    await merge(git, bare.path, "main", bare.commit_on("o", {"o": "1"}, "main"), "Other")
    tip = bare.rev("main")
    again = await merge(git, bare.path, "main", head, "Task")
    assert (again.commit, again.is_new, again.target_before) == (first.commit, False, tip)
    assert (await trial_merge(git, bare.path, "main", head)).is_merged_already
    assert bare.rev("main") == tip


async def test_a_commit_already_on_the_line_itself_is_merged_already(git: Git, bare: Repo) -> None:
    old = bare.rev("main~1")
    again = await merge(git, bare.path, "main", old, "Nothing")
    assert (again.commit, again.is_new) == (bare.rev("main"), False)


async def test_a_change_that_the_branch_has_already_makes_no_commit(git: Git, bare: Repo) -> None:
    one = bare.commit_on("one", {"text": changed(1)}, "main")
    two = bare.commit_on("two", {"text": changed(1)}, "main")
    await merge(git, bare.path, "main", one, "One")
    tip = bare.rev("main")
    landed = await merge(git, bare.path, "main", two, "Two")
    assert (landed.commit, landed.is_new) == (tip, False)


async def test_merges_at_the_same_time_all_land(git: Git, bare: Repo) -> None:
    heads = [bare.commit_on(f"t{n}", {f"file{n}": f"{n}\n"}, "main") for n in range(5)]
    landed = await asyncio.gather(
        *(merge(git, bare.path, "main", head, f"Task {n}") for n, head in enumerate(heads))
    )
    assert all(result.is_new for result in landed)
    assert {f"file{n}" for n in range(5)} <= set(bare.files("main"))
    line = bare.git("rev-list", "--first-parent", "-n5", "main").splitlines()
    assert set(line) == {result.commit for result in landed}


async def test_of_contradicting_merges_at_the_same_time_one_lands(git: Git, bare: Repo) -> None:
    heads = [bare.commit_on(f"t{n}", {"text": changed(1, f"by {n}")}, "main") for n in range(3)]
    results = await asyncio.gather(
        *(merge(git, bare.path, "main", head, "Task") for head in heads), return_exceptions=True
    )
    assert sum(isinstance(result, MergeConflict) for result in results) == 2
    (landed,) = [result for result in results if not isinstance(result, BaseException)]
    assert bare.rev("main") == landed.commit


async def test_the_same_merge_at_the_same_time_is_made_once(git: Git, bare: Repo) -> None:
    head = bare.commit_on("task", {"text": changed(1)}, "main")
    results = await asyncio.gather(*(merge(git, bare.path, "main", head, "Task") for _ in range(4)))
    assert len({result.commit for result in results}) == 1
    assert [result.is_new for result in results].count(True) == 1


async def test_what_is_missing_is_named(git: Git, bare: Repo) -> None:
    with pytest.raises(RefNotFound, match="no branch nowhere"):
        await trial_merge(git, bare.path, "nowhere", bare.rev("main"))
    with pytest.raises(CommitNotFound, match="1111"):
        await merge(git, bare.path, "main", "1" * 40, "x")
    stranger = bare.git("commit-tree", bare.rev("main^{tree}"), "-m", "Stranger")
    with pytest.raises(NoCommonHistory):
        await merge(git, bare.path, "main", stranger, "x")


async def test_a_git_that_cannot_try_merges_is_said_to_be_too_old(
    bare: Repo, tmp_path: Path
) -> None:
    old = tmp_path / "old-git"
    old.write_text(
        '#!/bin/sh\ncase "$1" in merge-tree) echo "usage: git merge-tree" >&2; exit 129;;\n'
        'version) echo "git version 2.30.2";; *) exec git "$@";; esac\n'
    )
    old.chmod(0o755)
    head = bare.commit_on("task", {"text": changed(1)}, "main")
    with pytest.raises(GitTooOld, match=r"2\.30\.2 .* install git 2\.38"):
        await trial_merge(Git(executable=str(old)), bare.path, "main", head)


async def test_a_merge_is_taken_back(git: Git, bare: Repo) -> None:
    before = bare.rev("main^{tree}")
    landed = await merge(
        git, bare.path, "main", bare.commit_on("t", {"text": changed(1), "new": "1"}, "main"), "T"
    )
    back = await revert(git, bare.path, "main", landed.commit, "Take it back")
    assert back.is_new
    assert bare.rev("main") == back.commit
    assert bare.parents(back.commit) == [landed.commit]
    assert bare.rev("main^{tree}") == before


async def test_later_changes_elsewhere_stay_when_a_merge_is_taken_back(
    git: Git, bare: Repo
) -> None:
    head = bare.commit_on("t", {"text": changed(1)}, "main")
    landed = await merge(git, bare.path, "main", head, "T")
    later = bare.commit_on("later", {"text": changed(1).replace("line 9", "later 9")}, "main")
    await merge(git, bare.path, "main", later, "Later")
    await revert(git, bare.path, "main", landed.commit, "Take it back")
    assert bare.show("main", "text") + "\n" == LINES.replace("line 9", "later 9")


async def test_taking_back_twice_changes_nothing_more(git: Git, bare: Repo) -> None:
    head = bare.commit_on("t", {"text": changed(1)}, "main")
    landed = await merge(git, bare.path, "main", head, "T")
    back = await revert(git, bare.path, "main", landed.commit, "Back")
    again = await revert(git, bare.path, "main", landed.commit, "Back")
    assert (again.commit, again.is_new) == (back.commit, False)


async def test_a_change_that_others_build_on_is_not_taken_back(git: Git, bare: Repo) -> None:
    head = bare.commit_on("t", {"text": changed(1)}, "main")
    landed = await merge(git, bare.path, "main", head, "T")
    later = bare.commit_on("later", {"text": changed(1).replace("changed 1", "more 1")}, "main")
    await merge(git, bare.path, "main", later, "Later")
    tip = bare.rev("main")
    with pytest.raises(MergeConflict) as refusal:
        await revert(git, bare.path, "main", landed.commit, "Back")
    assert refusal.value.files == ("text",)
    assert bare.rev("main") == tip


async def test_only_what_was_merged_can_be_taken_back(git: Git, bare: Repo) -> None:
    head = bare.commit_on("t", {"text": changed(1)}, "main")
    with pytest.raises(NotMerged):
        await revert(git, bare.path, "main", head, "Back")


async def test_even_the_first_commit_can_be_taken_back(git: Git, tmp_path: Path) -> None:
    path = tmp_path / "one"
    path.mkdir()
    repo = Repo(path)
    repo.git("init", "-q", "-b", "main")
    first = repo.commit({"a": "1"})
    second = repo.commit({"b": "2"})
    repo.git("checkout", "-q", "--detach")
    back = await revert(git, path, "main", first, "Back")
    assert repo.parents(back.commit) == [second]
    assert repo.files("main") == ["b"]


async def test_repositories_with_long_ids_are_merged_too(git: Git, tmp_path: Path) -> None:
    path = tmp_path / "sha256"
    path.mkdir()
    repo = Repo(path)
    repo.git("init", "-q", "-b", "main", "--object-format=sha256")
    repo.commit({"text": LINES})
    head = repo.commit_on("task", {"text": changed(1)})
    landed = await merge(git, path, "main", head, "Task")
    assert repo.head == landed.commit
    assert len(landed.commit) == 64
    await revert(git, path, "main", landed.commit, "Back")
    assert repo.status() == ""


async def test_merge_drivers_and_hooks_of_the_repository_do_not_run(
    git: Git, bare: Repo, canary: Path
) -> None:
    head = bare.commit_on("t", {".gitattributes": "* merge=evil\n", "text": changed(1)}, "main")
    other = bare.commit_on("o", {".gitattributes": "* merge=evil\n", "text": changed(9)}, "main")
    bare.git("config", "merge.evil.driver", f"{canary} %A")
    bare.git("config", "merge.default", "evil")
    info = bare.path / "info"
    info.mkdir(exist_ok=True)
    (info / "attributes").write_text("* merge=evil\n")
    (bare.path / "hooks").mkdir(exist_ok=True)
    for hook in ("reference-transaction", "post-merge", "commit-msg", "pre-merge-commit"):
        (bare.path / "hooks" / hook).symlink_to(canary)
    await merge(git, bare.path, "main", head, "T")
    await merge(git, bare.path, "main", other, "O")
    assert "changed 1" in bare.show("main", "text")
    assert "changed 9" in bare.show("main", "text")
