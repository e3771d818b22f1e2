"""Everything that differs between SQLite and PostgreSQL, behind one object.

Other code asks ``session.dialect`` for an operation and never for a name. Statements that
SQLAlchemy compiles correctly for both databases do not belong here.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Float,
    Select,
    String,
    Table,
    Text,
    cast,
    exists,
    func,
    literal,
    literal_column,
    select,
    text,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
from sqlalchemy.dialects.sqlite import Insert as SqliteInsert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from agentvine.db.errors import DatabaseBusy, DatabaseFull, DatabaseReadOnly, DatabaseUnreachable
from agentvine.db.fulltext import FullText, PostgresFullText, SqliteFullText
from agentvine.db.postgres import sqlstate_of
from agentvine.db.types import SQLITE_NOW, SQLITE_NOW_FORMAT, Json, UtcDateTime
from agentvine.kit.errors import Unavailable

_INSTANT = UtcDateTime()
_BROKE = "The connection to PostgreSQL broke."
_SHARE_LOCK = text("SELECT pg_advisory_xact_lock_shared(hashtextextended(:name, 0))")
_CLOSE_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
ViolationKind = Literal["unique", "foreign_key", "not_null", "check", "other"]
Upsert = SqliteInsert | PostgresInsert


@dataclass(frozen=True, slots=True)
class Violation:
    """Which rule of the schema a statement broke.

    ``subject`` holds the constraint's name where the database tells it, and the columns as
    ``table.column`` where it tells those; ask with ``names``.
    """

    kind: ViolationKind
    subject: str

    def names(self, *parts: str) -> bool:
        """Whether the message names any of these constraints or columns."""
        return any(part in self.subject for part in parts)


class Dialect(ABC):
    """What the code may ask of a database."""

    name: ClassVar[str]
    serialises_writers: ClassVar[bool]
    """One writer at a time in the whole database; writers queue up before they connect."""
    supports_skip_locked: ClassVar[bool]
    supports_direct: ClassVar[bool]
    """One statement may change several tables, so that ``Database.direct`` is of use."""
    supports_notify: ClassVar[bool]
    full_text: ClassVar[FullText]

    @abstractmethod
    def now_sql(self) -> ColumnElement[datetime]:
        """The database's clock, at the start of the statement."""

    @abstractmethod
    def shifted(
        self, moment: ColumnElement[datetime], seconds: float | ColumnElement[Any]
    ) -> ColumnElement[datetime]:
        """An instant, so many seconds later (earlier, where negative)."""

    def seconds_from_now(self, seconds: float | ColumnElement[Any]) -> ColumnElement[datetime]:
        """The database's clock, so many seconds ahead."""
        return self.shifted(self.now_sql(), seconds)

    @abstractmethod
    def seconds_between(
        self, earlier: ColumnElement[datetime], later: ColumnElement[datetime]
    ) -> ColumnElement[float]:
        """How many seconds lie between two instants."""

    def for_update_skip_locked(self, statement: Select[Any]) -> Select[Any]:
        """Lock the chosen rows and pass over those another transaction holds."""
        return statement.with_for_update(skip_locked=True)

    @abstractmethod
    def upsert(
        self,
        table: Table,
        values: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        keys: Sequence[str],
        update: Sequence[str] = (),
    ) -> Upsert:
        """Insert rows; where the key exists already, change the columns named in ``update``.

        With no ``update`` the existing row stays as it is. ``returning`` may be added.
        """

    @abstractmethod
    def list_contains(self, column: ColumnElement[Any], value: str) -> ColumnElement[bool]:
        """Whether a StrList column holds the value."""

    @abstractmethod
    def list_within(
        self, column: ColumnElement[Any], allowed: Sequence[str]
    ) -> ColumnElement[bool]:
        """Whether every item of a StrList column is among the allowed ones."""

    @abstractmethod
    def list_overlaps(
        self, column: ColumnElement[Any], values: Sequence[str]
    ) -> ColumnElement[bool]:
        """Whether a StrList column and the values share an item."""

    @abstractmethod
    def json_contains(
        self, column: ColumnElement[Any], wanted: Mapping[str, Any]
    ) -> ColumnElement[bool]:
        """Whether a Json column holds the document: its keys, at their places, with their values.

        A list holds another one when it holds each of its items somewhere.
        """

    @abstractmethod
    def greatest(self, *values: ColumnElement[Any]) -> ColumnElement[Any]:
        """The greatest of several values in one row."""

    @abstractmethod
    def least(self, *values: ColumnElement[Any]) -> ColumnElement[Any]:
        """The least of several values in one row."""

    @abstractmethod
    async def try_lock(self, session: AsyncSession, name: str) -> bool:
        """Take a named lock until the transaction ends; False where another one holds it."""

    @abstractmethod
    async def share_lock(self, session: AsyncSession, name: str) -> None:
        """Hold a named lock with others until the transaction ends; wait for who holds it alone."""

    @abstractmethod
    async def close_lock(self, session: AsyncSession, name: str) -> None:
        """Hold a named lock alone, until the transaction ends; wait for all who hold it."""

    @abstractmethod
    def violation(self, error: DBAPIError) -> Violation:
        """Which constraint an IntegrityError is about."""

    @abstractmethod
    def trouble(self, error: DBAPIError, *, is_writing: bool = False) -> Unavailable | None:
        """Our own error for a database that is busy, full or gone; None for any other.

        For who is writing also that it takes no writes; for who should only read, a write is a bug.
        """


