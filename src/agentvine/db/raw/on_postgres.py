"""Raw SQL on PostgreSQL: the driver's own pool, with documents as Python values."""

import json
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Self

from agentvine.db import postgres
from agentvine.db.engine import to_json
from agentvine.db.errors import DatabaseUnreachable
from agentvine.db.raw.interface import RawConnection, RawDatabase, Record


class PostgresRawDatabase(RawDatabase):
    """A pool that hands every query to a free connection."""

    def __init__(self, pool: Any) -> None:
        """Wrap a pool; use ``open``."""
        self._pool = pool

    @classmethod
    async def open(
        cls, dsn: str, *, min_size: int, max_size: int, command_timeout: float, name: str
    ) -> Self:
        """Connect ``min_size`` times at once.

        Raises:
            DatabaseUnreachable: The server does not let us in.
        """
        try:
            pool = await postgres.create_pool(
                dsn,
                min_size=min_size,
                max_size=max_size,
                command_timeout=command_timeout,
                server_settings={"application_name": name},
                init=_prepare,
            )
        except postgres.CONNECT_ERRORS as error:
            raise DatabaseUnreachable(f"PostgreSQL does not answer: {error}.") from error
        return cls(pool)

    async def fetch(self, query: str, *args: object) -> Sequence[Record]:
        return await self._pool.fetch(query, *args)

    async def fetchrow(self, query: str, *args: object) -> Record | None:
        return await self._pool.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: object, column: int = 0) -> Any:
        return await self._pool.fetchval(query, *args, column=column)

    async def execute(self, query: str, *args: object) -> str:
        return await self._pool.execute(query, *args)

    async def executemany(self, query: str, rows: Iterable[Sequence[object]]) -> None:
        await self._pool.executemany(query, rows)

    def acquire(self) -> AbstractAsyncContextManager[RawConnection]:
        """One of the driver's connections for the length of the block."""
        return self._pool.acquire()

    async def close(self) -> None:
        """Wait for running queries, and close every connection."""
        await self._pool.close()


async def _prepare(connection: postgres.PostgresConnection) -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name, schema="pg_catalog", format="text", encoder=_encode, decoder=json.loads
        )


def _encode(value: object) -> str:
    """A Python value as JSON; a string that is a JSON object or list already stays as it is.

    Scripts pass both ``{"a": 1}`` and ``'{"a": 1}'`` and mean the same.
    """
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            json.loads(value)
        except ValueError:
            pass
        else:
            return value
    return to_json(value)
