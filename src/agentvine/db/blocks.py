"""Blocks of plain statements in one transaction, straight through the driver.

For the few paths where a session costs more than its statements. A block is a generator: it yields
what it asks, is given the rows, and is committed when it ends. It only reads, decides and writes;
on SQLite it runs in a thread of its own, with one hop for all of it.
"""

import asyncio
import json
import sqlite3
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError

from agentvine.config.settings import DatabaseSettings
from agentvine.db.dialect import SQLITE
from agentvine.db.engine import connect_sqlite
from agentvine.db.types import MONEY_UNIT, format_utc, parse_utc

T = TypeVar("T")
Row = Sequence[object]


@dataclass(frozen=True, slots=True)
class Statement:
    """One question to the database: by name, with its values; ``rows`` are written one by one."""

    name: str
    values: tuple[object, ...] = ()
    rows: Sequence[tuple[object, ...]] = ()


Steps = Generator[Statement, list[Row], None]


@dataclass(frozen=True, slots=True)
class Sql:
    """A statement in both languages; SQLite's is empty where it has nothing to do.

    There, ``columns`` is what its columns hold: see ``_DECODERS``. Without it, rows are given as
    they are stored.
    """

    postgres: str
    sqlite: str
    columns: str = ""


class StatementRefused(Exception):
    """The database will not run the statement with these values; nothing was changed."""


class SqliteBlocks:
    """A connection that writes and one that reads, each used in a thread of its own.

    Writers have taken turns before they come.
    """

    def __init__(self, settings: DatabaseSettings) -> None:
        """Prepare; nothing is opened yet."""
        self._writer = _Lane(settings, "blocks", is_writing=True)
        self._reader = _Lane(settings, "looks", is_writing=False)

    async def run(self, steps: Steps, statements: Mapping[str, Sql]) -> None:
        """Run a block; an error undoes it.

        Raises:
            DatabaseBusy: Another process writes.
            DatabaseFull: The disk is full.
            DatabaseReadOnly: The file cannot be written.
            DatabaseUnreachable: The file cannot be opened, or its disk fails.
            StatementRefused: It does not like the values.
        """
        working = self._writer.do(lambda driver: _run(driver, steps, statements))
        # Whoever gives up waiting leaves it to its end: the next in turn must find it over.
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError:
            await asyncio.wait({working})
            raise

    async def look(self, sql: Sql, *values: object) -> list[Row]:
        """What one statement finds in what is committed; it waits for no writer.

        Raises:
            DatabaseUnreachable: The file cannot be opened, or its disk fails.
            StatementRefused: It does not like the values.
        """
        return await self._reader.do(lambda driver: _ask(driver, sql, Statement("", values)))

    async def close(self) -> None:
        """Close both connections, in their threads; safe to call twice."""
        await self._writer.close()
        await self._reader.close()


class _Lane:
    """One connection in one thread."""

    def __init__(self, settings: DatabaseSettings, name: str, *, is_writing: bool) -> None:
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._is_writing = is_writing
        self._driver: sqlite3.Connection | None = None
        self._is_closed = False

    def do(self, work: Callable[[sqlite3.Connection], T]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._driver or self._open())
        except (sqlite3.DataError, sqlite3.IntegrityError, OverflowError, UnicodeError) as error:
            raise StatementRefused(str(error)) from error
        except (sqlite3.Error, DBAPIError) as error:
            driver_error = error.orig if isinstance(error, DBAPIError) else error
            trouble = SQLITE.trouble_of(driver_error, is_writing=self._is_writing)
            if trouble is None:
                raise
            raise trouble from error

    def _open(self) -> sqlite3.Connection:
        driver = connect_sqlite(self._settings)
        if not self._is_writing:
            driver.execute("PRAGMA query_only=ON").close()
        self._driver = driver
        return driver

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        if self._driver is not None:
            self._driver.close()
            self._driver = None


def _run(driver: sqlite3.Connection, steps: Steps, statements: Mapping[str, Sql]) -> None:
    try:
        driver.execute("BEGIN IMMEDIATE")
        drive(steps, lambda asked: _ask(driver, statements[asked.name], asked))
        driver.execute("COMMIT")
    finally:
        if driver.in_transaction:
            driver.execute("ROLLBACK")


def drive(steps: Steps, ask: Callable[[Statement], list[Row]]) -> None:
    """Answer a block's questions until it ends."""
    try:
        asked = next(steps)
        while True:
            asked = steps.send(ask(asked))
    except StopIteration:
        return


def _ask(driver: sqlite3.Connection, sql: Sql, asked: Statement) -> list[Row]:
    if not sql.sqlite:
        return []
    if asked.rows:
        driver.executemany(sql.sqlite, [tuple(map(encode, row)) for row in asked.rows])
        return []
    found = driver.execute(sql.sqlite, tuple(map(encode, asked.values)))
    if not sql.columns:
        return found.fetchall()
    return [list(map(_decode, sql.columns, row)) for row in found]


def _decode(kind: str, value: Any) -> object:
    return None if value is None else _DECODERS[kind](value)


def encode(value: object) -> object:
    """A value as SQLite stores it."""
    # By the very type: most values are texts and numbers, which stay as they are.
    encoder = _ENCODERS.get(type(value))
    return value if encoder is None else encoder(value)


def _encode_all(values: Sequence[object]) -> str:
    return json.dumps([encode(each) for each in values])


_ENCODERS: Mapping[type[object], Callable[[Any], object]] = {
    uuid.UUID: lambda value: value.hex,
    Decimal: lambda value: int(value * MONEY_UNIT),
    datetime: lru_cache(maxsize=64)(format_utc),  # the rows of a block have one time, mostly
    date: date.isoformat,
    list: _encode_all,
    tuple: _encode_all,
}


def _id(value: str) -> uuid.UUID:
    return uuid.UUID(hex=value)


def _money(value: int) -> Decimal:
    return Decimal(value).scaleb(-6)


_DECODERS: Mapping[str, Callable[[Any], object]] = {
    "i": _id,
    "m": _money,
    "t": str,
    "b": bool,
    "l": json.loads,
    "d": parse_utc,
}
"""An id, an amount of money, a text, a yes or no, a list, an instant."""
