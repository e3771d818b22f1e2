"""The raw SQL door: the specification's examples, and values as Python values on both databases."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agentvine.config.settings import DatabaseSettings
from agentvine.database import (
    DatabaseAlreadyOpen,
    DatabaseNotOpen,
    RawDatabase,
    close_db,
    get_db,
    init_db,
)
from agentvine.db.errors import DatabaseUnreachable
from agentvine.kit.errors import Invalid


@pytest.fixture
async def db(database_settings: DatabaseSettings) -> AsyncIterator[RawDatabase]:
    await init_db(database_settings.url, min_size=1)
    yield get_db()
    await close_db()


@pytest.fixture
async def postgres_db(postgres_settings: DatabaseSettings) -> AsyncIterator[RawDatabase]:
    await init_db(postgres_settings.url)
    yield get_db()
    await close_db()


@pytest.fixture
async def sqlite_db(sqlite_settings: DatabaseSettings) -> AsyncIterator[RawDatabase]:
    await init_db(sqlite_settings.url)
    yield get_db()
    await close_db()


async def _make_context(db: RawDatabase, **columns: Any) -> uuid.UUID:
    given = {"name": "Shop", "type": "api", "owner_id": "user-1", **columns}
    names = ", ".join(given)
    places = ", ".join(f"${number}" for number in range(1, len(given) + 1))
    return await db.fetchval(
        f"INSERT INTO project_contexts ({names}) VALUES ({places}) RETURNING id", *given.values()
    )


async def _make_template(db: RawDatabase, name: str, **columns: Any) -> None:
    given = {"name": name, "category": "api", "complexity": "simple", **columns}
    names = ", ".join(given)
    places = ", ".join(f"${number}" for number in range(1, len(given) + 1))
    await db.execute(f"INSERT INTO templates ({names}) VALUES ({places})", *given.values())


async def test_active_projects_of_a_user(db: RawDatabase):
    await _make_context(db)
    await _make_context(db, name="Old", status="archived")
    await _make_context(db, name="Another's", owner_id="user-2")

    projects = await db.fetch(
        "SELECT * FROM project_contexts WHERE owner_id = $1 AND status = $2", "user-1", "active"
    )

    assert [project["name"] for project in projects] == ["Shop"]


async def test_a_modification_is_recorded_and_applied(db: RawDatabase):
    project_id = await _make_context(db)

    mod_id = await db.fetchval(
        """
        INSERT INTO modifications (project_id, request, requested_by, affected_files)
        VALUES ($1, $2, $3, $4)
        RETURNING id
        """,
        project_id,
        "Add authentication",
        "user-1",
        ["main.py", "auth.py"],
    )
    done = await db.execute(
        """
        UPDATE modifications SET status = $1, applied_at = CURRENT_TIMESTAMP
        WHERE id = $2
        """,
        "applied",
        mod_id,
    )

    assert isinstance(mod_id, uuid.UUID)
    assert done == "UPDATE 1"
    row = await db.fetchrow("SELECT * FROM modifications WHERE id = $1", mod_id)
    assert row is not None
    assert row["affected_files"] == ["main.py", "auth.py"]
    assert row["project_id"] == project_id
    assert abs(row["applied_at"] - datetime.now(UTC)) < timedelta(seconds=10)


async def test_templates_by_category(db: RawDatabase):
    await _make_template(db, "FastAPI service", category="api")
    await _make_template(db, "Landing page", category="web")

    api_templates = await db.fetch("SELECT * FROM templates WHERE category = $1", "api")

    assert [template["name"] for template in api_templates] == ["FastAPI service"]


async def test_documents_are_queried_by_containment(postgres_db: RawDatabase):
    await _make_context(postgres_db, codebase={"requirements.txt": "fastapi"})
    await _make_context(postgres_db, name="Other", codebase={"requirements.txt": "flask"})

    for wanted in ('{"requirements.txt": "fastapi"}', {"requirements.txt": "fastapi"}):
        found = await postgres_db.fetch(
            "SELECT * FROM project_contexts WHERE codebase @> $1", wanted
        )
        assert [row["name"] for row in found] == ["Shop"]


async def test_arrays_are_queried_by_member(postgres_db: RawDatabase):
    await _make_template(postgres_db, "Service", tech_stack=["FastAPI", "PostgreSQL"])
    await _make_template(postgres_db, "Other", tech_stack=["Flask"])

    found = await postgres_db.fetch("SELECT * FROM templates WHERE 'FastAPI' = ANY(tech_stack)")

    assert [row["name"] for row in found] == ["Service"]


async def test_values_come_back_as_they_went_in(db: RawDatabase):
    deployed = datetime(2026, 11, 24, 12, 0, 0, 123456, timezone(timedelta(hours=5)))
    context_id = await _make_context(
        db,
        codebase={"a.py": {"lines": [1, 2.5, None, True, "ü"]}},
        dependencies=["fastapi", 'odd "name", {x}'],
        deployment_config=[],
        test_coverage=87.5,
        last_deployed_at=deployed,
    )

    row = await db.fetchrow("SELECT * FROM project_contexts WHERE id = $1", context_id)

    assert row is not None
    assert row["id"] == context_id
    assert row["codebase"] == {"a.py": {"lines": [1, 2.5, None, True, "ü"]}}
    assert row["dependencies"] == ["fastapi", 'odd "name", {x}']
    assert row["deployment_config"] == []
    assert row["security_score"] is None
    assert row["test_coverage"] == Decimal("87.5")
    assert row["last_deployed_at"] == deployed
    assert row["last_deployed_at"].utcoffset() == timedelta(0)


async def test_records_are_read_by_name_position_and_as_mappings(db: RawDatabase):
    row = await db.fetchrow("SELECT 7 AS number, 'x' AS letter")
    assert row is not None
    assert (row["number"], row[1], len(row)) == (7, "x", 2)
    assert dict(row.items()) == {"number": 7, "letter": "x"}
    assert list(row.keys()) == ["number", "letter"]
    assert list(row.values()) == [7, "x"]
    assert row.get("missing", 3) == 3
    with pytest.raises(KeyError):
        row["missing"]


async def test_a_placeholder_may_be_used_twice_and_out_of_order(db: RawDatabase):
    await _make_context(db, name="user-1")
    found = await db.fetchval(
        "SELECT count(*) FROM project_contexts WHERE type = $2 AND owner_id = $1 AND name = $1",
        "user-1",
        "api",
    )
    assert found == 1


async def test_nothing_found_is_none(db: RawDatabase):
    assert await db.fetchrow("SELECT * FROM templates") is None
    assert await db.fetchval("SELECT id FROM templates") is None
    assert list(await db.fetch("SELECT * FROM templates")) == []


async def test_a_status_tells_how_many_rows_were_changed(db: RawDatabase):
    assert (
        await db.execute(
            "INSERT INTO templates (name, category, complexity) VALUES ($1, $2, $3)",
            *("A", "api", "simple"),
        )
        == "INSERT 0 1"
    )
    assert await db.execute("UPDATE templates SET name = 'B'") == "UPDATE 1"
    assert await db.execute("SELECT * FROM templates") == "SELECT 1"
    assert await db.execute("DELETE FROM templates") == "DELETE 1"


async def test_a_transaction_commits_at_its_end_and_rolls_back_on_an_error(db: RawDatabase):
    async with db.acquire() as connection:
        async with connection.transaction():
            await connection.execute(_NEW_TEMPLATE, "kept")
        with pytest.raises(ZeroDivisionError):
            await _insert_and_fail(connection)
    assert [row["name"] for row in await db.fetch("SELECT name FROM templates")] == ["kept"]


async def test_an_inner_transaction_can_be_undone_alone(db: RawDatabase):
    async with db.acquire() as connection, connection.transaction():
        await connection.execute(_NEW_TEMPLATE, "kept")
        with pytest.raises(ZeroDivisionError):
            await _insert_and_fail(connection)
    assert [row["name"] for row in await db.fetch("SELECT name FROM templates")] == ["kept"]


async def test_many_rows_are_written_all_or_none(db: RawDatabase):
    await db.executemany(_NEW_TEMPLATE, [("a",), ("b",)])
    with pytest.raises(Exception, match=r"(?i)null"):
        await db.executemany(_NEW_TEMPLATE, [("c",), (None,)])
    assert await db.fetchval("SELECT count(*) FROM templates") == 2


async def test_a_failed_statement_leaves_the_connection_usable(db: RawDatabase):
    for _ in range(3):
        with pytest.raises(Exception, match="no_such_table"):
            await db.fetch("SELECT * FROM no_such_table")
    assert await db.fetchval("SELECT 1") == 1


async def test_updated_at_is_kept_for_raw_sql_too(db: RawDatabase):
    context_id = await _make_context(db)
    before = await db.fetchval("SELECT updated_at FROM project_contexts WHERE id = $1", context_id)
    await asyncio.sleep(0.005)  # SQLite's clock has milliseconds
    await db.execute("UPDATE project_contexts SET name = 'New' WHERE id = $1", context_id)
    after = await db.fetchval("SELECT updated_at FROM project_contexts WHERE id = $1", context_id)
    assert after > before


async def test_a_statement_that_takes_too_long_is_stopped(database_settings: DatabaseSettings):
    await init_db(database_settings.url, min_size=1, command_timeout=0.2)
    slow = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) "
        "SELECT count(*) FROM n"
    )
    with pytest.raises(TimeoutError):
        await get_db().fetchval(slow)
    assert await get_db().fetchval("SELECT 1") == 1
    await close_db()


async def test_more_queries_than_connections_wait_their_turn(database_settings: DatabaseSettings):
    await init_db(database_settings.url, min_size=1, max_size=2)
    db = get_db()
    results = await asyncio.gather(
        *(db.fetchval("SELECT CAST($1 AS INTEGER)", n) for n in range(20))
    )
    assert results == list(range(20))
    await close_db()


async def test_the_postgres_pool_keeps_ten_connections_and_makes_no_more_than_fifty(
    postgres_db: RawDatabase,
):
    mine = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'agentvine-script'"
    )
    assert await postgres_db.fetchval(mine) == 10
    await asyncio.gather(*(postgres_db.fetchval("SELECT pg_sleep(0.04)::text") for _ in range(80)))
    assert await postgres_db.fetchval(mine) == 50


async def test_get_db_before_init_db_says_what_to_do():
    with pytest.raises(DatabaseNotOpen, match="init_db"):
        get_db()


async def test_opening_twice_is_one_database_and_another_one_is_refused(
    db: RawDatabase, tmp_path: Path, database_settings: DatabaseSettings
):
    assert await init_db(database_settings.url) is db
    with pytest.raises(DatabaseAlreadyOpen):
        await init_db(f"sqlite:///{tmp_path / 'another.db'}")


async def test_a_missing_database_is_told_apart_from_an_empty_one(tmp_path: Path):
    with pytest.raises(DatabaseUnreachable, match="db setup"):
        await init_db(f"sqlite:///{tmp_path / 'missing.db'}")
    with pytest.raises(DatabaseUnreachable):
        await init_db(f"postgresql://nobody@/missing?host={tmp_path}")
    assert not (tmp_path / "missing.db").exists()


async def test_money_in_sqlite_is_read_exactly_and_a_decimal_parameter_is_refused(
    sqlite_db: RawDatabase,
):
    await sqlite_db.execute("CREATE TABLE purse (amount_usd DECIMAL(10, 6))")
    await sqlite_db.execute("INSERT INTO purse VALUES ($1)", 1_234_567_891)
    assert await sqlite_db.fetchval("SELECT amount_usd FROM purse") == Decimal("1234.567891")
    with pytest.raises(Invalid, match="1_000_000"):
        await sqlite_db.fetch("SELECT * FROM purse WHERE amount_usd > $1", Decimal("0.1"))


async def test_a_decimal_is_exact_on_postgres(postgres_db: RawDatabase):
    await postgres_db.execute("CREATE TABLE purse (amount_usd DECIMAL(10, 6))")
    await postgres_db.execute("INSERT INTO purse VALUES ($1)", Decimal("1234.567891"))
    assert await postgres_db.fetchval("SELECT amount_usd FROM purse") == Decimal("1234.567891")


async def test_what_cannot_be_stored_is_named(sqlite_db: RawDatabase):
    with pytest.raises(Invalid, match="set"):
        await sqlite_db.fetchval("SELECT $1", {1, 2})
    with pytest.raises(ValueError, match="naive"):
        await sqlite_db.fetchval("SELECT $1", datetime(2026, 1, 1))  # noqa: DTZ001  # the point


_NEW_TEMPLATE = "INSERT INTO templates (name, category, complexity) VALUES ($1, 'api', 'simple')"


async def _insert_and_fail(connection: Any) -> None:
    async with connection.transaction():
        await connection.execute(_NEW_TEMPLATE, "undone")
        raise ZeroDivisionError
