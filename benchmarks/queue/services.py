"""The servers that the benchmark starts for itself, on loopback, and stops at its end.

PostgreSQL keeps what it has acknowledged (fsync and synchronous_commit are on) and lies on the
disk, not in memory: the queue's promise is part of its cost. Valkey runs without persistence, as
most people run the broker of a task queue; that flatters whoever uses it.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.http import free_port
from tests.support.postgres import PostgresServer, find_programs, start_programs
from tests.support.valkey import Valkey


@dataclass(frozen=True, slots=True)
class Services:
    """What the systems under test may use."""

    postgres: PostgresServer
    port: int
    redis_url: str
    folder: Path

    def dsn(self, database: str) -> str:
        """For plain drivers."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def url(self, database: str) -> str:
        """For our own settings."""
        return self.dsn(database).replace("postgresql://", "postgresql+asyncpg://")


@contextlib.contextmanager
def running_services() -> Iterator[Services]:
    """Both servers, for the length of the block."""
    port = free_port()
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "wal_level": "replica",
        "max_wal_size": "4GB",
        "shared_buffers": "512MB",
        "autovacuum": "on",
        "timezone": "UTC",
    }
    with tempfile.TemporaryDirectory(prefix="agentvine-bench-") as name:
        folder = Path(name)
        postgres = start_programs(find_programs(), options, on_disk=True)
        valkey = Valkey(folder)
        try:
            valkey.start()
            yield Services(postgres, port, valkey.url, folder)
        finally:
            valkey.kill()
            postgres.stop()
