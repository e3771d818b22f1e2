"""Raw SQL on SQLite, with the manners of the PostgreSQL driver.

SQLite understands ``$1`` itself. What a column holds is told by its declared type, also after
``RETURNING`` and through a view; the value of an expression (``sum(...)``) comes as SQLite has it.
Money is kept in millionths of a dollar: a column of it is read as a Decimal, but what an expression
makes of it is a number of millionths, and a Decimal cannot be passed in, because nothing tells
whether it is meant for money or for a measure. The error says what to pass instead.
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Self, cast
from uuid import UUID

import aiosqlite

from agentvine.config.settings import DatabaseSettings
from agentvine.db.engine import sqlite_path, sqlite_pragmas, to_json
from agentvine.db.errors import DatabaseUnreachable
from agentvine.db.raw.interface import RawConnection, RawDatabase
from agentvine.db.types import MONEY_UNIT, format_utc, parse_utc
from agentvine.kit.clock import SystemClock
from agentvine.kit.errors import Invalid
from agentvine.kit.ids import new_id

_UUID_DIGITS = 32


class SqliteRecord:
    """A row, as the PostgreSQL driver's records behave."""

    __slots__ = ("_positions", "_values")

    def __init__(self, positions: Mapping[str, int], values: Sequence[Any]) -> None:
        """Take the columns' positions by name, shared by all rows of a result, and the values."""
        self._positions = positions
        self._values = tuple(values)

    def __getitem__(self, key: int | str) -> Any:
        """A value by column name or position."""
        return self._values[self._positions[key] if isinstance(key, str) else key]

    def __len__(self) -> int:
        """How many columns."""
        return len(self._values)

    def __iter__(self) -> Any:
        """Over the values."""
        return iter(self._values)

    def __contains__(self, key: object) -> bool:
        """Whether there is such a column."""
        return key in self._positions

    def __eq__(self, other: object) -> bool:
        """Equal columns with equal values."""
        if isinstance(other, SqliteRecord):
            return dict(self.items()) == dict(other.items())
        return NotImplemented

    def __hash__(self) -> int:
        """By value."""
        return hash(self._values)

    def __repr__(self) -> str:
        """Columns and values."""
        pairs = " ".join(f"{name}={value!r}" for name, value in self.items())
        return f"<Record {pairs}>"

    def get(self, key: str, default: Any = None) -> Any:
        """A value by column name, or the default."""
        return self[key] if key in self._positions else default

    def keys(self) -> Iterable[str]:
        """The column names."""
        return self._positions.keys()

    def values(self) -> Iterable[Any]:
        """The values."""
        return iter(self._values)

    def items(self) -> Iterable[tuple[str, Any]]:
        """Column names with their values."""
        return zip(self._positions, self._values, strict=False)


class SqliteRawConnection:
    """One connection: each statement commits by itself, unless in a ``transaction``."""

    def __init__(self, driver: aiosqlite.Connection, command_timeout: float) -> None:
        """Wrap a connection of the driver."""
        self.driver = driver
        self._command_timeout = command_timeout

    async def fetch(self, query: str, *args: object) -> list[SqliteRecord]:
        rows, _ = await self._run(query, args)
        return rows

    async def fetchrow(self, query: str, *args: object) -> SqliteRecord | None:
        rows, _ = await self._run(query, args)
        return rows[0] if rows else None

    async def fetchval(self, query: str, *args: object, column: int = 0) -> Any:
        rows, _ = await self._run(query, args)
        return rows[0][column] if rows else None

    async def execute(self, query: str, *args: object) -> str:
        rows, changed = await self._run(query, args)
        return _status(query, len(rows), changed)

    async def executemany(self, query: str, rows: Iterable[Sequence[object]]) -> None:
        async with self.transaction():
            for row in rows:
                await self._run(query, row)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[None, None]:
        """A block that commits at its end; within another one, a part that can be undone alone."""
        is_inner = self.driver.in_transaction
        begin, commit, undo = _INNER if is_inner else _OUTER
        await self._simple(begin)
        try:
            yield
        except BaseException:
            for statement in undo:
                await self._simple(statement)
            raise
        await self._simple(commit)

    async def _simple(self, statement: str) -> None:
        await (await self.driver.execute(statement)).close()

    async def _run(self, query: str, args: Sequence[object]) -> tuple[list[SqliteRecord], int]:
        given = {str(number): _encode(value) for number, value in enumerate(args, start=1)}
        try:
            async with (
                asyncio.timeout(self._command_timeout),
                self.driver.execute(query, given) as cursor,
            ):
                rows = await cursor.fetchall()
                names = [column[0] for column in cursor.description or ()]
                positions = {name: position for position, name in enumerate(names)}
                return [SqliteRecord(positions, row) for row in rows], cursor.rowcount
        except (TimeoutError, asyncio.CancelledError):
            # The statement goes on in the driver's thread until it is told to stop.
            await self.driver.interrupt()
            raise


