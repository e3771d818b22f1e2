"""Brings triggers, views, functions, expression indexes and derived tables to the registry.

``apply`` changes only what differs, so it may run as often as one likes. What we made carries a
mark: on SQLite a comment in the stored statement, on PostgreSQL a COMMENT with two fingerprints,
one of the definition in the code and one of what the catalog shows for it. A definition that was
edited by hand, disabled or dropped is therefore found by ``compare``.
"""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, cast

from sqlalchemy import Connection, text

from agentvine.db.registry import MARKER, DialectName, Kind, Registry, SchemaObject

_PG_MARK = "agentvine "
_DROP_ORDER: dict[Kind, int] = {"trigger": 0, "index": 1, "view": 2, "function": 3, "table": 4}


@dataclass(frozen=True, slots=True)
class Difference:
    """One object that is not as the registry says."""

    kind: Kind
    name: str
    problem: Literal["missing", "changed", "unwanted"]

    def __str__(self) -> str:
        """As one reads it aloud."""
        return f"{self.kind} {self.name} is {self.problem}"


@dataclass(frozen=True, slots=True)
class _Live:
    """An object as the database shows it."""

    kind: Kind
    name: str
    table: str
    definition: str
    note: str

    def as_object(self) -> SchemaObject:
        return SchemaObject(self.kind, self.name, {}, self.table)


class _Catalog(Protocol):
    dialect: DialectName

    def columns(self, connection: Connection) -> dict[str, frozenset[str]]: ...
    def live(self, connection: Connection) -> dict[str, _Live]: ...
    def is_ours(self, live: _Live) -> bool: ...
    def is_same(self, live: _Live, item: SchemaObject) -> bool: ...
    def create(self, connection: Connection, item: SchemaObject) -> None: ...


def compare(connection: Connection, registry: Registry) -> list[Difference]:
    """What is missing, changed, or ours and no longer wanted."""
    catalog = _catalog_of(connection)
    live = catalog.live(connection)
    wanted = registry.wanted(catalog.dialect, catalog.columns(connection))
    differences = [
        Difference(item.kind, item.name, "changed" if item.name in live else "missing")
        for item in wanted
        if item.name not in live or not catalog.is_same(live[item.name], item)
    ]
    names = {item.name for item in wanted}
    return differences + [
        Difference(found.kind, found.name, "unwanted")
        for found in live.values()
        if found.name not in names and catalog.is_ours(found)
    ]


def apply(connection: Connection, registry: Registry) -> list[Difference]:
    """Make the database as the registry says, in the caller's transaction; tells what differed."""
    catalog = _catalog_of(connection)
    differences = compare(connection, registry)
    if not differences:
        return []
    live = catalog.live(connection)
    for difference in sorted(differences, key=lambda item: _DROP_ORDER[item.kind]):
        # A function whose triggers stay is replaced, not dropped.
        is_replaced = difference.kind == "function" and difference.problem == "changed"
        if difference.name in live and not is_replaced:
            _drop(connection, live[difference.name], catalog.dialect)
    different = {difference.name for difference in differences if difference.problem != "unwanted"}
    for item in registry.wanted(catalog.dialect, catalog.columns(connection)):
        if item.name in different:
            catalog.create(connection, item)
            if fill := item.fill.get(catalog.dialect):
                connection.execute(text(_literal(fill)))
    if any(difference.kind == "table" for difference in differences):
        # What stands on a derived table could not be wanted before there was one.
        differences += apply(connection, registry)
    return differences


def drop_ours(connection: Connection, kinds: Collection[Kind]) -> None:
    """Remove what we made, of the given kinds; ``apply`` makes it again."""
    catalog = _catalog_of(connection)
    ours = [found for found in catalog.live(connection).values() if catalog.is_ours(found)]
    for found in sorted(ours, key=lambda found: _DROP_ORDER[found.kind]):
        if found.kind in kinds:
            _drop(connection, found, catalog.dialect)


def _drop(connection: Connection, found: _Live, dialect: DialectName) -> None:
    connection.execute(text(_literal(found.as_object().drop_sql(dialect))))


