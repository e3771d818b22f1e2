"""Column and index building blocks, so that a model reads as what it stores.

Each function returns one ``mapped_column`` with its type, its default on the database's side and,
where it helps before a flush, the same default in Python.

A column that the specification gives a default but no ``NOT NULL`` is nullable here too, and yet
typed without ``None`` in the models: the default fills it, and our code never writes NULL there.
"""

from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    ForeignKey,
    Index,
    Integer,
    String,
    literal,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import MappedColumn, mapped_column
from sqlalchemy.schema import SchemaItem
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement

from agentvine.db.types import (
    EnumString,
    Json,
    Money,
    StrList,
    UtcDateTime,
    Uuid,
    utc_now,
    uuid_default,
)
from agentvine.kit.ids import new_id

NEVER_REUSE_IDS: Final = {"sqlite_autoincrement": True}
"""Table options: a counted id is not given again after the rows with the highest ones are gone."""

_BIG_COUNTED = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite counts only a column declared exactly INTEGER PRIMARY KEY, which is 64 bits anyway."""


class empty_list(ColumnElement[Any]):  # noqa: N801  # reads as an SQL literal
    """An empty ``StrList`` as a server default."""

    inherit_cache = True
    type = StrList()


@compiles(empty_list)
def _empty_array(_element: empty_list, _compiler: SQLCompiler, **_kw: Any) -> str:
    return "'{}'"


@compiles(empty_list, "sqlite")
def _empty_json_list(_element: empty_list, _compiler: SQLCompiler, **_kw: Any) -> str:
    return "'[]'"


def uuid_key() -> MappedColumn[Any]:
    """The primary key of an entity: time-ordered from the application, random from raw SQL."""
    return mapped_column(Uuid(), primary_key=True, default=new_id, server_default=uuid_default())


def counted_key() -> MappedColumn[Any]:
    """The primary key of a log: a number that the database counts up."""
    return mapped_column(_BIG_COUNTED, primary_key=True, autoincrement=True)


def foreign_key(
    target: str, *, on_delete: str | None = None, primary_key: bool = False
) -> MappedColumn[Any]:
    """A reference to another table's UUID; NULL is allowed where the annotation says so.

    Args:
        target: ``table.column``.
        on_delete: ``CASCADE`` or ``SET NULL``; without it a referenced row cannot be deleted.
        primary_key: Whether the reference is (part of) this table's own key.
    """
    return mapped_column(Uuid(), ForeignKey(target, ondelete=on_delete), primary_key=primary_key)


def stamp() -> MappedColumn[Any]:
    """An instant that the application sets when its moment comes."""
    return mapped_column(UtcDateTime())


def stamp_now(*, nullable: bool = True) -> MappedColumn[Any]:
    """An instant that the database fills on INSERT when the application names none."""
    return mapped_column(UtcDateTime(), nullable=nullable, server_default=utc_now())


def flag(*, default: bool, nullable: bool = True) -> MappedColumn[Any]:
    """A truth value with a default."""
    return mapped_column(
        Boolean(), nullable=nullable, default=default, server_default=text(str(default).lower())
    )


def integer(default: int, *, nullable: bool = True) -> MappedColumn[Any]:
    """A number with a default."""
    return mapped_column(
        Integer(), nullable=nullable, default=default, server_default=text(str(default))
    )


def big_integer(default: int, *, nullable: bool = False) -> MappedColumn[Any]:
    """A number of 64 bits with a default."""
    return mapped_column(
        BigInteger(), nullable=nullable, default=default, server_default=text(str(default))
    )


def varchar(length: int, *items: SchemaItem, default: str | None = None) -> MappedColumn[Any]:
    """A text of limited length, which SQLite too is held to (``db/sqlite_checks.py``)."""
    if default is None:
        return mapped_column(String(length), *items)
    return mapped_column(
        String(length), *items, default=default, server_default=text(f"'{default}'")
    )


def choice(
    enum_type: type[StrEnum],
    length: int,
    *,
    default: StrEnum | None = None,
    nullable: bool | None = None,
) -> MappedColumn[Any]:
    """A value of an enumeration, with its CHECK; nullable as annotated where not said here."""
    options: dict[str, Any] = {} if nullable is None else {"nullable": nullable}
    if default is not None:
        options |= {"default": default, "server_default": text(f"'{default.value}'")}
    return mapped_column(EnumString(enum_type, length=length), **options)


def document(
    default: Callable[[], Any], sql: str = "{}", *, nullable: bool = False, name: str | None = None
) -> MappedColumn[Any]:
    """A JSON document with a default.

    Args:
        default: Makes a fresh one in Python.
        sql: The same in JSON.
        nullable: Whether raw SQL may write NULL.
        name: The column's, where the attribute cannot bear it (``metadata``).
    """
    options: dict[str, Any] = {"nullable": nullable, "default": default}
    kind, server_default = Json(), text(f"'{sql}'")
    if name is None:
        return mapped_column(kind, server_default=server_default, **options)
    return mapped_column(name, kind, server_default=server_default, **options)


def string_list(*, item_length: int | None = None, nullable: bool = True) -> MappedColumn[Any]:
    """A list of strings that is empty by default."""
    item = None if item_length is None else String(item_length)
    return mapped_column(
        StrList(item), nullable=nullable, default=list, server_default=empty_list()
    )


def money(
    precision: int, scale: int, default: str | None = None, *, nullable: bool = True
) -> MappedColumn[Any]:
    """An exact amount; the default is written as a decimal number."""
    kind = Money(precision, scale)
    if default is None:
        return mapped_column(kind)
    amount = Decimal(default)
    return mapped_column(
        kind, nullable=nullable, default=amount, server_default=literal(amount, kind)
    )


def gin_index(name: str, column: str) -> Index:
    """An index into a document or array; only PostgreSQL has such, so only it gets one."""
    return Index(name, column, postgresql_using="gin").ddl_if(dialect="postgresql")


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index over the rows that match ``where`` (plain SQL), on both databases."""
    rows = text(where)
    return Index(name, *columns, unique=unique, postgresql_where=rows, sqlite_where=rows)


def present_index(name: str, column: str) -> Index:
    """An index over a column that is mostly empty: rows without a value cost it nothing.

    What looks for a value finds it there, on both databases; what looks for none does not.
    """
    return partial_index(name, column, where=f"{column} IS NOT NULL")
