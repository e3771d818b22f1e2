"""What draining a queue costs: time, and CPU, which tells more while others use the machine."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil


@dataclass
class Cost:
    """What was spent on some jobs."""

    jobs: int
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of this process and of the database with all its processes."""

    @property
    def rate(self) -> float:
        """Jobs a second."""
        return self.jobs / self.seconds

    @property
    def cpu_each(self) -> float:
        """Microseconds of CPU for a job."""
        return self.cpu_seconds / self.jobs * 1e6


@contextlib.contextmanager
def cost_of(jobs: int, postmaster: int | None = None) -> Iterator[Cost]:
    """What is spent in the block; known at its end."""
    cost = Cost(jobs)
    before, began = _cpu(postmaster), time.perf_counter()
    yield cost
    cost.seconds = time.perf_counter() - began
    cost.cpu_seconds = _cpu(postmaster) - before


async def postmaster_of(connection: asyncpg.Connection) -> int:
    """The first process of the server that a connection leads to."""
    folder = await connection.fetchval("SHOW data_directory")
    return int((Path(str(folder)) / "postmaster.pid").read_text().split()[0])


def cpu_of(*first: int) -> float:
    """Seconds of CPU that processes have spent, with all that they have started."""
    total = 0.0
    for root in map(psutil.Process, first):
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
                if process is root:  # of those that have ended
                    total += times.children_user + times.children_system
    return total


def _cpu(postmaster: int | None) -> float:
    return time.process_time() + (0.0 if postmaster is None else cpu_of(postmaster))
