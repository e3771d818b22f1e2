"""How much a run's programs may use, and noticing when they use more.

A run that goes over a limit is ended as a whole. Where the system can hold a limit itself (a size
of files, the time of one process, a cgroup's memory), it is told to; sums over all of a run's
processes are looked at as samples are taken, so a breach is noticed within a second.
"""

import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from agentvine.kit.process.table import ProcessRow

_MIB = 2**20


class Limit(StrEnum):
    """What may be limited."""

    MEMORY = "memory"
    PROCESSES = "processes"
    CPU_TIME = "cpu_time"
    FILE_SIZE = "file_size"
    DISK = "disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceLimits:
    """The most that all processes of one run may use together; None means no limit."""

    memory_bytes: int | None = None
    processes: int | None = None
    cpu_seconds: int | None = None
    file_bytes: int | None = None
    """The largest single file."""
    disk_bytes: int | None = None
    """How much the working folder may grow to."""

    @property
    def is_sampled(self) -> bool:
        """Whether samples must be taken often, for a limit to hold."""
        return self.memory_bytes is not None or self.processes is not None

    def for_system(self) -> dict[str, tuple[int, int]]:
        """What the system itself can hold, process by process, by its names: soft and hard."""
        found: dict[str, tuple[int, int]] = {"RLIMIT_CORE": (0, 0)}
        if self.file_bytes is not None:
            found["RLIMIT_FSIZE"] = (self.file_bytes, self.file_bytes)
        if self.cpu_seconds is not None:
            # A little later than our own look, which knows the sum; and SIGKILL after SIGXCPU.
            found["RLIMIT_CPU"] = (self.cpu_seconds + 2, self.cpu_seconds + 4)
        if self.memory_bytes is not None:
            # Against the one process that takes all there is between two samples.
            backstop = self.memory_bytes + max(self.memory_bytes // 2, 64 * _MIB)
            found["RLIMIT_DATA"] = (backstop, backstop)
        return found


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit that a run went over."""

    limit: Limit
    allowed: int
    seen: int | None = None
    """None when the system stopped it at the limit."""

    @property
    def message(self) -> str:
        """What happened, in one sentence."""
        match self.limit:
            case Limit.MEMORY:
                what = f"use more than its {_size(self.allowed)} of memory"
            case Limit.PROCESSES:
                what = f"run more than its {self.allowed} processes"
            case Limit.CPU_TIME:
                what = f"use more than its {self.allowed} s of processor time"
            case Limit.FILE_SIZE:
                what = f"write a file larger than {_size(self.allowed)}"
            case Limit.DISK:
                what = f"let its folder grow beyond {_size(self.allowed)}"
        seen = f" ({self._shown(self.seen)} seen)" if self.seen is not None else ""
        return f"The run was ended because it was about to {what}{seen}."

    def _shown(self, value: int) -> str:
        match self.limit:
            case Limit.PROCESSES:
                return str(value)
            case Limit.CPU_TIME:
                return f"{value} s"
            case _:
                return _size(value)


NO_LIMITS = ResourceLimits()


def find_breach(limits: ResourceLimits, rows: Iterable[ProcessRow]) -> Breach | None:
    """Compare one sample of a run's processes with its limits."""
    count = memory = 0
    seconds = 0.0
    for row in rows:
        count += 1
        memory += row.memory_bytes
        seconds += row.cpu_seconds
    if limits.memory_bytes is not None and memory > limits.memory_bytes:
        return Breach(Limit.MEMORY, limits.memory_bytes, memory)
    if limits.processes is not None and count > limits.processes:
        return Breach(Limit.PROCESSES, limits.processes, count)
    if limits.cpu_seconds is not None and seconds > limits.cpu_seconds:
        return Breach(Limit.CPU_TIME, limits.cpu_seconds, int(seconds))
    return None


def breach_of_end(limits: ResourceLimits, exit_code: int, peak_bytes: int) -> Breach | None:
    """Tell from how a program ended whether the system held it to a limit.

    Args:
        limits: The run's.
        exit_code: Minus the signal's number when a signal ended it; 128 and the number when a
            shell says so of its child.
        peak_bytes: The most memory that one of its processes held.
    """
    ended_by = -exit_code if exit_code < 0 else exit_code - 128
    if limits.file_bytes is not None and ended_by == signal.SIGXFSZ:
        return Breach(Limit.FILE_SIZE, limits.file_bytes)
    if limits.cpu_seconds is not None and ended_by == signal.SIGXCPU:
        return Breach(Limit.CPU_TIME, limits.cpu_seconds)
    if limits.memory_bytes is not None and exit_code != 0 and peak_bytes > limits.memory_bytes:
        return Breach(Limit.MEMORY, limits.memory_bytes, peak_bytes)
    return None


def folder_bytes(folder: Path) -> int:
    """What a folder takes on the disk; hard links count once, what cannot be read as nothing."""
    total = 0
    seen: set[tuple[int, int]] = set()
    waiting = [os.fspath(folder)]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                stat = entry.stat(follow_symlinks=False)
                is_folder = entry.is_dir(follow_symlinks=False)
            except OSError:
                continue
            if stat.st_nlink > 1 and not is_folder:
                if (stat.st_dev, stat.st_ino) in seen:
                    continue
                seen.add((stat.st_dev, stat.st_ino))
            total += stat.st_blocks * 512
            if is_folder:
                waiting.append(entry.path)
    return total


def _size(value: int) -> str:
    if value < 10 * _MIB:
        return f"{value / 1024:.0f} KiB"
    return f"{value / _MIB:.0f} MiB"
