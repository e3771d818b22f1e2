from pathlib import Path

import pytest

from agentvine.git.bundles import create_bundle, import_bundle, read_bundle, verify_bundle
from agentvine.git.errors import BundleBaseMissing, BundleInvalid, NothingToBundle, WorkTreeBusy
from agentvine.git.mirrors import ensure_mirror
from agentvine.git.refs import list_refs
from agentvine.git.runner import Git
from tests.support.repositories import Repo, make_bare, make_repo

BRANCH = "refs/heads/agentvine/T-1"
RESCUE = "refs/agentvine/rescue/run-1"


@pytest.fixture
async def work(git: Git, source: Repo, tmp_path: Path) -> tuple[Repo, str, str]:
    """A worker's mirror, the commit it began with, and the commit it made."""
    mirror = tmp_path / "m.git"
    await ensure_mirror(git, source.path, mirror)
    head = Repo(mirror).commit_on("agentvine/T-1", {"new ünï": "n\n"}, source.head)
    return Repo(mirror), source.head, head


async def test_a_result_travels_from_the_mirror_to_the_repository(
    git: Git, source: Repo, work: tuple[Repo, str, str], tmp_path: Path
) -> None:
    mirror, base, head = work
    path = tmp_path / "with space" / "result.bundle"
    path.parent.mkdir()
    await create_bundle(git, mirror.path, path, refs={BRANCH: head}, base=base)
    assert read_bundle(path).refs == {BRANCH: head}
    assert read_bundle(path).bases == (base,)
    for _ in range(2):  # once more does no harm
        imported = await import_bundle(git, source.path, path, {BRANCH: BRANCH})
        imported |= await import_bundle(git, source.path, path, {BRANCH: RESCUE})
        assert imported == {BRANCH: head, RESCUE: head}
    assert source.show(BRANCH, "new ünï") == "n"
    assert source.rev("main") == base
    assert source.status() == ""
    assert await list_refs(git, source.path, "refs/agentvine/") == {RESCUE: head}


async def test_one_reference_can_set_many_and_a_branch_can_go_back(
    git: Git, source: Repo, work: tuple[Repo, str, str], tmp_path: Path
) -> None:
    mirror, base, head = work
    other = mirror.commit_on("other", {"a": "1"}, base)
    path = tmp_path / "b"
    await create_bundle(git, mirror.path, path, refs={BRANCH: head, RESCUE: other}, base=base)
    await import_bundle(git, source.path, path, {BRANCH: BRANCH, RESCUE: RESCUE})
    assert await import_bundle(git, source.path, path, {RESCUE: BRANCH}) == {BRANCH: other}


async def test_a_bundle_without_a_base_fills_an_empty_repository(
    git: Git, source: Repo, tmp_path: Path
) -> None:
    path = tmp_path / "b"
    await create_bundle(git, source.path, path, refs={BRANCH: source.head}, base=None)
    empty = make_bare(tmp_path / "empty.git")
    await import_bundle(git, empty.path, path, {BRANCH: "refs/heads/main"})
    assert empty.rev("main") == source.head


async def test_nothing_new_is_no_bundle(
    git: Git, work: tuple[Repo, str, str], tmp_path: Path
) -> None:
    mirror, base, head = work
    for commit in (base, head):
        with pytest.raises(NothingToBundle):
            await create_bundle(git, mirror.path, tmp_path / "b", refs={BRANCH: base}, base=commit)
    assert not (tmp_path / "b").exists()


async def test_a_missing_base_is_named(
    git: Git, work: tuple[Repo, str, str], tmp_path: Path
) -> None:
    mirror, base, head = work
    path = tmp_path / "b"
    await create_bundle(git, mirror.path, path, refs={BRANCH: head}, base=base)
    stranger = make_repo(tmp_path / "stranger", {"else": "1"})
    with pytest.raises(BundleBaseMissing, match=base) as refusal:
        await import_bundle(git, stranger.path, path, {BRANCH: BRANCH})
    assert refusal.value.commits == (base,)


async def test_a_base_that_was_amended_away_meanwhile_still_serves(
    git: Git, source: Repo, work: tuple[Repo, str, str], tmp_path: Path
) -> None:
    mirror, base, head = work
    path = tmp_path / "b"
    await create_bundle(git, mirror.path, path, refs={BRANCH: head}, base=base)
    source.git("commit", "-q", "--amend", "-m", "Another message")
    assert (await verify_bundle(git, source.path, path)).bases == (base,)
    await import_bundle(git, source.path, path, {BRANCH: RESCUE})
    assert source.rev(RESCUE) == head


