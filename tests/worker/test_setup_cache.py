"""What set-up has made, copied into later work trees and out of none of them."""

import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from agentvine.kit.ids import new_id
from agentvine.protocol.enums import TaskType
from agentvine.protocol.queue import OrderPayload
from agentvine.protocol.runs import OrderedSandbox, OrderedWorkspace
from agentvine.worker.setup_cache import SetupCache, setup_key

REPOSITORY = str(uuid.UUID(int=1))
KEY = "0" * 64


@pytest.fixture
def cache(tmp_path: Path) -> SetupCache:
    return SetupCache(tmp_path / "cache", max_bytes=2**30)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return tree(tmp_path, "first ")


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return tree(tmp_path, "second")


def tree(tmp_path: Path, name: str) -> Path:
    """A work tree; all their paths are of one length, as those of executions are."""
    path = tmp_path / "worktrees" / name
    path.mkdir(parents=True)
    return path


def payload(**workspace: Any) -> OrderPayload:
    known: dict[str, Any] = {
        "setup_command": "make",
        "cached_paths": [".venv"],
        "cache_key_files": ["uv.lock"],
    }
    return OrderPayload(
        task_id=new_id(),
        task_ref="T-1",
        title="t",
        task_type=TaskType.TEST,
        runtime="command",
        timeout_seconds=60,
        test_timeout_seconds=60,
        workspace=OrderedWorkspace(**known | workspace),
    )


def test_a_copy_is_the_same_and_is_not_shared(
    cache: SetupCache, first: Path, second: Path, tmp_path: Path
):
    made = first / "web" / "node_modules" / "pkg"
    made.mkdir(parents=True)
    (made / "run").write_text("echo 1")
    (made / "run").chmod(0o555)
    os.utime(made / "run", (1, 1))
    (made / "link").symlink_to("run")
    os.mkfifo(made / "pipe")
    assert cache.store(REPOSITORY, KEY, first, ["web/node_modules", "not/made"])
    assert cache.restore(REPOSITORY, KEY, second)
    copy = second / "web" / "node_modules" / "pkg"
    assert sorted(path.name for path in copy.iterdir()) == ["link", "run"]
    assert (copy / "link").readlink() == Path("run")
    assert (copy / "run").stat().st_mode & 0o777 == 0o555
    assert (copy / "run").stat().st_mtime == 1
    # What a run does to its copy, the next run does not see.
    (copy / "run").chmod(0o755)
    (copy / "run").write_text("echo evil")
    third = tree(tmp_path, "third ")
    assert cache.restore(REPOSITORY, KEY, third)
    assert (third / "web/node_modules/pkg/run").read_text() == "echo 1"


def test_the_work_trees_path_is_mended_in_files_and_links(
    cache: SetupCache, first: Path, second: Path
):
    made = first / ".venv"
    made.mkdir()
    (made / "script").write_text(f"#!{first}/.venv/python\n")
    (made / "script").chmod(0o555)
    (made / "binary").write_bytes(b"\0" + os.fsencode(first) + b"\xff")
    (made / "python").symlink_to(first / "tools" / "python")
    assert cache.store(REPOSITORY, KEY, first, [".venv"])
    assert cache.restore(REPOSITORY, KEY, second)
    copy = second / ".venv"
    assert (copy / "script").read_text() == f"#!{second}/.venv/python\n"
    assert (copy / "script").stat().st_mode & 0o777 == 0o555
    assert (copy / "binary").read_bytes() == b"\0" + os.fsencode(second) + b"\xff"
    assert (copy / "python").readlink() == second / "tools" / "python"


@pytest.mark.slow
def test_a_virtual_environment_works_in_another_work_tree(
    cache: SetupCache, first: Path, second: Path
):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", first / ".venv"], check=True)
    script = first / ".venv" / "bin" / "tool"
    script.write_text(f"import sys; print(sys.prefix, '{first}/.venv')\n")
    assert cache.store(REPOSITORY, KEY, first, [".venv"])
    assert cache.restore(REPOSITORY, KEY, second)
    first.rename(first.with_name("gone"))
    command = [second / ".venv/bin/python", second / ".venv/bin/tool"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == f"{second}/.venv {second}/.venv"


def test_another_repository_and_another_key_get_nothing(
    cache: SetupCache, first: Path, second: Path
):
    (first / "made").write_text("1")
    assert cache.store(REPOSITORY, KEY, first, ["made"])
    assert not cache.restore(str(uuid.UUID(int=2)), KEY, second)
    assert not cache.restore(REPOSITORY, "1" * 64, second)
    assert list(second.iterdir()) == []


def test_links_lead_neither_in_nor_out(
    cache: SetupCache, first: Path, second: Path, tmp_path: Path
):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    (first / "made").symlink_to(outside)
    (first / "folder").symlink_to(outside)
    assert not cache.store(REPOSITORY, KEY, first, ["made", "folder/secret"])
    (first / "real").mkdir()
    (first / "real" / "new").write_text("1")
    assert cache.store(REPOSITORY, KEY, first, ["real/new"])
    (second / "real").symlink_to(outside)
    assert not cache.restore(REPOSITORY, KEY, second)
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_what_the_repository_has_itself_is_not_written_over(
    cache: SetupCache, first: Path, second: Path
):
    for name in ("one", "two"):
        (first / name).write_text("made")
    assert cache.store(REPOSITORY, KEY, first, ["one", "two"])
    (second / "two").write_text("tracked")
    assert not cache.restore(REPOSITORY, KEY, second)
    assert [path.name for path in second.iterdir()] == ["two"]
    assert (second / "two").read_text() == "tracked"


def test_the_entries_used_last_stay_within_the_bound(tmp_path: Path, first: Path, second: Path):
    cache = SetupCache(tmp_path / "cache", max_bytes=1_000_000)
    (first / "made").write_bytes(os.urandom(400_000))
    for number in range(2):
        assert cache.store(REPOSITORY, str(number), first, ["made"])
        os.utime(tmp_path / "cache" / REPOSITORY / str(number) / "index.json", (number, number))
    assert cache.restore(REPOSITORY, "0", second), "used again, so that the other one is older"
    assert cache.store(REPOSITORY, "2", first, ["made"])
    assert {entry.path.name for entry in cache.entries()} == {"0", "2"}
    assert {path.name for path in (tmp_path / "cache" / REPOSITORY).iterdir()} == {"0", "2"}
    assert all(entry.repository == REPOSITORY for entry in cache.entries())
    (first / "made").write_bytes(os.urandom(2_000_000))
    assert not cache.store(REPOSITORY, "3", first, ["made"])


def test_the_key_follows_everything_a_set_up_depends_on(first: Path, tmp_path: Path):
    (first / "uv.lock").write_text("1")
    known = setup_key(payload(), first, "main")
    assert setup_key(payload(), first, "main") == known
    others = [
        setup_key(payload(), first, "release"),
        setup_key(payload(setup_command="make all"), first, "main"),
        setup_key(payload(cached_paths=["lib"]), first, "main"),
        setup_key(payload().model_copy(update={"sandbox": OrderedSandbox()}), first, "main"),
    ]
    (first / "uv.lock").write_text("2")
    others.append(setup_key(payload(), first, "main"))
    (first / "uv.lock").unlink()
    others.append(setup_key(payload(), first, "main"))
    assert len({known, *others}) == 7
    (tmp_path / "elsewhere").write_text("1")
    (first / "uv.lock").symlink_to(tmp_path / "elsewhere")
    assert setup_key(payload(), first, "main") == others[-1], "what lies outside is not read"
