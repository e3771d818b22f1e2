"""What a live database shows of its own schema, named alike for SQLite and PostgreSQL.

Types, defaults and rules are turned into the words of the facts (``varchar(50)``, ``now``,
``cascade``). ``raw`` keeps the database's own text, for comparing two schemas of one kind.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

NOT_OURS = frozenset({"alembic_version", "sqlite_sequence"})

_CHOICE = re.compile(r"^\W*(\w+)\W.*?'")


@dataclass
class ColumnInfo:
    type: str
    is_nullable: bool
    default: str
    is_generated: bool
    raw: str


@dataclass
class IndexInfo:
    columns: str
    method: str
    is_unique: bool
    where: str
    raw: str


@dataclass
class TableInfo:
    columns: dict[str, ColumnInfo] = field(default_factory=dict)
    primary_key: tuple[str, ...] = ()
    uniques: dict[tuple[str, ...], str] = field(default_factory=dict)
    foreign_keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    checks: dict[str, str] = field(default_factory=dict)
    indexes: dict[str, IndexInfo] = field(default_factory=dict)
    triggers: dict[str, str] = field(default_factory=dict)
    raw: list[str] = field(default_factory=list)
    """Everything that has no place above, such as the names of constraints."""

    @property
    def choices(self) -> dict[str, frozenset[str]]:
        """The values that a CHECK of an enumeration allows, by column."""
        found: dict[str, frozenset[str]] = {}
        for shown in self.checks.values():
            values = frozenset(re.findall(r"'([^']*)'", shown))
            column = _CHOICE.match(shown)
            if values and column and ("ANY" in shown or f"{column[1]} IN (" in shown):
                found[column[1]] = values
        return found


@dataclass
class Catalog:
    tables: dict[str, TableInfo]
    has_gin: bool
    other: dict[str, str] = field(default_factory=dict)
    """Functions and views, by name."""


def query(connection: Connection, sql: str) -> Sequence[tuple[Any, ...]]:
    """Plain SQL without parameters: a colon in it is a colon."""
    return [tuple(row) for row in connection.execute(text(re.sub(r"(?<!\\):", r"\\:", sql)))]


def without_casts(expression: str) -> str:
    """An expression without the casts that PostgreSQL adds when it shows one."""
    return re.sub(r"::[a-z]+(?: varying)?(?:\[\])?", "", expression)


def plain(expression: str) -> str:
    """An expression without casts, brackets and needless spaces."""
    return " ".join(without_casts(expression).replace("(", "").replace(")", "").split())
