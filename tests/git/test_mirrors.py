import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from agentvine.git.errors import RefNotFound, RemoteUnreachable, RepositoryBusy
from agentvine.git.locks import file_lock
from agentvine.git.mirrors import ensure_mirror, mirror_name, resolve_source_branch, tidy_mirror
from agentvine.git.refs import set_ref
from agentvine.git.runner import Git
from tests.support.repositories import Repo, make_bare, make_repo

HOLDER = """
import fcntl, sys, time
with open(sys.argv[1], "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    time.sleep(60)
"""


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_mirror_has_the_sources_branches_and_tags(
    git: Git, source: Repo, tmp_path: Path
) -> None:
    source.git("tag", "v1")
    side = source.commit_on("feature/ünï", {"new.txt": "new\n"})
    mirror = tmp_path / "mirrors" / "m.git"
    await ensure_mirror(git, source.path, mirror)
    assert await resolve_source_branch(git, mirror, "main") == source.head
    assert await resolve_source_branch(git, mirror, "feature/ünï") == side
    assert Repo(mirror).rev("v1") == source.head
    assert Repo(mirror).git("branch", "--list") == ""


async def test_a_second_fetch_brings_what_is_new_and_drops_what_is_gone(
    git: Git, source: Repo, tmp_path: Path
) -> None:
    source.git("branch", "a")
    source.git("tag", "old")
    mirror = tmp_path / "m.git"
    await ensure_mirror(git, source.path, mirror)
    source.git("branch", "-D", "a")
    source.git("branch", "a/b")  # where a file was there is a folder now
    source.git("tag", "-d", "old")
    source.commit({"README.md": "changed\n"})
    source.git("commit", "-q", "--amend", "-m", "Not a step forward")
    await ensure_mirror(git, source.path, mirror)
    assert await resolve_source_branch(git, mirror, "main") == source.head
    await resolve_source_branch(git, mirror, "a/b")
    with pytest.raises(RefNotFound, match="no branch a"):
        await resolve_source_branch(git, mirror, "a")
    assert Repo(mirror).git("tag", "--list") == ""


async def test_our_own_branches_and_kept_results_survive_a_fetch(
    git: Git, source: Repo, tmp_path: Path
) -> None:
    mirror = tmp_path / "m.git"
    await ensure_mirror(git, source.path, mirror)
    ours = ("refs/heads/main", "refs/heads/agentvine/T-1", "refs/agentvine/rescue/x")
    for ref in ours:
        await set_ref(git, mirror, ref, source.head)
    old = source.head
    source.commit({"README.md": "changed\n"})
    await ensure_mirror(git, source.path, mirror)
    assert [Repo(mirror).rev(ref) for ref in ours] == [old] * 3


async def test_many_callers_at_once_make_one_mirror(git: Git, source: Repo, tmp_path: Path) -> None:
    mirror = tmp_path / "m.git"
    await asyncio.gather(*(ensure_mirror(git, source.path, mirror) for _ in range(6)))
    assert await resolve_source_branch(git, mirror, "main") == source.head
    assert names_in(tmp_path) == ["m.git", "m.git.lock", "source"]


async def test_a_bare_an_empty_and_a_worktree_source_can_be_mirrored(
    git: Git, source: Repo, tmp_path: Path
) -> None:
    linked = tmp_path / "linked"
    source.git("worktree", "add", "-q", "-b", "side", linked)
    bare = make_bare(tmp_path / "bare.git", source)
    empty = make_bare(tmp_path / "empty.git")
    for number, path in enumerate((linked, bare.path)):
        await ensure_mirror(git, path, tmp_path / f"{number}.git")
        assert await resolve_source_branch(git, tmp_path / f"{number}.git", "main") == source.head
    await ensure_mirror(git, empty.path, tmp_path / "e.git")
    with pytest.raises(RefNotFound):
        await resolve_source_branch(git, tmp_path / "e.git", "main")


