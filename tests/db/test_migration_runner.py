"""The runner's promises, on both databases unless a test says otherwise."""

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, text

from agentvine.config.settings import DatabaseSettings
from agentvine.db.engine import sqlite_path
from agentvine.db.errors import (
    CannotCreateDatabase,
    DatabaseInUse,
    DatabaseNotOurs,
    DatabaseUnreachable,
    MigrationFailed,
    SchemaOutdated,
    SchemaTooNew,
    UnknownRevision,
)
from agentvine.db.filelock import DatabaseFileLock
from agentvine.db.migrations.runner import MigrationRunner
from agentvine.db.migrations.state import CODE, Compatibility, write_compatibility
from agentvine.db.registry import Registry
from agentvine.db.session import Database
from agentvine.kit.clock import SystemClock
from agentvine.server.migrations import migration_runner
from tests.support.postgres import PostgresServer
from tests.support.toy_migrations import (
    FAMILY,
    REQUIRE_NAME,
    make_tree,
    query,
    runner_of,
)

MORE = {
    "upgrade": 'op.create_table("toys", sa.Column("id", sa.Integer()))',
    "downgrade": 'op.drop_table("toys")',
}
FAIL = {"upgrade": 'op.execute("SELECT nonsense")'}


async def _scalar(settings: DatabaseSettings, sql: str) -> object:
    database = await Database.open(settings, SystemClock())
    try:
        async with database.read() as read:
            return await read.scalar(text(sql))
    finally:
        await database.close()


async def _execute(settings: DatabaseSettings, sql: str) -> None:
    database = await Database.open(settings, SystemClock())
    try:
        async with database.transaction() as tx:
            await tx.execute(text(sql))
    finally:
        await database.close()


async def test_an_empty_database_is_brought_to_the_newest_revision_and_back(
    empty_database_settings: DatabaseSettings, tmp_path: Path
):
    runner = runner_of(empty_database_settings, make_tree(tmp_path / "tree", FAMILY, MORE))

    report = await runner.setup()
    assert (report.before, report.after) == (None, "0002")
    assert report.steps == ("upgrade 0001", "upgrade 0002")
    assert (await runner.current()).is_at_head
    assert await runner.check() == []

    report = await runner.downgrade("-1")
    assert (report.before, report.after) == ("0002", "0001")
    assert await _scalar(empty_database_settings, "SELECT count(*) FROM children") == 3

    await runner.downgrade("base")
    assert (await runner.current()).revision is None
    report = await runner.upgrade("+1")
    assert report.after == "0001"


async def test_what_is_there_already_is_not_done_again(
    empty_database_settings: DatabaseSettings, tmp_path: Path
):
    runner = runner_of(empty_database_settings, make_tree(tmp_path / "tree", FAMILY))
    await runner.upgrade()
    report = await runner.upgrade()
    assert (report.steps, report.repaired, report.safety_copy) == ((), (), None)
    assert not (tmp_path / "backups").exists()


async def test_init_leaves_a_database_alone_that_has_a_schema(
    empty_database_settings: DatabaseSettings, tmp_path: Path
):
    tree = make_tree(tmp_path / "tree", FAMILY, MORE)
    runner = runner_of(empty_database_settings, tree)
    await runner.upgrade("0001")
    assert (await runner.init()).after == "0001"
    await runner.downgrade("base")
    assert (await runner.init()).after == "0002"


async def test_a_failing_migration_undoes_itself_and_keeps_the_error(
    empty_database_settings: DatabaseSettings, tmp_path: Path
):
    runner = runner_of(empty_database_settings, make_tree(tmp_path / "tree", FAMILY, FAIL))
    await runner.upgrade("0001")
    with pytest.raises(MigrationFailed, match=r"nonsense.*as it was before"):
        await runner.upgrade()
    assert (await runner.current()).revision == "0001"
    assert await _scalar(empty_database_settings, "SELECT count(*) FROM children") == 3


