"""Everything at once, for as long as one likes: processes, connections and databases come and go.

At the end every order has ended once, with its change merged once and its lines in order; nothing
is left; and a checker reads the whole history for broken promises. AGENTVINE_STORM_SECONDS makes it
longer, AGENTVINE_CHAOS_SEED repeats what was drawn, though not to the moment. On a machine that is
very busy AGENTVINE_STORM_LEASE_SECONDS must be longer than what a claim takes there.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from agentvine.client import Client
from agentvine.config.settings import DatabaseSettings
from agentvine.db.session import Database
from agentvine.kit.clock import SystemClock
from agentvine.protocol.enums import LimitScope
from agentvine.protocol.limits import LimitTarget
from agentvine.protocol.projects import RepositoryCreateIn
from agentvine.server.migrations import migration_runner
from tests.chaos.storm.faults import blow
from tests.chaos.storm.ground import PATIENCE_SECONDS, SLOTS, Ground, storm_ground
from tests.chaos.storm.work import Customers, insist
from tests.support.histories.checker import find_violations
from tests.support.histories.history import Fact, History, Kind
from tests.support.histories.observer import observed
from tests.support.histories.report import report
from tests.support.http import free_port
from tests.support.integrity import check_integrity
from tests.support.postgres import PostgresServer, find_programs, run_apart, start_programs
from tests.support.repositories import make_repo

SECONDS = float(os.environ.get("AGENTVINE_STORM_SECONDS", "6"))
SEED = int(os.environ.get("AGENTVINE_CHAOS_SEED", "0")) or random.SystemRandom().randrange(10**6)
IS_LONG = SECONDS >= 60
PEOPLE = 4
LIMIT = 3
"""Fewer than there are slots, so that the limit of the project is reached."""
CLOCKS_DIFFER_BY = 0.05
"""SQLite tells milliseconds, and a statement's time is that of its beginning."""

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(4 * PATIENCE_SECONDS + 3 * SECONDS),
    pytest.mark.promise("P1", "P2", "P5", "P6", "P7", "P8", "P12", "P21"),
]


@pytest.fixture
def restartable(database_kind: str) -> Iterator[tuple[PostgresServer | None, int]]:
    """A PostgreSQL that listens on loopback, and keeps what it has committed when it crashes."""
    if database_kind == "sqlite":
        yield None, 0
        return
    port = free_port()
    kept = {"synchronous_commit": "on", "fsync": "on", "timezone": "UTC"}
    heard = {"listen_addresses": "127.0.0.1", "port": str(port)}
    server = start_programs(find_programs(), kept | heard)
    yield server, port
    server.stop()


