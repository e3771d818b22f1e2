"""One database, or one whole server, for all tests of a file: for tests that make their own rows.

A database of its own costs a test up to a second on PostgreSQL. A file that asks for these fixtures
runs on one loop (``pytestmark = pytest.mark.asyncio(loop_scope="module")``), and its tests name
what they make with ``unique``. A test that needs an empty database asks for ``database`` or
``api`` instead. A ``conftest.py`` imports the fixtures together with ``pytest_generate_tests``.
"""

import itertools
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from agentvine.config.settings import DatabaseSettings, QueueSettings
from agentvine.db.session import Database
from agentvine.kit.clock import SystemClock
from agentvine.reactions.routing import build_reactions
from tests.support.api import Api, running_api

__all__ = [
    "crew_database",
    "pytest_generate_tests",
    "shared_api",
    "shared_database",
    "shared_settings",
]

_numbers = itertools.count(1)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "shared_kind" in metafunc.fixturenames:
        kinds = [kind.strip() for kind in str(metafunc.config.getoption("--db")).split(",")]
        metafunc.parametrize("shared_kind", kinds, scope="module")


@pytest.fixture(scope="module")
def shared_settings(
    shared_kind: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[DatabaseSettings]:
    """Settings of a database with the newest schema; this file's own; both kinds."""
    with own_database(shared_kind, tmp_path_factory.mktemp("shared"), request) as settings:
        yield settings


@contextmanager
def own_database(
    kind: str, folder: Path, request: pytest.FixtureRequest
) -> Iterator[DatabaseSettings]:
    """A copy of the template, for a fixture of any scope."""
    template: Path | str = request.getfixturevalue(f"{kind}_template")
    if kind == "sqlite":
        path = folder / "agentvine.db"
        shutil.copyfile(template, path)
        yield DatabaseSettings(url=f"sqlite+aiosqlite:///{path}", backup_dir=folder / "backups")
        return
    server = request.getfixturevalue("postgres_server")
    name = f"agentvine_shared_{os.getpid()}_{next(_numbers)}"
    server.create_database(name, template)
    yield DatabaseSettings(url=server.url(name), backup_dir=folder / "backups")
    server.drop_database(name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_database(shared_settings: DatabaseSettings) -> AsyncIterator[Database]:
    """An open database with the reactions at work, for all tests of a file."""
    reactions = build_reactions(QueueSettings())
    opened = await Database.open(shared_settings, SystemClock(), reactions=reactions)
    yield opened
    await opened.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_api(
    shared_kind: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[Api]:
    """The whole application in this process, for all tests of a file.

    Over a database of its own: its chores would do the work of tests that call theirs by hand on
    ``shared_database``.
    """
    folder = tmp_path_factory.mktemp("served")
    with own_database(shared_kind, folder, request) as settings:
        async with running_api(settings, folder / "data") as running:
            yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def crew_database(
    postgres_template: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[Database]:
    """The database that has statements which change several tables; with reactions."""
    with own_database("postgres", tmp_path_factory.mktemp("quick"), request) as settings:
        reactions = build_reactions(QueueSettings())
        database = await Database.open(settings, SystemClock(), reactions=reactions)
        yield database
        await database.close()
