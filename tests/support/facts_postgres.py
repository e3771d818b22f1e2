"""PostgreSQL's catalog in the words of the facts."""

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
    without_casts,
)

_RULES = {"a": "no action", "c": "cascade", "n": "set null", "r": "restrict", "d": "set default"}


def read_postgres(connection: Connection) -> Catalog:
    """The schema of the current database; of a derived table only how it was made."""
    derived = dict(query(connection, _DERIVED))
    left_out = NOT_OURS | derived.keys()
    tables = {name: TableInfo() for (name,) in query(connection, _TABLES) if name not in left_out}
    for table, name, kind, not_null, default, generated in query(connection, _COLUMNS):
        if table in tables:
            tables[table].columns[name] = ColumnInfo(
                _type(kind, default),
                not not_null,
                "" if generated else _default(default),
                generated,
                raw=f"{kind} {default} {generated}",
            )
    for table, name, kind, columns, target, rule, shown in query(connection, _CONSTRAINTS):
        if table in tables:
            _add_constraint(tables[table], kind, tuple(columns or ()), (name, target, rule, shown))
    for table, name, method, unique, columns, where, shown in query(connection, _INDEXES):
        if table in derived:
            derived[name] = shown
        elif table in tables:
            tables[table].indexes[name] = IndexInfo(
                ", ".join(columns), method, unique, plain(where or ""), shown
            )
    for table, name, shown in query(connection, _TRIGGERS):
        if table in tables:
            tables[table].triggers[name] = shown
    return Catalog(tables, has_gin=True, other=dict(query(connection, _FUNCTIONS)) | derived)


def _add_constraint(
    table: TableInfo, kind: str, columns: tuple[str, ...], rest: tuple[str, str, str, str]
) -> None:
    name, target, rule, shown = rest
    table.raw.append(f"{name}: {shown}")
    match kind:
        case "p":
            table.primary_key = columns
        case "u":
            table.uniques[columns] = name
        case "f":
            table.foreign_keys[columns[0]] = (target, _RULES[rule])
        case "c":
            table.checks[name] = without_casts(shown.removeprefix("CHECK "))


def _type(kind: str, default: str) -> str:
    kind = kind.replace("timestamp with time zone", "timestamptz")
    kind = kind.replace("character varying", "varchar").replace("numeric", "decimal")
    if default.startswith("nextval("):
        return {"bigint": "bigserial", "integer": "serial"}[kind]
    return kind


def _default(shown: str) -> str:
    if shown.startswith("nextval("):
        return "counted"
    value = without_casts(shown)
    known = {"CURRENT_TIMESTAMP": "now", "now()": "now", "gen_random_uuid()": "uuid"}
    if value in known:
        return known[value]
    # A document or a number may stand in quotes; a text keeps its own.
    if re.fullmatch(r"'(\{.*\}|\[.*\]|-?[\d.]+)'", value):
        return value[1:-1]
    return value


_HERE = "(SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
_TABLES = f"SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = {_HERE}"
_DERIVED = f"""
SELECT c.relname, string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ')
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
 WHERE c.relkind = 'r' AND c.relnamespace = {_HERE} AND a.attnum > 0
   AND obj_description(c.oid, 'pg_class') LIKE 'agentvine %' GROUP BY c.relname"""
_COLUMNS = f"""
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       coalesce(pg_get_expr(d.adbin, d.adrelid), ''), a.attgenerated <> ''
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind = 'r' AND c.relnamespace = {_HERE}
 ORDER BY a.attnum"""
_CONSTRAINTS = f"""
SELECT c.relname, o.conname, o.contype::text,
       (SELECT array_agg(a.attname::text ORDER BY k.n)
          FROM unnest(o.conkey) WITH ORDINALITY k(n_, n)
          JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.n_),
       coalesce(f.relname || '.' || (SELECT attname FROM pg_attribute
          WHERE attrelid = o.confrelid AND attnum = o.confkey[1]), ''),
       o.confdeltype::text, pg_get_constraintdef(o.oid)
  FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
  LEFT JOIN pg_class f ON f.oid = o.confrelid
 WHERE c.relnamespace = {_HERE} AND o.contype IN ('p', 'u', 'f', 'c')
 ORDER BY o.conname"""
_INDEXES = f"""
SELECT t.relname, i.relname, m.amname, x.indisunique,
       (SELECT array_agg(a.attname::text ORDER BY k.n)
          FROM unnest(x.indkey::int[]) WITH ORDINALITY k(n_, n)
          JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.n_),
       pg_get_expr(x.indpred, x.indrelid), pg_get_indexdef(x.indexrelid)
  FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
  JOIN pg_am m ON m.oid = i.relam
 WHERE t.relnamespace = {_HERE}
   AND NOT EXISTS (SELECT 1 FROM pg_constraint o WHERE o.conindid = x.indexrelid
                   AND o.contype IN ('p', 'u'))"""
_TRIGGERS = f"""
SELECT c.relname, t.tgname, pg_get_triggerdef(t.oid) FROM pg_trigger t
  JOIN pg_class c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal AND c.relnamespace = {_HERE}"""
_FUNCTIONS = f"""
SELECT proname, pg_get_functiondef(oid) FROM pg_proc
 WHERE pronamespace = {_HERE} AND prokind = 'f'"""