async def test_on_sqlite_a_run_of_several_migrations_is_whole_or_not_there(
    sqlite_settings: DatabaseSettings, tmp_path: Path
):
    path = tmp_path / "several.db"
    settings = sqlite_settings.model_copy(update={"url": f"sqlite+aiosqlite:///{path}"})
    runner = runner_of(settings, make_tree(tmp_path / "tree", FAMILY, MORE, FAIL))
    await runner.upgrade("0001")
    with pytest.raises(MigrationFailed) as caught:
        await runner.upgrade()
    assert (await runner.current()).revision == "0001"
    assert query(path, "SELECT count(*) FROM sqlite_master WHERE name = 'toys'") == [(0,)]
    assert query(path, "PRAGMA journal_mode") == [("wal",)]
    (copy,) = (tmp_path / "backups").iterdir()
    assert str(copy) in caught.value.detail


async def test_on_sqlite_a_failing_first_run_leaves_an_empty_database(
    sqlite_settings: DatabaseSettings, tmp_path: Path
):
    path = tmp_path / "first.db"
    settings = sqlite_settings.model_copy(update={"url": f"sqlite+aiosqlite:///{path}"})
    runner = runner_of(settings, make_tree(tmp_path / "tree", FAMILY, FAIL))
    with pytest.raises(MigrationFailed):
        await runner.setup()
    assert query(path, "SELECT name FROM sqlite_master") == []
    assert not (tmp_path / "backups").exists()


async def test_a_cancelled_migration_is_undone(
    empty_database_settings: DatabaseSettings, tmp_path: Path
):
    slow = {
        "upgrade": """
            op.create_table("toys", sa.Column("id", sa.Integer()))
            op.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) "
                "SELECT count(*) FROM n"
            )
        """
    }
    runner = runner_of(empty_database_settings, make_tree(tmp_path / "tree", FAMILY, slow))
    await runner.upgrade("0001")
    task = asyncio.create_task(runner.upgrade())
    await asyncio.sleep(0.2)  # lint: allow AV019 (into the middle of the slow statement)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await runner.current()).revision == "0001"
    with pytest.raises(Exception, match="toys"):
        await _scalar(empty_database_settings, "SELECT count(*) FROM toys")


async def test_a_safety_copy_is_complete_private_and_named_after_its_migration(
    sqlite_settings: DatabaseSettings, tmp_path: Path
):
    path = tmp_path / "copied.db"
    settings = sqlite_settings.model_copy(update={"url": f"sqlite+aiosqlite:///{path}"})
    runner = runner_of(settings, make_tree(tmp_path / "tree", FAMILY, MORE))
    await runner.upgrade("0001")
    copies = [
        (await runner.upgrade()).safety_copy,
        (await runner.downgrade("0001")).safety_copy,
        (await runner.upgrade()).safety_copy,
    ]
    assert len(set(copies)) == 3
    for copy, target in zip(copies, ("0002", "0001", "0002"), strict=True):
        assert copy is not None
        assert copy.parent == tmp_path / "backups"
        assert copy.name.startswith(f"pre-{target}-2")
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        assert query(copy, "SELECT count(*) FROM children") == [(3,)]
    assert copies[0] is not None
    assert query(copies[0], "SELECT version_num FROM alembic_version") == [("0001",)]


async def test_lost_rows_are_refused_unless_the_migration_announces_them(
    sqlite_settings: DatabaseSettings, tmp_path: Path
):
    path = tmp_path / "rows.db"
    settings = sqlite_settings.model_copy(update={"url": f"sqlite+aiosqlite:///{path}"})
    forget = {"upgrade": 'op.execute("DELETE FROM children WHERE id > 1")'}
    runner = runner_of(settings, make_tree(tmp_path / "silent", FAMILY, forget))
    await runner.upgrade("0001")
    with pytest.raises(MigrationFailed, match=r"children \(2\)"):
        await runner.upgrade()
    assert query(path, "SELECT count(*) FROM children") == [(3,)]

    announced = {**forget, "constants": 'removes_rows_from = ("children",)'}
    await runner_of(settings, make_tree(tmp_path / "told", FAMILY, announced)).upgrade()
    assert query(path, "SELECT count(*) FROM children") == [(1,)]


