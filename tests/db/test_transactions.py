"""What a transaction and a read promise, on both databases."""

import asyncio
import random
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from agentvine.config.settings import DatabaseSettings
from agentvine.db.errors import DatabaseBusy, DatabaseFull, DatabaseUnreachable
from agentvine.db.session import Database, Transaction
from agentvine.kit.actor import SYSTEM, SystemActor
from agentvine.kit.clock import ManualClock, SystemClock
from agentvine.kit.errors import Internal
from agentvine.kit.guards import (
    WaitingInsideTransaction,
    assert_no_transaction,
    in_transaction,
    outside_transaction,
)
from tests.support.postgres import PostgresServer

_metadata = MetaData()
counters = Table(
    "toy_counters",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("value", Integer, nullable=False),
)


@pytest.fixture
async def counted(database: Database) -> Database:
    """A database with one counter at zero."""
    async with database.transaction() as tx:
        await (await tx.connection()).run_sync(_metadata.create_all)
        await tx.execute(insert(counters).values(id=1, value=0))
    return database


async def _value(database: Database) -> int | None:
    async with database.read() as read:
        return await read.scalar(select(counters.c.value).where(counters.c.id == 1))


async def _set(tx: Transaction, value: int) -> None:
    await tx.execute(update(counters).values(value=value))


async def test_forty_tasks_incrementing_one_row_lose_no_update(counted: Database):
    """The driver's default on SQLite loses 879 of these 1000 without an error."""

    async def increment() -> None:
        for _ in range(25):
            async with counted.transaction() as tx:
                value = await tx.scalar(
                    select(counters.c.value).where(counters.c.id == 1).with_for_update()
                )
                await tx.execute(update(counters).values(value=(value or 0) + 1))

    await asyncio.gather(*(increment() for _ in range(40)))
    assert await _value(counted) == 1000


async def test_a_block_that_ends_commits_and_one_that_raises_rolls_back(counted: Database):
    async with counted.transaction() as tx:
        await _set(tx, 7)
    with pytest.raises(ZeroDivisionError):
        await _change_and_fail(counted, ZeroDivisionError())
    assert await _value(counted) == 7


async def test_a_broken_rule_of_the_schema_rolls_back_and_names_itself(counted: Database):
    async def insert_the_same() -> None:
        async with counted.transaction() as tx:
            await _set(tx, 7)
            await tx.execute(insert(counters).values(id=1, value=1))

    with pytest.raises(IntegrityError) as caught:
        await insert_the_same()
    assert counted.dialect.violation(caught.value).kind == "unique"
    assert await _value(counted) == 0


async def test_a_savepoint_is_undone_alone(counted: Database):
    async with counted.transaction() as tx:
        await _set(tx, 7)
        with pytest.raises(IntegrityError):
            async with tx.begin_nested():
                await tx.execute(insert(counters).values(id=1, value=1))
        await tx.execute(insert(counters).values(id=2, value=2))
    assert await _value(counted) == 7


