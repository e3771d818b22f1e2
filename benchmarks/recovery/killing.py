"""Kill what runs a job, start another, and look at the clock.

A worker is killed with all that it started, as a machine takes its processes with it.
"""

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from agentvine.client import Client
from agentvine.config.settings import QueueSettings
from agentvine.protocol.enums import PermissionLevel
from agentvine.protocol.projects import RepositoryCreateIn
from agentvine.protocol.tasks import TaskCreateIn, TaskRun
from benchmarks.fleet.grounds import running_site
from benchmarks.queue.services import Services
from benchmarks.recovery import tasks
from tests.support.repositories import make_repo

_FIRST_START_SECONDS = 90.0
_LOOK_AGAIN_SECONDS = 0.02


class NeverBegunError(Exception):
    """The job did not begin even once: the set-up is wrong, and nothing was measured."""


def measured(
    marks: Path, start: Callable[[int], "subprocess.Popen[bytes]"], patience: float
) -> float | None:
    """Seconds from the kill until the job has begun again, or None where that took too long.

    Args:
        marks: The file that the job adds a byte to when it begins.
        start: Starts the first worker (0) or the other (1).
        patience: How many seconds to wait for it.
    """
    workers = [start(0)]
    try:
        if not _has_begun(marks, 1, _FIRST_START_SECONDS):
            raise NeverBegunError
        _kill(workers[0])
        killed_at = time.monotonic()
        workers.append(start(1))
        if not _has_begun(marks, 2, patience):
            return None
        return time.monotonic() - killed_at
    finally:
        for worker in workers:
            _kill(worker)


def other(
    services: Services, system: str, executors: tuple[str, str], patience: float
) -> float | None:
    """One of the libraries, its workers in processes of their own."""
    name = f"killed_{system}_{time.monotonic_ns()}"
    services.postgres.create_database(name)
    with tempfile.TemporaryDirectory(dir=services.folder) as folder:
        marks = Path(folder) / "marks"
        marks.touch()
        environment = {
            **os.environ,
            "BENCH_SYSTEM": system,
            "BENCH_DSN": services.dsn(name),
            "BENCH_REDIS": services.redis_url,
            "BENCH_MARKS": str(marks),
        }
        subprocess.run(tasks.command_of("put"), env=environment, check=True, timeout=60)
        command = tasks.worker_command(system, services.redis_url)

        def start(number: int) -> "subprocess.Popen[bytes]":
            return subprocess.Popen(
                command,
                env={**environment, "BENCH_EXECUTOR": executors[number]},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

        return measured(marks, start, patience)


async def ours(services: Services, names: tuple[str, str], patience: float) -> float | None:
    """A server and workers as real processes over HTTP; all but the lease as by default."""
    defaults = QueueSettings()
    settings = {
        "AGENTVINE_QUEUE__RETRY_BASE_SECONDS": str(defaults.retry_base_seconds),
        "AGENTVINE_QUEUE__POLL_INTERVAL_SECONDS": str(defaults.poll_interval_seconds),
    }
    async with running_site(
        services, lease_seconds=tasks.TIMEOUT_SECONDS, settings=settings
    ) as site:
        marks = site.fleet.folder / "marks"
        marks.touch()
        repository = make_repo(site.fleet.folder / "repository")
        async with site.fleet.client() as client:
            await _put(client, repository.path, marks)
        return measured(marks, lambda number: site.fleet.start_worker(names[number]), patience)


async def _put(client: Client, repository: Path, marks: Path) -> None:
    registered = await client.repositories.create(RepositoryCreateIn(location=str(repository)))
    await client.tasks.create(
        TaskCreateIn(
            title="Begin, and wait",
            repository_id=registered.id,
            permission=PermissionLevel.AUTONOMOUS,
            run=TaskRun(
                command=f"printf . >> '{marks}'; sleep {tasks.JOB_SECONDS}",
                timeout_seconds=tasks.JOB_SECONDS,
            ),
        )
    )


def _has_begun(marks: Path, times: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while marks.stat().st_size < times:
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_AGAIN_SECONDS)
    return True


def _kill(worker: "subprocess.Popen[bytes]") -> None:
    """The worker first, so that it reports nothing of the end of what it had started."""
    started: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        started = psutil.Process(worker.pid).children(recursive=True)
    for each in (worker, *started):
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    worker.wait()
