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
from typing import Any

from agentvine.config.settings import DatabaseSettings
from agentvine.db.engine import sqlite_path, sqlite_pragmas
from agentvine.db.errors import DatabaseBusy
from agentvine.db.types import MONEY_UNIT, format_utc

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

    There, ``columns`` is what its columns hold: see ``_DECODERS``.
    """

    postgres: str
    sqlite: str
    columns: str = ""


class SqliteBlocks:
    """One connection of its own, used in one thread. Writers have taken turns before they come."""

    def __init__(self, settings: DatabaseSettings) -> None:
        """Prepare; nothing is opened yet."""
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="blocks")
        self._driver: sqlite3.Connection | None = None
        self._is_closed = False

    async def run(self, steps: Steps, statements: Mapping[str, Sql]) -> None:
        """Run a block; an error undoes it.

        Raises:
            DatabaseBusy: Another process writes.
        """
        working = asyncio.get_running_loop().run_in_executor(
            self._thread, self._run, steps, statements
        )
        # Whoever gives up waiting leaves it to its end: the next in turn must find it over.
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError:
            await asyncio.wait({working})
            raise

    async def close(self) -> None:
        """Close the connection, in its thread; safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _run(self, steps: Steps, statements: Mapping[str, Sql]) -> None:
        driver = self._driver or self._open()
        try:
            driver.execute("BEGIN IMMEDIATE")
            drive(steps, lambda asked: _ask(driver, statements[asked.name], asked))
            driver.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise DatabaseBusy("Another process writes.", retry_after=1.0) from error
            raise
        finally:
            if driver.in_transaction:
                driver.execute("ROLLBACK")

    def _open(self) -> sqlite3.Connection:
        path = sqlite_path(self._settings)
        self._driver = sqlite3.connect(path, isolation_level=None, cached_statements=64)
        for pragma in sqlite_pragmas(self._settings):
            self._driver.execute(pragma).close()
        return self._driver

    def _close(self) -> None:
        if self._driver is not None:
            self._driver.close()
            self._driver = None


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
        driver.executemany(sql.sqlite, [tuple(map(_encode, row)) for row in asked.rows])
        return []
    found = driver.execute(sql.sqlite, tuple(map(_encode, asked.values)))
    return [list(map(_decode, sql.columns, row)) for row in found]


def _decode(kind: str, value: Any) -> object:
    return None if value is None else _DECODERS[kind](value)


def _encode(value: object) -> object:
    # By the very type: most values are texts and numbers, which stay as they are.
    encoder = _ENCODERS.get(type(value))
    return value if encoder is None else encoder(value)


def _encode_all(values: Sequence[object]) -> str:
    return json.dumps([_encode(each) for each in values])


_ENCODERS: Mapping[type[object], Callable[[Any], object]] = {
    uuid.UUID: lambda value: value.hex,
    Decimal: lambda value: int(value * MONEY_UNIT),
    datetime: format_utc,
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
}
"""An id, an amount of money, a text, a yes or no, a list."""