async def test_tables_made_in_a_transaction_that_fails_are_not_there(database: Database):
    async def make_and_fail() -> None:
        async with database.transaction() as tx:
            await tx.execute(text("CREATE TABLE half_made (id INTEGER)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await make_and_fail()
    with pytest.raises(DBAPIError, match="half_made"):
        async with database.read() as read:
            await read.execute(text("SELECT * FROM half_made"))


async def test_a_reader_sees_only_what_is_committed_and_does_not_wait(counted: Database):
    written, finish = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        async with counted.transaction() as tx:
            await _set(tx, 7)
            written.set()
            await finish.wait()

    writer = asyncio.create_task(write())
    await written.wait()
    started = time.monotonic()
    assert await _value(counted) == 0
    assert time.monotonic() - started < 4
    finish.set()
    await writer
    assert await _value(counted) == 7


async def test_a_read_sees_one_state_from_its_first_statement_to_its_last(counted: Database):
    async with counted.read() as read:
        query = select(counters.c.value).where(counters.c.id == 1)
        assert await read.scalar(query) == 0

        async def write() -> None:
            with outside_transaction():
                async with counted.transaction() as tx:
                    await _set(tx, 7)

        await asyncio.create_task(write())
        assert await read.scalar(query) == 0
    assert await _value(counted) == 7


async def test_the_database_itself_refuses_a_write_on_a_read_session(counted: Database):
    with pytest.raises(DBAPIError, match=r"(?i)read-?only"):
        async with counted.read() as read:
            await read.execute(update(counters).values(value=7))
    async with counted.transaction() as tx:
        await _set(tx, 8)
    assert await _value(counted) == 8


async def test_sessions_are_not_committed_or_rolled_back_by_hand(counted: Database):
    async with counted.transaction() as tx:
        with pytest.raises(Internal, match="block that opened it"):
            await tx.commit()
        with pytest.raises(Internal, match="Raise an error"):
            await tx.rollback()
        await _set(tx, 7)
    assert await _value(counted) == 7


async def test_cancelling_in_mid_transaction_rolls_back_and_frees_the_lock(counted: Database):
    written = asyncio.Event()

    async def write_and_hang() -> None:
        async with counted.transaction() as tx:
            await _set(tx, 7)
            written.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write_and_hang())
    await written.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(10):
        async with counted.transaction() as tx:
            value = await tx.scalar(select(counters.c.value))
            await _set(tx, (value or 0) + 1)
    assert await _value(counted) == 1


async def test_cancelling_a_running_statement_leaves_a_working_database(counted: Database):
    slow = text(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) "
        "SELECT count(*) FROM n"
    )

    async def write_slowly() -> None:
        async with counted.transaction() as tx:
            await _set(tx, 7)
            await tx.execute(slow)
            await tx.execute(slow)

    kept: list[BaseException] = []
    for _ in range(3):
        task = asyncio.create_task(write_slowly())
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        kept.append(caught.value)  # with its traceback, and in it the statement's cursor
    async with counted.transaction() as tx:
        assert await tx.scalar(select(counters.c.value)) == 0
        await _set(tx, 1)
    assert await _value(counted) == 1


async def test_a_command_has_one_instant_and_an_actor(database_settings: DatabaseSettings):
    instant = datetime(2026, 11, 24, 12, tzinfo=UTC)
    clock = ManualClock(instant)
    database = await Database.open(database_settings, clock)
    async with database.transaction() as tx:
        clock.advance(60)
        assert (tx.now, tx.actor) == (instant, SYSTEM)
    async with database.transaction(SystemActor("chore")) as tx:
        assert (tx.now, tx.actor.label) == (clock.now(), "system:chore")
    await database.close()


async def test_events_reach_the_reactions_in_order_before_the_commit(
    database_settings: DatabaseSettings,
):
    seen: list[Any] = []

    async def react(tx: Transaction, event: Any) -> None:
        seen.append(event)
        if event == "first":
            tx.emit("from the reaction")
            await _set(tx, 5)

    database = await Database.open(database_settings, SystemClock(), react)
    async with database.transaction() as tx:
        await (await tx.connection()).run_sync(_metadata.create_all)
        await tx.execute(insert(counters).values(id=1, value=0))
        tx.emit("first")
        tx.emit("second")
        assert seen == []
    assert seen == ["first", "second", "from the reaction"]
    assert await _value(database) == 5
    await database.close()


async def test_a_failing_reaction_undoes_the_command(database_settings: DatabaseSettings):
    async def react(tx: Transaction, event: Any) -> None:
        raise ZeroDivisionError

    database = await Database.open(database_settings, SystemClock(), react)
    async with database.transaction() as tx:
        await (await tx.connection()).run_sync(_metadata.create_all)

    async def write_and_emit() -> None:
        async with database.transaction() as tx:
            await tx.execute(insert(counters).values(id=1, value=0))
            tx.emit("event")

    with pytest.raises(ZeroDivisionError):
        await write_and_emit()
    assert await _value(database) is None
    await database.close()


async def test_reactions_that_go_in_a_circle_are_stopped(database_settings: DatabaseSettings):
    async def react(tx: Transaction, event: Any) -> None:
        tx.emit(event)

    database = await Database.open(database_settings, SystemClock(), react)
    with pytest.raises(Internal, match="circle"):
        async with database.transaction() as tx:
            tx.emit("round and round")
    await database.close()


