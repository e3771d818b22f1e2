"""Servers, databases and networks fail while commands run: no command is disturbed, no line lost.

AGENTVINE_CHAOS_SEED repeats a course of failures, AGENTVINE_OUTAGES makes it longer.
"""

import asyncio
import os
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from agentvine.client import Client
from agentvine.config.settings import DatabaseSettings
from agentvine.db.session import Database
from agentvine.kit.clock import SystemClock
from agentvine.protocol.enums import PermissionLevel, TaskStatus
from agentvine.protocol.projects import RepositoryCreateIn
from agentvine.protocol.tasks import TaskCreateIn, TaskRun
from agentvine.server.migrations import migration_runner
from tests.support.bad_network import Mode, Proxy
from tests.support.fleet import Fleet
from tests.support.histories.checker import find_violations
from tests.support.histories.history import Kind
from tests.support.histories.observer import observe, observed
from tests.support.histories.report import report
from tests.support.postgres import PostgresServer, find_programs, run_apart, start_programs
from tests.support.repositories import make_repo

OUTAGES = int(os.environ.get("AGENTVINE_OUTAGES", "4"))
SEED = int(os.environ.get("AGENTVINE_CHAOS_SEED", "0")) or random.SystemRandom().randrange(10**6)
pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400 + 30 * OUTAGES)]

LEASE_SECONDS = 300.0  # however long a busy machine takes to start a server
RUNNING_COMMANDS = 3
LINE_EVERY_SECONDS = 0.05

Outage = Callable[["Ground"], Awaitable[None]]


class Ground:
    """A fleet whose workers reach the server by way of a proxy."""

    def __init__(self, fleet: Fleet, proxy: Proxy, postgres: PostgresServer | None) -> None:
        self.fleet = fleet
        self.proxy = proxy
        self.postgres = postgres


async def kill_server(ground: Ground) -> None:
    ground.fleet.kill(ground.fleet.server)
    await ground.fleet.start_server()


async def crash_database(ground: Ground) -> None:
    assert ground.postgres is not None
    await asyncio.to_thread(ground.postgres.crash)
    await asyncio.to_thread(ground.postgres.start_again)


async def cut(ground: Ground) -> None:
    ground.proxy.cut()


def treat_for_a_while(mode: Mode) -> Outage:
    async def outage(ground: Ground) -> None:
        ground.proxy.mode = mode
        await asyncio.sleep(1.0)  # lint: allow AV019 (how long the outage lasts)
        ground.proxy.mode = Mode.PASS
        ground.proxy.cut()

    outage.__name__ = mode.name
    return outage


EVERYWHERE = [kill_server, cut, *map(treat_for_a_while, (Mode.STALL, Mode.HALF_OPEN, Mode.DOUBLE))]


@pytest.fixture
def restartable(database_kind: str) -> Iterator[PostgresServer | None]:
    """A PostgreSQL that keeps what it has committed when it is stopped at once."""
    if database_kind == "sqlite":
        yield None
        return
    server = start_programs(find_programs(), {"synchronous_commit": "on", "fsync": "on"})
    yield server
    server.stop()


