"""What a storm goes over: servers, workers, their database, and all connections between them.

Workers and people reach a server by way of a proxy each, and PostgreSQL's servers reach it by way
of another. Whatever ends by itself is started again, as a supervisor of services would.
"""

import asyncio
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from agentvine.client import Client, RetryPolicy
from agentvine.config.settings import DatabaseSettings
from agentvine.db.session import Database
from agentvine.kit.clock import SystemClock
from agentvine.kit.errors import Unavailable
from tests.support.bad_network import Mode, Proxy
from tests.support.fleet import Fleet
from tests.support.histories.history import History, Kind
from tests.support.histories.observer import observe
from tests.support.histories.tap import Tap
from tests.support.http import free_port
from tests.support.postgres import PostgresServer

LEASE_SECONDS = float(os.environ.get("AGENTVINE_STORM_LEASE_SECONDS", "6"))
"""Three times what a claim takes, or nothing gets done: longer on a busy machine."""
PATIENCE_SECONDS = 600.0
"""A busy machine takes a minute to start a server, and each may be started several times."""
SLOTS = 2
WORKERS = ("w1", "w2")
_HOUR = 3600.0
_LOOK_AGAIN_SECONDS = 0.1
_SETTINGS = {
    # Whoever loses every worker it ever had is to be tried again, however often.
    "AGENTVINE_QUEUE__POISON_AFTER_LOSSES": "1000",
    "AGENTVINE_QUEUE__RETRY_CAP_SECONDS": "1",
}


@dataclass
class Node:
    """A process that may be killed or held; in each of its lives its clock is wrong or right."""

    name: str
    launch: Callable[[float], "subprocess.Popen[bytes]"]
    draw: random.Random
    is_wanted: bool = True
    """Whether somebody is to start it again when it has ended."""
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Begin a life."""
        self.process = self.launch(self.draw.choice((0.0, 0.0, _HOUR, -_HOUR)))

    def signal(self, number: int) -> None:
        """Send a signal to whoever lives."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()


@dataclass
class Ground:
    """Everything that a storm may reach for."""

    folder: Path
    draw: random.Random
    fleets: list[Fleet]
    postgres: PostgresServer | None
    direct: DatabaseSettings
    """The database, reached without any proxy."""
    history: History = field(default_factory=History)
    nodes: dict[str, Node] = field(default_factory=dict)
    proxies: dict[str, Proxy] = field(default_factory=dict)
    """By the name of who goes through it."""
    stopped: list[tuple[str, float, float]] = field(default_factory=list)
    """Which worker could not keep its promises, from when to when."""
    restarts: Counter[str] = field(default_factory=Counter)
    """Who ended by itself, and was started again."""

    def client(self) -> Client:
        """A person's client, which goes through a proxy, too."""
        fleet = self.fleets[0]
        return Client(
            self.proxies["person"].url,
            fleet.admin_token,
            timeout_seconds=10.0,
            retry=RetryPolicy(attempts=2),
        )

    def fault(self, what: str, target: str) -> None:
        """Write down what is done, for people who read the history."""
        self.history.add(time.time(), Kind.FAULT, what=what, target=target)

    async def watch(self) -> None:
        """Start again what has ended though it is wanted; runs until it is cancelled."""
        while True:
            for node in self.nodes.values():
                has_ended = node.process is None or node.process.poll() is not None
                if node.is_wanted and has_ended:
                    self.restarts[node.name] += 1
                    node.start()
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def until_it_answers(self, server: str) -> None:
        """Wait until this server, in whichever of its lives, says that it lives."""
        fleet = self.fleets[int(server.rpartition(" ")[2]) - 1]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await _says(fleet, Client.health):  # noqa: ASYNC110 - another process
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def until_one_is_ready(self) -> None:
        """Wait until a server can serve."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not any([await _says(fleet, Client.ready) for fleet in self.fleets]):  # noqa: ASYNC110 - see above
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def stop(self) -> None:
        """Let everything end in good order; workers, which are the first fleet's, first."""
        for node in self.nodes.values():
            node.is_wanted = False
            node.signal(signal.SIGCONT)
        for proxy in self.proxies.values():
            proxy.mode = Mode.PASS
        for fleet in self.fleets:
            await asyncio.to_thread(fleet.stop)

    def log_tail(self) -> str:
        """The end of what all processes said."""
        return self.fleets[0].log_tail()


@asynccontextmanager
async def storm_ground(
    folder: Path,
    settings: DatabaseSettings,
    draw: random.Random,
    postgres: PostgresServer | None,
    *,
    port: int = 0,
) -> AsyncGenerator[Ground]:
    """Start it all: one server over SQLite, two over PostgreSQL, and two workers.

    Args:
        folder: Where everything lies.
        settings: The database, reached directly.
        draw: The source of chance.
        postgres: The database's server, where it has one.
        port: Where that listens on loopback.
    """
    database = await Database.open(settings, SystemClock())
    await observe(database)
    await database.close()
    first = Fleet(folder, settings, lease_seconds=LEASE_SECONDS, settings=_SETTINGS)
    await first.prepare()
    async with AsyncExitStack() as stack:
        ground = Ground(folder, draw, [first], postgres, settings)
        if postgres is not None:
            proxy = await stack.enter_async_context(Proxy(port))
            ground.proxies["database"] = proxy
            name = settings.url.rpartition("/")[2]
            url = f"postgresql+asyncpg://postgres@127.0.0.1:{proxy.port}/{name}"
            first.database = DatabaseSettings(url=url)
            ground.fleets.append(replace(first, port=free_port(), workers={}))
        last = ground.fleets[-1]
        for who, fleet in (("person", first), ("w1", first), ("w2", last)):
            ground.proxies[who] = await stack.enter_async_context(_tapped(ground, fleet, who))
        _add_nodes(ground)
        try:
            yield ground
        finally:
            await ground.stop()


async def _says(fleet: Fleet, question: Callable[[Client], Awaitable[object]]) -> bool:
    async with Client(fleet.url, timeout_seconds=5.0) as client:
        try:
            await question(client)
        except Unavailable:
            return False
        return True


def _tapped(ground: Ground, fleet: Fleet, who: str) -> Proxy:
    return Proxy(fleet.port, lambda: Tap(ground.history, who))


def _add_nodes(ground: Ground) -> None:
    for number, fleet in enumerate(ground.fleets, 1):

        def launch_server(wrong: float, fleet: Fleet = fleet) -> "subprocess.Popen[bytes]":
            return fleet.launch_server(wrong_by_seconds=wrong)

        name = f"server {number}"
        ground.nodes[name] = Node(name, launch_server, ground.draw)
    for name in WORKERS:

        def launch_worker(wrong: float, name: str = name) -> "subprocess.Popen[bytes]":
            return ground.fleets[0].start_worker(
                name,
                *("--concurrency", str(SLOTS)),
                url=ground.proxies[name].url,
                wrong_by_seconds=wrong,
            )

        ground.nodes[name] = Node(name, launch_worker, ground.draw)
