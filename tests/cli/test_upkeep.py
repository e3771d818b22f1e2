"""`agentvine worktree` and `agentvine worker cache`, on a data directory that dead workers left."""

import asyncio
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agentvine.git.mirrors import ensure_mirror
from agentvine.git.runner import Git
from agentvine.git.worktrees import add_worktree
from agentvine.kit.ids import new_id
from agentvine.kit.orphans import OrphanJournal
from agentvine.protocol.enums import TaskType
from agentvine.protocol.queue import ClaimedOrder, OrderPayload, RepositorySource
from agentvine.worker.folders import RunFolder
from agentvine.worker.lock import WorkerLock
from agentvine.worker.places import DataPlaces
from agentvine.worker.setup_cache import SetupCache
from tests.cli.conftest import Cli
from tests.support.cli import Sandbox
from tests.support.repositories import Repo

REPOSITORY = uuid.UUID(int=7)


@dataclass
class Machine:
    """A data directory with work trees."""

    places: DataPlaces
    source: Repo

    @property
    def mirror(self) -> Repo:
        return Repo(self.places.mirror(REPOSITORY))

    def tree(self, *, days_old: int, worker: str | None = None, text: str | None = "work") -> Path:
        """A work tree; with a claim of a worker's, when one is named."""
        execution = new_id()
        if worker is not None:
            RunFolder.create(self.places.worker(worker).runs, self._order(execution))
        path = self.places.worktree(execution)

        async def make() -> None:
            git = Git()
            await ensure_mirror(git, self.source.path, self.mirror.path)
            made = await add_worktree(
                git, self.mirror.path, path, base=self.source.head, branch=f"task-{execution}"
            )
            if text is not None:
                Repo(path).write({"notes": text})
            for name in (path, made.git_dir / "index", made.git_dir / "HEAD"):
                _age(name, days_old)

        asyncio.run(make())
        return path

    def _order(self, execution: uuid.UUID) -> ClaimedOrder:
        return ClaimedOrder(
            order_id=new_id(),
            execution_id=execution,
            fence=1,
            attempt=1,
            lease_seconds=60,
            payload=OrderPayload(
                task_id=new_id(),
                task_ref="T-1",
                title="t",
                task_type=TaskType.TEST,
                runtime="command",
                timeout_seconds=60,
                test_timeout_seconds=60,
                repository=RepositorySource(
                    id=REPOSITORY, name="r", path=str(self.source.path), git_url=None
                ),
            ),
        )


@pytest.fixture
def machine(sandbox: Sandbox, repository: Repo) -> Machine:
    return Machine(DataPlaces(sandbox.data_dir), repository)


def _age(path: Path, days: int) -> None:
    changed = path.stat().st_mtime - days * 86_400
    os.utime(path, (changed, changed))


def trees(cli: Cli) -> dict[str, Any]:
    return {row["execution_id"]: row for row in cli.ok("worktree", "list", "--json").json}


def prune(cli: Cli, *more: str) -> dict[str, tuple[bool, str]]:
    done = cli.ok("worktree", "prune", "--json", *more).json
    return {each["name"]: (each["is_removed"], each["detail"]) for each in done}


def test_old_trees_go_when_nobody_uses_them_and_what_was_in_them_stays(
    alone: Cli, machine: Machine
):
    running = machine.tree(days_old=30, worker="alive")
    awaited = machine.tree(days_old=30, worker="dead")
    abandoned = machine.tree(days_old=30)
    untouched = machine.tree(days_old=30, text=None)
    young = machine.tree(days_old=2)
    with WorkerLock(machine.places.worker("alive").lock, "alive"):
        states = {name: row["state"] for name, row in trees(alone).items()}
        assert states == {
            running.name: "running",
            awaited.name: "awaited",
            **dict.fromkeys((abandoned.name, untouched.name, young.name), "abandoned"),
        }
        asked = prune(alone, "--dry-run")
        assert asked.keys() == {abandoned.name, untouched.name}
        assert all(is_removed for is_removed, _ in asked.values())
        assert len(trees(alone)) == 5, "it was only asked"

        done = prune(alone)
        assert done[abandoned.name][1].startswith("what was in it is ")
        assert done[untouched.name] == (True, "nothing in it was new")
        assert trees(alone).keys() == {running.name, awaited.name, young.name}
        kept = f"refs/agentvine/rescue/{abandoned.name}-left-behind"
        assert machine.mirror.show(kept, "notes") == "work"
        assert machine.mirror.git("for-each-ref", "refs/agentvine/").count("\n") == 0

        assert prune(alone, "--awaited", "--older-than", "3d").keys() == {awaited.name}
        assert trees(alone).keys() == {running.name, young.name}
    assert "nothing to do" in alone.ok("worktree", "prune").out


