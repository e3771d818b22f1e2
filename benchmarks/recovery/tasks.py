"""A job that tells that it begins and then waits, in each library; ``BENCH_SYSTEM`` chooses one.

Each is set up as its documentation says for workers that crash, with ten seconds where it takes a
time. Imported, never run as a program: workers know the job by the name of this module.
"""

import asyncio
import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

SYSTEM = os.environ.get("BENCH_SYSTEM", "")
MARKS = Path(os.environ.get("BENCH_MARKS", "marks"))
DSN = os.environ.get("BENCH_DSN", "")
REDIS = os.environ.get("BENCH_REDIS", "")
EXECUTOR = os.environ.get("BENCH_EXECUTOR", "")
TIMEOUT_SECONDS = 10
JOB_SECONDS = 600

_BIN = Path(sys.executable).parent
_HERE = "benchmarks.recovery.tasks"


def mark() -> None:
    """Tell that the job has begun."""
    with MARKS.open("ab", buffering=0) as file:
        file.write(b".")


def job() -> None:
    """Begin, and never come to an end while anybody looks."""
    mark()
    time.sleep(JOB_SECONDS)


app: Any = None
waiting: Any = job
if SYSTEM == "celery":
    from celery import Celery

    app = Celery("bench", broker=REDIS)
    app.conf.update(
        task_ignore_result=True,
        broker_connection_retry_on_startup=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        broker_transport_options={
            "visibility_timeout": TIMEOUT_SECONDS,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
        },
    )
    waiting = app.task(name="job")(job)
elif SYSTEM == "dramatiq":
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    dramatiq.set_broker(
        RedisBroker(
            url=REDIS, heartbeat_timeout=TIMEOUT_SECONDS * 1000, maintenance_chance=1_000_000
        )
    )
    waiting = dramatiq.actor(job)
elif SYSTEM == "huey":
    from huey import SqliteHuey

    app = SqliteHuey("bench", filename=str(MARKS.with_name("huey.sqlite")), results=False)
    waiting = app.task(retries=3)(job)
elif SYSTEM == "rq":
    import redis
    from rq import Queue

    app = Queue("default", connection=redis.Redis.from_url(REDIS))


def command_of(what: str) -> list[str]:
    """The program that puts a job into the queue, or works on it."""
    return [sys.executable, "-c", f"from {_HERE} import {what}; {what}()"]


def worker_command(system: str, redis_url: str) -> list[str]:
    """What a worker is started by: the library's own program, if it has one."""
    commands = {
        "celery": ["celery", "-A", _HERE, "worker", "-c", "1", "-l", "ERROR"],
        "dramatiq": ["dramatiq", _HERE, "-p", "1", "-t", "2"],
        "huey": ["huey_consumer", f"{_HERE}.app", "-w", "2", "-k", "thread", "-q"],
        "rq": [
            *("rq", "worker", "-u", redis_url, "--quiet", "--worker-ttl", "20"),
            *("--maintenance-interval", "1", "--job-monitoring-interval", str(TIMEOUT_SECONDS)),
            "default",
        ],
    }
    if system not in commands:
        return command_of("work")
    program, *arguments = commands[system]
    return [str(_BIN / program), *arguments]


def put() -> None:
    """Put one job into the queue."""
    if SYSTEM == "procrastinate":
        asyncio.run(_put_procrastinate())
    elif SYSTEM == "pgqueuer":
        asyncio.run(_put_pgqueuer())
    elif SYSTEM == "celery":
        waiting.delay()
    elif SYSTEM == "dramatiq":
        waiting.send()
    elif SYSTEM == "huey":
        waiting()
    elif SYSTEM == "rq":
        from rq import Retry

        app.enqueue(job, retry=Retry(max=3), job_timeout=JOB_SECONDS)


def work() -> None:
    """A worker of a library that has no program for it."""
    if SYSTEM == "procrastinate":
        asyncio.run(_work_procrastinate())
    elif SYSTEM == "pgqueuer":
        asyncio.run(_work_pgqueuer())
    elif SYSTEM == "dbos":
        _work_dbos()


def _procrastinate() -> Any:
    """An application whose periodic task looks for jobs of silent workers, as its guide shows."""
    import procrastinate as library

    made = library.App(connector=library.PsycopgConnector(conninfo=DSN))

    @made.task(queue="default", name="job")
    async def waits() -> None:
        mark()
        await asyncio.sleep(JOB_SECONDS)

    @made.periodic(cron="* * * * * *")
    @made.task(queue="default", name="rescue", queueing_lock="rescue")
    async def rescue(timestamp: int) -> None:
        stalled = await made.job_manager.get_stalled_jobs(seconds_since_heartbeat=TIMEOUT_SECONDS)
        for each in stalled:
            if each.task_name == "job":
                await made.job_manager.retry_job(each)

    return made, waits


async def _put_procrastinate() -> None:
    made, waits = _procrastinate()
    async with made.open_async():
        await made.schema_manager.apply_schema_async()
        await waits.defer_async()


async def _work_procrastinate() -> None:
    made, _ = _procrastinate()
    async with made.open_async():
        await made.run_worker_async(
            concurrency=2,
            update_heartbeat_interval=TIMEOUT_SECONDS / 4,
            stalled_worker_timeout=TIMEOUT_SECONDS,
            install_signal_handlers=False,
        )


async def _put_pgqueuer() -> None:
    import asyncpg
    from pgqueuer.db import AsyncpgPoolDriver
    from pgqueuer.queries import Queries

    async with asyncpg.create_pool(DSN, min_size=1, max_size=2) as pool:
        queries = Queries(AsyncpgPoolDriver(pool))
        await queries.install()
        await queries.enqueue(["job"], [b"{}"], [0])


async def _work_pgqueuer() -> None:
    import asyncpg
    from pgqueuer import PgQueuer
    from pgqueuer.db import AsyncpgPoolDriver

    pool = await asyncpg.create_pool(DSN, min_size=2, max_size=4)
    manager = PgQueuer(AsyncpgPoolDriver(pool))

    @manager.entrypoint("job")
    async def waits(_job: Any) -> None:
        mark()
        await asyncio.sleep(JOB_SECONDS)

    await manager.qm.run(
        batch_size=1,
        dequeue_timeout=timedelta(seconds=1),
        heartbeat_timeout=timedelta(seconds=TIMEOUT_SECONDS),
    )


def _work_dbos() -> None:
    """Its first worker makes the tables, so that one puts the job into the queue, too."""
    from dbos import DBOS

    DBOS(
        config={
            "name": "bench",
            "system_database_url": DSN,
            "log_level": "ERROR",
            "executor_id": EXECUTOR,
        }
    )
    workflow = DBOS.workflow(name="job")(job)
    DBOS.launch()
    queue = DBOS.register_queue("default", polling_interval_sec=0.05, on_conflict="always_update")
    if MARKS.stat().st_size == 0:
        queue.enqueue(workflow)
    time.sleep(JOB_SECONDS)
