"""One migration at a time, over connections set up for migrating."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

from agentvine.config.settings import DatabaseSettings
from agentvine.db import postgres
from agentvine.db.engine import dialect_of, open_engine, postgres_dsn, sqlite_path
from agentvine.db.errors import DatabaseInUse, DatabaseUnreachable
from agentvine.db.filelock import DatabaseFileLock

_WAIT_SECONDS = 30.0
_POLL_SECONDS = 0.1
_ADVISORY_KEY = 0x61_76_6D_69_67  # "avmig"
_LIMITS = {
    # A lock not given within this time holds up everybody queueing behind us: rather give up.
    "lock_timeout_seconds": 3.0,
    "statement_timeout_seconds": 1800.0,
    "idle_in_transaction_timeout_seconds": 1800.0,
}


@asynccontextmanager
async def exclusive(
    settings: DatabaseSettings, held: DatabaseFileLock | None
) -> AsyncGenerator[None, None]:
    """Keep every other migration away, and on SQLite every server too.

    Args:
        settings: The database.
        held: The file lock, where the caller holds it already.

    Raises:
        DatabaseInUse: Somebody else is at it.
    """
    if not dialect_of(settings).serialises_writers:
        async with _advisory_lock(settings):
            yield
    elif held is not None and held.is_held:
        yield
    else:
        with DatabaseFileLock(sqlite_path(settings), "migration"):
            yield


@asynccontextmanager
async def migration_engine(settings: DatabaseSettings) -> AsyncGenerator[AsyncEngine, None]:
    """An engine for one run, closed at its end."""
    engine = open_engine(
        settings.model_copy(
            update={**_LIMITS, "application_name": f"{settings.application_name}-migration"}
        )
    )
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine.sync_engine, "connect")
        def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
            # Has an effect outside a transaction only, so it cannot wait for the migration.
            cursor = connection.cursor()
            cursor.execute("PRAGMA foreign_keys=OFF")
            cursor.close()

    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def _advisory_lock(settings: DatabaseSettings) -> AsyncGenerator[None, None]:
    """A lock of the session, on a connection that does nothing else."""
    try:
        connection = await postgres.connect(postgres_dsn(settings))
    except postgres.CONNECT_ERRORS as error:
        raise DatabaseUnreachable(f"PostgreSQL does not answer: {error}.") from error
    try:
        await _wait_for_lock(connection)
        yield
    finally:
        await connection.close()


async def _wait_for_lock(connection: postgres.PostgresConnection) -> None:
    try:
        async with asyncio.timeout(_WAIT_SECONDS):
            # Polled: to wait in the server would run into its time limits for statements.
            while not await connection.fetchval(  # noqa: ASYNC110  # see above
                "SELECT pg_try_advisory_lock($1)", _ADVISORY_KEY
            ):
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise DatabaseInUse(
            "Another migration of this database has been running for "
            f"{_WAIT_SECONDS:.0f} s; try again when it has ended."
        ) from None
