"""Puts valid rows into every table, from the models alone, in the order of the foreign keys."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Date,
    Enum,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Table,
    TableClause,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy import column as sa_column
from sqlalchemy import table as sa_table

from agentvine.db.types import Json, Money, StrList, UtcDateTime
from agentvine.domains.mapping import metadata
from agentvine.kit.ids import new_id

ROWS_PER_TABLE = 2
MOMENT = dt.datetime(2026, 11, 24, 12, 30, 15, 123456, tzinfo=dt.UTC)

_CHOSEN: Mapping[str, Any] = {"alert_threshold": Decimal("0.5"), "importance": 7}
"""Columns whose CHECK allows a range only."""


@dataclass
class Seeded:
    """The rows that were put in, by table; each row by column."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def key(self, table: str, number: int = 0) -> Any:
        """The id of one of a table's rows."""
        return self.rows[table][number]["id"]


def seed_rows(connection: Connection) -> Seeded:
    """Give every table two rows, with a value in every column that may have one.

    A row's references lead to the rows of the same number, so that each of the two families of
    rows hangs together. A table's reference to itself stays empty.
    """
    seeded = Seeded()
    for table in metadata.sorted_tables:
        rows = [_row(table, number, seeded) for number in range(ROWS_PER_TABLE)]
        seeded.rows[table.name] = rows
        connection.execute(table.insert(), rows)
    return seeded


def make_row(connection: Connection, table_name: str, **given: Any) -> dict[str, Any]:
    """Insert one row with only the columns it must have, after the rows they refer to.

    It goes around the models' own defaults, so that the database's stand alone. Returns what was
    written; the key is among it.
    """
    table = metadata.tables[table_name]
    row = dict(given)
    for column in table.columns:
        if column.name in row or not (column.primary_key or must_be_given(column)):
            continue
        if column.foreign_keys:
            (reference,) = column.foreign_keys
            parent = make_row(connection, reference.column.table.name)
            row[column.name] = parent[reference.column.name]
        elif column is not table.autoincrement_column:
            row[column.name] = _value(column, 0) if _is_shared(column) else _unique(column)
    bare = bare_table(table)
    key = [bare.c[column.name] for column in table.primary_key.columns]
    made = connection.execute(bare.insert().values(row).returning(*key)).one()
    return row | made._asdict()


def must_be_given(column: Column[Any]) -> bool:
    """Whether an INSERT has to name the column."""
    return (
        not column.nullable and column.server_default is None and column.autoincrement is not True
    )


def bare_table(table: Table) -> TableClause:
    """The table as raw SQL sees it: names and types, no defaults of ours."""
    return sa_table(table.name, *(sa_column(c.name, c.type) for c in table.columns))


def _is_shared(column: Column[Any]) -> bool:
    """Whether rows may hold the same value, so that a fixed one will do."""
    table: Table = column.table
    single = [
        set(key.columns.keys()) == {column.name}
        for key in table.constraints
        if isinstance(key, UniqueConstraint)
    ] + [set(index.columns.keys()) == {column.name} for index in table.indexes if index.unique]
    return not (column.primary_key or any(single))


def _unique(column: Column[Any]) -> Any:
    if isinstance(column.type, String):
        return new_id().hex[-(column.type.length or 32) :]
    return new_id() if isinstance(column.type, Uuid) else new_id().int % 2**31


def _row(table: Table, number: int, seeded: Seeded) -> dict[str, Any]:
    row: dict[str, Any] = {}
    seen: dict[str, int] = {}
    for column in table.columns:
        if column.computed is not None:
            continue
        if column.foreign_keys:
            (reference,) = column.foreign_keys
            target = reference.column.table.name
            # A second reference to the same table leads to its other row.
            turn = seen[target] = seen.get(target, -1) + 1
            parents = seeded.rows.get(target)
            row[column.name] = (
                parents[(number + turn) % ROWS_PER_TABLE][reference.column.name]
                if parents
                else None
            )
        else:
            row[column.name] = _value(column, number)
    return row


def _value(column: Column[Any], number: int) -> Any:
    if column.name in _CHOSEN:
        return _CHOSEN[column.name]
    for kind, make in _MAKERS:
        if isinstance(column.type, kind):
            return make(column, number)
    raise TypeError(f"{column} has a type that is not seeded yet: {column.type!r}")


def _text(column: Column[Any], number: int) -> str:
    text = f"{column.name} № {number}"
    length = column.type.length if isinstance(column.type, String) else None
    return text[-length:] if length else text


def _member(kind: Any, number: int) -> Any:
    return list(kind.enum_class)[number]


_MAKERS: tuple[tuple[type, Callable[[Column[Any], int], Any]], ...] = (
    (Enum, lambda column, number: _member(column.type, number)),
    (String, _text),
    (Uuid, lambda _, __: new_id()),
    (Boolean, lambda _, number: bool(number)),
    (Integer, lambda _, number: number + 1),
    (Money, lambda _, number: Decimal("1.5") + number),
    (Numeric, lambda _, number: 97.25 - number),
    (UtcDateTime, lambda _, number: MOMENT + dt.timedelta(hours=number)),
    (Date, lambda _, number: MOMENT.date() + dt.timedelta(days=number)),
    (Json, lambda _, number: {"für": ["ein", 2, None, True], "number": number}),
    (StrList, lambda _, number: ["fünf, sechs", f'"{number}"', "{}"]),
    (LargeBinary, lambda _, number: bytes(range(256)) + bytes([number])),
)