async def test_rows_that_refer_to_nothing_are_refused(
    empty_database_settings: DatabaseSettings, tmp_path: Path
):
    orphan = {"upgrade": 'op.execute("INSERT INTO children (id, parent_id) VALUES (9, 99)")'}
    runner = runner_of(empty_database_settings, make_tree(tmp_path / "tree", FAMILY, orphan))
    await runner.upgrade("0001")
    with pytest.raises(MigrationFailed):
        await runner.upgrade()
    assert await _scalar(empty_database_settings, "SELECT count(*) FROM children") == 3


async def test_a_table_with_a_view_and_triggers_can_be_changed(
    empty_database_settings: DatabaseSettings, tmp_path: Path
):
    widen = {
        "upgrade": """
            with op.batch_alter_table("parents") as batch:
                batch.alter_column(
                    "name", existing_type=sa.String(50), type_=sa.String(80), nullable=False
                )
        """
    }
    registry = Registry()
    registry.updated_at_trigger("parents")
    registry.view(
        "named_parents",
        needs={"parents": {"id", "name"}},
        sqlite="SELECT id, name FROM parents WHERE name <> ''",
        postgresql="SELECT id, name FROM parents WHERE name <> ''",
    )
    tree = make_tree(tmp_path / "tree", FAMILY, widen)
    runner = runner_of(empty_database_settings, tree, registry)
    await runner.upgrade()
    assert await _scalar(empty_database_settings, "SELECT count(*) FROM named_parents") == 2
    assert await runner.check() == []


async def test_an_upgrade_without_a_step_still_repairs_the_schema_objects(
    empty_database_settings: DatabaseSettings, tmp_path: Path
):
    tree = make_tree(tmp_path / "tree", FAMILY)
    await runner_of(empty_database_settings, tree).upgrade()
    registry = Registry()
    registry.updated_at_trigger("parents")
    runner = runner_of(empty_database_settings, tree, registry)
    problems = await runner.check()
    assert "trg_parents_updated_at" in " ".join(problem.detail for problem in problems)
    report = await runner.upgrade()
    assert "trigger trg_parents_updated_at is missing" in report.repaired
    assert await runner.check() == []


async def test_unknown_revisions_are_named(
    empty_database_settings: DatabaseSettings, tmp_path: Path
):
    runner = runner_of(empty_database_settings, make_tree(tmp_path / "tree", FAMILY))
    await runner.upgrade()
    for attempt in (runner.upgrade("nope"), runner.downgrade("nope"), runner.stamp("nope")):
        with pytest.raises(UnknownRevision, match="nope"):
            await attempt
    assert (await runner.current()).revision == "0001"


async def test_stamping_writes_the_revision_and_nothing_else(
    empty_database_settings: DatabaseSettings, tmp_path: Path
):
    runner = runner_of(empty_database_settings, make_tree(tmp_path / "tree", FAMILY, MORE))
    await runner.upgrade("0001")
    report = await runner.stamp("head")
    assert (report.before, report.after) == ("0001", "0002")
    assert await _scalar(empty_database_settings, "SELECT count(*) FROM parents") == 2
    await runner.stamp("0001")
    assert (await runner.upgrade()).steps == ("upgrade 0002",)


async def test_tables_of_our_names_without_a_revision_are_not_touched(
    empty_database_settings: DatabaseSettings, tmp_path: Path
):
    metadata = MetaData()
    Table("parents", metadata, Column("id", Integer, primary_key=True))
    tree = make_tree(tmp_path / "tree", FAMILY)
    await runner_of(empty_database_settings, make_tree(tmp_path / "none")).upgrade()
    await _execute(empty_database_settings, "CREATE TABLE parents (id INTEGER)")
    runner = runner_of(empty_database_settings, tree, metadata=metadata)
    with pytest.raises(DatabaseNotOurs, match="parents"):
        await runner.setup()
    await runner.stamp("head")
    assert (await runner.current()).is_at_head