@pytest.fixture
async def ground(
    database_kind: str,
    restartable: tuple[PostgresServer | None, int],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> AsyncIterator[Ground]:
    postgres, port = restartable
    if postgres is None:
        settings: DatabaseSettings = request.getfixturevalue("sqlite_settings")
    else:
        postgres.create_database("storm")
        url = f"postgresql+asyncpg://postgres@127.0.0.1:{port}/storm"
        settings = DatabaseSettings(url=url)
        run_apart(migration_runner(settings).setup())
    async with storm_ground(tmp_path, settings, random.Random(SEED), postgres, port=port) as made:
        yield made


async def test_whatever_happens_every_order_ends_once_and_no_promise_is_broken(
    ground: Ground, database_kind: str, tmp_path: Path
):
    told = f"AGENTVINE_CHAOS_SEED={SEED}"
    began = time.monotonic()
    watching = asyncio.create_task(ground.watch())
    async with ground.client() as client:
        customers = await first_customers(ground, client, tmp_path)
        until = time.monotonic() + SECONDS
        done, _ = await asyncio.gather(blow(ground, until), customers.come(PEOPLE, until))
        await insist(client.ready)
        ended = await customers.check_each()
        names = {str(row.id): row.name async for row in client.workers.list()}
        await nothing_is_left(ground, client)
    watching.cancel()
    await ground.stop()
    assert ground.fleets[0].leftovers() == []
    history = await whole_history(ground, customers, names)
    history.save(tmp_path / "history.jsonl")
    broken = [
        each
        for each in find_violations(history, slack=CLOCKS_DIFFER_BY)
        if IS_LONG or each.promise != "P1 (programs)"  # a slow machine ends programs late
    ]
    assert not broken, f"{told}\n" + "\n".join(map(str, broken))
    report(
        "storm",
        database=database_kind,
        seed=SEED,
        seconds=round(time.monotonic() - began),
        faults=dict(done),
        tasks=dict(ended),
        started_again_by_itself=dict(ground.restarts),
        **figures(history),
    )


async def first_customers(ground: Ground, client: Client, folder: Path) -> Customers:
    """Wait for a server, and agree with it on what is to be worked on, and on a limit."""
    repo = make_repo(folder / "project", {"notes/0": "start\n"})
    wanted = RepositoryCreateIn(location=str(repo.path))
    async with asyncio.timeout(PATIENCE_SECONDS):
        repository = await insist(lambda: client.repositories.create(wanted))
    target = LimitTarget(scope=LimitScope.PROJECT, key=str(repository.project_id))
    await insist(lambda: client.limits.set(target, LIMIT))
    marks = folder / "marks"
    marks.mkdir()
    return Customers(ground, client, repository.id, repo, marks)


async def nothing_is_left(ground: Ground, client: Client) -> None:
    """No order is held, nothing is counted as running, no program and no folder is there."""
    servers = [fleet.server for fleet in ground.fleets]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while ground.fleets[0].leftovers(*servers):  # noqa: ASYNC110 - it happens in other processes
            await asyncio.sleep(0.05)
    assert [each.running for each in await insist(client.limits.list)] == [0]
    async for order in client.queue.orders():
        assert order.status not in ("pending", "claimed"), order


async def whole_history(ground: Ground, customers: Customers, names: dict[str, str]) -> History:
    """What the database, the connections and the programs tell, in its order."""
    database = await Database.open(ground.direct, SystemClock())
    rows = await observed(database)
    await check_integrity(database)
    async with database.read() as read:
        held = "SELECT count(*) FROM worker_assignments WHERE status = 'active'"
        assert (await read.execute(text(held))).scalar() == 0
    await database.close()
    workers = {fact.worker for fact in rows if fact.kind is Kind.GRANTED}
    caps = [("project", LIMIT), *((f"worker:{worker}", SLOTS) for worker in workers)]
    facts = [Fact(at=0, kind=Kind.CAP, more={"key": key, "limit": size}) for key, size in caps]
    for fact in rows:
        if fact.kind is Kind.GRANTED:
            fact.more["keys"] = ["project"]
    programs = customers.programs(rows)
    facts += [*rows, *ground.history, *programs, *stops(ground, names, programs)]
    facts.append(Fact(at=time.time(), kind=Kind.OVER))
    return History(facts).in_order()


def stops(ground: Ground, names: dict[str, str], programs: History) -> Iterator[Fact]:
    """When a worker could not keep its promises: it, and what it had started, is excused."""
    for worker, name in names.items():
        for stopped, since, until in ground.stopped:
            if stopped == name:
                yield Fact(at=since, kind=Kind.STOPPED, worker=worker)
                for program in programs:
                    if program.worker == worker and since <= program.at <= until:
                        # Begun by its last words.
                        yield Fact(at=program.at, kind=Kind.STOPPED, worker=worker)


def figures(history: History) -> dict[str, int]:
    """How much was seen."""
    seen = Counter(fact.kind for fact in history)
    return {
        "claims": seen[Kind.GRANTED],
        "taken_back": sum(bool(fact.more.get("is_taken_back")) for fact in history),
        "lines": seen[Kind.LINE],
        "answers": seen[Kind.TOLD] + seen[Kind.CLAIM_TOLD],
        "programs": seen[Kind.PROGRAM_STARTED],
    }