@pytest.fixture
async def ground(
    database_kind: str,
    restartable: PostgresServer | None,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> AsyncIterator[Ground]:
    if restartable is None:
        settings: DatabaseSettings = request.getfixturevalue("sqlite_settings")
    else:
        restartable.create_database("outages")
        settings = DatabaseSettings(url=restartable.url("outages"))
        run_apart(migration_runner(settings).setup())
    fleet = Fleet(tmp_path, settings, lease_seconds=LEASE_SECONDS)
    await fleet.prepare()
    database = await Database.open(settings, SystemClock())
    await observe(database)
    await database.close()
    async with Proxy(fleet.port) as proxy:
        try:
            await fleet.start_server()
            fleet.start_worker("w1", "--concurrency", str(RUNNING_COMMANDS), url=proxy.url)
            yield Ground(fleet, proxy, restartable)
        finally:
            proxy.mode = Mode.PASS
            await asyncio.to_thread(fleet.stop)


@pytest.mark.promise("P4", "P5", "P7", "P21")
async def test_commands_go_on_through_every_outage_and_lose_no_line(
    ground: Ground, database_kind: str, tmp_path: Path
):
    draw, told = random.Random(SEED), f"AGENTVINE_CHAOS_SEED={SEED}"
    outages: list[Outage] = [*EVERYWHERE, *([crash_database] if ground.postgres else [])]
    outages = draw.sample(outages, min(OUTAGES, len(outages))) + [
        draw.choice(outages) for _ in range(OUTAGES - len(outages))
    ]
    done = tmp_path / "done"
    repo = make_repo(tmp_path / "project")
    async with ground.fleet.client() as client:
        registered = await client.repositories.create(RepositoryCreateIn(location=str(repo.path)))
        tasks = [
            (await client.tasks.create(endless(number, registered.id, done))).id
            for number in range(RUNNING_COMMANDS)
        ]
        await until(lambda: len(pids_of(ground.fleet, tasks)) == RUNNING_COMMANDS)
        began, pids = time.monotonic(), pids_of(ground.fleet, tasks)
        for outage in outages:
            await outage(ground)
            await asyncio.sleep(draw.uniform(0.1, 1.0))
        assert pids_of(ground.fleet, tasks) == pids, told
        done.touch()
        for task in tasks:
            await all_went_well(client, task, told)
    report(
        "outages",
        database=database_kind,
        seed=SEED,
        outages=[outage.__name__ for outage in outages],
        seconds=round(time.monotonic() - began, 1),
        commands=RUNNING_COMMANDS,
    )
    await asyncio.to_thread(ground.fleet.stop)
    database = await Database.open(ground.fleet.database, SystemClock())
    history = await observed(database)
    await database.close()
    assert not find_violations(history), f"{told}\n{find_violations(history)}"
    assert {fact.fence for fact in history if fact.kind is Kind.GRANTED} == {1}, told


def endless(number: int, repository_id: uuid.UUID, done: Path) -> TaskCreateIn:
    """A task whose command numbers its lines until a file appears."""
    script = (
        f"i=0; while ! test -e '{done}'; do i=$((i+1)); echo line $i; "
        f"sleep {LINE_EVERY_SECONDS}; done; echo last $i"
    )
    return TaskCreateIn(
        title=f"Count {number}",
        repository_id=repository_id,
        permission=PermissionLevel.AUTONOMOUS,
        run=TaskRun(command=script, timeout_seconds=600),
    )


async def all_went_well(client: Client, task_id: uuid.UUID, told: str) -> None:
    async with asyncio.timeout(150):
        while (task := await client.tasks.get(task_id)).status is not TaskStatus.COMPLETED:
            assert task.status is not TaskStatus.FAILED, f"{told}: {task.status_reason}"
            await asyncio.sleep(0.05)
    (execution,) = [row async for row in client.executions.list(task_id=task_id)]
    lines: list[str] = []
    after, is_more = 0, True
    while is_more:
        page = await client.executions.logs(execution.id, after=after, limit=1000, stream="stdout")
        lines += [line.message for line in page.items]
        is_more = bool(page.items)
        after = page.items[-1].id if page.items else after
    assert lines == [f"line {n}" for n in range(1, len(lines))] + [f"last {len(lines) - 1}"], told
    assert len(lines) > 10, told


def pids_of(fleet: Fleet, tasks: list[uuid.UUID]) -> set[int]:
    """The shells that run the tasks' commands: not their short-lived children."""
    return {
        process.pid for task in tasks for process in fleet.processes_of(task) if _is_shell(process)
    }


def _is_shell(process: psutil.Process) -> bool:
    try:
        return process.name() in ("sh", "bash", "dash")
    except psutil.Error:  # it has just ended
        return False


async def until(holds: Callable[[], bool], *, seconds: float = 120.0) -> None:
    """Wait for something that no signal tells of."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - it happens in other processes
            await asyncio.sleep(0.05)
