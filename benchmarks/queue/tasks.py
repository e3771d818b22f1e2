"""The no-op job of the systems whose workers import it, chosen by ``BENCH_SYSTEM``."""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.queue.others import MARKS, REDIS, mark

SYSTEM = os.environ.get("BENCH_SYSTEM", "")
_BIN = Path(sys.executable).parent
_HERE = "benchmarks.queue.tasks"

app: Any = None
noop: Any = mark
if SYSTEM == "celery":
    from celery import Celery

    app = Celery("bench", broker=REDIS)
    app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)
    noop = app.task(name="noop")(mark)
elif SYSTEM == "dramatiq":
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    dramatiq.set_broker(RedisBroker(url=REDIS))
    noop = dramatiq.actor(mark, max_retries=0)
elif SYSTEM == "huey":
    from huey import SqliteHuey

    app = SqliteHuey("bench", filename=str(MARKS.with_name("huey.sqlite")), results=False)
    noop = app.task()(mark)
elif SYSTEM == "rq":
    import redis
    from rq import Queue

    app = Queue("default", connection=redis.Redis.from_url(REDIS))


def sender(system: str) -> Callable[[], object]:
    """What puts one job into the queue."""
    if system == "celery":
        return noop.delay
    if system == "dramatiq":
        return noop.send
    return partial(app.enqueue, mark, result_ttl=0) if system == "rq" else noop


def worker_command(system: str) -> list[str]:
    """The library's own worker, for two cores."""
    quiet = ("--without-gossip", "--without-mingle")
    commands = {
        "celery": ["celery", "-A", _HERE, "worker", "-c", "2", "-l", "ERROR", *quiet],
        "dramatiq": ["dramatiq", _HERE, "-p", "2", "-t", "8"],
        "huey": ["huey_consumer", f"{_HERE}.app", "-w", "4", "-k", "thread", "-q", "-d", "0.01"],
        "rq": ["rq", "worker", "-u", REDIS, "--quiet", "-w", "rq.worker.SimpleWorker", "default"],
    }
    program, *arguments = commands[system]
    return [str(_BIN / program), *arguments]
