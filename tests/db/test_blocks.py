"""Blocks of plain statements: committed as a whole, and their troubles told as everybody's are."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import bindparam, select, text

from agentvine.config.settings import DatabaseSettings
from agentvine.db.blocks import Sql, Statement, StatementRefused, Steps
from agentvine.db.direct import looking
from agentvine.db.engine import sqlite_path
from agentvine.db.errors import DatabaseBusy, DatabaseFull
from agentvine.db.rowwise import RowStatement, stored
from agentvine.db.session import Database
from agentvine.domains.work.models import CapabilitySet
from agentvine.kit.clock import SystemClock
from agentvine.kit.ids import new_id

_NAMES = "INSERT INTO capability_sets (fingerprint, requirements) VALUES ('{name}', '{{}}')"
_FIRST = _NAMES.format(name="first")
STATEMENTS: Mapping[str, Sql] = {
    "begin": Sql("BEGIN", ""),
    "first": Sql(_FIRST, _FIRST),
    "number": Sql(
        "UPDATE capability_sets SET id = $1 WHERE fingerprint = 'first'",
        "UPDATE capability_sets SET id = ?1 WHERE fingerprint = 'first'",
    ),
    "no page": Sql("", "PRAGMA max_page_count = 1"),
    "fill": Sql("", "CREATE TABLE heap AS SELECT zeroblob(1000000)"),
}


def block(*asked: Statement) -> Steps:
    for statement in asked:
        assert isinstance((yield statement), list)


async def count(database: Database) -> object:
    async with database.read() as read:
        return await read.scalar(text("SELECT count(*) FROM capability_sets"))


async def test_values_that_do_not_fit_undo_the_block_and_are_told_apart(database: Database):
    too_much = Statement("number", (2**70,))
    with pytest.raises(StatementRefused):
        await database.run_block(block(Statement("first"), too_much), STATEMENTS)
    assert await count(database) == 0
    with pytest.raises(StatementRefused):  # it is unique
        await database.run_block(block(Statement("first"), Statement("first")), STATEMENTS)
    assert await count(database) == 0
    await database.run_block(block(Statement("first"), Statement("number", (7,))), STATEMENTS)
    assert await count(database) == 1


async def test_another_writer_is_told_as_busy(
    sqlite_settings: DatabaseSettings,
    sqlite_connect: Callable[[Path], "closing[sqlite3.Connection]"],
):
    impatient = sqlite_settings.model_copy(update={"lock_timeout_seconds": 0.1})
    database = await Database.open(impatient, SystemClock())
    with sqlite_connect(sqlite_path(impatient)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusy) as caught:
            await database.run_block(block(Statement("first")), STATEMENTS)
        assert caught.value.retry_after
        other.execute("ROLLBACK")
    await database.run_block(block(Statement("first")), STATEMENTS)
    assert await count(database) == 1
    await database.close()


async def test_a_full_disk_is_told_as_such(sqlite_settings: DatabaseSettings):
    database = await Database.open(sqlite_settings, SystemClock())
    asked = block(Statement("first"), Statement("no page"), Statement("fill"))
    with pytest.raises(DatabaseFull) as caught:
        await database.run_block(asked, STATEMENTS)
    assert caught.value.retry_after
    assert await count(database) == 0
    await database.close()


@pytest.fixture
def memory(
    sqlite_connect: Callable[[Path], "closing[sqlite3.Connection]"],
) -> Iterator[sqlite3.Connection]:
    with sqlite_connect(Path(":memory:")) as connection:
        connection.execute("CREATE TABLE runs (id, about, state, told)")
        yield connection


def test_a_part_for_many_rows_does_the_same_for_one(memory: sqlite3.Connection):
    one, other = new_id(), new_id()
    insert = RowStatement(
        "insert",
        """
        INSERT INTO runs SELECT id, id::text, :state,
            jsonb_build_object('least', least(number, 5), 'none', NULL::uuid)
        FROM taken
        """,
        "taken",
        ("id", "number", "unused"),
    )
    change = RowStatement(
        "change",
        """
        UPDATE runs AS r SET state = c.state FROM taken c
        WHERE r.id = c.id AND r.state = ANY(:states) AND c.number IS DISTINCT FROM 9
            AND NOT EXISTS (SELECT FROM runs WHERE state = c.state)
        """,
        "taken",
        ("id", "number", "state"),
    )
    for number, run in enumerate((one, other), 7):
        row = stored({"id": run, "number": number, "state": "new"})
        memory.execute(insert.sql.sqlite, insert.ask(row).values)
    row = stored({"id": other, "number": 8, "state": "old", "states": ("new", "odd")})
    memory.execute(change.sql.sqlite, change.ask(row).values)

    told = '{"least":5,"none":null}'
    assert memory.execute("SELECT * FROM runs ORDER BY id").fetchall() == [
        (one.hex, str(one), "new", told),
        (other.hex, str(other), "old", told),
    ]


async def test_a_look_sees_what_is_committed_and_waits_for_no_writer(database: Database):
    wanted = select(CapabilitySet.fingerprint, CapabilitySet.created_at).where(
        CapabilitySet.fingerprint == bindparam("name")
    )
    looked = looking(wanted, "td")
    written, looked_at = asyncio.Event(), asyncio.Event()

    async def write() -> datetime:
        async with database.transaction() as tx:
            row = CapabilitySet(fingerprint="first", requirements={})
            tx.add(row)
            await tx.flush()
            written.set()
            await looked_at.wait()
            return row.created_at

    writing = asyncio.create_task(write())
    await written.wait()
    assert await database.look(looked, "first") == []
    looked_at.set()
    made_at = await writing
    assert [tuple(row) for row in await database.look(looked, "first")] == [("first", made_at)]