class SqliteDialect(Dialect):
    """One file, one writer."""

    name = "sqlite"
    serialises_writers = True
    supports_skip_locked = False
    supports_direct = False
    supports_notify = False
    full_text = SqliteFullText()

    def now_sql(self) -> ColumnElement[datetime]:
        return literal_column(SQLITE_NOW, _INSTANT)

    def shifted(
        self, moment: ColumnElement[datetime], seconds: float | ColumnElement[Any]
    ) -> ColumnElement[datetime]:
        if isinstance(seconds, ColumnElement):
            modifier: Any = cast(seconds, String) + " seconds"
        else:
            modifier = f"{seconds:+.3f} seconds"
        return func.strftime(SQLITE_NOW_FORMAT, moment, modifier, type_=_INSTANT)

    def seconds_between(
        self, earlier: ColumnElement[datetime], later: ColumnElement[datetime]
    ) -> ColumnElement[float]:
        return (func.julianday(later) - func.julianday(earlier)) * 86400.0

    def upsert(
        self,
        table: Table,
        values: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        keys: Sequence[str],
        update: Sequence[str] = (),
    ) -> Upsert:
        statement = SqliteInsert(table).values(values)
        if not update:
            return statement.on_conflict_do_nothing(index_elements=list(keys))
        changed = {name: statement.excluded[name] for name in update}
        return statement.on_conflict_do_update(index_elements=list(keys), set_=changed)

    def list_contains(self, column: ColumnElement[Any], value: str) -> ColumnElement[bool]:
        items = func.json_each(column).table_valued("value")
        return exists(select(literal(1)).select_from(items).where(items.c.value == value))

    def list_within(
        self, column: ColumnElement[Any], allowed: Sequence[str]
    ) -> ColumnElement[bool]:
        items = func.json_each(column).table_valued("value")
        outside = select(literal(1)).select_from(items).where(items.c.value.not_in(list(allowed)))
        return ~exists(outside)

    def list_overlaps(
        self, column: ColumnElement[Any], values: Sequence[str]
    ) -> ColumnElement[bool]:
        items = func.json_each(column).table_valued("value")
        return exists(select(literal(1)).select_from(items).where(items.c.value.in_(list(values))))

    def json_contains(
        self, column: ColumnElement[Any], wanted: Mapping[str, Any]
    ) -> ColumnElement[bool]:
        return func.agentvine_json_contains(column, type_coerce(wanted, Json()), type_=Boolean())

    def greatest(self, *values: ColumnElement[Any]) -> ColumnElement[Any]:
        return func.max(*values, type_=values[0].type)

    def least(self, *values: ColumnElement[Any]) -> ColumnElement[Any]:
        return func.min(*values, type_=values[0].type)

    async def try_lock(self, session: AsyncSession, name: str) -> bool:
        # A write transaction is alone in the database already.
        return True

    async def share_lock(self, session: AsyncSession, name: str) -> None:
        return None

    async def close_lock(self, session: AsyncSession, name: str) -> None:
        return None

    def violation(self, error: DBAPIError) -> Violation:
        message = str(error.orig)
        kinds: dict[str, ViolationKind] = {
            "UNIQUE constraint failed": "unique",
            "PRIMARY KEY constraint failed": "unique",
            "FOREIGN KEY constraint failed": "foreign_key",
            "NOT NULL constraint failed": "not_null",
            "CHECK constraint failed": "check",
        }
        for prefix, kind in kinds.items():
            if message.startswith(prefix):
                return Violation(kind, message.removeprefix(prefix).strip(": "))
        return Violation("other", message)

    def trouble(self, error: DBAPIError, *, is_writing: bool = False) -> Unavailable | None:
        return self.trouble_of(error.orig, is_writing=is_writing)

    def trouble_of(
        self, error: BaseException | None, *, is_writing: bool = False
    ) -> Unavailable | None:
        """The same for an error of the driver's own."""
        message = str(error)
        if is_writing and "readonly database" in message:
            return DatabaseReadOnly(
                "The database file cannot be written: look at its owner, its permissions and its "
                "file system.",
                retry_after=30.0,
            )
        if "is locked" in message:
            return DatabaseBusy("Another process is writing to the database.", retry_after=1.0)
        if "disk is full" in message:
            return DatabaseFull("The disk that holds the database is full.", retry_after=30.0)
        if "unable to open database file" in message or "disk I/O error" in message:
            return DatabaseUnreachable(f"The database file: {message}.", retry_after=5.0)
        return None


