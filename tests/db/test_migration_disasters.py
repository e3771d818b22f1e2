"""Three ways in which plain Alembic loses things on SQLite and succeeds, and ours does not.

Each test shows the loss first, with the same migrations and Alembic alone.
"""

from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from agentvine.config.settings import DatabaseSettings
from agentvine.db.errors import MigrationFailed
from agentvine.db.registry import Registry
from tests.support.toy_migrations import (
    FAMILY,
    REQUIRE_NAME,
    make_tree,
    query,
    runner_of,
    upgrade_with_plain_alembic,
)

FAIL_HALF_WAY = {
    "upgrade": """
        op.create_table("toys", sa.Column("id", sa.Integer()))
        op.execute("DELETE FROM children")
        op.execute("SELECT nonsense")
    """
}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """The file that plain Alembic works on."""
    return tmp_path / "plain.db"


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """The file that our runner works on."""
    return tmp_path / "ours.db"


@pytest.fixture
def settings(ours: Path, tmp_path: Path) -> DatabaseSettings:
    return DatabaseSettings(url=f"sqlite+aiosqlite:///{ours}", backup_dir=tmp_path / "backups")


async def test_changing_a_parent_table_keeps_its_children(
    tmp_path: Path, plain: Path, ours: Path, settings: DatabaseSettings
):
    tree = make_tree(tmp_path / "tree", FAMILY, REQUIRE_NAME)

    upgrade_with_plain_alembic(plain, tree, "0001")
    assert query(plain, "SELECT count(*) FROM children") == [(3,)]
    upgrade_with_plain_alembic(plain, tree, "0002")
    assert query(plain, "SELECT count(*) FROM children") == [(0,)], "the disaster"

    runner = runner_of(settings, tree)
    await runner.upgrade("0001")
    await runner.upgrade("0002")
    assert query(ours, "SELECT id, parent_id FROM children") == [(1, 1), (2, 1), (3, 2)]
    assert query(ours, "SELECT id, name FROM parents") == [(1, "Ada"), (2, "Bob")]
    assert "NOT NULL" in str(query(ours, "SELECT sql FROM sqlite_master WHERE name = 'parents'"))


async def test_changing_a_table_keeps_its_triggers_and_expression_indexes(
    tmp_path: Path, plain: Path, ours: Path, settings: DatabaseSettings
):
    tree = make_tree(tmp_path / "tree", FAMILY, REQUIRE_NAME)
    registry = Registry()
    registry.updated_at_trigger("parents")
    registry.index("ix_parents_lower_name", "parents", sqlite="(lower(name))", needs={"name"})
    wanted = [("ix_parents_lower_name",), ("trg_parents_updated_at",)]
    names = "SELECT name FROM sqlite_master WHERE type IN ('trigger', 'index') AND sql NOT NULL"

    upgrade_with_plain_alembic(plain, tree, "0001")
    for item in registry.wanted("sqlite", {"parents": frozenset({"name", "updated_at"})}):
        query(plain, item.create_sql("sqlite"))
    assert query(plain, f"{names} ORDER BY name") == wanted
    upgrade_with_plain_alembic(plain, tree, "0002")
    assert query(plain, names) == [], "the disaster"

    runner = runner_of(settings, tree, registry)
    await runner.upgrade("0001")
    assert query(ours, f"{names} ORDER BY name") == wanted
    await runner.upgrade("0002")
    assert query(ours, f"{names} ORDER BY name") == wanted
    query(ours, "UPDATE parents SET name = 'Eve' WHERE id = 1")
    assert query(ours, "SELECT updated_at IS NOT NULL FROM parents ORDER BY id") == [(1,), (0,)]


async def test_a_migration_that_fails_half_way_is_not_there(
    tmp_path: Path, plain: Path, ours: Path, settings: DatabaseSettings
):
    tree = make_tree(tmp_path / "tree", FAMILY, FAIL_HALF_WAY)

    upgrade_with_plain_alembic(plain, tree, "0001")
    with pytest.raises(OperationalError, match="nonsense"):
        upgrade_with_plain_alembic(plain, tree, "0002")
    assert query(plain, "SELECT version_num FROM alembic_version") == [("0001",)]
    assert query(plain, "SELECT name FROM sqlite_master WHERE name = 'toys'") == [("toys",)], (
        "the disaster: the next attempt fails because the table is there"
    )

    runner = runner_of(settings, tree)
    await runner.upgrade("0001")
    before = query(ours, "SELECT type, name, sql FROM sqlite_master ORDER BY name")
    with pytest.raises(MigrationFailed, match="nonsense"):
        await runner.upgrade("0002")
    assert query(ours, "SELECT version_num FROM alembic_version") == [("0001",)]
    assert query(ours, "SELECT type, name, sql FROM sqlite_master ORDER BY name") == before
    assert query(ours, "SELECT count(*) FROM children") == [(3,)]
