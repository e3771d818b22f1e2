"""One run of Alembic over one connection, with what must hold around every migration.

Measured with plain Alembic on SQLite: with foreign keys on, changing a parent table in batch mode
deletes its children; it drops the table's triggers and expression indexes; and a migration that
fails in its middle stays half applied. None of it is reported. So, inside every migration's own
transaction:

1. at its BEGIN, what the registry made is removed where it would be in the way, and the rows of
   every table are counted;
2. at its end, the registry's objects are put back, and the migration is undone where rows went
   missing unannounced, a foreign key points nowhere, or the file is damaged.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import Script
from sqlalchemy import Connection, MetaData, inspect, text
from sqlalchemy.schema import SchemaItem

from agentvine.db import schema_objects
from agentvine.db.errors import MigrationFailed
from agentvine.db.migrations.filters import VERSION_TABLE, Filters
from agentvine.db.migrations.state import Compatibility, write_compatibility
from agentvine.db.registry import Registry
from agentvine.kit.errors import Internal

REMOVES_ROWS = "removes_rows_from"
"""A migration that deletes rows on purpose names their tables in a constant of this name."""


@dataclass(slots=True)
class MigrationRun:
    """What env.py and the hooks of one run share."""

    connection: Connection
    metadata: MetaData
    registry: Registry
    numbers: Compatibility
    steps: list[str] = field(default_factory=list[str])
    _counts: Mapping[str, int] = field(default_factory=dict[str, int])

    def include_object(
        self,
        item: SchemaItem,
        name: str | None,
        kind: str,
        reflected: bool,  # Alembic passes it by position
        compare_to: SchemaItem | None,
    ) -> bool:
        """Alembic's filter for autogenerate."""
        filters = Filters(self.connection.dialect.name, self.registry.names())
        return filters.include_object(item, name, kind, reflected, compare_to)

    def on_begin(self, connection: Connection) -> None:
        """Clear the way, at the BEGIN of each migration's transaction."""
        _require_transaction(connection)
        if _is_sqlite(connection):
            if connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() != 0:
                raise Internal("Foreign keys are on: a batch change would delete the children.")
            # Without its triggers a derived table falls behind: it is made anew.
            schema_objects.drop_ours(connection, ("trigger", "view", "index", "table"))
            self._counts = _count_rows(connection)
        else:
            # Here ALTER TABLE keeps triggers and indexes; only a view stands in its way.
            schema_objects.drop_ours(connection, ("view",))

    def on_version_apply(
        self,
        ctx: MigrationContext,  # Alembic passes all four by name
        step: MigrationInfo,
        heads: Collection[Any],
        run_args: Mapping[str, Any],
    ) -> None:
        """Put back and check, at the end of each migration's transaction."""
        schema_objects.apply(self.connection, self.registry)
        if _is_sqlite(self.connection):
            self._check_rows(step)
            _check_references(self.connection)
            _check_file(self.connection)
        write_compatibility(self.connection, self.numbers)
        self.steps.append(_step_name(step))

    def _check_rows(self, step: MigrationInfo) -> None:
        announced = _announced(step)
        after = _count_rows(self.connection)
        lost = {
            table: before - after[table]
            for table, before in self._counts.items()
            if table in after and after[table] < before and table not in announced
        }
        if lost:
            tables = ", ".join(f"{table} ({count})" for table, count in sorted(lost.items()))
            raise MigrationFailed(
                f"{_step_name(step)} removed rows from {tables} without announcing it in "
                f"{REMOVES_ROWS}; nothing was changed.",
                lost_rows=lost,
            )


def _require_transaction(connection: Connection) -> None:
    """Refuse to change anything before BEGIN was emitted: it could not be taken back."""
    driver = cast("Any", connection.connection.driver_connection)
    if _is_sqlite(connection) and not driver.in_transaction:
        raise Internal("The migration hooks ran before BEGIN.")


def _is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


def _count_rows(connection: Connection) -> dict[str, int]:
    quote = connection.dialect.identifier_preparer.quote
    return {
        table: connection.execute(
            text(f"SELECT count(*) FROM {quote(table)}")  # quoted, from the catalog
        ).scalar_one()
        for table in inspect(connection).get_table_names()
        if table != VERSION_TABLE
    }


def _check_references(connection: Connection) -> None:
    broken = connection.execute(text("PRAGMA foreign_key_check")).all()
    if broken:
        tables = ", ".join(sorted({f"{row[0]} -> {row[2]}" for row in broken}))
        raise MigrationFailed(
            f"{len(broken)} rows refer to rows that do not exist ({tables}); nothing was changed."
        )


def _check_file(connection: Connection) -> None:
    found = connection.execute(text("PRAGMA integrity_check(5)")).scalars().all()
    if found != ["ok"]:
        raise MigrationFailed(f"The database file is damaged: {'; '.join(map(str, found))}.")


def _announced(step: MigrationInfo) -> frozenset[str]:
    script = step.up_revision
    module = script.module if isinstance(script, Script) else None
    return frozenset(getattr(module, REMOVES_ROWS, ()))


def _step_name(step: MigrationInfo) -> str:
    if step.is_stamp:
        return f"stamp {', '.join(step.destination_revision_ids) or 'base'}"
    return f"{'upgrade' if step.is_upgrade else 'downgrade'} {step.up_revision_id}"
