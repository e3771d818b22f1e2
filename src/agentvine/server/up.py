"""``agentvine up``: the server in this process, and its workers as children, from start to end."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import click

from agentvine.config.local_server import (
    LocalServer,
    announce_local_server,
    find_local_server,
    withdraw_local_server,
)
from agentvine.config.settings import Settings, load_settings
from agentvine.db.session import Database
from agentvine.kit.errors import Conflict
from agentvine.kit.lifeline import stop_without_parent
from agentvine.protocol.enums import CapabilityLevel, TaskType
from agentvine.server.local_tokens import issue_local_tokens, revoke_local_tokens
from agentvine.server.loop import run_server
from agentvine.server.run import Serving, serve
from agentvine.server.speech import is_json_wanted, tell_first_login
from agentvine.server.team import TeamPlan, WorkerTeam


class ServerRunsHere(Conflict):
    """A server runs on this data directory already."""

    code = "server_runs_here"


def up(
    *,
    host: str,
    port: int,
    workers: int,
    types: Sequence[TaskType],
    concurrency: int,
    capabilities: Sequence[tuple[str, CapabilityLevel]],
    queues: Sequence[str],
    drain: float,
    parent: int | None,
) -> None:
    """Start a server with workers, and stay until told to stop."""
    settings = _quieter(load_settings())
    plan = TeamPlan(
        count=workers,
        data_dir=settings.data_dir,
        types=[kind.value for kind in types],
        concurrency=concurrency,
        capabilities=[f"{name}:{level.value}" for name, level in capabilities],
        queues=queues,
        drain_seconds=drain,
    )
    life = Up(settings, plan, as_json=is_json_wanted(), is_temporary=parent is not None)
    with stop_without_parent(parent):
        run_server(life.live(host, port))


def _quieter(settings: Settings) -> Settings:
    # At one's own terminal the workers' lines say enough.
    if "log_level" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"log_level": "WARNING"})


@dataclass(slots=True)
class Up:
    """One ``up`` from its start to its end."""

    settings: Settings
    plan: TeamPlan
    as_json: bool = False
    is_temporary: bool = False
    """Started by another command, to which the first password is of no use."""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it is told to stop."""
    hurried: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it is told a second time."""
    team: WorkerTeam = field(init=False)
    _names: list[str] = field(default_factory=list[str])
    _announced: LocalServer | None = None
    _database: Database | None = None

    def __post_init__(self) -> None:
        self.team = WorkerTeam(self.plan, say=_say)

    async def live(self, host: str, port: int) -> None:
        """Serve, with workers, until told to stop.

        Raises:
            ServerRunsHere: Another one runs on the data directory.
        """
        if (other := find_local_server(self.settings.data_dir)) is not None:
            raise ServerRunsHere(
                f"Process {other.pid} serves {self.settings.data_dir} at {other.url}. Use it, stop "
                "it, or set AGENTVINE_DATA_DIR to another directory."
            )
        stop_serving = asyncio.Event()
        serving = asyncio.create_task(
            serve(self.settings, host=host, port=port, ready=self._begin, stop=stop_serving)
        )
        with self._signals():
            asked = asyncio.create_task(self.asked.wait())
            await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            try:
                await self._end()
            finally:
                stop_serving.set()
                await serving

    async def _begin(self, serving: Serving) -> None:
        self._names = self.plan.names()
        self._database = serving.inside.http.database
        tokens = await issue_local_tokens(self._database, place=self._place, workers=self._names)
        self._announced = announce_local_server(
            self.settings.data_dir,
            url=serving.url,
            token=tokens.command_line,
            is_temporary=self.is_temporary,
        )
        self.team.start(serving.url, tokens.workers)
        self._tell(serving)

    async def _end(self) -> None:
        if self._names and not self.as_json:
            _say("stopping: workers finish what they run (Ctrl-C again: do not wait)")
        if self.hurried.is_set():
            await self.team.kill()
        else:
            await self.team.drain(self.hurried)
        if self._announced is not None:
            withdraw_local_server(self.settings.data_dir, self._announced)
        if self._database is not None:
            await revoke_local_tokens(self._database, place=self._place, workers=self._names)

    @property
    def _place(self) -> str:
        return f"local-{self.plan.instance}"

    def _tell(self, serving: Serving) -> None:
        first = None if self.is_temporary else serving.first_admin
        if self.as_json:
            login = {"username": first.user.username, "password": first.password} if first else None
            fact = {"url": serving.url, "pid": os.getpid(), "workers": self._names}
            click.echo(json.dumps({**fact, "first_login": login}))
            return
        click.echo(f"AgentVine serves {serving.url} with {len(self._names)} worker(s).")
        click.echo(f"Data: {self.settings.data_dir}")
        tell_first_login(first)
        click.echo('Next: agentvine run "..." --repo PATH --command "..."   Stop: Ctrl-C')

    @contextlib.contextmanager
    def _signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        handled = (signal.SIGINT, signal.SIGTERM)
        for signum in handled:
            loop.add_signal_handler(signum, self._on_signal)
        try:
            yield
        finally:
            for signum in handled:
                loop.remove_signal_handler(signum)

    def _on_signal(self) -> None:
        (self.hurried if self.asked.is_set() else self.asked).set()


def _say(line: str) -> None:
    click.echo(line, err=True)
