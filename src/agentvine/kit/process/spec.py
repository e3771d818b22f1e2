"""What a run of a program is asked for, and what it comes to."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from agentvine.kit.process.containment import BY_GROUP, Containment
from agentvine.kit.process.limits import NO_LIMITS, Breach, ResourceLimits
from agentvine.kit.process.table import ProcessId
from agentvine.kit.process.watch import Watch, Watchdog


class Stream(StrEnum):
    """Where a piece of output came from."""

    STDOUT = "stdout"
    STDERR = "stderr"


class ExitReason(StrEnum):
    """Why a program is no longer running."""

    EXITED = "exited"
    """It ended by itself."""
    TIMEOUT = "timeout"
    """We ended it: its time was up."""
    CANCELLED = "cancelled"
    """We ended it: somebody asked."""
    KILLED = "killed"
    """A signal ended it, and it was not ours: a crash, the system short of memory, a person."""
    WATCHDOG = "watchdog"
    """We ended it: it did not begin, fell silent, or did not end after its result."""
    LIMIT = "limit"
    """We, or the system, ended it: it used more than it may."""


OutputHandler = Callable[[Stream, bytes], Awaitable[None]]
"""Takes the next bytes of one stream. While it waits, the program waits on a full pipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """What to run, and how long."""

    argv: Sequence[str]
    cwd: Path
    environment: Mapping[str, str]
    """All of it: nothing of ours is inherited. The run's marker is added."""
    run_id: str
    """Marks every process of the run, so that those which detach are found."""
    timeout_seconds: float | None = None
    grace_seconds: float = 5.0
    """Between SIGTERM and SIGKILL."""
    containment: Containment = BY_GROUP
    limits: ResourceLimits = NO_LIMITS
    descriptors: tuple[int, ...] = ()
    """Open files of ours that the program inherits; all others it does not."""
    watch: Watch | None = None
    """Its clocks; output is noted by itself, events and the result by the runtime."""
    pipe_wait_seconds: float = 5.0
    """How long, after the end, to read on when somebody unknown still holds a pipe open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessExit:
    """How a program ended."""

    exit_code: int | None
    """None when a signal ended it."""
    signal: int | None
    reason: ExitReason
    duration_seconds: float
    """From its start to its end, less the time in which it stood still."""
    peak_memory_bytes: int
    """The most that all its processes held at one time, as far as samples saw (20 ms after the
    start, then rarer, at last every second), or what its largest process held at its own peak,
    if the system vouches for that and it is more. Memory that processes share counts for each."""
    cpu_seconds: float
    """Processor time, the system's and its own, of all its processes: what a control group counted,
    else the most of what the system told at their end and of what samples saw."""
    process: ProcessId
    is_output_complete: bool
    """False when somebody unknown kept a pipe open, or the handler was too slow, after the end."""
    leftover_count: int
    """How many processes outlived the program and had to be ended."""
    survivor_pids: tuple[int, ...] = ()
    """What could not be ended even by SIGKILL: processes that hang in the kernel."""
    watchdog: Watchdog | None = None
    """Which watchdog barked, when that is the reason."""
    breach: Breach | None = None
    """Which limit it went over, when that is the reason."""

    @property
    def is_success(self) -> bool:
        """Whether the program ended by itself and says that all went well."""
        return self.reason is ExitReason.EXITED and self.exit_code == 0


class ProcessJournal(Protocol):
    """Remembers started programs beyond our own death."""

    def announce(self, run_id: str) -> None:
        """Note that a program is about to start."""
        ...

    def record(self, run_id: str, process: ProcessId) -> None:
        """Note which process it became."""
        ...

    def forget(self, run_id: str) -> None:
        """Note that nothing of it is left."""
        ...
