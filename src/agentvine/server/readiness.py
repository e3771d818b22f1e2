"""Whether the server can serve: its database has the schema, and takes what is written."""

import asyncio
import os
from dataclasses import dataclass, field

from agentvine.db.base import table_of
from agentvine.db.errors import DatabaseBusy
from agentvine.db.migrations.runner import MigrationRunner
from agentvine.db.session import Database
from agentvine.domains.identity.models import ServerState
from agentvine.kit.errors import AppError, Unavailable
from agentvine.server.migrations import migration_runner

_KEY = "readiness"
_LASTS_SECONDS = 5.0
"""However often it is asked, it writes no more often than this."""
_PATIENCE_SECONDS = 2.0
_ROOM_BYTES = 16_384


class NotReady(Unavailable):
    """The server cannot serve yet."""

    code = "not_ready"


@dataclass(slots=True)
class Readiness:
    """Looks at the database as a request would use it."""

    database: Database
    _schema: MigrationRunner = field(init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _tried_at: float | None = None
    _problem: AppError | None = None

    def __post_init__(self) -> None:
        # Reads all migrations: once.
        self._schema = migration_runner(self.database.settings)

    async def check(self) -> None:
        """Return when the server can serve.

        Raises:
            NotReady: The database does not answer, lacks the schema, is full or takes no writes.
        """
        try:
            await self._schema.require_ready()
            await self._check_writes()
        except AppError as error:
            raise NotReady(error.detail, retry_after=5, reason=error.code) from error

    async def _check_writes(self) -> None:
        async with self._turn:
            now = self.database.clock.monotonic()
            if self._tried_at is None or now - self._tried_at >= _LASTS_SECONDS:
                await self._try_to_write()
                self._tried_at = now
        if self._problem is not None:
            raise self._problem

    async def _try_to_write(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._write()
        except (TimeoutError, DatabaseBusy):
            return  # others are writing, which says nothing new
        except AppError as error:
            self._problem = error
        else:
            self._problem = None

    async def _write(self) -> None:
        """Take some room and give it back: changing a row in its place would fit into a full file.

        It is committed, since a disk that is full is noticed by then at the latest.
        """
        async with self.database.transaction() as tx:
            # What could be made smaller would need hardly any room in PostgreSQL.
            for value in (os.urandom(_ROOM_BYTES).hex(), ""):
                row = {"key": _KEY, "value": value, "updated_at": tx.now}
                table = table_of(ServerState)
                await tx.execute(
                    tx.dialect.upsert(table, row, keys=["key"], update=["value", "updated_at"])
                )