async def test_check_tells_what_is_wrong(empty_database_settings: DatabaseSettings, tmp_path: Path):
    runner = runner_of(empty_database_settings, make_tree(tmp_path / "tree", FAMILY, MORE))
    await runner.upgrade("0001")
    (problem,) = await runner.check()
    assert problem.code == "schema_outdated"
    assert "0001" in problem.detail
    assert "upgrade" in problem.fix
    with pytest.raises(SchemaOutdated, match="db upgrade"):
        await runner.require_ready()
    await runner.upgrade()
    assert await runner.check() == []
    await runner.require_ready()


async def test_check_of_a_database_that_is_not_there(tmp_path: Path):
    for url in (
        f"sqlite+aiosqlite:///{tmp_path / 'none.db'}",
        f"postgresql+asyncpg://user@/none?host={tmp_path}",
        "postgresql+asyncpg://user@127.0.0.1:9/none",
    ):
        runner = migration_runner(DatabaseSettings(url=url))
        (problem,) = await runner.check()
        assert problem.code == "database_unreachable"
        with pytest.raises(DatabaseUnreachable):
            await runner.require_ready()
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240  # a quick look


class TestTheRealSchema:
    async def test_is_at_head_and_whole(self, database_settings: DatabaseSettings):
        runner = migration_runner(database_settings)
        assert await runner.check() == []
        await runner.require_ready()

    async def test_going_to_base_leaves_nothing_behind(self, database_settings: DatabaseSettings):
        runner = migration_runner(database_settings)
        await runner.downgrade("base")
        if "sqlite" in database_settings.url:
            left = query(sqlite_path(database_settings), "SELECT name FROM sqlite_master")
            assert {name for (name,) in left} <= {
                "alembic_version",
                "sqlite_autoindex_alembic_version_1",
                "sqlite_sequence",
            }
        else:
            left = await _scalar(
                database_settings,
                "SELECT (SELECT count(*) FROM pg_tables WHERE schemaname = 'public') + "
                "(SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace)",
            )
            assert left == 1
        await runner.upgrade()
        assert await runner.check() == []

    async def test_older_code_refuses_a_schema_that_does_not_serve_it(
        self, database_settings: DatabaseSettings
    ):
        await _write_numbers(
            database_settings, Compatibility(CODE.schema_version + 2, CODE.schema_version + 1)
        )
        runner = migration_runner(database_settings)
        for attempt in (runner.require_ready(), runner.upgrade(), runner.downgrade("base")):
            with pytest.raises(SchemaTooNew, match="newer AgentVine"):
                await attempt
        assert [problem.code for problem in await runner.check()] == ["schema_too_new"]

    async def test_older_code_goes_on_with_a_newer_schema_that_still_serves_it(
        self, database_settings: DatabaseSettings
    ):
        await _write_numbers(database_settings, Compatibility(CODE.schema_version + 1, 1))
        await _execute(database_settings, "UPDATE alembic_version SET version_num = 'from_later'")
        runner = migration_runner(database_settings)
        await runner.require_ready()
        assert (await runner.setup()).steps == ()
        with pytest.raises(SchemaTooNew):
            await runner.upgrade()

    async def test_a_revision_nobody_knows_is_refused(self, database_settings: DatabaseSettings):
        await _execute(database_settings, "DELETE FROM server_state")
        await _execute(database_settings, "UPDATE alembic_version SET version_num = 'unheard_of'")
        runner = migration_runner(database_settings)
        with pytest.raises(SchemaTooNew, match="unheard_of"):
            await runner.require_ready()
        await runner.stamp("head")
        await runner.require_ready()


