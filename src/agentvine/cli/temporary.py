"""A server with workers for the length of one command: ``agentvine up`` as a child process."""

import asyncio
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agentvine.cli.connection import Connection
from agentvine.config.local_server import find_local_server
from agentvine.config.settings import whole_environment
from agentvine.kit.errors import Unavailable
from agentvine.kit.process import (
    LineSplitter,
    ProcessExit,
    ProcessId,
    ProcessSpec,
    Stream,
    is_running,
    run_process,
)

_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_KEPT_LINES = 50


class ServerNotStarted(Unavailable):
    """The server for this command could not be started."""

    code = "server_not_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporaryPlan:
    """What the server and its workers are to be like."""

    data_dir: Path
    worker_count: int = 1
    capabilities: Sequence[str] = ()
    queues: Sequence[str] = ()
    runtime: str = "command"
    """What the task needs; a worker offers all that work on this machine."""
    drain_seconds: float = 5.0
    is_isolated: bool = False
    """Whether to ignore the settings of the environment, such as somebody's database."""


@dataclass(slots=True)
class TemporaryServer:
    """The child process; it also ends by itself when this process dies."""

    plan: TemporaryPlan
    connection: Connection | None = None
    _running: asyncio.Task[ProcessExit] | None = None
    _process: ProcessId | None = None
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _kill: asyncio.Event = field(default_factory=asyncio.Event)
    _lines: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))

    async def __aenter__(self) -> Self:
        """Start it and wait until it serves."""
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop it, with its workers."""
        await self.stop()

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._running is not None and not self._running.done()

    async def start(self) -> Connection:
        """Start it, or start it again.

        Raises:
            ServerNotStarted: It ended before it served.
        """
        await self.stop()
        self._ready.clear()
        self._kill.clear()
        self._lines.clear()
        self._running = asyncio.create_task(self._run())
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait(
                {self._running, ready}, timeout=_START_SECONDS, return_when="FIRST_COMPLETED"
            )
        finally:
            ready.cancel()
        local = find_local_server(self.plan.data_dir)
        if local is None or not self._ready.is_set():
            await self.stop()
            raise ServerNotStarted(f"{self._reason()} Its log is {self.log_path}.")
        self.connection = Connection(local.url, local.token, "local")
        return self.connection

    async def stop(self) -> None:
        """Let the workers end, then the server; whatever is left after a minute is killed."""
        if self._running is None:
            return
        if self._process is not None and is_running(self._process):
            os.kill(self._process.pid, signal.SIGTERM)
        try:
            await asyncio.wait({self._running}, timeout=_STOP_SECONDS)
        finally:
            # However this wait was left, nothing of it may stay.
            self._kill.set()
            with suppress(asyncio.CancelledError):
                await self._running
        self._running = None

    @property
    def log_path(self) -> Path:
        """What the server and its workers say."""
        return self.plan.data_dir / "up.log"

    # What run_process tells about the program, as its journal.

    def announce(self, run_id: str) -> None:
        """It is about to start: nothing to note, since it ends when we do."""

    def record(self, run_id: str, process: ProcessId) -> None:
        """Note which process it became, to be able to stop it gently."""
        self._process = process

    def forget(self, run_id: str) -> None:
        """Nothing of it is left."""
        self._process = None

    async def _run(self) -> ProcessExit:
        splitters = {stream: LineSplitter() for stream in Stream}
        self.plan.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        spec = ProcessSpec(
            argv=self._arguments(),
            cwd=Path.cwd(),
            environment=self._environment(),
            run_id=f"temporary-up-{os.getpid()}",
        )
        descriptor = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as log:

            async def keep(stream: Stream, chunk: bytes) -> None:
                for line in splitters[stream].feed(chunk):
                    self._lines.append(line)
                    if stream is Stream.STDOUT and line.startswith("{"):
                        self._ready.set()
                log.write(chunk)

            return await run_process(spec, keep, stop=self._kill, journal=self)

    def _environment(self) -> dict[str, str]:
        ours = whole_environment()
        if self.plan.is_isolated:
            ours = {
                name: value
                for name, value in ours.items()
                if not name.startswith("AGENTVINE_") and name != "DATABASE_URL"
            }
        return ours | {"AGENTVINE_DATA_DIR": str(self.plan.data_dir)}

    def _arguments(self) -> list[str]:
        plan = self.plan
        argv = [sys.executable, "-m", "agentvine", "up", "--json", "--port", "0"]
        argv += ["--workers", str(plan.worker_count), "--drain", str(plan.drain_seconds)]
        argv += ["--parent", str(os.getpid())]
        for option, values in (("--capability", plan.capabilities), ("--queue", plan.queues)):
            for value in values:
                argv += [option, value]
        return argv

    def _reason(self) -> str:
        """The problem it told about, or the last that it said."""
        for line in reversed(self._lines):
            with suppress(ValueError):
                problem: Any = json.loads(line)
                if isinstance(problem, dict) and "detail" in problem:
                    return str(problem["detail"])  # pyright: ignore[reportUnknownArgumentType]  # JSON of our own program
        return " ".join(self._lines[-1].split()) if self._lines else "It said nothing."
