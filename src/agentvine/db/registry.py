"""Triggers, views, functions and expression indexes as code, one definition per database.

Alembic does not look after these: on SQLite its batch mode drops every trigger and expression
index of a table it changes, without a word. So they are not written in migrations. Models
register them here, and the migration runner brings the database in line with the registry at the
end of every migration, in the migration's own transaction (``schema_objects.py``).

An object states the tables and columns it ``needs``; at an older revision, where one of them does
not exist yet, the object is left out.

A table here is a derived one: it holds nothing that cannot be found in other tables, and is filled
from them when it is made. It may be dropped and made again at any time.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import MetaData

from agentvine.db.types import SQLITE_NOW

Kind = Literal["table", "function", "view", "index", "trigger"]
DialectName = Literal["sqlite", "postgresql"]

MARKER = "/* agentvine */"
"""Stands in the DDL of every object we made, so that one we no longer want can be told apart."""

_CREATION_ORDER: dict[Kind, int] = {
    "table": 0,
    "function": 1,
    "view": 2,
    "index": 3,
    "trigger": 4,
}
_TOUCH_FUNCTION = "agentvine_touch_{column}"
_REFUSE_FUNCTION = "agentvine_refuse_change"


@dataclass(frozen=True, slots=True)
class SchemaObject:
    """One object: its name, and what follows the name in its CREATE statement, per database."""

    kind: Kind
    name: str
    body: Mapping[DialectName, str]
    table: str = ""
    needs: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    unique: bool = False
    fill: Mapping[DialectName, str] = field(default_factory=dict["DialectName", str])
    """Puts the rows into a derived table that was just made."""

    def create_sql(self, dialect: DialectName) -> str:
        """The statement that makes the object."""
        kind = f"UNIQUE {self.kind}" if self.unique else self.kind
        kind = f"OR REPLACE {kind}" if kind == "function" else kind
        kind = f"VIRTUAL {kind}" if kind == "table" and dialect == "sqlite" else kind
        return f"CREATE {kind.upper()} {self.name} {MARKER} {self.body[dialect]}".replace(
            # A function's argument list belongs to its name.
            f"{self.name} {MARKER} ()",
            f"{self.name}() {MARKER}",
        )

    def drop_sql(self, dialect: DialectName) -> str:
        """The statement that removes the object, where there is one."""
        if self.kind == "trigger" and dialect == "postgresql":
            return f"DROP TRIGGER IF EXISTS {self.name} ON {self.table}"
        if self.kind == "function":
            return f"DROP FUNCTION IF EXISTS {self.name}()"
        return f"DROP {self.kind.upper()} IF EXISTS {self.name}"

    def digest(self, dialect: DialectName) -> str:
        """A short fingerprint of the definition."""
        definition = self.create_sql(dialect) + self.fill.get(dialect, "")
        return hashlib.sha256(definition.encode()).hexdigest()[:16]


class Registry:
    """The schema objects that a database should have."""

    def __init__(self) -> None:
        """Start empty."""
        self._objects: dict[str, SchemaObject] = {}

    def register(self, item: SchemaObject) -> None:
        """Add an object; the same one twice is one, two different ones of a name are a mistake."""
        known = self._objects.setdefault(item.name, item)
        if known != item:
            raise ValueError(f"two different schema objects are named {item.name}")

    def names(self) -> frozenset[str]:
        """The names of all objects, for every database and revision."""
        return frozenset(self._objects)

    def wanted(
        self, dialect: DialectName, present: Mapping[str, frozenset[str]]
    ) -> list[SchemaObject]:
        """What this database should have, in the order in which it can be made.

        Args:
            dialect: Which database.
            present: The columns of every table that exists.
        """
        objects = [
            item for item in self._objects.values() if dialect in item.body and _fits(item, present)
        ]
        used = {name for item in objects for name in _functions_of(item, dialect)}
        objects = [item for item in objects if item.kind != "function" or item.name in used]
        return sorted(objects, key=lambda item: (_CREATION_ORDER[item.kind], item.name))

    def updated_at_trigger(self, table: str, column: str = "updated_at") -> None:
        """Keep a column at the time of the row's last change, also when raw SQL makes it.

        A statement that sets the column itself is left alone.
        """
        function = _TOUCH_FUNCTION.format(column=column)
        self.register(
            SchemaObject(
                "function",
                function,
                {
                    "postgresql": "() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                    f"IF NEW.{column} IS NOT DISTINCT FROM OLD.{column} THEN "
                    f"NEW.{column} := clock_timestamp(); END IF; RETURN NEW; END $$"
                },
            )
        )
        self.trigger(
            f"trg_{table}_{column}",
            table,
            needs={column},
            postgresql=f"BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {function}()",
            sqlite=f"AFTER UPDATE ON {table} FOR EACH ROW "
            f"WHEN NEW.{column} IS OLD.{column} BEGIN "
            f"UPDATE {table} SET {column} = {SQLITE_NOW} WHERE rowid = NEW.rowid; END",
        )

    def append_only_trigger(self, table: str, *, allow_delete: bool = False) -> None:
        """Refuse changes to rows once written, and their deletion too unless allowed.

        Args:
            table: The table.
            allow_delete: Where rows leave with their parent or by retention.
        """
        self.register(
            SchemaObject(
                "function",
                _REFUSE_FUNCTION,
                {
                    "postgresql": "() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                    "RAISE EXCEPTION '% is append-only', TG_TABLE_NAME "
                    "USING ERRCODE = 'integrity_constraint_violation'; END $$"
                },
            )
        )
        for verb in ("UPDATE",) if allow_delete else ("UPDATE", "DELETE"):
            self.trigger(
                f"trg_{table}_no_{verb.lower()}",
                table,
                postgresql=f"BEFORE {verb} ON {table} "
                f"FOR EACH ROW EXECUTE FUNCTION {_REFUSE_FUNCTION}()",
                sqlite=f"BEFORE {verb} ON {table} FOR EACH ROW BEGIN "
                f"SELECT RAISE(ABORT, '{table} is append-only'); END",
            )

    def trigger(
        self,
        name: str,
        table: str,
        *,
        sqlite: str = "",
        postgresql: str = "",
        needs: Iterable[str] = (),
    ) -> None:
        """Add a trigger, given as what follows its name in each database's DDL.

        Args:
            name: Unique in the database.
            table: The table it belongs to.
            sqlite: ``AFTER UPDATE ON ... BEGIN ... END``; empty: none on SQLite.
            postgresql: ``BEFORE UPDATE ON ... EXECUTE FUNCTION ...()``; empty: none there.
            needs: Columns of the table that it uses.
        """
        body = _bodies(sqlite, postgresql)
        self.register(SchemaObject("trigger", name, body, table, {table: frozenset(needs)}))

    def index(  # keyword-only beyond the first two
        self,
        name: str,
        table: str,
        *,
        sqlite: str = "",
        postgresql: str = "",
        needs: Iterable[str] = (),
        unique: bool = False,
    ) -> None:
        """Add an expression index, given as what follows ``ON table`` (``(lower(name))``).

        Plain and partial indexes belong into the models; only what Alembic cannot keep is here.
        """
        body = _bodies(sqlite and f"ON {table} {sqlite}", postgresql and f"ON {table} {postgresql}")
        needed = {table: frozenset(needs)}
        self.register(SchemaObject("index", name, body, table, needed, unique))

    def view(
        self,
        name: str,
        *,
        needs: Mapping[str, Iterable[str]],
        sqlite: str = "",
        postgresql: str = "",
    ) -> None:
        """Add a view, given as its SELECT; ``needs`` names the columns it reads per table."""
        body = _bodies(sqlite and f"AS {sqlite}", postgresql and f"AS {postgresql}")
        needed = {table: frozenset(columns) for table, columns in needs.items()}
        self.register(SchemaObject("view", name, body, "", needed))

    def derived_table(
        self,
        name: str,
        *,
        needs: Mapping[str, Iterable[str]],
        sqlite: tuple[str, str],
        postgresql: tuple[str, str],
    ) -> None:
        """Add a table that is filled from others, and kept by triggers that are added besides.

        Args:
            name: Unique in the database.
            needs: The columns it is filled from, per table.
            sqlite: What follows its name (``USING fts5(...)``), and the statement that fills it.
            postgresql: Likewise (``(... tsvector)``).
        """
        needed = {table: frozenset(columns) for table, columns in needs.items()}
        body, fill = _bodies(sqlite[0], postgresql[0]), _bodies(sqlite[1], postgresql[1])
        self.register(SchemaObject("table", name, body, "", needed, fill=fill))

    def updated_at_triggers(self, metadata: MetaData) -> None:
        """Add the trigger to every table that has an ``updated_at`` column."""
        for table in metadata.tables.values():
            if "updated_at" in table.columns:
                self.updated_at_trigger(table.name)


def _fits(item: SchemaObject, present: Mapping[str, frozenset[str]]) -> bool:
    return all(
        table in present and columns <= present[table] for table, columns in item.needs.items()
    )


def _functions_of(item: SchemaObject, dialect: DialectName) -> list[str]:
    """The function a trigger executes."""
    _, found, call = item.body[dialect].partition("EXECUTE FUNCTION ")
    return [call.partition("(")[0]] if found else []


def _bodies(sqlite: str, postgresql: str) -> dict[DialectName, str]:
    bodies: dict[DialectName, str] = {}
    if sqlite:
        bodies["sqlite"] = sqlite
    if postgresql:
        bodies["postgresql"] = postgresql
    return bodies


REGISTRY = Registry()
"""The application's own objects; models add to it through the functions below."""

updated_at_trigger = REGISTRY.updated_at_trigger
append_only_trigger = REGISTRY.append_only_trigger
