"""Fixtures that every test may use: real databases of both kinds, each test its own.

The schema is made once per session, by running the migrations; every test works on a copy, which
really commits. ``--db=sqlite`` or ``--db=postgres`` runs one kind only.
"""

import itertools
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from agentvine.config.settings import DatabaseSettings
from agentvine.db.session import Database
from agentvine.kit.clock import SystemClock
from agentvine.server.migrations import migration_runner
from tests.support import time_budget
from tests.support.api import Api, running_api
from tests.support.postgres import NoPostgres, PostgresServer, run_apart, start_postgres
from tests.support.small_disk import WEAKER

_KINDS = ("sqlite", "postgres")
_TEMPLATE = f"agentvine_template_{os.getpid()}"
_numbers = itertools.count(1)

# How long an example takes says how busy the machine is.
hypothesis_settings.register_profile("any machine", deadline=None)
hypothesis_settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--db",
        default=",".join(_KINDS),
        help="databases to run database tests on: sqlite, postgres, or both (default)",
    )
    time_budget.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    time_budget.watch_the_time(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database_kind" in metafunc.fixturenames:
        metafunc.parametrize("database_kind", _chosen_kinds(metafunc.config))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of one database alone where only the other was asked for."""
    for kind in set(_KINDS) - set(_chosen_kinds(config)):
        needed = {f"{kind}_settings", f"{kind}_template", f"{kind}_server"}
        unasked = [item for item in items if needed & set(getattr(item, "fixturenames", ()))]
        config.hook.pytest_deselected(items=unasked)
        items[:] = [item for item in items if item not in unasked]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests this machine has kept from doing what they were meant to."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == WEAKER:
                terminalreporter.write_line(f"{WEAKER}: {report.nodeid}: {value}", yellow=True)


def _chosen_kinds(config: pytest.Config) -> list[str]:
    chosen = [kind.strip() for kind in str(config.getoption("--db")).split(",")]
    unknown = set(chosen) - set(_KINDS)
    if unknown:
        raise pytest.UsageError(f"--db: {', '.join(sorted(unknown))}: sqlite or postgres")
    return chosen


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL of our own, started with the first test that needs one."""
    try:
        server = start_postgres()
    except NoPostgres as error:
        pytest.fail(str(error), pytrace=False)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the newest schema; to be copied, not used."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    settings = DatabaseSettings(url=f"sqlite+aiosqlite:///{path}", sqlite_synchronous="NORMAL")
    run_apart(migration_runner(settings).setup())
    assert not path.with_name("template.db-wal").exists(), "the template is not in one piece"
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """The name of a PostgreSQL database with the newest schema; to be copied, not used."""
    postgres_server.create_database(_TEMPLATE)
    settings = DatabaseSettings(url=postgres_server.url(_TEMPLATE))
    run_apart(migration_runner(settings).setup())
    return _TEMPLATE


@pytest.fixture
def new_postgres_database(
    postgres_server: PostgresServer,
) -> Iterator[Callable[[str | None], str]]:
    """Makes PostgreSQL databases, empty or from a template; gives their URLs."""
    made: list[str] = []

    def create(template: str | None) -> str:
        name = f"agentvine_test_{os.getpid()}_{next(_numbers)}"
        postgres_server.create_database(name, template)
        made.append(name)
        return postgres_server.url(name)

    yield create
    for name in made:
        postgres_server.drop_database(name)


@pytest.fixture
def sqlite_settings(sqlite_template: Path, tmp_path: Path) -> DatabaseSettings:
    """For tests of SQLite alone: a file with the newest schema, this test's own."""
    path = tmp_path / "agentvine.db"
    shutil.copyfile(sqlite_template, path)
    return DatabaseSettings(url=f"sqlite+aiosqlite:///{path}", backup_dir=tmp_path / "backups")


@pytest.fixture
def postgres_settings(
    postgres_template: str, new_postgres_database: Callable[[str | None], str], tmp_path: Path
) -> DatabaseSettings:
    """For tests of PostgreSQL alone: a database with the newest schema, this test's own."""
    url = new_postgres_database(postgres_template)
    return DatabaseSettings(url=url, backup_dir=tmp_path / "backups")


@pytest.fixture
def database_settings(database_kind: str, request: pytest.FixtureRequest) -> DatabaseSettings:
    """Settings of a database with the newest schema, empty and this test's own; both kinds."""
    return request.getfixturevalue(f"{database_kind}_settings")


@pytest.fixture
def empty_database_settings(
    database_kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> DatabaseSettings:
    """Settings of a database without any schema: a file not made yet, or an empty database."""
    backups = tmp_path / "backups"
    if database_kind == "postgres":
        url = request.getfixturevalue("new_postgres_database")(None)
        return DatabaseSettings(url=url, backup_dir=backups)
    return DatabaseSettings(url=f"sqlite+aiosqlite:///{tmp_path / 'new.db'}", backup_dir=backups)


@pytest.fixture
async def database(database_settings: DatabaseSettings) -> AsyncIterator[Database]:
    """An open database of each kind; what a test commits is committed."""
    opened = await Database.open(database_settings, SystemClock())
    yield opened
    await opened.close()


@pytest.fixture
def sqlite_connect() -> Callable[[Path], "closing[sqlite3.Connection]"]:
    """Opens a SQLite file with the plain driver, as another program would."""
    return lambda path: closing(sqlite3.connect(path))


@pytest.fixture
async def api(database_settings: DatabaseSettings, tmp_path: Path) -> AsyncIterator[Api]:
    """The whole application in this process, over this test's own database."""
    async with running_api(database_settings, tmp_path / "data") as running:
        yield running
