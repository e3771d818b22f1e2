"""What the dialect object offers means the same on both databases."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError

from agentvine.config.settings import DatabaseSettings
from agentvine.db.base import NAMING_CONVENTION
from agentvine.db.session import Database
from agentvine.db.types import StrList, UtcDateTime
from agentvine.kit.clock import SystemClock

metadata = MetaData(naming_convention=NAMING_CONVENTION)
jobs = Table(
    "toy_jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(20), nullable=False, server_default="job"),
    Column("state", String(20), nullable=False, server_default="ready"),
    Column("needs", StrList(), nullable=False),
    Column("due_at", UtcDateTime()),
    Column("count", Integer, nullable=False, server_default="0"),
    Column("parent_id", Integer, ForeignKey("toy_jobs.id")),
    UniqueConstraint("name", "state"),
    CheckConstraint("count >= 0", name="count"),
)


@pytest.fixture
async def db(database: Database) -> Database:
    async with database.transaction() as tx:
        await (await tx.connection()).run_sync(metadata.create_all)
    return database


async def _add(db: Database, **values: Any) -> None:
    async with db.transaction() as tx:
        await tx.execute(insert(jobs).values(**{"needs": [], **values}))


async def _all(db: Database, column: Any) -> list[Any]:
    async with db.read() as read:
        return list((await read.scalars(select(column).order_by(jobs.c.id))).all())


async def test_the_databases_clock_is_now(db: Database):
    async with db.read() as read:
        now = await read.scalar(select(db.dialect.now_sql()))
        ahead = await read.scalar(select(db.dialect.seconds_from_now(90)))
        behind = await read.scalar(select(db.dialect.seconds_from_now(-90.5)))
    assert now is not None
    assert ahead is not None
    assert behind is not None
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=10)
    assert abs(ahead - now - timedelta(seconds=90)) < timedelta(seconds=5)
    assert abs(now - behind - timedelta(seconds=90.5)) < timedelta(seconds=5)


async def test_the_databases_clock_moves_within_a_transaction(db: Database):
    async with db.transaction() as tx:
        first = await tx.scalar(select(db.dialect.now_sql()))
        await asyncio.sleep(0.005)
        second = await tx.scalar(select(db.dialect.now_sql()))
    assert first is not None
    assert second is not None
    assert second > first


async def test_instants_are_shifted_and_measured_in_the_database(db: Database):
    due = datetime(2026, 12, 31, 23, 59, 30, 250000, UTC)
    await _add(db, id=1, due_at=due, count=45)
    async with db.read() as read:
        shifted = await read.scalar(select(db.dialect.shifted(jobs.c.due_at, 45)))
        by_column = await read.scalar(select(db.dialect.shifted(jobs.c.due_at, jobs.c.count)))
        seconds = await read.scalar(
            select(
                db.dialect.seconds_between(jobs.c.due_at, db.dialect.shifted(jobs.c.due_at, 1.5))
            )
        )
    assert shifted == by_column == due + timedelta(seconds=45)
    assert seconds == pytest.approx(1.5, abs=0.01)


async def test_an_instant_can_be_set_and_compared_with_the_databases_clock(db: Database):
    await _add(db, id=1, due_at=datetime.now(UTC) - timedelta(seconds=60))
    await _add(db, id=2, name="later", due_at=datetime.now(UTC) + timedelta(seconds=60))
    async with db.transaction() as tx:
        due = (
            await tx.scalars(select(jobs.c.id).where(jobs.c.due_at <= db.dialect.now_sql()))
        ).all()
        await tx.execute(
            update(jobs).where(jobs.c.id == 1).values(due_at=db.dialect.seconds_from_now(3600))
        )
        left = (
            await tx.scalars(select(jobs.c.id).where(jobs.c.due_at <= db.dialect.now_sql()))
        ).all()
    assert (due, left) == ([1], [])


async def test_an_upsert_inserts_and_then_changes_what_it_names(db: Database):
    row = {"id": 1, "name": "a", "needs": ["x"], "count": 1}
    async with db.transaction() as tx:
        await tx.execute(db.dialect.upsert(jobs, row, keys=["id"], update=["count"]))
        await tx.execute(
            db.dialect.upsert(jobs, {**row, "name": "b", "count": 2}, keys=["id"], update=["count"])
        )
    assert await _all(db, jobs.c.count) == [2]
    assert await _all(db, jobs.c.name) == ["a"]


async def test_an_upsert_without_changes_leaves_the_row_and_tells_which_are_new(db: Database):
    await _add(db, id=1, name="a")
    rows = [{"id": 1, "name": "x", "needs": []}, {"id": 2, "name": "b", "needs": []}]
    async with db.transaction() as tx:
        made = await tx.scalars(db.dialect.upsert(jobs, rows, keys=["id"]).returning(jobs.c.id))
        assert made.all() == [2]
    assert await _all(db, jobs.c.name) == ["a", "b"]


async def test_lists_are_searched_in_the_database(db: Database):
    await _add(db, id=1, name="1", needs=[])
    await _add(db, id=2, name="2", needs=["python"])
    await _add(db, id=3, name="3", needs=["python", 'odd "one"'])
    dialect = db.dialect
    questions = [
        (dialect.list_contains(jobs.c.needs, "python"), [2, 3]),
        (dialect.list_contains(jobs.c.needs, 'odd "one"'), [3]),
        (dialect.list_contains(jobs.c.needs, "pyth"), []),
        (dialect.list_within(jobs.c.needs, ["python", "go"]), [1, 2]),
        (dialect.list_within(jobs.c.needs, []), [1]),
        (dialect.list_overlaps(jobs.c.needs, ["go", 'odd "one"']), [3]),
        (dialect.list_overlaps(jobs.c.needs, []), []),
    ]
    async with db.read() as read:
        for question, answer in questions:
            found = await read.scalars(select(jobs.c.id).where(question).order_by(jobs.c.id))
            assert found.all() == answer


async def test_the_greater_and_lesser_of_two_columns(db: Database):
    await _add(db, id=7, count=3)
    async with db.read() as read:
        row = (
            await read.execute(
                select(
                    db.dialect.greatest(jobs.c.id, jobs.c.count),
                    db.dialect.least(jobs.c.id, jobs.c.count, literal(1)),
                )
            )
        ).one()
    assert tuple(row) == (7, 1)


async def test_twelve_claimers_never_take_the_same_row(db: Database):
    async with db.transaction() as tx:
        await tx.execute(
            insert(jobs), [{"id": n, "name": str(n), "needs": []} for n in range(1, 121)]
        )

    async def claim_all() -> list[int]:
        mine: list[int] = []
        while True:
            async with db.transaction() as tx:
                ready = select(jobs.c.id).where(jobs.c.state == "ready").order_by(jobs.c.id)
                picked = tx.dialect.for_update_skip_locked(ready.limit(5)).cte("picked")
                taken = await tx.scalars(
                    update(jobs)
                    .where(jobs.c.id.in_(select(picked.c.id)))
                    .values(state="taken")
                    .returning(jobs.c.id)
                )
                found = list(taken.all())
            if not found:
                return mine
            mine += found

    claims = await asyncio.gather(*(claim_all() for _ in range(12)))
    assert sorted(itertools.chain.from_iterable(claims)) == list(range(1, 121))


async def test_a_named_lock_is_held_by_one_transaction(db: Database):
    held, finish = asyncio.Event(), asyncio.Event()

    async def hold() -> bool:
        async with db.transaction() as tx:
            got = await tx.dialect.try_lock(tx, "chore: expire leases")
            held.set()
            await finish.wait()
        return got

    holder = asyncio.create_task(hold())
    await held.wait()
    if db.dialect.serialises_writers:
        finish.set()  # a second writer would wait for the first one, which is a lock as well
    else:
        async with db.transaction() as tx:
            assert not await tx.dialect.try_lock(tx, "chore: expire leases")
            assert await tx.dialect.try_lock(tx, "another chore")
        finish.set()
    assert await holder
    async with db.transaction() as tx:
        assert await tx.dialect.try_lock(tx, "chore: expire leases")


@pytest.mark.parametrize(
    ("values", "kind", "name"),
    [
        ({"id": 1}, "unique", "toy_jobs"),
        ({"id": 2, "name": "job"}, "unique", "name"),
        ({"id": 3, "name": "x", "count": -1}, "check", "ck_toy_jobs_count"),
        ({"id": 4, "name": "y", "needs": None}, "not_null", "toy_jobs.needs"),
        ({"id": 5, "name": "z", "parent_id": 99}, "foreign_key", ""),
    ],
)
async def test_a_broken_rule_is_told_apart(
    db: Database, values: dict[str, Any], kind: str, name: str
):
    await _add(db, id=1)
    with pytest.raises(IntegrityError) as caught:
        await _add(db, **values)
    violation = db.dialect.violation(caught.value)
    assert violation.kind == kind
    assert violation.names(name)


class TestOnePostgresConnection:
    async def test_has_the_limits_and_the_name_of_the_settings(
        self, postgres_settings: DatabaseSettings
    ):
        settings = postgres_settings.model_copy(
            update={
                "statement_timeout_seconds": 1.5,
                "lock_timeout_seconds": 0.5,
                "idle_in_transaction_timeout_seconds": 7,
                "application_name": "agentvine-proof",
            }
        )
        database = await Database.open(settings, SystemClock())
        async with database.read() as read:
            shown = {
                name: await read.scalar(text(f"SHOW {name}"))
                for name in (
                    "statement_timeout",
                    "lock_timeout",
                    "idle_in_transaction_session_timeout",
                    "application_name",
                    "transaction_read_only",
                    "transaction_isolation",
                )
            }
        async with database.transaction() as tx:
            assert await tx.scalar(text("SHOW transaction_read_only")) == "off"
            assert await tx.scalar(text("SHOW transaction_isolation")) == "read committed"
        await database.close()
        assert shown == {
            "statement_timeout": "1500ms",
            "lock_timeout": "500ms",
            "idle_in_transaction_session_timeout": "7s",
            "application_name": "agentvine-proof",
            "transaction_read_only": "on",
            "transaction_isolation": "repeatable read",
        }

    async def test_takes_the_urls_own_parameters(self, postgres_settings: DatabaseSettings):
        parameters = "sslmode=disable&connect_timeout=5&channel_binding=prefer&work_mem=7MB"
        url = f"{postgres_settings.url}&{parameters}"
        settings = postgres_settings.model_copy(update={"url": url})
        database = await Database.open(settings, SystemClock())
        async with database.read() as read:
            assert await read.scalar(text("SHOW work_mem")) == "7MB"
        await database.close()


class TestOneSqliteConnection:
    @pytest.mark.parametrize(("synchronous", "level"), [("FULL", 2), ("NORMAL", 1)])
    async def test_has_the_profile_of_the_settings(
        self, sqlite_settings: DatabaseSettings, synchronous: str, level: int
    ):
        settings = sqlite_settings.model_copy(update={"sqlite_synchronous": synchronous})
        database = await Database.open(settings, SystemClock())
        async with database.transaction() as tx:
            shown = {
                name: await tx.scalar(text(f"PRAGMA {name}"))
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
        await database.close()
        assert shown == {
            "journal_mode": "wal",
            "synchronous": level,
            "foreign_keys": 1,
            "busy_timeout": 5000,
        }

    async def test_leaves_one_file_when_the_database_is_closed(
        self, sqlite_settings: DatabaseSettings
    ):
        database = await Database.open(sqlite_settings, SystemClock())
        async with database.transaction() as tx:
            await tx.execute(text("CREATE TABLE proof (id INTEGER)"))
        async with database.read() as read:
            await read.scalar(select(func.count()).select_from(text("proof")))
        await database.close()
        path = str(database.engine.url.database)
        assert not Path(f"{path}-wal").exists()  # noqa: ASYNC240  # a quick look
