"""Databases that take no writes for a while, refused by SQLite and PostgreSQL themselves."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import event, text

from agentvine.db.errors import DatabaseFull
from agentvine.db.session import Database

_FULL = "max_page_count = 1"
_ROOMY = "max_page_count = 1000000"


class Obedient:
    """Every connection to a SQLite file, told the same before each use."""

    def __init__(self, database: Database) -> None:
        self.pragma = ""
        event.listen(database.engine.sync_engine, "checkout", self._tell)

    def _tell(self, connection: Any, record: Any, proxy: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA {self.pragma}")
        cursor.close()


@asynccontextmanager
async def full(database: Database) -> AsyncGenerator[Callable[[], None]]:
    """A SQLite file that may not grow, its free pages taken; hands out what makes room again."""
    told = Obedient(database)
    told.pragma = _FULL  # of a file that is larger already: not a page more
    for size in (100_000, 10_000, 3_000):
        await _fill(database, size)

    def make_room() -> None:
        told.pragma = _ROOMY

    yield make_room
    make_room()


@asynccontextmanager
async def read_only(database: Database) -> AsyncGenerator[None]:
    """A database that refuses writes until the block ends."""
    if database.dialect.name == "sqlite":
        told = Obedient(database)
        told.pragma = "query_only = ON"
        yield
        told.pragma = "query_only = OFF"
        return
    await _set_read_only(database, "on")
    yield
    await _set_read_only(database, "off")


async def _set_read_only(database: Database, value: str) -> None:
    """PostgreSQL's own default of this database; it holds for connections made from now on."""
    async with database.transaction() as tx:
        await tx.execute(text("SET TRANSACTION READ WRITE"))
        name = await tx.scalar(text("SELECT current_database()"))
        statement = f'ALTER DATABASE "{name}" SET default_transaction_read_only = {value}'
        await tx.execute(text(statement))
    await database.engine.dispose()


async def _fill(database: Database, size: int) -> None:
    statement = text("INSERT INTO server_state (key, value) VALUES (hex(randomblob(16)), :value)")
    while True:
        try:
            async with database.transaction() as tx:
                await tx.execute(statement, {"value": f'"{"x" * size}"'})
        except DatabaseFull:
            return
