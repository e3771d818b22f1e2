"""A server, a worker and a repository, all real: what is kept of a run, and how soon one ends."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentvine.client import Client
from agentvine.config.settings import DatabaseSettings
from agentvine.protocol.enums import TaskStatus
from agentvine.protocol.projects import RepositoryCreateIn
from agentvine.protocol.tasks import TaskCreateIn, TaskOut, TaskRun
from tests.support.fleet import Fleet
from tests.support.repositories import make_repo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

HEARTBEAT_SECONDS = 15.0
FILES = {
    "shop/__init__.py": "",
    "shop/prices.py": "def total(items):\n    return sum(items)\n\n\ndef old():\n    return 1\n",
    "shop/till.py": "from shop.prices import total\n\nprint(total([1]))\n",
}
COMMAND = r"""
printf 'def total(items, tax):\n    return sum(items) * tax\n' > shop/prices.py
echo note > notes.txt
sleep 1
"""


@pytest.fixture
async def fleet(database_settings: DatabaseSettings, tmp_path: Path) -> AsyncIterator[Fleet]:
    fleet = Fleet(tmp_path, database_settings, lease_seconds=4 * HEARTBEAT_SECONDS)
    await fleet.prepare()
    try:
        await fleet.start_server()
        fleet.start_worker()
        yield fleet
    finally:
        fleet.stop()


async def reached(client: Client, task_id: uuid.UUID, *wanted: TaskStatus) -> TaskOut:
    async with asyncio.timeout(90):
        # It is another process's doing: only asking again tells.
        while (task := await client.tasks.get(task_id)).status not in wanted:  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.05)
        return task


async def test_a_run_leaves_its_change_with_all_evidence_and_a_cancelled_one_ends_at_once(
    fleet: Fleet, tmp_path: Path
):
    repo = make_repo(tmp_path / "repository", FILES)
    async with fleet.client() as client:
        repository = await client.repositories.create(RepositoryCreateIn(location=str(repo.path)))
        run = TaskRun(command=COMMAND, test_command="echo tested; test -f notes.txt")
        task = await client.tasks.create(
            TaskCreateIn(title="Add a tax", repository_id=repository.id, run=run)
        )
        await reached(client, task.id, TaskStatus.REVIEW)
        (listed,) = [row async for row in client.modifications.list(task_id=task.id)]
        change = await client.modifications.get(listed.id)

        assert change.affected_files == ["notes.txt", "shop/prices.py"]
        assert change.modified_files == {
            "notes.txt": {"kind": "added", "added": 1, "removed": 0},
            "shop/prices.py": {"kind": "modified", "added": 2, "removed": 6},
        }
        assert change.diff_stat == {"files": 2, "added": 3, "removed": 6}
        assert "+def total(items, tax):" in (change.diff or "")
        impact = change.impact_analysis
        assert impact["breaks_public_names"] == ["shop/prices.py: old", "shop/prices.py: total"]
        assert impact["used_by"] == ["shop/till.py"]
        assert impact["diff_truncated"] is False
        assert change.tests_passed is True
        results = change.test_results
        assert (results["passed"], results["exit_code"]) == (True, 0)
        assert "tested" in results["output_tail"]
        assert change.base_commit == repo.head
        assert change.head_commit == repo.rev(change.rescue_ref or "")
        (execution,) = [row async for row in client.executions.list(task_id=task.id)]
        assert execution.exit_code == 0
        assert execution.metrics["peak_memory_bytes"] > 0

        long = TaskRun(command="sleep 300")
        endless = await client.tasks.create(
            TaskCreateIn(title="Never ends", repository_id=repository.id, run=long)
        )
        await reached(client, endless.id, TaskStatus.IN_PROGRESS)
        asked_at = time.monotonic()
        await client.tasks.cancel(endless.id)
        await reached(client, endless.id, TaskStatus.CANCELLED)
        # Long before a beat would have told the worker.
        assert time.monotonic() - asked_at < HEARTBEAT_SECONDS * 0.6
