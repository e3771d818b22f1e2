"""One simulated course of things: machines, work for them, faults drawn by a seed, and the end."""

import asyncio
import functools
import logging
import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from fastapi import FastAPI
from pydantic import SecretStr

from agentvine.client import Client, RetryPolicy
from agentvine.config.settings import QueueSettings, Settings
from agentvine.kit.errors import AppError
from agentvine.protocol.enums import PermissionLevel
from agentvine.protocol.tasks import TaskCreateIn, TaskRun
from agentvine.server.app import create_app
from tests.reliability.simulator.driver import SimulatedDisk
from tests.reliability.simulator.ground import Prepared
from tests.reliability.simulator.loop import SimulatedLoop
from tests.reliability.simulator.machines import URL, ServerMachine, WorkerMachine
from tests.reliability.simulator.network import Faults, Wires
from tests.support.histories.history import History, Kind

LEASE_SECONDS = 20.0
QUEUE = QueueSettings(
    lease_seconds=LEASE_SECONDS,
    heartbeat_seconds=LEASE_SECONDS / 3,
    long_poll_seconds=15,
    poll_interval_seconds=5,
    retry_base_seconds=1,
    retry_jitter=0,  # its dice are not ours
)
_PATIENCE_SECONDS = 1200.0
_SHORTEST_LOOK_SECONDS = 2.0


@dataclass
class World:
    """A server, workers and a person who gives them work."""

    seed: int
    loop: SimulatedLoop
    folder: Path
    prepared: Prepared
    history: History = field(default_factory=History)
    workers: list[WorkerMachine] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.database = self.folder / "agentvine.db"
        shutil.copyfile(self.prepared.template, self.database)
        self.disk = SimulatedDisk(self.loop, self.history)
        self.wires = Wires(self.loop, self.history, _application())
        settings = Settings(
            data_dir=self.folder,
            database_url=f"sqlite:///{self.database}",
            sqlite_synchronous="NORMAL",
            secret_key=SecretStr("a key for simulations only, of some length"),
            bcrypt_rounds=4,
            queue=QUEUE,
        )
        self.server = ServerMachine(self.loop, self.wires, self.disk, settings, self.wires.app)

    @property
    def draw(self) -> random.Random:
        """The one source of chance."""
        return self.loop.random

    def add_worker(self, *, slots: int = 1, wrong_by_seconds: float = 0.0) -> WorkerMachine:
        """A machine with a worker, started."""
        name = f"w{len(self.workers) + 1}"
        worker = WorkerMachine(
            name=name,
            loop=self.loop,
            wires=self.wires,
            history=self.history,
            folder=self.folder / name,
            token=self.prepared.worker_token,
            slots=slots,
            wrong_by_seconds=wrong_by_seconds,
        )
        self.workers.append(worker)
        worker.start()
        return worker

    async def enqueue(self, number: int, *, max_retries: int = 100) -> None:
        """Give work, as a person does: tried again until it is acknowledged."""
        task = TaskCreateIn(
            title=f"task {number}",
            repository_id=self.prepared.repository_id,
            permission=PermissionLevel.AUTONOMOUS,
            run=TaskRun(command="true", max_retries=max_retries),
        )
        async with self.person() as client:
            while True:
                try:
                    await client.tasks.create(task, key=f"task-{number}-{'x' * 20}")
                except AppError:
                    await asyncio.sleep(_SHORTEST_LOOK_SECONDS)
                else:
                    return

    def person(self) -> Client:
        """A client of somebody who may do everything."""
        network = self.wires.of("person")
        return Client(
            URL, self.prepared.admin_token, retry=RetryPolicy(attempts=2), network=network
        )

    def fault(self, what: str, **more: object) -> None:
        """Write down what is done to the system."""
        self.history.add(self.loop.time(), Kind.FAULT, what=what, **more)

    async def calm_down(self) -> None:
        """End all faults, and start what is not running."""
        self.fault("calm")
        self.wires.faults = Faults()
        self.wires.cut_off.clear()
        self.disk.clock.wrong_by_seconds = 0
        for worker in self.workers:
            worker.release()
        if not self.wires.is_listening:
            await self.server.start()
        for worker in self.workers:
            if not worker.is_running:
                worker.start()

    async def until_all_has_ended(self) -> None:
        """Wait until every order has ended and every worker is idle, or patience is over."""
        deadline = self.loop.time() + _PATIENCE_SECONDS
        # Nobody tells when the last one is done; in simulated time looking again costs little.
        while not self._is_idle() and self.loop.time() < deadline:  # noqa: ASYNC110 - see above
            await asyncio.sleep(_SHORTEST_LOOK_SECONDS)
        self.history.add(self.loop.time(), Kind.OVER)

    def _is_idle(self) -> bool:
        with closing(sqlite3.connect(self.database)) as database:
            query = "SELECT count(*) FROM work_orders WHERE status IN ('pending', 'claimed')"
            (open_orders,) = database.execute(query).fetchone()
        return not open_orders and not any(
            any(worker.folder.glob("workers/*/runs/*")) for worker in self.workers
        )


Scenario = Callable[[World], Awaitable[None]]


@functools.cache
def _application() -> FastAPI:
    """One for all worlds of this process: each server puts its own insides into it."""
    return create_app(Settings())


def simulate(seed: int, prepared: Prepared, scenario: Scenario) -> History:
    """Run a scenario in a world of its own; the same seed gives the same history."""
    random.seed(seed)
    loop = SimulatedLoop(seed)
    folder = Path(tempfile.mkdtemp(prefix="avsim-", dir=_memory()))
    world = World(seed, loop, folder, prepared)
    asyncio.set_event_loop(loop)
    try:
        with _quiet(), world.disk.plugged_in():
            try:
                loop.run_until_complete(scenario(world))
                # What is still told while the world is taken down is no part of the course.
                course = History(list(world.history))
            finally:
                loop.run_until_complete(_end(world))
    finally:
        asyncio.set_event_loop(None)
        loop.close()
        shutil.rmtree(folder, ignore_errors=True)
    return course


@contextmanager
def _quiet() -> Generator[None]:
    """Without log lines: a storm writes many, and rendering them takes as long as all else."""
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        # A logger that is kept would be as quiet in the tests that follow in this process.
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


async def _end(world: World) -> None:
    for worker in world.workers:
        await world.loop.kill(worker.name)
    await world.server.kill()


def _memory() -> Path | None:
    """Where files cost least."""
    memory = Path("/dev/shm")
    return memory if os.access(memory, os.W_OK) else None
