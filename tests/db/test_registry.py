"""Triggers, views and expression indexes: made from one definition, and held to it."""

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from agentvine.db import schema_objects
from agentvine.db.registry import REGISTRY, Registry, SchemaObject
from agentvine.db.schema_objects import Difference
from agentvine.db.session import Database

TABLE = (
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, body VARCHAR(50), updated_at {time}, n INTEGER)"
)


@pytest.fixture
async def db(database: Database) -> Database:
    """A database with one more table, and without our application's own objects."""
    time = "DATETIME" if database.dialect.serialises_writers else "TIMESTAMPTZ"
    async with database.transaction() as tx:
        connection = await tx.connection()
        await connection.run_sync(
            schema_objects.drop_ours, ("trigger", "view", "index", "function", "table")
        )
        await tx.execute(text(TABLE.format(time=time)))
        await tx.execute(text("INSERT INTO notes (id, body) VALUES (1, 'one'), (2, 'two')"))
    return database


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.updated_at_trigger("notes")
    registry.index(
        "ix_notes_lower_body",
        "notes",
        sqlite="(lower(body))",
        postgresql="(lower(body))",
        needs={"body"},
    )
    registry.view(
        "short_notes",
        needs={"notes": {"id", "body"}},
        sqlite="SELECT id FROM notes WHERE length(body) < 5",
        postgresql="SELECT id FROM notes WHERE length(body) < 5",
    )
    return registry


async def _run(
    db: Database, work: Callable[[Connection, Registry], list[Difference]], registry: Registry
) -> list[str]:
    async with db.transaction() as tx:
        connection = await tx.connection()
        return sorted(str(item) for item in await connection.run_sync(work, registry))


async def _execute(db: Database, *statements: str) -> None:
    async with db.transaction() as tx:
        for statement in statements:
            await tx.execute(text(statement))


async def test_what_is_registered_is_made_once_and_compares_equal(db: Database, registry: Registry):
    made = await _run(db, schema_objects.apply, registry)
    assert "trigger trg_notes_updated_at is missing" in made
    assert "index ix_notes_lower_body is missing" in made
    assert "view short_notes is missing" in made
    assert await _run(db, schema_objects.compare, registry) == []
    assert await _run(db, schema_objects.apply, registry) == []


async def test_updated_at_moves_with_every_change_that_does_not_set_it(
    db: Database, registry: Registry
):
    await _run(db, schema_objects.apply, registry)
    await _execute(db, "UPDATE notes SET body = 'new' WHERE id = 1")
    async with db.read() as read:
        first = await read.scalar(text("SELECT updated_at FROM notes WHERE id = 1"))
        other = await read.scalar(text("SELECT updated_at FROM notes WHERE id = 2"))
    assert first is not None
    assert other is None
    await asyncio.sleep(0.005)  # SQLite's clock has milliseconds
    await _execute(db, "UPDATE notes SET body = 'newer'")
    async with db.read() as read:
        assert await read.scalar(text("SELECT updated_at FROM notes WHERE id = 1")) > first
    await _execute(db, "UPDATE notes SET updated_at = '2020-01-01 00:00:00Z' WHERE id = 1")
    async with db.read() as read:
        stamp = await read.scalar(text("SELECT updated_at FROM notes WHERE id = 1"))
    assert str(stamp).startswith("2020-01-01")


async def test_rows_of_an_append_only_table_stay_as_they_are(db: Database):
    registry = Registry()
    registry.append_only_trigger("notes")
    await _run(db, schema_objects.apply, registry)
    await _execute(db, "INSERT INTO notes (id, body) VALUES (3, 'three')")
    for statement in ("UPDATE notes SET body = 'x'", "DELETE FROM notes WHERE id = 3"):
        with pytest.raises(IntegrityError, match="notes is append-only"):
            await _execute(db, statement)


async def test_rows_of_an_append_only_table_may_be_allowed_to_leave(db: Database):
    registry = Registry()
    registry.append_only_trigger("notes", allow_delete=True)
    await _run(db, schema_objects.apply, registry)
    await _execute(db, "DELETE FROM notes WHERE id = 1")
    with pytest.raises(IntegrityError, match="append-only"):
        await _execute(db, "UPDATE notes SET body = 'x'")


async def test_a_dropped_object_is_missed_and_made_again(db: Database, registry: Registry):
    await _run(db, schema_objects.apply, registry)
    await _execute(db, "DROP VIEW short_notes", "DROP INDEX ix_notes_lower_body")
    missing = ["index ix_notes_lower_body is missing", "view short_notes is missing"]
    assert await _run(db, schema_objects.compare, registry) == missing
    await _run(db, schema_objects.apply, registry)
    assert await _run(db, schema_objects.compare, registry) == []


