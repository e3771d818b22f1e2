"""PostgreSQL whose write-ahead log finds no room any more, which ends it in the middle of work."""

import contextlib
import os
import pwd
import tempfile
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import text

from agentvine.config.settings import DatabaseSettings
from agentvine.db.session import Database
from agentvine.server.migrations import migration_runner
from tests.http.test_full_disk import is_not_ready, random_text
from tests.support.api import running_api
from tests.support.integrity import check_integrity
from tests.support.postgres import PostgresServer, find_programs, start_programs
from tests.support.small_disk import WEAKER, SmallDisk, small_disk
from tests.support.space import Json, WireWorker, make_space

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.promise("P5", "P22")]

_SYNCED = {"synchronous_commit": "on", "max_wal_size": "8MB", "min_wal_size": "2MB"}
LINES = 100
MOST_LINES = 10_000


@pytest.fixture
def small() -> Iterator[tuple[SmallDisk, PostgresServer] | None]:
    """A server whose write-ahead log has 32 MiB; None where nothing can be mounted."""
    with contextlib.ExitStack() as stack:
        made = tempfile.TemporaryDirectory(prefix="avwal-", dir="/tmp")
        folder = Path(stack.enter_context(made))
        folder.chmod(0o755)
        disk = stack.enter_context(small_disk(folder / "disk", mebibytes=32))
        if disk is None:
            yield None
            return
        nobody = pwd.getpwnam("nobody")
        os.chown(disk.path, nobody.pw_uid, nobody.pw_gid)
        server = start_programs(find_programs(), _SYNCED, wal=disk.path / "wal")
        stack.callback(server.stop)
        server.create_database("agentvine")
        yield disk, server


async def test_nothing_acknowledged_is_lost_when_the_write_ahead_log_finds_no_room(
    small: tuple[SmallDisk, PostgresServer] | None,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
):
    if small is None:
        record_property(WEAKER, "nothing can be mounted: no write-ahead log is filled")
        return
    disk, server = small
    settings = DatabaseSettings(url=server.url("agentvine"), backup_dir=tmp_path / "backups")
    await migration_runner(settings).setup()
    async with running_api(settings, tmp_path / "data") as api:
        space = await make_space(api)
        task = await space.task()
        worker = await space.worker()
        order = await worker.claim_one()
        disk.fill()
        taken, lines, answer = await send_until_refused(worker, order)
        assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE, answer.text
        assert answer.headers["retry-after"]
        await is_not_ready(worker)
        disk.make_room()
        server.crash()
        server.start_again()
        # The batch that was refused may have been stored all the same: never a part of it.
        assert await stored_lines(api.database) in (taken, taken + LINES)
        assert (await worker.log(order, *lines, first_seq=taken + 1)).json()["high_seq"] == (
            taken + LINES
        )
        await worker.complete(order, log_high_water={"stdout": taken + LINES})
        assert (await space.get(task))["status"] == "completed"
        await check_integrity(api.database)
        assert await stored_lines(api.database) == taken + LINES


async def send_until_refused(
    worker: WireWorker, order: Json
) -> tuple[int, list[str], httpx2.Response]:
    """How many lines were taken, those that were not, and the refusal."""
    for taken in range(0, MOST_LINES, LINES):
        lines = [random_text(taken + number) for number in range(LINES)]
        answer = await worker.log(order, *lines, first_seq=taken + 1)
        if answer.status_code != HTTPStatus.OK:
            return taken, lines, answer
    raise AssertionError("there was room for all of it")


async def stored_lines(database: Database) -> int:
    counts = text("SELECT count(*), coalesce(max(seq), 0) FROM execution_logs")
    async with database.read() as read:
        ((count, last),) = (await read.execute(counts)).all()
    assert count == last, "a gap"
    return int(count)