async def test_a_shallow_clone_can_be_mirrored(git: Git, source: Repo, tmp_path: Path) -> None:
    source.commit({"a": "1"})
    source.commit({"a": "2"})
    shallow = Repo(tmp_path / "shallow")
    source.git("clone", "-q", "--depth=1", f"file://{source.path}", shallow.path)
    await ensure_mirror(git, shallow.path, tmp_path / "m.git")
    assert await resolve_source_branch(git, tmp_path / "m.git", "main") == source.head


async def test_a_repository_with_long_ids_can_be_mirrored(git: Git, tmp_path: Path) -> None:
    path = tmp_path / "sha256"
    path.mkdir()
    source = Repo(path)
    source.git("init", "-q", "-b", "main", "--object-format=sha256")
    source.commit({"a": "1"})
    for _ in range(2):
        await ensure_mirror(git, path, tmp_path / "m.git")
    assert await resolve_source_branch(git, tmp_path / "m.git", "main") == source.head


async def test_a_source_that_is_gone_is_unreachable_and_the_mirror_stays(
    git: Git, source: Repo, tmp_path: Path
) -> None:
    mirror = tmp_path / "m.git"
    with pytest.raises(RemoteUnreachable):
        await ensure_mirror(git, tmp_path / "nothing", mirror)
    assert not mirror.exists()
    await ensure_mirror(git, source.path, mirror)
    source.path.rename(tmp_path / "elsewhere")
    with pytest.raises(RemoteUnreachable, match=str(source.path)):
        await ensure_mirror(git, source.path, mirror)
    await resolve_source_branch(git, mirror, "main")


async def test_a_source_of_another_user_can_be_mirrored(
    git: Git, source: Repo, tmp_path: Path
) -> None:
    if os.geteuid() == 0:  # only root can give it away; for others this is the usual case again
        for path in (source.path, source.path / ".git"):
            os.chown(path, 12345, 12345)
    await ensure_mirror(git, source.path, tmp_path / "m.git")
    await resolve_source_branch(git, tmp_path / "m.git", "main")


async def test_odd_names_of_folders_do_no_harm(git: Git, tmp_path: Path) -> None:
    source = make_repo(tmp_path / 'it\'s a "repo"; $(touch ran) & ünï:x')
    mirror = tmp_path / "-mirror $(touch ran).git"
    for _ in range(2):
        await ensure_mirror(git, source.path, mirror)
    assert await resolve_source_branch(git, mirror, "main") == source.head
    assert "ran" not in names_in(tmp_path) + names_in(source.path)


async def test_what_a_run_set_in_the_mirror_is_gone_at_the_next_fetch(
    git: Git, source: Repo, tmp_path: Path, canary: Path
) -> None:
    mirror = tmp_path / "m.git"
    await ensure_mirror(git, source.path, mirror)
    before = (mirror / "config").read_text()
    repo = Repo(mirror)
    repo.git("config", "core.hooksPath", ".husky")
    repo.git("config", "core.fsmonitor", str(canary))
    repo.git("config", "remote.origin.uploadpack", str(canary))
    (mirror / "hooks").mkdir()
    (mirror / "hooks" / "reference-transaction").symlink_to(canary)
    (mirror / "info").mkdir(exist_ok=True)
    (mirror / "info" / "attributes").write_text("* filter=evil\n")
    source.commit({"a": "1"})
    await ensure_mirror(git, source.path, mirror)
    assert (mirror / "config").read_text() == before
    assert not (mirror / "hooks").exists()
    assert not (mirror / "info" / "attributes").exists()


async def test_a_hostile_source_runs_nothing_when_it_is_fetched(
    git: Git, source: Repo, tmp_path: Path, canary: Path
) -> None:
    for key in (
        "uploadpack.packObjectsHook",
        "core.fsmonitor",
        "core.sshCommand",
        "core.alternateRefsCommand",
        "filter.evil.smudge",
        "gpg.program",
    ):
        source.git("config", key, str(canary))
    hooks = source.path / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("post-checkout", "pre-auto-gc", "reference-transaction", "post-update"):
        (hooks / hook).symlink_to(canary)
    await ensure_mirror(git, source.path, tmp_path / "m.git")
    await resolve_source_branch(git, tmp_path / "m.git", "main")


