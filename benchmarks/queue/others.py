"""The systems that people would pick instead: ``python -m benchmarks.queue.others SYSTEM COUNT``.

Runs apart, so that no system's imports or loops are in another's way, and prints jobs per second.
Each job appends its start time to one file, whatever the system's model of processes.
"""

import asyncio
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MARKS = Path(os.environ.get("BENCH_MARKS", "marks.bin"))
DSN = os.environ.get("BENCH_DSN", "")
REDIS = os.environ.get("BENCH_REDIS", "")
_PATIENCE_SECONDS = 60


def mark() -> None:
    """The job: tell that it was begun."""
    with MARKS.open("ab", buffering=0) as file:
        file.write(struct.pack("d", time.time()))


def rate() -> float:
    """Jobs per second between the first start and the last."""
    times = sorted(at for (at,) in struct.iter_unpack("d", MARKS.read_bytes()))
    return (len(times) - 1) / (times[-1] - times[0])


async def procrastinate(count: int) -> None:
    """Concurrency 8, in one process."""
    import procrastinate as library

    app = library.App(connector=library.PsycopgConnector(conninfo=DSN, min_size=2, max_size=12))

    @app.task(queue="default", name="noop")
    async def noop() -> None:
        mark()

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for _ in range(count // 500):
            await noop.batch_defer_async(*[{} for _ in range(500)])
        await app.run_worker_async(concurrency=8, wait=False, install_signal_handlers=False)


async def pgqueuer(count: int, batch: int) -> None:
    """One manager over a pool of ten connections."""
    from datetime import timedelta

    import asyncpg
    from pgqueuer import PgQueuer
    from pgqueuer.db import AsyncpgPoolDriver
    from pgqueuer.queries import Queries
    from pgqueuer.types import QueueExecutionMode

    pool = await asyncpg.create_pool(DSN, min_size=4, max_size=10)
    queries = Queries(AsyncpgPoolDriver(pool))
    await queries.install()
    for _ in range(count // 500):
        await queries.enqueue(["noop"] * 500, [b"{}"] * 500, [0] * 500)
    manager = PgQueuer(AsyncpgPoolDriver(pool))

    @manager.entrypoint("noop")
    async def noop(_job: Any) -> None:
        mark()

    await manager.qm.run(
        batch_size=batch,
        dequeue_timeout=timedelta(seconds=2),
        mode=QueueExecutionMode.drain,
        max_concurrent_tasks=max(20, 2 * batch),
    )


def dbos(count: int) -> None:
    """A queue of durable workflows; polls every 50 ms, not every second as by default."""
    from dbos import DBOS

    DBOS(
        config={
            "name": "bench",
            "system_database_url": DSN,
            "log_level": "ERROR",
        }
    )

    @DBOS.workflow()
    def noop() -> None:
        mark()

    DBOS.launch()
    queue = DBOS.register_queue(
        "default", worker_concurrency=50, polling_interval_sec=0.05, on_conflict="always_update"
    )
    for _ in range(count):
        queue.enqueue(noop)
    wait_for(count)
    print(rate(), flush=True)
    os._exit(0)


def broker(system: str, count: int) -> None:
    """Those with a worker program of their own."""
    from benchmarks.queue import tasks

    put: Callable[[], object] = tasks.sender(system)
    for _ in range(count):
        put()
    worker = subprocess.Popen(
        tasks.worker_command(system),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(count)
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def wait_for(count: int) -> None:
    """Until all have begun; what is slow is measured by what it did in its time."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline and MARKS.stat().st_size < 8 * count:
        time.sleep(0.02)


def main(system: str, count: int) -> None:
    """Run one system."""
    MARKS.write_bytes(b"")
    name, _, batch = system.partition("-")
    if name == "procrastinate":
        asyncio.run(procrastinate(count))
    elif name == "pgqueuer":
        asyncio.run(pgqueuer(count, int(batch)))
    elif name == "dbos":
        dbos(count)
    else:
        broker(name, count)
    print(rate())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
