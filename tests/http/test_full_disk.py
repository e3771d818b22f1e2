"""A server whose database lies on a file system that is really full."""

import os
import pwd
import random
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from agentvine.config.settings import DatabaseSettings
from agentvine.db.session import Database
from tests.support.api import running_api
from tests.support.integrity import check_integrity
from tests.support.postgres import PostgresServer
from tests.support.refusing import full, read_only
from tests.support.small_disk import WEAKER, SmallDisk, small_disk
from tests.support.snapshots import all_rows
from tests.support.space import WireWorker, make_space

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.promise("P22")]

MEBIBYTES = 48
TABLESPACE = f"small_{os.getpid()}"
LINES = 200


@pytest.fixture
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk | None]:
    # Not below a folder that only root may enter: PostgreSQL runs as somebody else.
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="avfull-", dir="/tmp"))
        )
        folder.chmod(0o755)
        yield stack.enter_context(small_disk(folder / "disk", mebibytes=MEBIBYTES))


@pytest.fixture
def settings_on_it(
    database_kind: str, disk: SmallDisk | None, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[DatabaseSettings]:
    """A database whose tables lie there; an ordinary one where there is no such disk."""
    if disk is None:
        yield request.getfixturevalue("database_settings")
    elif database_kind == "sqlite":
        path = disk.path / "agentvine.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        yield DatabaseSettings(url=f"sqlite+aiosqlite:///{path}", backup_dir=tmp_path / "backups")
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        nobody = pwd.getpwnam("nobody")
        os.chown(disk.path, nobody.pw_uid, nobody.pw_gid)
        server.execute(f"CREATE TABLESPACE {TABLESPACE} LOCATION '{disk.path}'")
        template = request.getfixturevalue("postgres_template")
        server.execute(f"CREATE DATABASE {TABLESPACE} TEMPLATE {template} TABLESPACE {TABLESPACE}")
        yield DatabaseSettings(url=server.url(TABLESPACE), backup_dir=tmp_path / "backups")
        server.drop_database(TABLESPACE)
        server.execute(f"DROP TABLESPACE {TABLESPACE}")


@asynccontextmanager
async def nothing_fits(
    database: Database, disk: SmallDisk | None
) -> AsyncGenerator[Callable[[], None]]:
    """A full disk; hands out what makes room on it. Without a disk the database itself refuses."""
    if disk is not None:
        disk.fill()
        yield disk.make_room
    elif database.dialect.name == "sqlite":
        async with full(database) as make_room:
            yield make_room
    else:
        async with read_only(database):
            yield lambda: None


async def test_a_full_disk_is_told_as_such_loses_nothing_and_with_room_all_goes_on(
    settings_on_it: DatabaseSettings,
    disk: SmallDisk | None,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
):
    if disk is None:
        record_property(WEAKER, "nothing can be mounted: the database itself refuses to grow")
    async with running_api(settings_on_it, tmp_path / "data") as api:
        space = await make_space(api)
        task = await space.task()
        worker = await space.worker()
        order = await worker.claim_one()
        lines = [random_text(number) for number in range(LINES)]
        async with nothing_fits(api.database, disk) as make_room:
            if disk is None and api.database.dialect.name == "postgresql":
                await is_not_ready(worker)
                return
            refused = await worker.log(order, *lines)
            assert refused.status_code == 503
            assert refused.json()["code"] == "database_full"
            assert refused.headers["retry-after"]
            assert (await all_rows(api.database))["execution_logs"] == set()
            await is_not_ready(worker)
            # Whoever only looks is served.
            assert (await space.get(task))["status"] == "in_progress"
            make_room()
            assert (await worker.log(order, *lines)).json()["high_seq"] == LINES
        await worker.complete(order, log_high_water={"stdout": LINES})
        assert (await space.get(task))["status"] == "completed"
        await check_integrity(api.database)


async def test_a_server_ends_in_good_order_while_the_disk_is_full(
    settings_on_it: DatabaseSettings, disk: SmallDisk | None, tmp_path: Path
):
    running = running_api(settings_on_it, tmp_path / "data")
    async with AsyncExitStack() as fullness, running as api:
        await (await make_space(api)).task()  # a token was used, which is noted at the end
        await fullness.enter_async_context(nothing_fits(api.database, disk))


async def is_not_ready(worker: WireWorker) -> None:
    ready = await worker.caller.http.get("http://test/ready")
    assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
    assert ready.headers["retry-after"]


def random_text(number: int) -> str:
    """Five kilobytes that nobody can make smaller."""
    return random.Random(number).randbytes(2500).hex()
