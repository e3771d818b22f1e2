"""A worker clears away what others have left, while it lives, and works on whatever it finds."""

import os
import uuid
from pathlib import Path

import pytest

from agentvine.git.mirrors import ensure_mirror
from agentvine.git.runner import Git
from agentvine.git.worktrees import add_worktree
from agentvine.kit.ids import new_id
from agentvine.worker.places import DataPlaces
from tests.support.repositories import Repo
from tests.worker.conftest import SpawnWorker
from tests.worker.support.wire_server import WireServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

MONTH = 30 * 86_400.0


def age(path: Path) -> None:
    changed = path.stat().st_mtime - MONTH
    os.utime(path, (changed, changed))


async def test_old_work_trees_and_mirrors_go_while_the_worker_works(
    server: WireServer, spawn_worker: SpawnWorker, repo: Repo, data_dir: Path
):
    git, places = Git(), DataPlaces(data_dir)
    unused, used, damaged = (places.mirror(uuid.UUID(int=n)) for n in (1, 2, 3))
    for mirror in (unused, used):
        await ensure_mirror(git, repo.path, mirror)
    damaged.mkdir()
    tree = places.worktree(new_id())
    made = await add_worktree(git, used, tree, base=repo.head, branch="task")
    Repo(tree).write({"notes": "of a dead worker"})
    for path in (unused, damaged, tree, made.git_dir / "index", made.git_dir / "HEAD"):
        age(path)

    spawn_worker(leftover_seconds=86_400.0)
    await server.until(lambda: not tree.exists() and not unused.exists(), seconds=90)
    order = server.add(command="true")
    await server.until(lambda: order.is_done, seconds=90)

    assert order.complete is not None
    kept = f"refs/agentvine/rescue/{tree.name}-left-behind"
    assert Repo(used).show(kept, "notes") == "of a dead worker"


async def test_nothing_goes_where_people_keep_all(
    server: WireServer, spawn_worker: SpawnWorker, repo: Repo, data_dir: Path
):
    mirror = DataPlaces(data_dir).mirror(uuid.UUID(int=1))
    await ensure_mirror(Git(), repo.path, mirror)
    age(mirror)
    spawn_worker(leftover_seconds=0.0)
    order = server.add(command="true")
    await server.until(lambda: order.is_done, seconds=90)
    assert mirror.is_dir()
