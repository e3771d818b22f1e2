"""CHECKs that hold SQLite to the types it only notes.

SQLite takes a longer text than its VARCHAR says, a text for a number, 7 for a truth value and
anything for a document; PostgreSQL refuses them all. So every such column gets a CHECK on SQLite,
derived from its type and named after the column, and what one database refuses the other does too.
"""

from typing import Any

from sqlalchemy import Boolean, CheckConstraint, Enum, Integer, MetaData, String, Table
from sqlalchemy.schema import Column

from agentvine.db.types import Json, Money, StrList

_MARK = "sqlite_check"


def hold_sqlite_to_types(metadata: MetaData) -> None:
    """Add the CHECKs to every table; a second call adds nothing."""
    for table in metadata.tables.values():
        if not table.info.get(_MARK):
            table.info[_MARK] = True
            for column in table.columns:
                if column.computed is None:
                    _add_check(table, column)


def _add_check(table: Table, column: Column[Any]) -> None:
    found = _rule(column)
    if found is not None:
        kind, rule = found
        check = CheckConstraint(rule, name=f"{column.name}_{kind}").ddl_if(dialect="sqlite")
        table.append_constraint(check)


def _rule(column: Column[Any]) -> tuple[str, str] | None:
    """The kind of rule a column's type asks for, and its text."""
    kind = column.type
    name = f'"{column.name}"'
    rule = None
    match kind:
        case Enum():
            pass  # it brings its own CHECK, on both databases
        case String() if kind.length is not None:
            rule = "length", f"length({name}) <= {kind.length}"
        case Boolean():
            rule = "boolean", f"{name} IN (0, 1)"
        case Money():
            rule = "integer", f"typeof({name}) IN ('integer', 'null')"
        case Integer() if not column.primary_key:  # about its own keys SQLite is strict
            rule = "integer", f"typeof({name}) IN ('integer', 'null')"
        case Json() | StrList():
            rule = "json", f"{name} IS NULL OR json_valid({name})"
        case _:
            pass
    return rule
