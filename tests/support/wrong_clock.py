"""``agentvine`` on a machine whose wall clock is wrong.

``python -m tests.support.wrong_clock SECONDS server|worker ...``
"""

import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from agentvine.__main__ import PARTS
from agentvine.cli.failures import run
from agentvine.config.settings import load_settings
from agentvine.kit.clock import Clock
from agentvine.server.loop import run_server
from agentvine.server.run import serve
from agentvine.worker import WorkerConfig
from agentvine.worker.daemon import run_worker


class WrongClock:
    """The machine's clocks, its wall clock so many seconds off."""

    def __init__(self, by_seconds: float) -> None:
        """Keep by how much."""
        self._by = timedelta(seconds=by_seconds)

    def now(self) -> datetime:
        """What the wall clock shows."""
        return datetime.now(UTC) + self._by

    def monotonic(self) -> float:
        """Never wrong."""
        return time.monotonic()


def clock() -> Clock:
    """The clock of this process."""
    return WrongClock(float(sys.argv[1]))


async def worker(config: WorkerConfig) -> int:
    """Be a worker by this clock."""
    return await run_worker(config, clock=clock())


def server(*, host: str, port: int, migrate: bool, parent: int | None) -> None:
    """Be a server by this clock."""
    run_server(serve(load_settings(), host=host, port=port, migrate=migrate, clock=clock()))


if __name__ == "__main__":
    parts = replace(
        PARTS, run_worker=f"{__spec__.name}:worker", serve_alone=f"{__spec__.name}:server"
    )
    sys.exit(run(sys.argv[2:], parts))
