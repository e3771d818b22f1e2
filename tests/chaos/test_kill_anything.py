"""Whatever is killed, whenever: the task ends once, with its result or a reason, and tidily.

The seed is printed with a failure; AGENTVINE_CHAOS_SEED repeats it, AGENTVINE_CHAOS_ROUNDS makes
the run longer.
"""

import asyncio
import os
import random
import statistics
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from agentvine.client import Client
from agentvine.config.settings import DatabaseSettings
from agentvine.protocol.enums import PermissionLevel, TaskStatus
from agentvine.protocol.projects import RepositoryCreateIn
from agentvine.protocol.tasks import TaskCreateIn, TaskOut, TaskRun
from tests.support.fleet import Fleet
from tests.support.histories.report import report

ROUNDS = int(os.environ.get("AGENTVINE_CHAOS_ROUNDS", "20"))
SEED = int(os.environ.get("AGENTVINE_CHAOS_SEED", "0")) or random.SystemRandom().randrange(10**6)
LONGEST_MOMENT_SECONDS = 1.4  # a whole run takes about this long

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(400 + 20 * ROUNDS),
    pytest.mark.promise("P6"),
]
FINAL = {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED}


@pytest.fixture
async def fleet(database_settings: DatabaseSettings, tmp_path: Path) -> AsyncIterator[Fleet]:
    fleet = Fleet(tmp_path, database_settings)
    await fleet.prepare()
    await fleet.start_server()
    fleet.start_worker()
    yield fleet
    fleet.stop()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "notes").mkdir()
    (folder / "notes" / "0.txt").write_text("start\n")
    _git(folder, "init", "--quiet", "--initial-branch=main")
    _git(folder, "add", ".")
    _git(folder, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-m", "start")
    return folder


async def test_a_task_ends_exactly_once_whatever_is_killed(
    fleet: Fleet, repository: Path, database_kind: str
) -> None:
    draw = random.Random(SEED)
    killed, waited = Counter[str](), list[float]()
    async with fleet.client() as client:
        registered = await client.repositories.create(RepositoryCreateIn(location=str(repository)))
        for number in range(1, ROUNDS + 1):
            told = f"seed {SEED}, round {number}"
            task = await client.tasks.create(_task(number, registered.id))
            await asyncio.sleep(draw.uniform(0, LONGEST_MOMENT_SECONDS))
            what = draw.choice(["server", "worker", "command"])
            killed[what] += 1
            began = time.monotonic()
            await _kill_something(fleet, what, task)
            ended = await _end_of(client, task.id, fleet, told)
            waited.append(time.monotonic() - began)
            await _check_outcome(client, repository, ended, told)
        await until(lambda: not fleet.leftovers(), seconds=20)  # folders go after their reports
    fleet.stop()
    assert fleet.leftovers() == []
    report(
        "kills in a row",
        database=database_kind,
        seed=SEED,
        killed=dict(killed),
        median_seconds_to_the_end=round(statistics.median(waited), 1),
        longest_seconds_to_the_end=round(max(waited), 1),
    )


def _task(number: int, repository_id: uuid.UUID) -> TaskCreateIn:
    note = f"notes/{number}.txt"
    return TaskCreateIn(
        title=f"Write note {number}",
        repository_id=repository_id,
        permission=PermissionLevel.AUTONOMOUS,
        run=TaskRun(
            command=f"echo begun >> {note}; sleep 0.3; echo ended >> {note}",
            test_command=f"grep -q ended {note} && sleep 0.1",
            timeout_seconds=60,
        ),
    )


async def _kill_something(fleet: Fleet, what: str, task: TaskOut) -> None:
    if what == "server":
        fleet.kill(fleet.server)
        await fleet.start_server()
    elif what == "worker":
        fleet.kill(fleet.workers["w1"])
        fleet.start_worker()
    else:
        for process in fleet.processes_of(task.id):
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue


async def _end_of(client: Client, task_id: uuid.UUID, fleet: Fleet, told: str) -> TaskOut:
    try:
        async with asyncio.timeout(120):
            # The outcome may come from any of several processes: only asking again tells.
            while (task := await client.tasks.get(task_id)).status not in FINAL:  # noqa: ASYNC110 - see above
                await asyncio.sleep(0.05)
            return task
    except TimeoutError:
        task = await client.tasks.get(task_id)
        pytest.fail(f"{told}: still {task.status} ({task.status_reason})\n{fleet.log_tail()}")


async def _check_outcome(client: Client, repository: Path, task: TaskOut, told: str) -> None:
    number = task.ref.removeprefix("T-")
    merged = _git(
        repository,
        *("log", "main", "--first-parent", "--format=%H"),
        f"--grep=AgentVine-Task: {task.id}",
    ).split()
    executions = [row async for row in client.executions.list(task_id=task.id)]
    assert all(row.status != "running" for row in executions), f"{told}: {executions}"
    if task.status is TaskStatus.COMPLETED:
        assert len(merged) == 1, f"{told}: merged {len(merged)} times"
        assert sum(row.status == "completed" for row in executions) == 1, told
        content = _git(repository, "show", f"main:notes/{number}.txt")
        assert content == "begun\nended\n", f"{told}: {content!r}"
    else:
        assert task.status is TaskStatus.FAILED, told
        assert task.status_reason, told
        assert merged == [], told


async def until(holds: Callable[[], bool], *, seconds: float) -> None:
    """Wait for something that no signal tells of."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - it happens in other processes
            await asyncio.sleep(0.05)


def _git(folder: Path, *args: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *args], check=True, capture_output=True, text=True
    ).stdout
