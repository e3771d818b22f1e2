"""Column types that mean the same on SQLite and PostgreSQL, and the portable server defaults.

| type        | PostgreSQL     | SQLite                              | Python            |
| ----------- | -------------- | ----------------------------------- | ----------------- |
| UtcDateTime | TIMESTAMPTZ    | DATETIME: text, fixed width, ``Z``  | aware datetime    |
| Json        | JSONB          | JSON (text)                         | dict, list, ...   |
| StrList     | TEXT[]         | JSON (text)                         | list[str]         |
| EnumString  | VARCHAR, CHECK | VARCHAR, CHECK                      | the StrEnum       |
| Money       | DECIMAL(p, s)  | DECIMAL(p, s) holding an INTEGER    | Decimal           |
| Uuid        | UUID           | CHAR(32), hexadecimal               | uuid.UUID         |

On SQLite the declared name of a column also tells the raw SQL layer how to decode it, and it is
a name that Alembic's batch mode reads back and writes again unchanged. ``DECIMAL`` there always
means ``Money``, in millionths; a measure that may be a float is ``Numeric(..., asdecimal=False)``.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ARRAY,
    DECIMAL,
    JSON,
    DateTime,
    Dialect,
    Enum,
    Integer,
    Text,
    Uuid,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.sqlite import DATETIME as SQLITE_DATETIME
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import Column, Table
from sqlalchemy.sql import operators
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeDecorator, TypeEngine

__all__ = [
    "EnumString",
    "Json",
    "Money",
    "StrList",
    "UtcDateTime",
    "Uuid",
    "format_utc",
    "parse_utc",
    "utc_now",
    "uuid_default",
]

MONEY_UNIT = 1_000_000
"""On SQLite every amount is a whole number of millionths, whatever scale its column shows."""


def format_utc(value: datetime) -> str:
    """An instant as SQLite stores it: fixed width, so that text order is time order.

    A blank stands between date and time (RFC 3339 allows it) because SQLite's own
    ``CURRENT_TIMESTAMP`` writes one: raw SQL that uses it stays comparable and readable.
    """
    if value.tzinfo is None:
        raise ValueError(f"naive datetime {value!r}: pass an aware one, in any time zone")
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%fZ").rjust(27, "0")


def parse_utc(text: str) -> datetime:
    """Read what ``format_utc`` or SQLite's own date functions wrote; a missing zone is UTC."""
    value = datetime.fromisoformat(text)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class _SqliteUtcDateTime(SQLITE_DATETIME):
    """Plain ``DATETIME`` in DDL and reflection; our own text on the way in and out."""

    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Any:
        def process(value: datetime | None) -> str | None:
            return None if value is None else format_utc(value)

        return process

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        def process(value: str | None) -> datetime | None:
            return None if value is None else parse_utc(value)

        return process

    def literal_processor(self, dialect: Dialect) -> Any:
        def process(value: datetime) -> str:
            return f"'{format_utc(value)}'"

        return process


class UtcDateTime(TypeDecorator[datetime]):
    """An instant. Refuses naive values, converts offsets, returns aware UTC."""

    impl = DateTime
    cache_ok = True

    def __init__(self) -> None:
        """Take no arguments: there is only one kind of instant."""
        super().__init__(timezone=True)

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(_SqliteUtcDateTime())
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if not isinstance(value, datetime):
            raise TypeError(f"expected a datetime, got {type(value).__name__}")
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r}: pass an aware one, in any time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)


class Json(TypeDecorator[Any]):
    """An open-ended document. Python's None is SQL NULL, never the JSON value ``null``."""

    impl = JSON
    cache_ok = True

    def __init__(self) -> None:
        """Take no arguments."""
        super().__init__(none_as_null=True)

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(JSONB(none_as_null=True))
        return dialect.type_descriptor(JSON(none_as_null=True))

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        # An index or path into the document is text or a number, not a document.
        return self.impl_instance.coerce_compared_value(op, value)