async def test_after_commit_runs_once_the_change_can_be_seen(counted: Database):
    seen: list[int | None] = []

    async def look() -> None:
        seen.append(await _value(counted))

    async with counted.transaction() as tx:
        await _set(tx, 7)
        tx.after_commit(look)
        tx.after_commit(lambda: seen.append(-1))
        assert seen == []
    assert seen == [7, -1]


async def test_after_commit_does_not_run_after_a_rollback(counted: Database):
    seen: list[str] = []

    async def register_and_fail() -> None:
        async with counted.transaction() as tx:
            tx.after_commit(lambda: seen.append("ran"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await register_and_fail()
    assert seen == []


async def test_a_failing_callback_hides_neither_the_change_nor_the_next_callback(
    counted: Database, caplog: pytest.LogCaptureFixture
):
    seen: list[str] = []
    async with counted.transaction() as tx:
        await _set(tx, 7)
        tx.after_commit(lambda: seen.append(str(1 // 0)))
        tx.after_commit(lambda: seen.append("ran"))
    assert await _value(counted) == 7
    assert seen == ["ran"]
    assert "ZeroDivisionError" in caplog.text


async def test_waiting_inside_a_transaction_is_refused(counted: Database):
    assert_no_transaction("call GitHub")
    async with counted.transaction():
        assert in_transaction()
        with pytest.raises(WaitingInsideTransaction, match="Cannot call GitHub"):
            assert_no_transaction("call GitHub")
    assert_no_transaction("call GitHub")
    async with counted.read():
        assert_no_transaction("call GitHub")


async def test_a_session_inside_a_transaction_is_refused(counted: Database):
    async with counted.transaction():
        with pytest.raises(WaitingInsideTransaction):
            async with counted.transaction():
                pass
        with pytest.raises(WaitingInsideTransaction):
            await _value(counted)


async def test_a_task_that_outlives_the_transaction_it_was_started_in_is_free(counted: Database):
    goes_on = asyncio.Event()

    async def wait_and_write() -> None:
        assert in_transaction()
        await goes_on.wait()
        async with counted.transaction() as tx:
            await _set(tx, 7)

    async with counted.transaction():
        task = asyncio.create_task(wait_and_write())
        await asyncio.sleep(0)
    goes_on.set()
    await task
    assert await _value(counted) == 7


async def test_a_writer_whose_turn_does_not_come_is_told_so(database_settings: DatabaseSettings):
    impatient = database_settings.model_copy(
        update={"pool_timeout_seconds": 0.1, "lock_timeout_seconds": 0.1}
    )
    database = await Database.open(impatient, SystemClock())
    async with database.transaction() as tx:
        await (await tx.connection()).run_sync(_metadata.create_all)
        await tx.execute(insert(counters).values(id=1, value=0))
    held, finish = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with database.transaction() as tx:
            await _set(tx, 7)
            held.set()
            await finish.wait()

    holder = asyncio.create_task(hold())
    await held.wait()
    with pytest.raises(DatabaseBusy) as caught:
        async with database.transaction() as tx:
            await _set(tx, 8)
    assert caught.value.retry_after
    finish.set()
    await holder
    assert await _value(database) == 7
    await database.close()


async def test_more_readers_than_connections_wait_and_then_are_told_so(
    database_settings: DatabaseSettings,
):
    small = database_settings.model_copy(
        update={"pool_size": 1, "max_overflow": 0, "pool_timeout_seconds": 0.1}
    )
    database = await Database.open(small, SystemClock())
    async with database.read() as read:
        await read.execute(text("SELECT 1"))
        with pytest.raises(DatabaseBusy, match="in use"):
            async with database.read():
                pass
    await database.ping()
    await database.close()


async def test_waiting_writers_leave_the_readers_their_connections(
    database_settings: DatabaseSettings, database_kind: str
):
    """On SQLite writers queue before they connect; on PostgreSQL they do not queue at all."""
    small = database_settings.model_copy(update={"pool_size": 2, "max_overflow": 0})
    database = await Database.open(small, SystemClock())
    held, finish = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with database.transaction() as tx:
            await tx.execute(text("SELECT 1"))
            held.set()
            await finish.wait()

    async def queue_up() -> None:
        async with database.transaction():
            pass

    holder = asyncio.create_task(hold())
    await held.wait()
    waiting = [asyncio.create_task(queue_up()) for _ in range(5)]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await database.ping()
    finish.set()
    await asyncio.gather(holder, *waiting)
    await database.close()


async def test_an_open_database_can_be_closed_twice(database: Database):
    await database.close()
    await database.close()


async def test_a_database_that_is_not_there_is_unreachable(
    sqlite_settings: DatabaseSettings, postgres_settings: DatabaseSettings
):
    for settings in (sqlite_settings, postgres_settings):
        url = settings.url.replace("agentvine", "no_such")
        with pytest.raises(DatabaseUnreachable):
            await Database.open(settings.model_copy(update={"url": url}), SystemClock())


async def test_a_connection_that_breaks_in_a_transaction_is_unreachable_and_then_replaced(
    postgres_settings: DatabaseSettings,
):
    database = await Database.open(postgres_settings, SystemClock())
    with pytest.raises(DatabaseUnreachable):
        async with database.transaction() as tx:
            await tx.execute(select(func.pg_terminate_backend(func.pg_backend_pid())))
    await database.ping()
    await database.close()


async def test_a_connection_that_breaks_after_the_answer_spoils_nothing(
    postgres_settings: DatabaseSettings, postgres_server: PostgresServer
):
    database = await Database.open(postgres_settings, SystemClock())
    async with database.read() as read:
        answer = await read.scalar(select(func.pg_backend_pid()))
        postgres_server.execute(f"SELECT pg_terminate_backend({answer}, 5000)")
    assert answer
    await database.ping()
    await database.close()


async def _change_and_fail(database: Database, error: Exception) -> None:
    async with database.transaction() as tx:
        await _set(tx, 99)
        raise error


async def test_cancelling_at_random_moments_never_leaves_a_lock_behind(counted: Database):
    """Clients disconnect whenever they like, and some cancel twice."""
    chance = random.Random(20261124)

    async def increment() -> None:
        async with counted.transaction() as tx:
            value = await tx.scalar(select(counters.c.value).with_for_update())
            await tx.execute(update(counters).values(value=(value or 0) + 1))
        done.append(None)

    done: list[None] = []
    tasks: list[asyncio.Task[None]] = []
    for _ in range(60):
        tasks = [asyncio.create_task(increment()) for _ in range(4)]
        for task in tasks[:3]:
            await asyncio.sleep(chance.random() * 0.002)
            task.cancel()
            if chance.random() < 0.5:
                await asyncio.sleep(0)
                task.cancel()
        async with asyncio.timeout(15):
            await asyncio.gather(*tasks, return_exceptions=True)
    assert tasks[3].exception() is None
    value = await _value(counted)
    # A commit may succeed in the moment its task is cancelled; none is made twice or lost.
    assert len(done) <= (value or 0) <= 240


async def test_a_full_disk_is_told_as_such_and_nothing_is_lost(sqlite_settings: DatabaseSettings):
    database = await Database.open(sqlite_settings, SystemClock())

    async def fill() -> None:
        async with database.transaction() as tx:
            await tx.execute(text("CREATE TABLE heap (bytes BLOB)"))
            await tx.execute(text("PRAGMA max_page_count = 1"))  # as if no page could be added
            await tx.execute(text("INSERT INTO heap VALUES (zeroblob(10000000))"))

    with pytest.raises(DatabaseFull) as caught:
        await fill()
    assert caught.value.retry_after
    assert not caught.value.permanent
    await database.ping()
    await database.close()


async def test_a_statement_over_its_time_is_told_as_busy(postgres_settings: DatabaseSettings):
    hasty = postgres_settings.model_copy(update={"statement_timeout_seconds": 0.1})
    database = await Database.open(hasty, SystemClock())
    with pytest.raises(DatabaseBusy):
        async with database.read() as read:
            await read.execute(text("SELECT pg_sleep(5)"))
    await database.ping()
    await database.close()
