"""SQLite's catalog in the words of the facts."""

import re

from sqlalchemy import Connection

from tests.support.facts_catalog import (
    NOT_OURS,
    Catalog,
    ColumnInfo,
    IndexInfo,
    TableInfo,
    plain,
    query,
)

_MILLIONTHS = 1_000_000
_DERIVED = "SELECT name, sql FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL TABLE%'"
_CHECK = re.compile(r"CONSTRAINT (\w+) CHECK \(")
_NAMED = re.compile(r"CONSTRAINT \w+ (?!CHECK)[^\n]*")
_TYPES = {
    "CHAR(32)": "uuid",
    "DATETIME": "timestamptz",
    "BLOB": "bytea",
    "TEXT": "text",
    "BOOLEAN": "boolean",
    "BIGINT": "bigint",
    "INTEGER": "integer",
    "DATE": "date",
    "JSON": "json",
}


def read_sqlite(connection: Connection) -> Catalog:
    """The schema of the open file; of a derived table only how it was made."""
    derived = dict(query(connection, _DERIVED))
    tables = {
        name: _table(connection, name, sql)
        for name, sql in query(
            connection, "SELECT name, sql FROM sqlite_master WHERE type = 'table'"
        )
        if name not in NOT_OURS and not any(name.startswith(each) for each in derived)
    }
    for name, table, sql in query(
        connection, "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'"
    ):
        tables[table].triggers[name] = sql
    views = query(connection, "SELECT name, sql FROM sqlite_master WHERE type = 'view'")
    return Catalog(tables, has_gin=False, other=dict(views) | derived)


def _table(connection: Connection, name: str, sql: str) -> TableInfo:
    table = TableInfo(checks=_checks(sql))
    counts = "AUTOINCREMENT" in sql
    named = [found.strip(" ,\n)") for found in _NAMED.findall(sql)]
    table.raw = [*named, f"counts on: {counts}"]
    keys: dict[int, str] = {}
    for _, column, kind, not_null, default, key, hidden in query(
        connection, f'PRAGMA table_xinfo("{name}")'
    ):
        if key:
            keys[key] = column
        generated = hidden in {2, 3}
        counted = bool(key) and kind == "INTEGER"
        table.columns[column] = ColumnInfo(
            _type(kind, column, table.checks, counted="bigserial" if counts else "serial")
            if counted
            else _type(kind, column, table.checks),
            not not_null,
            "counted" if counted else _default(default or "", kind),
            generated,
            raw=f"{kind} {plain(default or '')} {not_null} {hidden}",
        )
    table.primary_key = tuple(keys[n] for n in sorted(keys))
    _read_keys(connection, name, table)
    return table


def _read_keys(connection: Connection, name: str, table: TableInfo) -> None:
    for row in query(connection, f'PRAGMA foreign_key_list("{name}")'):
        _, _, target, column, referred, on_update, on_delete, _ = row
        table.foreign_keys[column] = (f"{target}.{referred or 'id'}", on_delete.lower())
        table.raw.append(f"{column} -> {target} {on_update} {on_delete}")
    for _, index, unique, origin, _ in query(connection, f'PRAGMA index_list("{name}")'):
        columns = [row[2] for row in query(connection, f'PRAGMA index_info("{index}")')]
        if origin == "u":
            table.uniques[tuple(columns)] = ""  # the index's name only counts, and tells nothing
        elif origin == "c":
            ((sql,),) = query(connection, f"SELECT sql FROM sqlite_master WHERE name = '{index}'")
            where = sql.partition(" WHERE ")[2]
            table.indexes[index] = IndexInfo(", ".join(columns), "btree", bool(unique), where, sql)


def _type(kind: str, column: str, checks: dict[str, str], counted: str = "") -> str:
    if counted:
        return counted
    if kind in _TYPES:
        return _TYPES[kind]
    kind = kind.replace(" ", "").lower().replace("numeric", "decimal")
    if length := re.fullmatch(r"varchar\((\d+)\)", kind):
        # Only a CHECK holds SQLite to a length; a list of values is one too.
        limits = (f'length("{column}") <= {length[1]}', f"{column} IN (")
        if not any(shown.startswith(limits) for shown in checks.values()):
            return f"{kind} that nothing enforces"
    return kind


def _default(shown: str, kind: str) -> str:
    value = shown.removeprefix("(").removesuffix(")") if shown.startswith("(") else shown
    if value.startswith("strftime("):
        return "now"
    if value.startswith("lower(hex(randomblob("):
        return "uuid"
    if kind.startswith("DECIMAL") and value:
        return f"{int(value) / _MILLIONTHS:.2f}" if int(value) else "0"
    if re.fullmatch(r"'(\{.*\}|\[.*\])'", value):
        return value[1:-1]
    return value


def _checks(sql: str) -> dict[str, str]:
    """Each named CHECK with the text between its brackets."""
    found: dict[str, str] = {}
    for match in _CHECK.finditer(sql):
        depth, end = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(sql[end], 0)
            end += 1
        found[match[1]] = sql[match.end() : end - 1]
    return found