class PostgresDialect(Dialect):
    """A server with row locks, arrays and notifications."""

    name = "postgresql"
    serialises_writers = False
    supports_skip_locked = True
    supports_direct = True
    supports_notify = True
    full_text = PostgresFullText()

    def now_sql(self) -> ColumnElement[datetime]:
        # Stable within a statement, so that an index can be used; moves within a transaction.
        return func.statement_timestamp(type_=_INSTANT)

    def shifted(
        self, moment: ColumnElement[datetime], seconds: float | ColumnElement[Any]
    ) -> ColumnElement[datetime]:
        span = func.make_interval(0, 0, 0, 0, 0, 0, seconds)
        return type_coerce(moment + span, _INSTANT)

    def seconds_between(
        self, earlier: ColumnElement[datetime], later: ColumnElement[datetime]
    ) -> ColumnElement[float]:
        return cast(func.extract("epoch", later - earlier), Float())

    def upsert(
        self,
        table: Table,
        values: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        keys: Sequence[str],
        update: Sequence[str] = (),
    ) -> Upsert:
        statement = PostgresInsert(table).values(values)
        if not update:
            return statement.on_conflict_do_nothing(index_elements=list(keys))
        changed = {name: statement.excluded[name] for name in update}
        return statement.on_conflict_do_update(index_elements=list(keys), set_=changed)

    def list_contains(self, column: ColumnElement[Any], value: str) -> ColumnElement[bool]:
        return self._array(column).contains([value])

    def list_within(
        self, column: ColumnElement[Any], allowed: Sequence[str]
    ) -> ColumnElement[bool]:
        return self._array(column).contained_by(list(allowed))

    def list_overlaps(
        self, column: ColumnElement[Any], values: Sequence[str]
    ) -> ColumnElement[bool]:
        return self._array(column).overlap(list(values))

    @staticmethod
    def _array(column: ColumnElement[Any]) -> Any:
        item = getattr(column.type, "item", Text())
        return type_coerce(column, ARRAY(item))

    def json_contains(
        self, column: ColumnElement[Any], wanted: Mapping[str, Any]
    ) -> ColumnElement[bool]:
        return type_coerce(column, JSONB()).contains(wanted)

    def greatest(self, *values: ColumnElement[Any]) -> ColumnElement[Any]:
        return func.greatest(*values, type_=values[0].type)

    def least(self, *values: ColumnElement[Any]) -> ColumnElement[Any]:
        return func.least(*values, type_=values[0].type)

    async def try_lock(self, session: AsyncSession, name: str) -> bool:
        statement = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
        return bool(await session.scalar(statement, {"name": name}))

    async def share_lock(self, session: AsyncSession, name: str) -> None:
        await session.execute(_SHARE_LOCK, {"name": name})

    async def close_lock(self, session: AsyncSession, name: str) -> None:
        await session.execute(_CLOSE_LOCK, {"name": name})

    def violation(self, error: DBAPIError) -> Violation:
        kinds: dict[str, ViolationKind] = {
            "23505": "unique",
            "23503": "foreign_key",
            "23502": "not_null",
            "23514": "check",
        }
        cause = _driver_error(error)
        kind = kinds.get(sqlstate_of(cause), "other")
        table = getattr(cause, "table_name", None) or ""
        column = getattr(cause, "column_name", None) or ""
        detail = getattr(cause, "detail", None) or ""
        constraint = getattr(cause, "constraint_name", None) or ""
        return Violation(kind, f"{constraint} {table}.{column} {detail}".strip())

    def trouble(self, error: DBAPIError, *, is_writing: bool = False) -> Unavailable | None:
        trouble = self.trouble_of(_driver_error(error), is_writing=is_writing)
        if trouble is None and error.connection_invalidated:
            return DatabaseUnreachable(_BROKE, retry_after=2.0)
        return trouble

    def trouble_of(
        self, error: BaseException | None, *, is_writing: bool = False
    ) -> Unavailable | None:
        """The same for an error of the driver's own."""
        state = sqlstate_of(error)
        if is_writing and state == "25006":
            return DatabaseReadOnly(
                "PostgreSQL takes no writes: it is a standby, or set to read only.",
                retry_after=30.0,
            )
        if state in ("55P03", "40P01", "40001", "57014", "25P03", "53300"):
            return DatabaseBusy(f"PostgreSQL gave up waiting ({error}).", retry_after=1.0)
        if state == "53100":
            return DatabaseFull("PostgreSQL's disk is full.", retry_after=30.0)
        if state.startswith(("08", "57P")):
            return DatabaseUnreachable(_BROKE, retry_after=2.0)
        return None


def _driver_error(error: DBAPIError) -> BaseException | None:
    """asyncpg's own exception, which SQLAlchemy keeps as the cause of its translation."""
    return error.orig.__cause__ if error.orig is not None else None


def dialect_named(name: str) -> Dialect:
    """The dialect object for SQLAlchemy's dialect name."""
    return {"sqlite": SQLITE, "postgresql": POSTGRES}[name]


SQLITE = SqliteDialect()
POSTGRES = PostgresDialect()
