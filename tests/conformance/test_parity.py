"""One schema, however it is made: by the models, by the migrations, and back and forth."""

from collections.abc import Callable
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, select, text

from agentvine.config.settings import DatabaseSettings
from agentvine.db import schema_objects
from agentvine.db.engine import open_engine
from agentvine.db.migrations.filters import Filters
from agentvine.db.registry import REGISTRY
from agentvine.domains.mapping import metadata
from agentvine.server.migrations import migration_runner
from tests.support.facts import read_catalog
from tests.support.facts_catalog import Catalog
from tests.support.seed_rows import seed_rows

ALLOWED_DIFFERENCES: frozenset[str] = frozenset()
"""Lines of an inventory in which models and migrations may differ; each needs a reason here."""


async def _on(settings: DatabaseSettings, work: Callable[[Connection], Any]) -> Any:
    engine = open_engine(settings)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def _inventory(connection: Connection) -> frozenset[str]:
    return _lines(read_catalog(connection))


def _lines(catalog: Catalog) -> frozenset[str]:
    """Every property of a schema as a line of its own, with white space evened out."""
    found = {f"{name}: {shown}" for name, shown in catalog.other.items()}
    for name, table in catalog.tables.items():
        found |= {f"{name}: {part}" for part in table.raw}
        found.add(f"{name} primary key {table.primary_key}")
        for kind in ("columns", "uniques", "foreign_keys", "checks", "indexes", "triggers"):
            found |= {f"{name} {kind} {key}: {v}" for key, v in getattr(table, kind).items()}
    return frozenset(" ".join(line.split()) for line in found)


async def test_models_and_migrations_make_the_same_schema(
    database_settings: DatabaseSettings, empty_database_settings: DatabaseSettings
) -> None:
    def from_the_models(connection: Connection) -> frozenset[str]:
        metadata.create_all(connection)
        schema_objects.apply(connection, REGISTRY)
        return _inventory(connection)

    migrated = await _on(database_settings, _inventory)
    modelled = await _on(empty_database_settings, from_the_models)

    assert len(migrated) > 1000
    assert sorted((migrated ^ modelled) - ALLOWED_DIFFERENCES) == []


async def test_an_inventory_shows_the_smallest_difference(
    database_settings: DatabaseSettings,
) -> None:
    before = await _on(database_settings, _inventory)

    await _on(
        database_settings,
        lambda connection: connection.execute(
            text("CREATE INDEX idx_extra ON tests (status) WHERE status = 'failed'")
        ),
    )

    (difference,) = before ^ await _on(database_settings, _inventory)
    assert "idx_extra" in difference


async def test_autogenerate_finds_nothing_to_do(database_settings: DatabaseSettings) -> None:
    def differences(connection: Connection) -> list[Any]:
        registered = REGISTRY.names()
        options = {
            "target_metadata": metadata,
            "compare_type": True,
            "compare_server_default": True,
            "include_object": Filters(_name(connection), registered).include_object,
            "autogenerate_plugins": [
                "alembic.autogenerate.*",
                "alembic.ext.checkconstraint_byname",
            ],
        }
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    assert await _on(database_settings, differences) == []


async def test_the_way_down_and_up_again_leaves_no_trace_with_rows_in_every_table(
    database_settings: DatabaseSettings,
) -> None:
    runner = migration_runner(database_settings)
    before = await _on(database_settings, _inventory)
    rows_of_the_runner = await _on(database_settings, _counts)
    await _on(database_settings, seed_rows)
    assert all(await _on(database_settings, _counts))

    await runner.downgrade("base")
    left = await _on(database_settings, read_catalog)
    await runner.upgrade("head")
    after = await _on(database_settings, _inventory)

    assert left.tables == {}
    assert left.other == {}
    assert sorted(before ^ after) == []
    assert not await runner.check()
    assert await _on(database_settings, _counts) == rows_of_the_runner


async def test_an_upgrade_keeps_every_row_of_every_table(
    database_settings: DatabaseSettings,
) -> None:
    await _on(database_settings, seed_rows)
    before = await _on(database_settings, _rows)

    report = await migration_runner(database_settings).upgrade("head")

    assert not report.steps
    assert all(before.values())
    assert await _on(database_settings, _rows) == before


async def test_a_fresh_database_is_made_in_one_go_and_passes_the_check(
    empty_database_settings: DatabaseSettings,
) -> None:
    runner = migration_runner(empty_database_settings)

    report = await runner.setup()

    assert report.after == "keys_of_notifications"
    assert not await runner.check()


def _name(connection: Connection) -> Any:
    return connection.dialect.name


def _rows(connection: Connection) -> dict[str, list[Any]]:
    return {
        table.name: sorted(map(repr, connection.execute(select(table)).all()))
        for table in metadata.tables.values()
    }


def _counts(connection: Connection) -> list[int]:
    """How many rows each table has."""
    return [len(rows) for rows in _rows(connection).values()]