async def test_a_partial_clone_cannot_make_us_fetch_the_rest_with_its_program(
    git: Git, source: Repo, tmp_path: Path, canary: Path
) -> None:
    source.git("config", "uploadpack.allowFilter", "true")
    partial = Repo(tmp_path / "partial")
    source.git(
        *("clone", "-q", "--no-checkout", "--filter=blob:none", f"file://{source.path}"),
        partial.path,
    )
    partial.git("config", "remote.origin.uploadpack", str(canary))
    with pytest.raises(RemoteUnreachable):
        await ensure_mirror(git, partial.path, tmp_path / "m.git")


async def test_a_lock_left_by_a_power_cut_is_removed_when_it_is_old(
    git: Git, source: Repo, tmp_path: Path
) -> None:
    mirror = tmp_path / "m.git"
    await ensure_mirror(git, source.path, mirror)
    locks = [mirror / "packed-refs.lock", mirror / "refs/remotes/origin/main.lock"]
    for lock in locks:
        lock.touch()
        os.utime(lock, (time.time() - 3600, time.time() - 3600))
    source.commit({"a": "1"})
    await ensure_mirror(git, source.path, mirror)
    assert await resolve_source_branch(git, mirror, "main") == source.head
    assert not any(lock.exists() for lock in locks)


async def test_a_lock_is_held_by_one_and_freed_by_death(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    async with file_lock(path, timeout_seconds=1):
        with pytest.raises(RepositoryBusy):
            async with file_lock(path, timeout_seconds=0.05):
                raise AssertionError("two hold the lock")
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLDER, str(path)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert holder.stdout is not None
    await holder.stdout.readline()
    with pytest.raises(RepositoryBusy):
        async with file_lock(path, timeout_seconds=0.05):
            raise AssertionError("two hold the lock")
    holder.kill()
    async with file_lock(path, timeout_seconds=10):
        await holder.wait()


async def test_tidying_keeps_what_is_referred_to(git: Git, source: Repo, tmp_path: Path) -> None:
    mirror = tmp_path / "m.git"
    await ensure_mirror(git, source.path, mirror)
    packs = mirror / "objects" / "pack"
    for number in range(60):  # as many packs as many fetches leave
        blob = Repo(mirror).git("hash-object", "-w", "--stdin", stdin=b"%d" % number)
        Repo(mirror).git("pack-objects", "-q", packs / "pack", stdin=f"{blob}\n".encode())
    assert len(list(packs.glob("*.pack"))) >= 60
    await tidy_mirror(git, mirror)
    assert len(list(packs.glob("*.pack"))) < 10
    assert await resolve_source_branch(git, mirror, "main") == source.head


async def test_a_tidy_mirror_is_left_alone(git: Git, source: Repo, tmp_path: Path) -> None:
    mirror = tmp_path / "m.git"
    await ensure_mirror(git, source.path, mirror)
    before = sorted((mirror / "objects").rglob("*"))
    await tidy_mirror(git, mirror)
    assert sorted((mirror / "objects").rglob("*")) == before


def test_mirrors_are_named_after_their_source_and_never_share_a_name() -> None:
    names = [
        mirror_name("https://example.org/team/project.git"),
        mirror_name("https://example.com/team/project.git"),
        mirror_name("git@example.org:team/project"),
        mirror_name("/srv/pröject/../$(x)"),
    ]
    assert len(set(names)) == 4
    assert names[0].startswith("project-")
    assert all(name.endswith(".git") and name.replace("-", "").isascii() for name in names)
    assert mirror_name("/srv/a") == mirror_name(Path("/srv/a")) == mirror_name("file:///srv/a")