async def test_what_is_no_bundle_is_refused(
    git: Git, source: Repo, work: tuple[Repo, str, str], tmp_path: Path
) -> None:
    mirror, base, head = work
    good = tmp_path / "good"
    await create_bundle(git, mirror.path, good, refs={BRANCH: head}, base=base)
    data = good.read_bytes()
    bad = tmp_path / "bad"
    for content in (
        b"",
        b"hello",
        b"# v2 git bundle\n-rubbish\n\n",
        b"# v3 git bundle\n@filter=blob:none\n" + data.split(b"\n", 1)[1],
        b"# v2 git bundle\n" + b"x" * 100_000,
        data[:-30],
        data[: len(data) // 2] + b"\0\0\0\0" + data[len(data) // 2 + 4 :],
    ):
        bad.write_bytes(content)
        with pytest.raises(BundleInvalid):
            await import_bundle(git, source.path, bad, {BRANCH: BRANCH})
    with pytest.raises(BundleInvalid, match="cannot be read"):
        read_bundle(tmp_path / "missing")
    with pytest.raises(BundleInvalid, match="but not refs/heads/x"):
        await import_bundle(git, source.path, good, {"refs/heads/x": BRANCH})
    assert await list_refs(git, source.path, "refs/heads/agentvine/") == {}


async def test_objects_that_git_must_never_check_out_are_refused(
    git: Git, source: Repo, work: tuple[Repo, str, str], tmp_path: Path
) -> None:
    mirror, base, _ = work
    blob = mirror.git("hash-object", "-w", "--stdin", stdin=b"#!/bin/sh\n")
    tree = mirror.git(
        *("hash-object", "-w", "-t", "tree", "--literally", "--stdin"),
        stdin=b"100755 .git\0" + bytes.fromhex(blob),
    )
    head = mirror.git("commit-tree", tree, "-p", base, "-m", "Evil")
    path = tmp_path / "b"
    await create_bundle(git, mirror.path, path, refs={BRANCH: head}, base=base)
    with pytest.raises(BundleInvalid, match=r"hasDotgit"):
        await import_bundle(git, source.path, path, {BRANCH: BRANCH})
    with pytest.raises(AssertionError):
        source.git("cat-file", "-e", head)


async def test_a_bundle_that_promises_a_commit_it_does_not_hold_is_refused(
    git: Git, source: Repo, work: tuple[Repo, str, str], tmp_path: Path
) -> None:
    mirror, base, head = work
    path = tmp_path / "b"
    await create_bundle(git, mirror.path, path, refs={BRANCH: head}, base=base)
    path.write_bytes(path.read_bytes().replace(head.encode(), b"1" * 40, 1))
    with pytest.raises(BundleInvalid, match="does not hold it"):
        await import_bundle(git, source.path, path, {BRANCH: BRANCH})


async def test_a_branch_that_is_checked_out_is_not_overwritten(
    git: Git, source: Repo, work: tuple[Repo, str, str], tmp_path: Path
) -> None:
    mirror, base, head = work
    path = tmp_path / "b"
    await create_bundle(git, mirror.path, path, refs={BRANCH: head}, base=base)
    with pytest.raises(WorkTreeBusy, match="main is checked out"):
        await import_bundle(git, source.path, path, {BRANCH: "refs/heads/main"})
    assert source.head == base


async def test_a_hostile_repository_runs_nothing_when_a_bundle_comes_in(
    git: Git, source: Repo, work: tuple[Repo, str, str], tmp_path: Path, canary: Path
) -> None:
    mirror, base, head = work
    for repo in (source, mirror):
        for key in ("core.fsmonitor", "core.alternateRefsCommand", "core.sshCommand"):
            repo.git("config", key, str(canary))
    hooks = source.path / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("reference-transaction", "post-merge", "post-update"):
        (hooks / hook).symlink_to(canary)
    path = tmp_path / "b"
    await create_bundle(git, mirror.path, path, refs={BRANCH: head}, base=base)
    await import_bundle(git, source.path, path, {BRANCH: BRANCH})
