"""What holds a run's processes together, so that all of them can be found, stopped and ended.

    namespace    a PID namespace: the kernel ends all of it at once, nothing can leave
    cgroup       a control group (v2): likewise, but root inside could move itself out
    subreaper    whoever detaches becomes the keeper's child; a program may kill its keeper
    group        process group, session, marker in the environment, and what was seen before

The strongest that this machine allows is taken, found out by trying
(``probe_containment``). The first three
need Linux. A cgroup, where there is one to be had, is used beside a namespace, too: for stopping
the run, and for limits.
"""

import contextlib
import os
import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from agentvine.kit.ids import random_token
from agentvine.kit.process.limits import ResourceLimits
from agentvine.kit.process.table import find_process

_REMOVE_SECONDS = 2.0
_PREFIX = "agentvine-"


class ContainmentLevel(StrEnum):
    """How firmly a run's processes are held, strongest first."""

    NAMESPACE = "namespace"
    CGROUP = "cgroup"
    SUBREAPER = "subreaper"
    GROUP = "group"


@dataclass(frozen=True, slots=True, kw_only=True)
class Containment:
    """How to hold the processes of a run."""

    level: ContainmentLevel
    cgroups: Path | None = None
    """The folder under which each run gets a control group of its own."""

    @property
    def has_keeper(self) -> bool:
        """Whether a keeper stands between us and the program."""
        return self.level is not ContainmentLevel.GROUP

    @property
    def is_namespace(self) -> bool:
        """Whether the run has its own process numbers."""
        return self.level is ContainmentLevel.NAMESPACE


BY_GROUP = Containment(level=ContainmentLevel.GROUP)


@dataclass(frozen=True, slots=True)
class Probe:
    """What this machine allows."""

    best: Containment
    problems: dict[ContainmentLevel, str] = field(default_factory=dict[ContainmentLevel, str])
    """Why the levels that are not to be had are not."""

    def choose(self, level: ContainmentLevel | None) -> Containment | None:
        """The best, or exactly the level asked for; None when that is not to be had."""
        if level is None:
            return self.best
        if level in self.problems:
            return None
        return Containment(
            level=level,
            cgroups=self.best.cgroups
            if level in {ContainmentLevel.NAMESPACE, ContainmentLevel.CGROUP}
            else None,
        )


class ControlGroup:
    """One run's control group (v2)."""

    def __init__(self, parent: Path, name: str) -> None:
        """Make it.

        Raises:
            OSError: The system does not let us.
        """
        self.path = parent / f"{_PREFIX}{os.getpid()}-{name}-{random_token(4)}"
        self.path.mkdir()

    def limit(self, limits: ResourceLimits) -> None:
        """Let the kernel hold the limits it can; the controllers may be missing here."""
        if limits.memory_bytes is not None:
            self._set("memory.max", str(limits.memory_bytes))
            self._set("memory.swap.max", "0")
            self._set("memory.oom.group", "1")
        if limits.processes is not None:
            # The keepers are in it, too.
            self._set("pids.max", str(limits.processes + 8))

    def has_run_out_of_memory(self) -> bool:
        """Whether the kernel ended something in it for the sake of its memory limit."""
        try:
            lines = (self.path / "memory.events").read_text().splitlines()
        except OSError:
            return False
        return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)

    def cpu_seconds(self) -> float:
        """Processor time of all that was ever in it; 0 when the kernel does not count it here."""
        try:
            lines = (self.path / "cpu.stat").read_text().splitlines()
        except OSError:
            return 0.0
        used = (line.split()[1] for line in lines if line.startswith("usage_usec "))
        return int(next(used, "0")) / 1e6

    def freeze(self, *, is_frozen: bool) -> bool:
        """Stop all processes in it, or let them go on; False when that cannot be done."""
        return self._set("cgroup.freeze", "1" if is_frozen else "0")

    def is_frozen(self) -> bool:
        """Whether all in it stand still by now: that takes a moment."""
        try:
            return "frozen 1" in (self.path / "cgroup.events").read_text().splitlines()
        except OSError:
            return False

    def kill(self) -> bool:
        """Kill all processes in it at once; False when that cannot be done."""
        return self._set("cgroup.kill", "1")

    def pids(self) -> set[int]:
        """Who is in it, and in the groups that somebody made inside."""
        found: set[int] = set()
        for path in [self.path, *self._inner()]:
            with contextlib.suppress(OSError, ValueError):
                found |= {int(line) for line in (path / "cgroup.procs").read_text().split()}
        return found

    def remove(self) -> None:
        """Remove it; everything in it must have ended."""
        deadline = time.monotonic() + _REMOVE_SECONDS
        for path in [*reversed(self._inner()), self.path]:
            while True:
                try:
                    path.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    # The last one to die may still be on its way out.
                    if time.monotonic() > deadline:
                        return
                    time.sleep(0.01)
                else:
                    break

    def _inner(self) -> list[Path]:
        return [path for path in sorted(self.path.rglob("*")) if path.is_dir()]

    @staticmethod
    def remove_abandoned(parent: Path) -> None:
        """Remove the empty groups of processes that have died."""
        for path in parent.glob(f"{_PREFIX}*"):
            owner = path.name.removeprefix(_PREFIX).partition("-")[0]
            if owner.isdigit() and find_process(int(owner)) is None:
                with contextlib.suppress(OSError):
                    path.rmdir()

    def _set(self, name: str, value: str) -> bool:
        try:
            (self.path / name).write_text(value)
        except OSError:
            return False
        return True
