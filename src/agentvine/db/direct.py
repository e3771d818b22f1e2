"""Single statements straight through the driver: one round trip, and each its own transaction.

A session costs more time than the statements of the hot path themselves. What is run here is one
statement that is complete in itself; everything else goes through ``Database.transaction``.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import ClauseElement
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import asyncpg

from agentvine.config.settings import DatabaseSettings
from agentvine.db import postgres
from agentvine.db.blocks import Sql, StatementRefused, Steps
from agentvine.db.dialect import POSTGRES
from agentvine.db.engine import postgres_dsn, postgres_limits
from agentvine.db.errors import DatabaseBusy, DatabaseUnreachable
from agentvine.db.postgres import PostgresConnection
from agentvine.kit.guards import assert_no_transaction

Row = Mapping[str, Any]

# Planning one of these statements takes longer than running it, and no value makes another plan
# the better one. What is planned while a table is empty must still do when it has filled: whole
# tables are not scanned, and reading pages does not drown what indexes differ in.
_PLANS = {
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "enable_seqscan": "off",
    "random_page_cost": "1.1",
}


def driver_sql(query: ClauseElement) -> str:
    """A query as the driver takes it; its parameters are numbered as they come in it."""
    return str(query.compile(dialect=asyncpg.dialect()))


def looking(query: ClauseElement, columns: str) -> Sql:
    """A query as either driver takes it, for ``Database.look``; documents come as text."""
    return Sql(driver_sql(query), str(query.compile(dialect=sqlite.dialect())), columns)


class Direct:
    """A few connections of the driver's own; opened as they are needed, the last used first."""

    def __init__(self, settings: DatabaseSettings) -> None:
        """Prepare; nothing is opened yet."""
        self._settings = settings
        self._idle: list[PostgresConnection] = []
        self._places = asyncio.Semaphore(settings.direct_connections)
        self._is_closed = False

    async def fetch(self, statement: str, *values: object) -> Sequence[Row]:
        """Run one statement, committed when it returns; its rows, of which JSON is text.

        Raises:
            DatabaseBusy: No connection came free in time, or the database gave up waiting.
            DatabaseFull: The database's disk is full.
            DatabaseReadOnly: It takes no writes.
            DatabaseUnreachable: It does not answer. Whether the statement was run is not known.
            StatementRefused: It does not like the values.
        """
        assert_no_transaction("run a statement of its own")
        async with self._connection() as connection:
            try:
                return await connection.fetch(statement, *values)
            except postgres.CONNECT_ERRORS as error:
                trouble = POSTGRES.trouble_of(error, is_writing=True)
                if trouble is None and connection.is_closed():
                    trouble = DatabaseUnreachable(
                        f"The connection to the database broke: {error}.", retry_after=2.0
                    )
                raise trouble or StatementRefused(str(error)) from error

    async def run(self, steps: Steps, statements: Mapping[str, Sql]) -> None:
        """Run a block of statements in one transaction; an error undoes it.

        Raises:
            DatabaseBusy: No connection came free in time, or the database gave up waiting.
            DatabaseUnreachable: It does not answer. Whether the block was committed is not known.
            StatementRefused: It does not like the values.
        """
        assert_no_transaction("run a block of its own")
        async with self._connection() as connection:
            try:
                await _run(connection, steps, statements)
            except postgres.CONNECT_ERRORS as error:
                trouble = POSTGRES.trouble_of(error, is_writing=True)
                if trouble is None and connection.is_closed():
                    trouble = DatabaseUnreachable(
                        f"The connection to the database broke: {error}.", retry_after=2.0
                    )
                raise trouble or StatementRefused(str(error)) from error

    async def look(self, sql: Sql, *values: object) -> list[Sequence[object]]:
        """What one statement finds.

        Raises:
            DatabaseBusy: No connection came free in time.
            DatabaseUnreachable: It does not answer.
            StatementRefused: It does not like the values.
        """
        return [tuple(row.values()) for row in await self.fetch(sql.postgres, *values)]

    async def close(self) -> None:
        """Close every idle connection; those in use follow when they are given back."""
        self._is_closed = True
        while self._idle:
            await self._idle.pop().close()

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[PostgresConnection, None]:
        await self._take_place()
        try:
            connection = await self._open_or_take()
            try:
                yield connection
            except asyncio.CancelledError:
                connection.terminate()  # its statement may be running still
                raise
            finally:
                if self._is_closed:
                    connection.terminate()
                elif not connection.is_closed():
                    self._idle.append(connection)
        finally:
            self._places.release()

    async def _take_place(self) -> None:
        if not self._places.locked():
            await self._places.acquire()  # there is one, so no time is kept
            return
        try:
            async with asyncio.timeout(self._settings.pool_timeout_seconds):
                await self._places.acquire()
        except TimeoutError:
            raise DatabaseBusy("All database connections are in use.", retry_after=1.0) from None

    async def _open_or_take(self) -> PostgresConnection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        try:
            limits = postgres_limits(self._settings)
            return await postgres.connect(
                postgres_dsn(self._settings), server_settings=limits | _PLANS
            )
        except postgres.CONNECT_ERRORS as error:
            raise DatabaseUnreachable(
                f"The database does not answer: {error}.", retry_after=2.0
            ) from error


async def _run(connection: PostgresConnection, steps: Steps, statements: Mapping[str, Sql]) -> None:
    is_over = False
    await connection.execute(statements["begin"].postgres)
    try:
        try:
            asked = next(steps)
            while True:
                sql = statements[asked.name].postgres
                if asked.rows:
                    await connection.executemany(sql, asked.rows)
                    rows: list[Any] = []
                else:
                    found = await connection.fetch(sql, *asked.values)
                    rows = [tuple(row.values()) for row in found]
                asked = steps.send(rows)
        except StopIteration:
            await connection.execute("COMMIT")
            is_over = True
    finally:
        if not is_over and not connection.is_closed():
            await connection.execute("ROLLBACK")