class TestOneAtATime:
    async def test_a_running_server_keeps_migrations_away_from_its_file(
        self, sqlite_settings: DatabaseSettings
    ):
        with DatabaseFileLock(sqlite_path(sqlite_settings), "server") as lock:
            with pytest.raises(DatabaseInUse, match=r"server \(process \d+\)"):
                await migration_runner(sqlite_settings).upgrade()
            report = await migration_runner(sqlite_settings, held_lock=lock).upgrade()
            assert lock.is_held
            assert report.after

    async def test_two_migrations_of_one_server_run_one_after_the_other(
        self, new_postgres_database: Callable[[str | None], str], tmp_path: Path
    ):
        settings = DatabaseSettings(url=new_postgres_database(None))
        tree = make_tree(tmp_path / "tree", FAMILY, REQUIRE_NAME)
        reports = await asyncio.gather(*(runner_of(settings, tree).setup() for _ in range(3)))
        assert sorted(len(report.steps) for report in reports) == [0, 0, 2]

    async def test_the_lock_of_a_process_that_died_is_free(self, tmp_path: Path):
        path = tmp_path / "a.db"
        first = DatabaseFileLock(path, "server")
        first.acquire()
        second = DatabaseFileLock(path, "server")
        with pytest.raises(DatabaseInUse):
            second.acquire()
        first.release()
        second.acquire()
        second.release()
        second.release()


class TestCreatingTheDatabase:
    async def test_setup_creates_a_postgres_database(
        self, postgres_server: PostgresServer, tmp_path: Path
    ):
        name = 'av "new" database'
        quoted = '"av ""new"" database"'
        settings = DatabaseSettings(url=postgres_server.url("av%20%22new%22%20database"))
        runner = runner_of(settings, make_tree(tmp_path / "tree", FAMILY))
        try:
            with pytest.raises(DatabaseUnreachable):
                await runner.current()
            report = await runner.setup()
            assert report.created
            assert not (await runner.setup()).created
            assert await _scalar(settings, "SELECT current_database()") == name
        finally:
            postgres_server.drop_database(quoted)

    async def test_a_role_that_may_not_create_is_told_what_to_ask_for(
        self, postgres_server: PostgresServer, tmp_path: Path
    ):
        postgres_server.execute("CREATE ROLE av_poor LOGIN")
        try:
            url = postgres_server.url("av_missing").replace("postgres@", "av_poor@")
            runner = runner_of(DatabaseSettings(url=url), make_tree(tmp_path / "tree", FAMILY))
            with pytest.raises(CannotCreateDatabase, match='CREATE DATABASE "av_missing" OWNER'):
                await runner.setup()
        finally:
            postgres_server.execute("DROP ROLE av_poor")

    async def test_setup_makes_the_folder_of_a_sqlite_file(self, tmp_path: Path):
        path = tmp_path / "a" / "b" / "new.db"
        settings = DatabaseSettings(url=f"sqlite+aiosqlite:///{path}")
        report = await runner_of(settings, make_tree(tmp_path / "tree", FAMILY)).setup()
        assert report.created
        assert path.exists()

    async def test_a_folder_that_cannot_be_made_is_named(self, tmp_path: Path):
        (tmp_path / "file").write_text("in the way")
        settings = DatabaseSettings(url=f"sqlite+aiosqlite:///{tmp_path}/file/x.db")
        with pytest.raises(DatabaseUnreachable, match="Cannot make"):
            await runner_of(settings, make_tree(tmp_path / "tree", FAMILY)).setup()


async def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path):
    path = tmp_path / "text.db"
    path.write_text("This is not a database, it is a text. " * 100)
    runner: MigrationRunner = migration_runner(DatabaseSettings(url=f"sqlite+aiosqlite:///{path}"))
    (problem,) = await runner.check()
    assert "not a database" in problem.detail
    assert path.read_text().startswith("This is not")


async def test_the_history_tells_what_follows_what(
    tmp_path: Path, sqlite_settings: DatabaseSettings
):
    runner = runner_of(
        sqlite_settings, make_tree(tmp_path / "tree", FAMILY, {**MORE, "title": "Add toys"})
    )
    newest, first = runner.history("0001")
    assert (newest.revision, newest.after, newest.message) == ("0002", "0001", "Add toys")
    assert (newest.is_head, newest.is_current) == (True, False)
    assert (first.after, first.is_current) == (None, True)


async def _write_numbers(settings: DatabaseSettings, numbers: Compatibility) -> None:
    database = await Database.open(settings, SystemClock())
    async with database.transaction() as tx:
        connection = await tx.connection()
        await connection.run_sync(write_compatibility, numbers)
    await database.close()