async def test_an_object_changed_by_hand_is_noticed_and_put_right(db: Database, registry: Registry):
    await _run(db, schema_objects.apply, registry)
    await _execute(db, "DROP VIEW short_notes", "CREATE VIEW short_notes AS SELECT id FROM notes")
    assert await _run(db, schema_objects.compare, registry) == ["view short_notes is changed"]
    await _run(db, schema_objects.apply, registry)
    assert await _run(db, schema_objects.compare, registry) == []


async def test_a_new_definition_replaces_the_old_one(db: Database, registry: Registry):
    await _run(db, schema_objects.apply, registry)
    newer = Registry()
    newer.updated_at_trigger("notes")
    newer.index(
        "ix_notes_lower_body",
        "notes",
        sqlite="(upper(body))",
        postgresql="(upper(body))",
        unique=True,
        needs={"body"},
    )
    assert await _run(db, schema_objects.apply, newer) == [
        "index ix_notes_lower_body is changed",
        "view short_notes is unwanted",
    ]
    assert await _run(db, schema_objects.compare, newer) == []
    with pytest.raises(IntegrityError):
        await _execute(db, "INSERT INTO notes (id, body) VALUES (9, 'ONE')")


async def test_a_function_is_replaced_under_the_triggers_that_use_it(
    db: Database, registry: Registry
):
    await _run(db, schema_objects.apply, registry)
    if db.dialect.serialises_writers:
        return  # SQLite has no such functions
    await _execute(
        db,
        "CREATE OR REPLACE FUNCTION agentvine_touch_updated_at() RETURNS trigger "
        "LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    )
    differences = await _run(db, schema_objects.compare, registry)
    assert differences == ["function agentvine_touch_updated_at is changed"]
    await _run(db, schema_objects.apply, registry)
    assert await _run(db, schema_objects.compare, registry) == []
    await _execute(db, "UPDATE notes SET body = 'new'")
    async with db.read() as read:
        assert await read.scalar(text("SELECT count(*) FROM notes WHERE updated_at IS NULL")) == 0


async def test_what_somebody_else_made_is_left_alone(db: Database, registry: Registry):
    await _execute(db, "CREATE VIEW theirs AS SELECT id FROM notes")
    await _run(db, schema_objects.apply, registry)
    await _run(db, schema_objects.apply, Registry())
    async with db.read() as read:
        assert await read.scalar(text("SELECT count(*) FROM theirs")) == 2
        with pytest.raises(DBAPIError, match="short_notes"):
            await read.scalar(text("SELECT count(*) FROM short_notes"))


async def test_an_object_waits_for_the_columns_it_needs(db: Database):
    registry = Registry()
    registry.updated_at_trigger("notes", column="changed_at")
    registry.updated_at_trigger("no_such_table")
    registry.view("late", needs={"notes": {"later"}}, sqlite="SELECT 1", postgresql="SELECT 1")
    assert await _run(db, schema_objects.apply, registry) == []
    kind = "DATETIME" if db.dialect.serialises_writers else "TIMESTAMPTZ"
    await _execute(db, f"ALTER TABLE notes ADD COLUMN changed_at {kind}")
    assert "trigger trg_notes_changed_at is missing" in await _run(
        db, schema_objects.apply, registry
    )


async def test_a_disabled_trigger_is_noticed_on_postgres(db: Database, registry: Registry):
    await _run(db, schema_objects.apply, registry)
    if db.dialect.serialises_writers:
        return  # SQLite cannot disable a trigger
    await _execute(db, "ALTER TABLE notes DISABLE TRIGGER trg_notes_updated_at")
    differences = await _run(db, schema_objects.compare, registry)
    assert differences == ["trigger trg_notes_updated_at is changed"]
    await _run(db, schema_objects.apply, registry)
    assert await _run(db, schema_objects.compare, registry) == []


def test_one_name_has_one_definition():
    registry = Registry()
    registry.updated_at_trigger("notes")
    registry.updated_at_trigger("notes")
    with pytest.raises(ValueError, match="trg_notes_updated_at"):
        registry.register(
            SchemaObject("trigger", "trg_notes_updated_at", {"sqlite": "AFTER ..."}, "notes")
        )


async def test_the_applications_own_objects_are_all_there(database: Database):
    assert await _run(database, schema_objects.compare, REGISTRY) == []
