"""Lines that are stored by one statement: the same as the long way stores, or left to it."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, update

from agentvine.db.base import table_of
from agentvine.db.session import Database
from agentvine.domains.executions import log_store
from agentvine.domains.executions.errors import LogGap
from agentvine.domains.executions.log_writing import LogWriter
from agentvine.domains.executions.models import Execution, ExecutionLog
from agentvine.domains.work.errors import LeaseLost
from agentvine.domains.workers.models import Worker
from agentvine.kit.ids import new_id
from agentvine.protocol.enums import LogLevel
from agentvine.protocol.executions import LogBatchIn, LogLineIn
from agentvine.protocol.queue import ClaimedOrder
from tests.support.builders.work import Hand, log_batch, make_crew

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOW = datetime(2026, 11, 26, 12, 0, 0, 250_000, tzinfo=UTC)
SECRET = "ghp_" + "a1B2" * 9


async def at_work(database: Database) -> tuple[Hand, ClaimedOrder]:
    crew = await make_crew(database)
    await crew.enqueue()
    worker = await crew.worker()
    return worker, await worker.claim_one()


async def by_statement(
    hand: Hand, order: ClaimedOrder, *messages: str, first_seq: int = 1
) -> int | None:
    """What the statement alone stores; None where it leaves the batch to the long way."""
    batch = log_batch(order, *messages, first_seq=first_seq)
    return await LogWriter(hand.crew.database).append_plain(hand.actor, order.execution_id, batch)


async def stored(hand: Hand, order: ClaimedOrder) -> list[dict[str, object]]:
    table = table_of(ExecutionLog)
    query = select(table).where(table.c.execution_id == order.execution_id).order_by(table.c.id)
    async with hand.crew.database.read() as read:
        rows = (await read.execute(query)).mappings().all()
    unique = ("id", "execution_id")
    return [{str(k): v for k, v in row.items() if k not in unique} for row in rows]


async def seqs(hand: Hand, order: ClaimedOrder) -> list[object]:
    return [row["seq"] for row in await stored(hand, order)]


async def test_both_ways_store_the_same_rows(crew_database: Database):
    lines = [
        LogLineIn(message="plain", logged_at=NOW),
        LogLineIn(message=f"token {SECRET} ü\ttab", level=LogLevel.ERROR, logged_at=NOW),
        LogLineIn(message="", metadata={"part": 1, "of": [SECRET, None]}, logged_at=NOW),
        LogLineIn(message="-----BEGIN RSA PRIVATE KEY-----", logged_at=NOW),
    ]
    rest = [LogLineIn(message="MIIEowIBAAKCAQEA7bq7", logged_at=NOW)]
    rows: list[list[dict[str, object]]] = []
    for takes_shortcut in (True, False):
        worker, order = await at_work(crew_database)
        for first_seq, part in ((1, lines), (len(lines) + 1, rest)):
            batch = LogBatchIn(
                order_id=order.order_id,
                fence=order.fence,
                stream="stderr",
                first_seq=first_seq,
                lines=part,
            )
            high = await _append(worker, order, batch, takes_shortcut=takes_shortcut)
            assert high == first_seq + len(part) - 1
        rows.append(await stored(worker, order))

    assert rows[0] == rows[1]
    assert [row["seq"] for row in rows[0]] == [1, 2, 3, 4, 5]
    assert not any(SECRET in str(row) or "MIIE" in str(row) for row in rows[0])


async def _append(
    hand: Hand, order: ClaimedOrder, batch: LogBatchIn, *, takes_shortcut: bool
) -> int | None:
    database = hand.crew.database
    if takes_shortcut:
        return await LogWriter(database).append_plain(hand.actor, order.execution_id, batch)
    async with database.transaction(hand.actor) as tx:
        return await log_store.append_lines(tx, hand.actor, order.execution_id, batch)


async def test_only_what_goes_on_where_the_stream_ends_is_plain(crew_database: Database):
    worker, order = await at_work(crew_database)
    assert await by_statement(worker, order, "b", first_seq=2) is None  # a gap
    assert await by_statement(worker, order, "a", "b") == 2
    assert await by_statement(worker, order, "a", "b") is None  # nothing is new
    assert await by_statement(worker, order, "b", "c", "d", first_seq=2) == 4
    assert [row["message"] for row in await stored(worker, order)] == ["a", "b", "c", "d"]
    with pytest.raises(LogGap):
        await _take(worker, order, "f", first_seq=6)


async def _take(hand: Hand, order: ClaimedOrder, *messages: str, first_seq: int = 1) -> int:
    writer = LogWriter(hand.crew.database)
    batch = log_batch(order, *messages, first_seq=first_seq)
    return await writer.append(hand.actor, order.execution_id, batch)


async def test_batches_at_once_leave_no_gap_and_nothing_twice(crew_database: Database):
    worker, order = await at_work(crew_database)
    texts = [str(number) for number in range(40)]

    async def send(first: int, last: int) -> None:
        while True:
            try:
                await _take(worker, order, *texts[first - 1 : last], first_seq=first)
            except LogGap:
                continue
            return

    ranges = [(1, 10), (5, 20), (1, 10), (11, 30), (21, 40), (15, 40)]
    await asyncio.gather(*(send(first, last) for first, last in ranges))

    rows = await stored(worker, order)
    assert [(row["seq"], row["message"]) for row in rows] == list(enumerate(texts, 1))


async def _by_another_token(hand: Hand, _: ClaimedOrder) -> None:
    async with hand.crew.database.transaction() as tx:
        values = update(Worker).where(Worker.id == hand.worker_id).values(token_id=new_id())
        await tx.execute(values)


async def _taken_back(hand: Hand, _: ClaimedOrder) -> None:
    await hand.restart()


async def _of_another_run(hand: Hand, order: ClaimedOrder) -> None:
    async with hand.crew.database.transaction() as tx:
        row = await tx.get_one(Execution, order.execution_id)
        row.fence += 1


@pytest.mark.parametrize(
    "ruin",
    [_by_another_token, _taken_back, _of_another_run],
    ids=lambda ruin: ruin.__name__.strip("_"),
)
async def test_the_statement_stores_nothing_for_who_does_not_hold_the_claim(
    crew_database: Database, ruin: Callable[[Hand, ClaimedOrder], Awaitable[None]]
):
    worker, order = await at_work(crew_database)
    assert await by_statement(worker, order, "a") == 1

    await ruin(worker, order)

    assert await by_statement(worker, order, "b", first_seq=2) is None
    with pytest.raises(LeaseLost):
        await _take(worker, order, "b", first_seq=2)
    assert await seqs(worker, order) == [1]


async def test_a_run_that_somebody_holds_is_left_to_the_long_way(crew_database: Database):
    worker, order = await at_work(crew_database)
    async with crew_database.transaction() as tx:
        await tx.get_one(Execution, order.execution_id, with_for_update=True)
        async with asyncio.timeout(20):
            sending = by_statement(worker, order, "a")
            assert await asyncio.create_task(sending, context=contextvars.Context()) is None
    assert await seqs(worker, order) == []