class StrList(TypeDecorator[Sequence[str]]):
    """A list of strings: an array on PostgreSQL, a JSON list on SQLite.

    Assign a new list to change it; changes inside a list are not noticed.
    """

    impl = JSON
    cache_ok = True

    def __init__(self, item: TypeEngine[str] | None = None) -> None:
        """Take the item type of the PostgreSQL array.

        Args:
            item: ``Text()`` where not given; ``String(n)`` gives ``VARCHAR(n)[]``.
        """
        self.item = item if item is not None else Text()
        super().__init__(none_as_null=True)

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(ARRAY(self.item))
        return dialect.type_descriptor(JSON(none_as_null=True))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None:
            return None
        if isinstance(value, str) or not all(isinstance(item, str) for item in value):
            raise TypeError(f"expected a list of strings, got {value!r}")
        return list(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> list[str] | None:
        return None if value is None else list(value)

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        return self


class EnumString(Enum):
    """A StrEnum stored as its value in a VARCHAR, with a CHECK that lists every value.

    The CHECK is named after the column and a short hash of its values
    (``ck_tasks_status_3f2a``): Alembic compares CHECKs by name only, so a changed enum shows.
    Write ``EnumString(TaskStatus, length=20)``; the column is given the CHECK by itself.
    """

    cache_ok = True

    def __init__(self, *enums: type[StrEnum], length: int = 32, **kwargs: Any) -> None:
        """Take one StrEnum and the column's length.

        Args:
            *enums: The StrEnum (SQLAlchemy passes none when it copies the type).
            length: Of the VARCHAR.
            **kwargs: Only for SQLAlchemy's own copies.
        """
        kwargs["native_enum"] = False
        kwargs["validate_strings"] = True
        kwargs.setdefault("create_constraint", True)
        kwargs["values_callable"] = enum_values
        super().__init__(*enums, length=length, **kwargs)

    def _set_table(self, column: Column[Any], table: Table) -> None:
        # The CHECK is made here, where the column's own name is known for the first time.
        self.name = check_name(column.name, self.enums)
        super()._set_table(column, table)  # pyright: ignore[reportUnknownMemberType]  # untyped


def enum_values(enum_type: type[StrEnum]) -> list[str]:
    """The stored values of a StrEnum, in the order of its definition."""
    return [member.value for member in enum_type]


def check_name(column_name: str, values: Sequence[str]) -> str:
    """The part of a CHECK's name after the table: the column and a hash of the values."""
    digest = hashlib.sha256("\n".join(sorted(values)).encode()).hexdigest()[:4]
    return f"{column_name}_{digest}"


class Money(TypeDecorator[Decimal]):
    """An exact amount of US dollars. Never a float, and never rounded on the way in.

    An amount with more digits than the column holds is refused: round it where the rule for
    rounding is known, with ``Money.quantize``.
    """

    impl = DECIMAL
    cache_ok = True

    def __init__(self, precision: int = 10, scale: int = 6) -> None:
        """Take all digits and the digits after the point, at most six of them."""
        if not 0 <= scale <= 6:  # MONEY_UNIT is a millionth
            raise ValueError("Money keeps at most six digits after the point")
        self.precision = precision
        self.scale = scale
        super().__init__(precision, scale)

    @staticmethod
    def quantize(amount: Decimal, scale: int = 6, rounding: str = ROUND_HALF_UP) -> Decimal:
        """Round an amount to what a column of that scale holds."""
        return amount.quantize(Decimal(1).scaleb(-scale), rounding=rounding)

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(_SqliteMoney(self.precision, self.scale))
        return dialect.type_descriptor(DECIMAL(self.precision, self.scale))

    def process_bind_param(self, value: Any, dialect: Dialect) -> Decimal | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, Decimal | int):
            raise TypeError(f"money is a Decimal, not {type(value).__name__}")
        amount = Decimal(value)
        if not amount.is_finite() or amount != self.quantize(amount, self.scale):
            raise ValueError(
                f"{value} has more than {self.scale} digits after the point: round it first"
            )
        if abs(amount) >= Decimal(1).scaleb(self.precision - self.scale):
            raise ValueError(f"{value} does not fit DECIMAL({self.precision}, {self.scale})")
        return amount

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        if op in (operators.mul, operators.truediv, operators.mod):
            if op is operators.mul and isinstance(value, int):
                return Integer()
            raise TypeError("multiply and divide money in Python, and round it there")
        return self

    class Comparator(TypeDecorator.Comparator[Decimal], DECIMAL.Comparator[Decimal]):
        """What is added to money, or taken from it, leaves money."""

        def operate(self, op: Any, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
            return self._as_money(op, super().operate(op, *other, **kwargs))

        def reverse_operate(self, op: Any, other: Any, **kwargs: Any) -> ColumnElement[Any]:
            return self._as_money(op, super().reverse_operate(op, other, **kwargs))

        def _as_money(self, op: Any, result: ColumnElement[Any]) -> ColumnElement[Any]:
            return type_coerce(result, self.type) if op in _MONEY_OPERATORS else result

    comparator_factory = Comparator  # pyright: ignore[reportAssignmentType]  # a property above


_MONEY_OPERATORS = (operators.add, operators.sub, operators.mul, operators.neg)


class _SqliteMoney(DECIMAL[Decimal]):
    """``DECIMAL(p, s)`` in DDL and reflection; whole millionths in the file."""

    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Any:
        def process(value: Decimal | None) -> int | None:
            return None if value is None else int(value * MONEY_UNIT)

        return process

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        scale = self.scale or 0

        def process(value: float | None) -> Decimal | None:
            if value is None:
                return None
            # An average comes back as a float of millionths; what is stored is an integer.
            return Decimal(round(value)).scaleb(-6).quantize(Decimal(1).scaleb(-scale))

        return process

    def literal_processor(self, dialect: Dialect) -> Any:
        def process(value: Decimal) -> str:
            return str(int(value * MONEY_UNIT))

        return process


class utc_now(ColumnElement[datetime]):  # noqa: N801  # reads as an SQL function
    """The database's clock as a server default: ``server_default=utc_now()``."""

    inherit_cache = True
    type = UtcDateTime()


@compiles(utc_now)
def _utc_now_default(element: utc_now, compiler: SQLCompiler, **kw: Any) -> str:
    return "CURRENT_TIMESTAMP"


@compiles(utc_now, "sqlite")
def _utc_now_sqlite(element: utc_now, compiler: SQLCompiler, **kw: Any) -> str:
    return SQLITE_NOW


class uuid_default(ColumnElement[Any]):  # noqa: N801  # reads as an SQL function
    """A random UUID as a server default, for raw SQL that names no id.

    The application always brings its own time-ordered id; this is for hand-written INSERTs.
    """

    inherit_cache = True
    type = Uuid()


@compiles(uuid_default)
def _uuid_default(element: uuid_default, compiler: SQLCompiler, **kw: Any) -> str:
    return "gen_random_uuid()"


@compiles(uuid_default, "sqlite")
def _uuid_sqlite(element: uuid_default, compiler: SQLCompiler, **kw: Any) -> str:
    return SQLITE_UUID


# %f has three digits; the literal zeros keep the fixed width of six.
SQLITE_NOW_FORMAT = "%Y-%m-%d %H:%M:%f000Z"
SQLITE_NOW = f"strftime('{SQLITE_NOW_FORMAT}', 'now')"

# A version 4 UUID from SQLite's own random source, as 32 hexadecimal digits.
SQLITE_UUID = (
    "lower(hex(randomblob(6)) || '4' || substr(hex(randomblob(2)), 2) || "
    "substr('89ab', 1 + (abs(random()) % 4), 1) || substr(hex(randomblob(2)), 2) || "
    "hex(randomblob(6)))"
)