class _SqliteCatalog:
    dialect: DialectName = "sqlite"

    def columns(self, connection: Connection) -> dict[str, frozenset[str]]:
        rows = connection.execute(
            text(
                "SELECT m.name, c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c "
                "WHERE m.type = 'table'"
            )
        )
        return _grouped((str(table), str(column)) for table, column in rows)

    def live(self, connection: Connection) -> dict[str, _Live]:
        rows = connection.execute(
            text(
                "SELECT type, name, tbl_name, sql FROM sqlite_master "
                "WHERE type IN ('trigger', 'view', 'index') AND sql IS NOT NULL "
                "OR sql LIKE 'CREATE VIRTUAL TABLE%'"
            )
        )
        return {
            str(name): _Live(cast("Kind", kind), str(name), str(table), str(sql), "")
            for kind, name, table, sql in rows
        }

    def is_ours(self, live: _Live) -> bool:
        return MARKER in live.definition

    def is_same(self, live: _Live, item: SchemaObject) -> bool:
        return " ".join(live.definition.split()) == " ".join(item.create_sql("sqlite").split())

    def create(self, connection: Connection, item: SchemaObject) -> None:
        connection.execute(text(_literal(item.create_sql("sqlite"))))


class _PostgresCatalog:
    dialect: DialectName = "postgresql"

    def columns(self, connection: Connection) -> dict[str, frozenset[str]]:
        rows = connection.execute(
            text(
                "SELECT table_name, column_name FROM information_schema.columns "
                "WHERE table_schema = current_schema()"
            )
        )
        return _grouped((str(table), str(column)) for table, column in rows)

    def live(self, connection: Connection) -> dict[str, _Live]:
        return {
            str(name): _Live(cast("Kind", kind), str(name), str(table), str(sql), str(note or ""))
            for kind, name, table, sql, note in connection.execute(text(_PG_OBJECTS))
        }

    def is_ours(self, live: _Live) -> bool:
        return live.note.startswith(_PG_MARK)

    def is_same(self, live: _Live, item: SchemaObject) -> bool:
        return live.note == self._note(live, item)

    def create(self, connection: Connection, item: SchemaObject) -> None:
        connection.execute(text(_literal(item.create_sql("postgresql"))))
        target = f"{item.kind.upper()} {item.name}"
        if item.kind == "trigger":
            target += f" ON {item.table}"
        elif item.kind == "function":
            target += "()"
        note = self._note(self.live(connection)[item.name], item)
        connection.execute(text(f"COMMENT ON {target} IS '{note}'"))

    def _note(self, live: _Live, item: SchemaObject) -> str:
        shown = hashlib.sha256(live.definition.encode()).hexdigest()[:16]
        return f"{_PG_MARK}{item.digest('postgresql')} {shown}"


_PG_OBJECTS = """
WITH here AS (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
SELECT 'trigger', t.tgname, c.relname, pg_get_triggerdef(t.oid) || t.tgenabled::text,
       obj_description(t.oid, 'pg_trigger')
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN here ON here.oid = c.relnamespace
 WHERE NOT t.tgisinternal
UNION ALL
SELECT 'function', p.proname, '', pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc')
  FROM pg_proc p JOIN here ON here.oid = p.pronamespace WHERE p.prokind = 'f'
UNION ALL
SELECT 'view', c.relname, '', pg_get_viewdef(c.oid), obj_description(c.oid, 'pg_class')
  FROM pg_class c JOIN here ON here.oid = c.relnamespace WHERE c.relkind = 'v'
UNION ALL
SELECT 'index', i.relname, t.relname, pg_get_indexdef(x.indexrelid) || x.indisvalid::text,
       obj_description(i.oid, 'pg_class')
  FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
  JOIN here ON here.oid = i.relnamespace
UNION ALL
SELECT 'table', c.relname, '',
       (SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', '
                          ORDER BY a.attnum)
          FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       obj_description(c.oid, 'pg_class')
  FROM pg_class c JOIN here ON here.oid = c.relnamespace
 WHERE c.relkind = 'r'
"""


def _catalog_of(connection: Connection) -> _Catalog:
    return _SqliteCatalog() if connection.dialect.name == "sqlite" else _PostgresCatalog()


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    columns: dict[str, set[str]] = {}
    for table, column in pairs:
        columns.setdefault(table, set()).add(column)
    return {table: frozenset(names) for table, names in columns.items()}


def _literal(sql: str) -> str:
    """Keep ``text()`` from reading a colon in a definition as a parameter."""
    return sql.replace(":", "\\:")
