"""Workers as child processes of ``agentvine up``: started, watched, started again, drained."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from agentvine.config.settings import whole_environment
from agentvine.kit.clock import Clock, SystemClock
from agentvine.kit.ids import new_id, short_id
from agentvine.kit.process import (
    LineSplitter,
    ProcessId,
    ProcessSpec,
    Stream,
    is_running,
    run_process,
)

log = structlog.get_logger(__name__)

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_HEALTHY_SECONDS = 60.0
"""A worker that lived so long did not die of what its predecessor died of."""
_SETTLING_SECONDS = 20.0
"""What a worker may need to end its work and report, after its time to drain is up."""
_GRACE_SECONDS = 5.0
_SERVERS_OWN = ("DATABASE_URL", "SECRET_KEY", "TOKEN", "REDIS_URL")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamPlan:
    """How many workers there shall be, and what they take."""

    count: int
    data_dir: Path
    types: Sequence[str] = ()
    concurrency: int = 1
    capabilities: Sequence[str] = ()
    queues: Sequence[str] = ()
    drain_seconds: float = 30.0

    @property
    def instance(self) -> str:
        """What tells this data directory's workers from those of others."""
        return _instance_of(self.data_dir)

    def names(self) -> list[str]:
        """Names that stay the same for this data directory, and are no other's.

        A worker that comes back under its name takes up what its predecessor left.
        """
        return [f"worker-{number}-{self.instance}" for number in range(1, self.count + 1)]


@dataclass(slots=True)
class WorkerTeam:
    """The workers of one ``up``."""

    plan: TeamPlan
    say: Say
    clock: Clock = field(default_factory=SystemClock)
    _members: list["_Member"] = field(default_factory=list["_Member"])
    _tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])

    def start(self, url: str, tokens: Mapping[str, str]) -> None:
        """Start a worker for each name, with its token."""
        for name, token in tokens.items():
            member = _Member(self, name, self._environment(url, token))
            self._members.append(member)
            self._tasks.append(asyncio.create_task(member.live(), name=name))

    async def drain(self, hurry: asyncio.Event) -> None:
        """Let all finish what they run, as long as the plan allows or until ``hurry``."""
        for member in self._members:
            member.drain()
        alive = [task for task in self._tasks if not task.done()]
        if alive:
            hurried = asyncio.create_task(hurry.wait())
            drained = asyncio.gather(*alive, return_exceptions=True)
            timeout = self.plan.drain_seconds + _SETTLING_SECONDS
            await asyncio.wait({drained, hurried}, timeout=timeout, return_when="FIRST_COMPLETED")
            hurried.cancel()
        await self.kill()

    async def kill(self) -> None:
        """End every worker that is left, with all that it started."""
        for member in self._members:
            member.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def arguments(self, name: str) -> list[str]:
        """The command line of one worker."""
        plan = self.plan
        argv = [sys.executable, "-m", "agentvine", "worker", "--name", name]
        argv += ["--concurrency", str(plan.concurrency), "--drain-timeout", str(plan.drain_seconds)]
        # If we are killed without a word, it notices that it has another parent, and ends.
        argv += ["--parent", str(os.getpid())]
        given = (
            ("--type", plan.types),
            ("--capability", plan.capabilities),
            ("--queue", plan.queues),
        )
        for option, values in given:
            for value in values:
                argv += [option, value]
        return argv

    def _environment(self, url: str, token: str) -> dict[str, str]:
        # A worker never touches the database, so it is not told where that is.
        hidden = {f"AGENTVINE_{key}{end}" for key in _SERVERS_OWN for end in ("", "_FILE")}
        ours = {
            key: value
            for key, value in whole_environment().items()
            if key not in hidden and key != "DATABASE_URL"
        }
        return ours | {
            "AGENTVINE_SERVER_URL": url,
            "AGENTVINE_TOKEN": token,
            "AGENTVINE_DATA_DIR": str(self.plan.data_dir),
        }


@dataclass(slots=True)
class _Member:
    """One worker: a process, and the next one when that dies."""

    team: WorkerTeam
    name: str
    environment: Mapping[str, str]
    _process: ProcessId | None = None
    _is_draining: bool = False
    _killed: asyncio.Event = field(default_factory=asyncio.Event)
    _drained: asyncio.Event = field(default_factory=asyncio.Event)

    async def live(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._is_draining:
            began = self.team.clock.monotonic()
            exit_code = await self._run_once()
            if self._is_draining:
                return
            if exit_code == 0:
                # Somebody told it, through the server, to finish and take no more.
                log.info("worker.left", worker=self.name)
                return
            lived = self.team.clock.monotonic() - began
            pause = _FIRST_PAUSE_SECONDS if lived > _HEALTHY_SECONDS else pause
            log.warning("worker.died", worker=self.name, exit_code=exit_code, again_in=pause)
            try:
                async with asyncio.timeout(pause):
                    await self._drained.wait()
            except TimeoutError:
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def drain(self) -> None:
        self._is_draining = True
        self._drained.set()
        if self._process is not None and is_running(self._process):
            os.kill(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        self._is_draining = True
        self._drained.set()
        self._killed.set()

    # What run_process tells about the program, as its journal.

    def announce(self, run_id: str) -> None:
        """The program is about to start: nothing to note, since nothing is to outlive us."""

    def record(self, run_id: str, process: ProcessId) -> None:
        """Note which process it became, to be able to drain it."""
        self._process = process
        if self._is_draining:
            os.kill(process.pid, signal.SIGTERM)

    def forget(self, run_id: str) -> None:
        """Nothing of it is left."""
        self._process = None

    async def _run_once(self) -> int | None:
        splitters = {stream: LineSplitter() for stream in Stream}

        async def tell(stream: Stream, chunk: bytes) -> None:
            for line in splitters[stream].feed(chunk):
                self.team.say(f"{self.name} | {line}")

        spec = ProcessSpec(
            argv=self.team.arguments(self.name),
            cwd=Path.cwd(),
            environment=self.environment,
            run_id=f"up-{self.name}-{os.getpid()}",
            grace_seconds=_GRACE_SECONDS,
        )
        ended = await run_process(spec, tell, stop=self._killed, journal=self)
        return ended.exit_code if ended.exit_code is not None else -(ended.signal or 0)


def _instance_of(data_dir: Path) -> str:
    # Kept, because the path of a data directory may change (a container's volume).
    path = data_dir / "instance"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        path.write_text(short_id(new_id())[-4:])
    return path.read_text().strip()
