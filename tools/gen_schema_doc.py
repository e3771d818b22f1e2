"""``python -m tools.gen_schema_doc``: writes docs/reference/schema.md from the models."""

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from sqlalchemy import CheckConstraint, Column, Index, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.schema import CreateColumn, DefaultClause, ForeignKeyConstraint

from agentvine.db.registry import REGISTRY
from agentvine.domains.mapping import SLICES, metadata
from tools.pages import Page, table

_DIALECT = postgresql.dialect()
_HEADER = """\
# Schema

Written from the models by `python -m tools.gen_schema_doc`, not by hand; a test holds it to them.
What the tables mean to each other is told in the modules of `src/agentvine/domains/`.

Types and defaults are PostgreSQL's. SQLite has the same tables, columns, keys, CHECKs and B-tree
indexes; there `UUID` is `CHAR(32)` (hexadecimal), `TIMESTAMP WITH TIME ZONE` is text in UTC of
fixed width, `JSONB` and arrays are `JSON`, and `DECIMAL` holds whole millionths. CHECKs generated
from the types hold SQLite to what PostgreSQL enforces by itself: lengths, numbers, truth values and
JSON. GIN indexes exist on PostgreSQL only. `updated_at` is kept by a trigger on both.
"""


def render() -> str:
    """The whole page."""
    parts = [_HEADER, *_contents()]
    for models in SLICES:
        for entity in _entities(models):
            parts += _section(entity)
    return "\n".join(parts)


def _contents() -> Iterator[str]:
    yield f"{len(metadata.tables)} tables, by slice, lowest first:\n"
    for models in SLICES:
        tables = ", ".join(f"[{e.__tablename__}](#{e.__tablename__})" for e in _entities(models))
        yield f"- {models.__name__.split('.')[-2]}: {tables}"
    yield ""


def _entities(models: ModuleType) -> list[type[DeclarativeBase]]:
    """The mapped classes that a module defines, in its order."""
    return [
        value
        for value in vars(models).values()
        if isinstance(value, type)
        and issubclass(value, DeclarativeBase)
        and value.__module__ == models.__name__
    ]


def _section(entity: type[DeclarativeBase]) -> Iterator[str]:
    described = metadata.tables[entity.__tablename__]
    yield f"## {described.name}\n"
    yield f"{(entity.__doc__ or '').strip()}\n"
    head = ("Column", "Type", "NULL", "Default", "Refers to")
    yield from table(head, (_cells(column) for column in described.columns))
    yield from (f"- {line}" for line in _rules(described))
    yield ""


def _cells(column: Column[Any]) -> tuple[str, ...]:
    return (
        f"`{column.name}`",
        column.type.compile(dialect=_DIALECT),
        "yes" if column.nullable else "",
        _default(column),
        ", ".join(_reference(key.constraint) for key in column.foreign_keys if key.constraint),
    )


def _default(column: Column[Any]) -> str:
    if column.computed is not None:
        return f"always `{column.computed.sqltext}`"
    if isinstance(column.server_default, DefaultClause):
        shown = str(CreateColumn(column).compile(dialect=_DIALECT))
        after = shown.partition(" DEFAULT ")[2]
        return f"`{after.removesuffix(' NOT NULL')}`"
    return "counted" if column is column.table.autoincrement_column else ""


def _reference(key: ForeignKeyConstraint) -> str:
    target = key.elements[0].column
    rule = f", on delete {key.ondelete.lower()}" if key.ondelete else ""
    return f"[{target.table.name}](#{target.table.name}).{target.name}{rule}"


def _rules(table: Table) -> Iterator[str]:
    yield f"primary key: {_names(table.primary_key.columns.keys())}"
    constraints = sorted(table.constraints, key=_name)
    for item in constraints:
        if isinstance(item, UniqueConstraint):
            yield f"unique: {_names(item.columns.keys())}"
    for item in constraints:
        if isinstance(item, CheckConstraint) and not _is_for_sqlite(item):
            text = item.sqltext.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True})
            yield f"check `{_name(item)}`: `{str(text).replace(f'{table.name}.', '')}`"
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        yield _index_line(index)
    for trigger in sorted(REGISTRY.wanted("postgresql", _every_column()), key=lambda t: t.name):
        if trigger.kind == "trigger" and trigger.table == table.name:
            yield f"trigger `{trigger.name}`"


def _index_line(index: Index) -> str:
    options = index.dialect_options["postgresql"]
    kind = "unique index" if index.unique else "index"
    method = " (GIN)" if options["using"] == "gin" else ""
    where = f" where `{options['where'].text}`" if options["where"] is not None else ""
    return f"{kind} `{index.name}`{method}: {_names(index.columns.keys())}{where}"


def _names(columns: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in columns)


def _name(constraint: Any) -> str:
    return str(_DIALECT.identifier_preparer.format_constraint(constraint) or "").strip('"')


def _is_for_sqlite(constraint: Any) -> bool:
    """Whether it only makes up for what SQLite does not enforce (``db/sqlite_checks.py``)."""
    return getattr(constraint, "_ddl_if", None) is not None


def _every_column() -> dict[str, frozenset[str]]:
    return {table.name: frozenset(table.columns.keys()) for table in metadata.tables.values()}


PAGE = Page("schema.md", "tools.gen_schema_doc", render)

if __name__ == "__main__":
    sys.exit(PAGE.main())
