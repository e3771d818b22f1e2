"""A server whose database cannot be written says so, before and when somebody writes."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentvine.config.settings import DatabaseSettings
from agentvine.db.engine import sqlite_path
from agentvine.db.errors import DatabaseReadOnly
from agentvine.db.session import Database
from agentvine.kit.clock import ManualClock
from agentvine.server.readiness import NotReady, Readiness
from tests.support.api import running_api
from tests.support.refusing import full, read_only
from tests.support.snapshots import all_rows
from tests.support.space import make_space

pytestmark = pytest.mark.promise("P22")

LATER = 60.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
async def own_database(
    database_settings: DatabaseSettings, clock: ManualClock
) -> AsyncIterator[Database]:
    opened = await Database.open(database_settings, clock)
    yield opened
    await opened.close()


async def test_a_database_that_takes_no_writes_is_not_ready_until_it_takes_them_again(
    own_database: Database, clock: ManualClock
):
    readiness = Readiness(own_database)
    await readiness.check()
    async with read_only(own_database):
        clock.advance(LATER)
        with pytest.raises(NotReady) as caught:
            await readiness.check()
        assert caught.value.extra["reason"] == "database_read_only"
        assert caught.value.retry_after
        with pytest.raises(DatabaseReadOnly):
            await readiness._write()
    clock.advance(LATER)
    await readiness.check()


async def test_asking_often_does_not_write_often(own_database: Database, clock: ManualClock):
    readiness = Readiness(own_database)
    await readiness.check()
    first = await all_rows(own_database)
    assert any("readiness" in row for row in first["server_state"])
    clock.advance(1.0)
    for _ in range(3):
        await readiness.check()
    assert await all_rows(own_database) == first
    clock.advance(LATER)
    await readiness.check()
    assert await all_rows(own_database) != first


async def test_a_database_that_is_gone_is_not_ready(
    sqlite_settings: DatabaseSettings, clock: ManualClock
):
    database = await Database.open(sqlite_settings, clock)
    sqlite_path(sqlite_settings).unlink()
    with pytest.raises(NotReady) as caught:
        await Readiness(database).check()
    assert caught.value.extra["reason"] == "database_unreachable"
    await database.close()


async def test_a_full_database_is_told_as_such_loses_nothing_and_goes_on_with_room(
    sqlite_settings: DatabaseSettings, tmp_path: Path
):
    async with running_api(sqlite_settings, tmp_path / "data") as api:
        space = await make_space(api)
        task = await space.task()
        worker = await space.worker()
        order = await worker.claim_one()
        lines = [f"{number} {'y' * 5000}" for number in range(40)]
        async with full(api.database) as make_room:
            refused = await worker.log(order, *lines)
            assert refused.status_code == 503
            assert refused.json()["code"] == "database_full"
            assert refused.headers["retry-after"]
            assert (await all_rows(api.database))["execution_logs"] == set()
            ready = await worker.caller.http.get("http://test/ready")
            assert ready.status_code == 503
            assert ready.json()["code"] == "not_ready"
            assert ready.json()["reason"] == "database_full"
            assert ready.headers["retry-after"]
            # Whoever only looks is served.
            assert (await space.get(task))["status"] == "in_progress"
            make_room()
            assert (await worker.log(order, *lines)).json()["high_seq"] == len(lines)
        await worker.complete(order, log_high_water={"stdout": len(lines)})
        assert (await space.get(task))["status"] == "completed"
        async with api.database.read() as read:
            connection = await read.connection()
            checked = (await connection.exec_driver_sql("PRAGMA integrity_check")).scalar()
        assert checked == "ok"