def test_what_cannot_be_kept_first_is_not_removed(alone: Cli, machine: Machine):
    unknown = machine.places.worktree(new_id())
    unknown.mkdir(parents=True)
    (unknown / "result").write_text("of a task without a repository")
    busy = machine.tree(days_old=30)
    OrphanJournal(machine.places.worker("dead").processes).announce(busy.name)
    journal = machine.places.worker("dead").processes / f"{busy.name}.json"
    journal.write_text("{}")  # whoever started it is gone
    broken = machine.tree(days_old=30)
    machine.mirror.git("update-ref", "-d", "refs/remotes/origin/main")
    objects = machine.mirror.path / "objects"
    objects.rename(objects.with_name("objects-elsewhere"))

    done = prune(alone, "--older-than", "0")

    assert {name: is_removed for name, (is_removed, _) in done.items()} == dict.fromkeys(
        (unknown.name, busy.name, broken.name), False
    )
    assert "no mirror knows it" in done[unknown.name][1]
    assert "programs may still run" in done[busy.name][1]
    assert all(path.is_dir() for path in (unknown, busy, broken))


def test_set_ups_are_listed_with_their_size_and_removed_when_they_are_old(
    alone: Cli, machine: Machine, tmp_path: Path
):
    tree = machine.tree(days_old=0)
    (tree / ".venv").mkdir()
    (tree / ".venv" / "python").write_bytes(b"x" * 50_000)
    cache = SetupCache(machine.places.cache, max_bytes=2**30)
    for number in (1, 2):
        assert cache.store(str(REPOSITORY), f"{number}" * 64, tree, [".venv"])
    old = cache.entries()[1]
    _age(old.path / "index.json", 30)

    rows = alone.ok("worker", "cache", "--json").json
    assert sorted(row["kind"] for row in rows) == ["mirrors", "set-ups", "set-ups"]
    assert all(row["size_bytes"] > 50_000 for row in rows if row["kind"] == "set-ups")
    assert str(REPOSITORY) in alone.ok("worker", "cache", "list").out

    asked = alone.ok("worker", "cache", "prune", "--dry-run").out
    assert asked.startswith("would remove set-up")
    assert len(cache.entries()) == 2
    alone.ok("worker", "cache", "prune", "--repository", str(uuid.UUID(int=8)))
    assert len(cache.entries()) == 2, "those belong to another repository"
    alone.ok("worker", "cache", "prune")
    assert [entry.path for entry in cache.entries()] != [old.path]
    assert len(cache.entries()) == 1


def test_mirrors_go_when_they_are_old_unless_they_hold_what_their_repository_lacks(
    alone: Cli, machine: Machine
):
    tree = machine.tree(days_old=30)
    prune(alone)
    for path in (machine.mirror.path, machine.mirror.path / "worktrees"):
        _age(path, 30)
    kept = alone.ok("worker", "cache", "prune").out
    assert "kept mirror" in kept
    assert "commits that its source does not have" in kept
    machine.mirror.git("update-ref", "-d", f"refs/agentvine/rescue/{tree.name}-left-behind")
    _age(machine.mirror.path, 30)
    assert "would remove mirror" in alone.ok("worker", "cache", "prune", "--dry-run").out
    assert "removed mirror" in alone.ok("worker", "cache", "prune").out
    assert not machine.mirror.path.exists()
