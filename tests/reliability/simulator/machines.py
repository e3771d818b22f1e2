"""The machines of the simulated world: a server, workers with their disks, and their programs.

They run the product's own code. Left out are git (orders name no repository) and real programs:
what an order runs is a runtime that writes lines and lets time pass.
"""

import asyncio
import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import SecretStr

from agentvine.client import Client
from agentvine.client.transport import NO_RETRIES
from agentvine.config.settings import Settings
from agentvine.git.runner import Git
from agentvine.kit.orphans import OrphanJournal
from agentvine.kit.process import Containment, ContainmentLevel, ExitReason, Probe
from agentvine.kit.redaction import Redactor
from agentvine.runtimes.base import RunContext, RunOutcome, RuntimeInfo
from agentvine.runtimes.registry import RuntimeRegistry
from agentvine.server.lifespan import running
from agentvine.worker.config import WorkerConfig
from agentvine.worker.daemon import Worker
from agentvine.worker.delivery import Outbox
from agentvine.worker.heartbeat import Heartbeat, HeartbeatEvents, Identity
from agentvine.worker.isolation import Isolation
from agentvine.worker.leases import LeaseBook
from agentvine.worker.places import DataPlaces
from agentvine.worker.tools import WorkerTools
from tests.reliability.simulator.driver import SimulatedDisk
from tests.reliability.simulator.loop import SimulatedClock, SimulatedLoop
from tests.reliability.simulator.network import SERVER, Wires
from tests.support.histories.history import History, Kind

URL = "http://server"
_BARE = Containment(level=ContainmentLevel.GROUP)  # no real program runs in the simulated world


@dataclass
class ServerMachine:
    """Where the server runs; one at a time."""

    loop: SimulatedLoop
    wires: Wires
    disk: SimulatedDisk
    settings: Settings
    app: FastAPI

    async def start(self) -> None:
        """Start a server, and return when it listens."""
        self.loop.revive(SERVER)
        started = asyncio.Event()
        self.loop.run_on(SERVER, self._run(started)).add_done_callback(_look_at_end)
        await started.wait()
        self.wires.is_listening = True

    async def kill(self) -> None:
        """End it in the middle of whatever it does."""
        self.wires.is_listening = False
        self.disk.pull_plug(SERVER)
        await self.loop.kill(SERVER)
        self.disk.pull_plug(SERVER)

    async def _run(self, started: asyncio.Event) -> None:
        async with AsyncExitStack() as stack:
            clock = SimulatedClock(self.loop)
            inside = await stack.enter_async_context(running(self.settings, clock=clock))
            self.app.state.agentvine = inside.http
            started.set()
            await asyncio.Event().wait()


@dataclass
class WorkerMachine:
    """Where a worker runs; its disk outlives its processes."""

    name: str
    loop: SimulatedLoop
    wires: Wires
    history: History
    folder: Path
    token: str
    slots: int = 1
    wrong_by_seconds: float = 0.0
    programs: dict[str, str] = field(default_factory=dict)
    """What runs here now, by execution."""
    _process: "asyncio.Task[int] | None" = None

    def start(self) -> None:
        """Start a process."""
        self.loop.revive(self.name)
        self._process = self.loop.run_on(self.name, self._run())
        self._process.add_done_callback(_look_at_end)

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and not self._process.done()

    async def kill(self) -> None:
        """End the process, and with it its programs, in the middle of whatever it does."""
        self.history.add(self.loop.time(), Kind.STOPPED, worker=self.name)
        await self.loop.kill(self.name)

    def hold(self) -> None:
        """What SIGSTOP does to the process."""
        self.history.add(self.loop.time(), Kind.STOPPED, worker=self.name)
        self.loop.hold(self.name)

    def release(self) -> None:
        """What SIGCONT does."""
        self.loop.release(self.name)

    def remove(self) -> None:
        """Throw the disk away."""
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _run(self) -> int:
        config = WorkerConfig(
            server_url=URL,
            token=SecretStr(self.token),
            data_dir=self.folder,
            name=self.name,
            concurrency=self.slots,
        )
        places = DataPlaces(self.folder).worker(self.name)
        places.root.mkdir(parents=True, exist_ok=True)
        async with self._client(30.0) as client:
            worker = Worker(
                WorkerTools(
                    config=config,
                    places=places,
                    git=Git(environment={}),
                    client=client,
                    runtimes=RuntimeRegistry([SimulatedRuntime(self)]),
                    journal=OrphanJournal(places.processes),
                    clock=SimulatedClock(self.loop, self.wrong_by_seconds),
                    redactor=Redactor([self.token]),
                    book=LeaseBook(self.loop.time),
                    heartbeat=lambda book, events: LoopHeartbeat(self._client, book, events),
                    isolation=Isolation(_BARE, Probe(best=_BARE), None, "simulated"),
                    outbox=Outbox(client),
                )
            )
            return await worker.run()

    def _client(self, timeout_seconds: float) -> Client:
        return Client(
            URL,
            self.token,
            timeout_seconds=timeout_seconds,
            retry=NO_RETRIES,
            network=self.wires.of(self.name),
        )


class LoopHeartbeat(Heartbeat):
    """The heartbeat as a task: there are no threads here."""

    def __init__(
        self, connect: Callable[[float], Client], book: LeaseBook, events: HeartbeatEvents
    ) -> None:
        super().__init__(URL, SecretStr(""), book, events)
        self._make_client = connect
        self._task: asyncio.Task[None] | None = None

    def start(self, identity: Identity) -> None:
        self._identity = identity
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _connect(self, timeout_seconds: float) -> Client:
        return self._make_client(timeout_seconds)


@dataclass(frozen=True)
class SimulatedRuntime:
    """What an order runs: it writes lines and lets time pass, and now and then it fails."""

    machine: WorkerMachine
    name: str = "command"
    is_agent: bool = False
    uses_models: bool = False

    async def detect(self) -> RuntimeInfo:
        return RuntimeInfo(name=self.name, version="1", is_available=True)

    async def run(self, context: RunContext) -> RunOutcome:
        machine, loop = self.machine, self.machine.loop
        started, task = loop.time(), str(context.payload.task_id)
        facts: dict[str, Any] = {"order": task, "worker": machine.name}
        facts["execution"] = context.execution_id
        machine.history.add(started, Kind.PROGRAM_STARTED, **facts)
        machine.programs[context.execution_id] = task
        reason, exit_code = ExitReason.EXITED, int(loop.random.random() < 0.1)
        try:
            for number in range(loop.random.randint(1, 3)):
                await context.output.write("stdout", f"line {number} of {context.execution_id}")
                if await _is_set_within(context.stop, loop.random.expovariate(1 / 4)):
                    reason, exit_code = ExitReason.CANCELLED, -15
                    break
        finally:
            del machine.programs[context.execution_id]
            machine.history.add(loop.time(), Kind.PROGRAM_ENDED, **facts)
        return RunOutcome(
            reason=reason, exit_code=exit_code, duration_seconds=loop.time() - started
        )


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _look_at_end(process: "asyncio.Task[Any]") -> None:
    if not process.cancelled():
        process.exception()