class SqliteRawDatabase(RawDatabase):
    """A few connections to one file, opened as they are needed."""

    def __init__(self, settings: DatabaseSettings, max_size: int, command_timeout: float) -> None:
        """Take the file; use ``open``."""
        self._path: Path = sqlite_path(settings)
        self._pragmas = sqlite_pragmas(settings)
        self._wait_seconds = settings.lock_timeout_seconds
        self._command_timeout = command_timeout
        self._slots = asyncio.Semaphore(max_size)
        self._idle: list[SqliteRawConnection] = []
        self._is_closed = False

    @classmethod
    async def open(
        cls, settings: DatabaseSettings, *, max_size: int, command_timeout: float
    ) -> Self:
        """Open an existing file.

        Raises:
            DatabaseUnreachable: There is none.
        """
        database = cls(settings, max_size, command_timeout)
        if not database._path.exists():
            raise DatabaseUnreachable(
                f"There is no database at {database._path}: run `agentvine db setup`."
            )
        await database.fetchval("SELECT 1")
        return database

    async def fetch(self, query: str, *args: object) -> list[SqliteRecord]:
        async with self._connection() as connection:
            return await connection.fetch(query, *args)

    async def fetchrow(self, query: str, *args: object) -> SqliteRecord | None:
        async with self._connection() as connection:
            return await connection.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: object, column: int = 0) -> Any:
        async with self._connection() as connection:
            return await connection.fetchval(query, *args, column=column)

    async def execute(self, query: str, *args: object) -> str:
        async with self._connection() as connection:
            return await connection.execute(query, *args)

    async def executemany(self, query: str, rows: Iterable[Sequence[object]]) -> None:
        async with self._connection() as connection:
            await connection.executemany(query, rows)

    def acquire(self) -> AbstractAsyncContextManager[RawConnection]:
        """One connection for the length of the block."""
        return self._connection()

    async def close(self) -> None:
        """Close every connection that is not in use; the others close when they come back."""
        self._is_closed = True
        while self._idle:
            await self._idle.pop().driver.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[SqliteRawConnection, None]:
        if self._is_closed:
            raise DatabaseUnreachable("The database is closed.")
        async with self._slots:
            connection = self._idle.pop() if self._idle else await self._connect()
            is_usable = True
            try:
                yield connection
            except (TimeoutError, asyncio.CancelledError):
                is_usable = False  # its thread may still be busy with the statement
                raise
            finally:
                if is_usable and not self._is_closed and not connection.driver.in_transaction:
                    self._idle.append(connection)
                else:
                    await connection.driver.rollback()
                    await connection.driver.close()

    async def _connect(self) -> SqliteRawConnection:
        try:
            driver = await aiosqlite.connect(
                self._path,
                isolation_level=None,
                timeout=self._wait_seconds,
                detect_types=sqlite3.PARSE_DECLTYPES,
            )
        except sqlite3.Error as error:
            raise DatabaseUnreachable(f"Cannot open {self._path}: {error}.") from error
        for pragma in self._pragmas:
            await (await driver.execute(pragma)).close()
        clock = SystemClock()
        create = cast("Callable[..., Awaitable[None]]", driver.create_function)
        await create("now", 0, lambda: format_utc(clock.now()))
        await create("gen_random_uuid", 0, lambda: new_id().hex)
        return SqliteRawConnection(driver, self._command_timeout)


_OUTER = ("BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",))
_INNER = (
    "SAVEPOINT agentvine",
    "RELEASE agentvine",
    ("ROLLBACK TO agentvine", "RELEASE agentvine"),
)


def _encode(value: object) -> Any:
    """A Python value as SQLite keeps it."""
    if isinstance(value, Enum):
        value = value.value
    for kinds, encode in _ENCODERS:
        if isinstance(value, kinds):
            return encode(value)
    raise Invalid(f"Raw SQL on SQLite cannot store a {type(value).__name__}.")


def _refuse_decimal(value: Decimal) -> Any:
    raise Invalid(
        f"Raw SQL on SQLite cannot tell what Decimal {value} is meant for: pass money as "
        "int(value * 1_000_000), and a measure as a float."
    )


_Encoder = tuple[type | tuple[type, ...], Callable[[Any], Any]]
_ENCODERS: tuple[_Encoder, ...] = (
    (bool, int),
    ((type(None), int, float, str, bytes), lambda value: value),
    (UUID, lambda value: value.hex),
    (datetime, format_utc),
    (date, lambda value: value.isoformat()),
    ((dict, list, tuple), to_json),
    (Decimal, _refuse_decimal),
)


def _status(query: str, fetched: int, changed: int) -> str:
    words = query.split(None, 2)
    verb = words[0].upper() if words else ""
    if verb in ("INSERT", "REPLACE"):
        return f"INSERT 0 {changed}"
    if verb == "SELECT":
        return f"SELECT {fetched}"
    if changed >= 0:
        return f"{verb} {changed}"
    return " ".join(words[:2]).upper()


def _text(convert: Callable[[str], Any]) -> Callable[[bytes], Any]:
    return lambda raw: convert(raw.decode())


def _uuid_or_text(text: str) -> UUID | str:
    if len(text) == _UUID_DIGITS:
        try:
            return UUID(hex=text)
        except ValueError:
            pass
    return text


# By the first word of a column's declared type; only connections opened here ask for it.
sqlite3.register_converter("JSON", json.loads)
sqlite3.register_converter("CHAR", _text(_uuid_or_text))
sqlite3.register_converter("DATETIME", _text(parse_utc))
sqlite3.register_converter("BOOLEAN", _text(lambda text: text == "1"))
sqlite3.register_converter("NUMERIC", _text(Decimal))
sqlite3.register_converter("DECIMAL", _text(lambda text: Decimal(text) / MONEY_UNIT))
