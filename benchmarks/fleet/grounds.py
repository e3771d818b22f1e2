"""A server as a process of its own over a new PostgreSQL database, and hands that call it."""

import contextlib
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import psutil
from sqlalchemy import text

from agentvine.client import Client
from agentvine.config.settings import DatabaseSettings
from agentvine.db.session import Database
from agentvine.kit.clock import SystemClock
from agentvine.kit.ids import new_id, random_token
from agentvine.protocol.queue import ClaimedOrder, ClaimIn
from agentvine.protocol.workers import WorkerRegisterIn
from agentvine.reactions.routing import build_reactions
from agentvine.server.migrations import migration_runner
from benchmarks.queue.services import Services
from tests.support.builders.work import SETTINGS, Crew, make_crew
from tests.support.fleet import Fleet

_FILLING_SECONDS = 1800.0


@dataclass
class Site:
    """A running server, a queue of it, and the database behind both."""

    services: Services
    fleet: Fleet
    crew: Crew
    database: Database
    postmaster: int

    @property
    def dsn(self) -> str:
        """For plain drivers."""
        return self.fleet.database.url.replace("postgresql+asyncpg://", "postgresql://")


@contextlib.asynccontextmanager
async def running_site(
    services: Services,
    *,
    lease_seconds: float = 60.0,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> AsyncGenerator[Site, None]:
    """A server over an empty database; more settings are for it and for workers."""
    name = f"site_{time.monotonic_ns()}"
    services.postgres.create_database(name)
    found = DatabaseSettings(url=services.url(name))
    await migration_runner(found).setup()
    with tempfile.TemporaryDirectory(dir=services.folder) as folder:
        fleet = Fleet(Path(folder), found, lease_seconds=lease_seconds, settings=dict(settings))
        # Filling in a million orders is one statement; the server keeps its own limit.
        patient = found.model_copy(update={"statement_timeout_seconds": _FILLING_SECONDS})
        database = await Database.open(patient, SystemClock(), build_reactions(SETTINGS))
        try:
            await fleet.prepare()
            await fleet.start_server()
            crew = await make_crew(database)
            yield Site(services, fleet, crew, database, await _postmaster(database))
        finally:
            fleet.stop()
            await database.close()
    services.postgres.drop_database(name)


async def _postmaster(database: Database) -> int:
    async with database.read() as read:
        folder = await read.scalar(text("SHOW data_directory"))
    return int((Path(str(folder)) / "postmaster.pid").read_text().split()[0])


@dataclass
class Caller:
    """A worker as the server sees one: its messages, and nothing that runs."""

    client: Client
    worker_id: uuid.UUID
    session_id: uuid.UUID
    number: int = 0

    @classmethod
    async def register(cls, site: Site, client: Client, name: str, slots: int = 100) -> "Caller":
        """Introduce it to the server."""
        session_id = new_id()
        answer = await client.workers.register(
            WorkerRegisterIn(
                name=name,
                session_id=session_id,
                runtimes=["command"],
                queues=[site.crew.queue_name],
                max_concurrent_tasks=slots,
            )
        )
        return cls(client, answer.worker_id, session_id)

    async def claim(self, slots: int, wait_seconds: float = 0) -> list[ClaimedOrder]:
        """Ask for orders."""
        self.number += 1
        message = ClaimIn(
            worker_id=self.worker_id,
            session_id=self.session_id,
            claim_token=random_token(24),
            slots=slots,
            number=self.number,
            wait_seconds=wait_seconds,
        )
        return list((await self.client.queue.claim(message)).orders)


@contextlib.contextmanager
def cpu_of(site: Site) -> Iterator[list[float]]:
    """The seconds of CPU that server and database spend in the block; one number, at its end."""
    spent: list[float] = []
    before = _cpu(site)
    yield spent
    spent.append(_cpu(site) - before)


def _cpu(site: Site) -> float:
    server = site.fleet.server
    assert server is not None
    total = 0.0
    for root in (psutil.Process(server.pid), psutil.Process(site.postmaster)):
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
                if process is root:  # of those that have ended
                    total += times.children_user + times.children_system
    return total
