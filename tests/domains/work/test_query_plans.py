"""The hot statements find their few rows by an index, however long the history is.

The statements are those that the code really sends. Each is explained on tables just filled, of
which the database knows nothing yet, and with statistics; on PostgreSQL for the values given, and
once more as a plan that is made for all values: after some executions a server stops looking.
"""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Row, event, insert, text

from agentvine.config.settings import QueueSettings
from agentvine.db.base import table_of
from agentvine.db.session import Database, Transaction
from agentvine.domains.executions import log_search, log_store, log_writing
from agentvine.domains.executions.models import Execution, ExecutionLog
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.work import claiming, holds, lines, settling, store
from agentvine.domains.work.asked import Claiming, Completing, values_of
from agentvine.domains.work.beats import Beat
from agentvine.domains.work.enums import OrderStatus
from agentvine.domains.work.limits import LimitBook
from agentvine.domains.work.plain_rows import PlainRows
from agentvine.domains.work.plain_statements import PlainStatements
from agentvine.domains.work.statements import Statement
from agentvine.kit.clock import SystemClock
from agentvine.kit.ids import new_id
from agentvine.kit.pagination import Cursor, PageRequest
from agentvine.protocol.enums import ExecutionPhase, FailureClass
from agentvine.protocol.queue import (
    ClaimedOrder,
    ClaimIn,
    CompleteIn,
    ExecutionReport,
    FailIn,
    HeartbeatIn,
    Held,
    ReleaseIn,
)
from agentvine.reactions.routing import build_reactions
from agentvine.reactions.shortcuts import BEAT
from tests.support.builders.work import SETTINGS, Crew, Hand, log_batch, make_crew
from tests.support.history import copy_attempts, copy_orders
from tests.support.per_file import own_database

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

FINISHED, WAITING, HELD = 20_000, 800, 12
MANY_LINES = 20_000
FEW_ROWS = 60
"""What a statement may look at to find its one row, or its dozen."""
TABLES = ("work_orders", "tasks", "executions", "execution_logs", "worker_assignments")
PARTIAL = ("idx_work_orders_ready", "idx_work_orders_held")
"""Indexes without the history: to walk one of these is to look at what is going on now."""
LONG = (
    "idx_work_orders_worker",
    "idx_executions_status",
    "idx_workers_token",
    "idx_assignments_worker",
    "idx_assignments_status",
)
"""Indexes that lead to a whole history, or to all that the fleet does now."""

Work = Callable[["Busy", Transaction], Awaitable[object]]


@dataclass
class Busy:
    """A queue with a long history, and a worker at work."""

    crew: Crew
    worker: Hand
    held: list[ClaimedOrder] = field(default_factory=list)

    @property
    def database(self) -> Database:
        return self.crew.database

    @property
    def holder(self) -> store.Holder:
        return store.Holder(self.worker.worker_id, self.worker.session_id, "x" * 20)

    def wanted(self) -> store.ClaimFilter:
        return store.ClaimFilter((self.crew.queue_name,), ("feature",), ("command",), (1, 2))


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["fresh", "analyzed"])
async def busy(
    shared_kind: str,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> AsyncIterator[Busy]:
    folder = tmp_path_factory.mktemp("busy")
    with own_database(shared_kind, folder, request) as settings:
        reactions = build_reactions(QueueSettings())
        database = await Database.open(settings, SystemClock(), reactions=reactions)
        try:
            yield await fill(database, is_analyzed=request.param == "analyzed")
        finally:
            await database.close()


async def fill(database: Database, *, is_analyzed: bool) -> Busy:
    crew = await make_crew(database)
    worker = await crew.worker(max_concurrent_tasks=100)
    now = datetime.now(UTC)
    past = {
        "status": OrderStatus.COMPLETED,
        "worker_id": worker.worker_id,
        "completed_at": now,
        "expires_at": now,
        "claim_token": "y" * 20,
        "fence": 1,
    }
    await copy_orders(crew, FINISHED, order=past, task={"status": TaskStatus.COMPLETED})
    await copy_attempts(crew, worker.worker_id)
    # These come before all others, and no claim looks at them.
    later = {"line_id": holds.HELD, "available_at": now + timedelta(days=1)}
    await copy_orders(crew, WAITING, order=later)
    await copy_orders(crew, WAITING)
    held = [order for _ in range(HELD) for order in await worker.claim()]
    lines = [
        {
            "execution_id": held[0].execution_id,
            "stream": "stdout",
            "seq": number,
            "level": "INFO",
            "message": "line",
            "metadata": {},
            "logged_at": now,
        }
        for number in range(1, MANY_LINES + 1)
    ]
    async with database.transaction() as tx:
        await tx.execute(insert(table_of(ExecutionLog)), lines)
        if is_analyzed:
            await tx.execute(text("ANALYZE"))
    return Busy(crew, worker, held)


async def claim(busy: Busy, tx: Transaction) -> object:
    ready = store.ready_orders(tx, busy.wanted(), 1)
    return await store.claim(tx, busy.holder, ready, lease_seconds=60)


async def look(busy: Busy, tx: Transaction) -> object:
    return await lines.find_claimable(tx, busy.wanted(), LimitBook([]), 3)


@pytest.mark.parametrize("work", [claim, look], ids=lambda work: work.__name__)
async def test_a_claim_walks_the_waiting_orders(busy: Busy, work: Work):
    plans = await plans_of(busy, work)
    for plan in plans:
        assert "idx_work_orders_ready" in plan, plan
        assert "Sort Key: work_orders" not in plan, plan
        assert "TEMP B-TREE" not in plan, plan


async def test_what_a_worker_holds_is_found_without_its_history(busy: Busy):
    plans = await plans_of(busy, lambda _, tx: store.tokens_held(tx, busy.worker.worker_id))
    assert not any("idx_work_orders_worker" in plan for plan in plans), plans


async def whole_claim(busy: Busy, tx: Transaction) -> object:
    return await claiming.claim_orders(tx, busy.worker.actor, claim_message(busy), SETTINGS)


def claim_message(busy: Busy) -> ClaimIn:
    return ClaimIn(
        worker_id=busy.worker.worker_id,
        session_id=busy.worker.session_id,
        claim_token=new_id().hex,
        slots=3,
    )


async def repeated_claim(busy: Busy, tx: Transaction) -> object:
    return await store.claimed_with(tx, busy.holder)


async def renewal(busy: Busy, tx: Transaction) -> object:
    claims = [(order.order_id, order.fence) for order in busy.held]
    return await store.renew(tx, busy.worker.worker_id, claims, lease_seconds=60)


def beat_message(busy: Busy, phase: ExecutionPhase) -> HeartbeatIn:
    held = [Held(order_id=order.order_id, fence=order.fence, phase=phase) for order in busy.held]
    return HeartbeatIn(
        worker_id=busy.worker.worker_id, session_id=busy.worker.session_id, held=held
    )


async def beat(busy: Busy, tx: Transaction) -> object:
    message = beat_message(busy, ExecutionPhase.TESTING)
    return await claiming.renew_leases(tx, busy.worker.actor, message, SETTINGS)


async def beat_at_once(busy: Busy, tx: Transaction) -> object:
    if not tx.dialect.supports_direct:
        return await beat(busy, tx)
    shown = busy.crew.credentials_of(busy.worker.actor)
    told = Beat(shown, beat_message(busy, ExecutionPhase.STARTING))
    rows = await send(tx, BEAT, busy.crew.beats.values([told]), count=1)
    assert rows[0].states.split() == ["kept"] * HELD
    return rows


async def settlement(busy: Busy, tx: Transaction) -> object:
    order = busy.held[1]
    return await store.settle(tx, order.order_id, order.fence, {"error_message": "x"})


async def completion(busy: Busy, tx: Transaction) -> object:
    order = busy.held[1]
    message = CompleteIn(order_id=order.order_id, fence=order.fence, report=ExecutionReport())
    return await settling.complete_order(tx, busy.worker.actor, message)


async def failure(busy: Busy, tx: Transaction) -> object:
    order = busy.held[1]
    message = FailIn(
        order_id=order.order_id,
        fence=order.fence,
        failure_class=FailureClass.WORKER_ERROR,
        message="x",
    )
    return await settling.fail_order(tx, busy.worker.actor, message, SETTINGS, busy.crew.draw)


async def release(busy: Busy, tx: Transaction) -> object:
    order = busy.held[1]
    message = ReleaseIn(order_id=order.order_id, fence=order.fence)
    return await settling.release_order(tx, busy.worker.actor, message, SETTINGS, busy.crew.draw)


async def append(busy: Busy, tx: Transaction) -> object:
    order = busy.held[0]
    batch = log_batch(order, "a", "b", first_seq=MANY_LINES + 1)
    return await log_store.append_lines(tx, busy.worker.actor, order.execution_id, batch)


async def append_at_once(busy: Busy, tx: Transaction) -> object:
    if not tx.dialect.supports_direct:
        return await append(busy, tx)
    order = busy.held[0]
    batch = log_batch(order, "a", "b", first_seq=MANY_LINES + 1)
    values = log_writing.values_of(
        busy.worker.actor, order.execution_id, batch, batch.lines, after=""
    )
    return await send(tx, log_writing.APPEND, values, count=1)


async def tail(busy: Busy, tx: Transaction) -> object:
    last = MANY_LINES - 20
    return await log_store.read_lines(tx, busy.held[0].execution_id, after=last, limit=500)


async def tail_of_one_stream(busy: Busy, tx: Transaction) -> object:
    execution = busy.held[0].execution_id
    last = MANY_LINES - 20
    return await log_store.read_lines(tx, execution, after=last, limit=500, stream="stdout")


async def search_of_a_log(busy: Busy, tx: Transaction) -> object:
    execution = await tx.get_one(Execution, busy.held[0].execution_id)
    after = Cursor("log search", f"{execution.id} {MANY_LINES - 20} {MANY_LINES - 22}")
    wanted = log_search.LogSearch(text="line", stream="stdout", context=2)
    return await log_search.search_log(tx, execution, wanted, PageRequest(limit=5, after=after))


async def claim_at_once(busy: Busy, tx: Transaction) -> object:
    claim = claiming_of(busy, newest_set=0)
    way = busy.crew.shortcuts.way
    if isinstance(way, PlainRows):
        rows = await send_block(tx, way, claim)
        assert len(rows) == 3
        return rows
    assert isinstance(way, PlainStatements)
    found = await send(tx, way.claim_statement, way.claim_values([claim]))
    assert all(row.id is not None for row in found)
    return found


async def completions_at_once(busy: Busy, tx: Transaction) -> object:
    way = busy.crew.shortcuts.way
    if isinstance(way, PlainRows):
        rows = await send_block(tx, way, completing(busy))
        assert len(rows) == 3
        return rows
    assert isinstance(way, PlainStatements)
    return await send(tx, way.complete_statement, way.complete_values([completing(busy)]))


def claiming_of(busy: Busy, **wanted: Any) -> Claiming:
    able = replace(busy.wanted(), **wanted)
    return Claiming(busy.worker.actor, claim_message(busy), able, None)


def completing(busy: Busy) -> Completing:
    messages = [
        CompleteIn(order_id=order.order_id, fence=order.fence, report=ExecutionReport())
        for order in busy.held[:3]
    ]
    plain = [each for each in map(values_of, messages) if each is not None]
    return Completing(busy.worker.actor, plain, None)


async def send(
    tx: Transaction, statement: Statement, values: dict[str, Any], *, count: int = 3
) -> Sequence[Row[Any]]:
    connection = await tx.connection()
    result = await connection.exec_driver_sql(statement.sql, tuple(statement.arguments(values)))
    rows = result.all()
    assert len(rows) == count, rows
    return rows


async def send_block(
    tx: Transaction, way: PlainRows, asked: Claiming | Completing
) -> Sequence[Mapping[str, Any]]:
    connection = await tx.connection()
    answers: list[list[dict[str, Any]]] = []
    steps = way.steps([asked], answers)
    found: list[Any] = []
    with suppress(StopIteration):
        question = next(steps)
        while True:
            sql = way.statements[question.name].sqlite
            for values in question.rows or [question.values]:
                result = await connection.exec_driver_sql(sql, tuple(values))
                found = [tuple(row) for row in result] if result.returns_rows else []
            question = steps.send(found)
    return answers[0]


@pytest.mark.parametrize(
    "work",
    [
        claim_at_once,
        completions_at_once,
        beat_at_once,
        whole_claim,
        repeated_claim,
        renewal,
        beat,
        settlement,
        completion,
        failure,
        release,
        append,
        append_at_once,
        tail,
        tail_of_one_stream,
        search_of_a_log,
    ],
    ids=lambda work: work.__name__,
)
async def test_a_message_of_a_worker_looks_at_few_rows(busy: Busy, work: Work):
    await plans_of(busy, work)


async def test_statements_use_the_indexes_where_nothing_has_happened_yet(crew_database: Database):
    # A connection keeps its plans until the statistics change, and tables fill within seconds.
    assert crew_database.direct is not None
    busy = await young(crew_database)
    way, actor = busy.crew.shortcuts.way, busy.worker.actor
    assert isinstance(way, PlainStatements)
    claims = way.claim_values([claiming_of(busy, newest_set=0)])
    completions = way.complete_values([completing(busy)])
    told = Beat(busy.crew.credentials_of(actor), beat_message(busy, ExecutionPhase.STARTING))
    beats = busy.crew.beats.values([told])
    pairs = ((way.claim_statement, claims), (way.complete_statement, completions), (BEAT, beats))
    for statement, values in pairs:
        found = await crew_database.direct.fetch(
            f"EXPLAIN {statement.sql}", *statement.arguments(values)
        )
        plan = "\n".join(str(row["QUERY PLAN"]) for row in found)
        for table in TABLES:
            assert f"Seq Scan on {table}" not in plan, plan
            whole = re.search(rf"Index (?:Only )?Scan .* on {table}\b.*\n\s++(?!Index Cond)", plan)
            assert whole is None, plan
        for index in LONG:
            assert index not in plan, plan


async def young(database: Database) -> Busy:
    crew = await make_crew(database)
    worker = await crew.worker(max_concurrent_tasks=100)
    await copy_orders(crew, WAITING)
    async with database.transaction() as tx:
        # Autovacuum looks at a table when it has changed: those that are empty are not known so.
        await tx.execute(text("ANALYZE tasks, work_orders"))
    held = [order for _ in range(HELD) for order in await worker.claim()]
    return Busy(crew, worker, held)


@pytest.mark.parametrize("state", ["lapsed", "overdue", "waiting", "running"])
async def test_a_chore_does_not_look_at_finished_orders(busy: Busy, state: str):
    conditions: dict[str, Callable[[Transaction], Any]] = {
        "lapsed": partial(store.is_lapsed, by=datetime.now(UTC)),
        "overdue": store.is_overdue,
        "waiting": lambda _: store.is_stranded_waiting(),
        "running": lambda _: store.is_stranded_running(),
    }

    async def chore(_: Busy, tx: Transaction) -> object:
        return await store.find_orders(tx, conditions[state](tx), 50)

    await plans_of(busy, chore, few=WAITING * 2)


async def plans_of(busy: Busy, work: Work, *, few: int = FEW_ROWS) -> list[str]:
    """The plans of all that some work sends about large tables; none looks at many rows."""
    with sent_by(busy.database) as sent, suppress(ZeroDivisionError):
        async with busy.database.transaction() as tx:
            await work(busy, tx)
            await tx.deliver_events(busy.database.reactions)
            raise ZeroDivisionError  # undo it: the next test finds what this one found
    found = [
        plan
        for statement, parameters in sent
        if any(table in statement for table in TABLES) and not statement.startswith("INSERT")
        for plan in await explained(busy.database, statement, parameters, few)
    ]
    assert found
    return found


@contextmanager
def sent_by(database: Database) -> Iterator[list[tuple[str, Any]]]:
    sent: list[tuple[str, Any]] = []

    def note(
        _conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, is_many: bool
    ) -> None:
        sent.append((statement, parameters[0] if is_many else parameters))

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


async def explained(database: Database, statement: str, parameters: Any, few: int) -> list[str]:
    if database.dialect.supports_notify:
        return await explained_by_postgres(database, statement, parameters, few)
    async with database.transaction() as tx:
        connection = await tx.connection()
        rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        lines = [str(row.detail) for row in rows]
    plan = "\n".join([statement, *lines])
    for line in lines:
        is_whole = any(line.startswith(f"SCAN {table}") for table in TABLES)
        assert not is_whole or any(name in line for name in PARTIAL), plan
        # Whose rows are all that wait, or all that run: few enough for a chore, not for a message.
        assert few > FEW_ROWS or "idx_work_orders_status" not in line, plan
    return [plan]


async def explained_by_postgres(
    database: Database, statement: str, parameters: Any, few: int
) -> list[str]:
    plans: list[str] = []
    with suppress(ZeroDivisionError):
        async with database.transaction() as tx:
            connection = await tx.connection()
            looked = await connection.exec_driver_sql(
                f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) {statement}", parameters
            )
            document = looked.scalar_one()
            plan = document if isinstance(document, list) else json.loads(document)
            assert rows_seen(plan[0]["Plan"]) <= few, f"{statement}\n{json.dumps(plan, indent=1)}"
            name = f"plan_{new_id().hex}"
            await connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
            await connection.exec_driver_sql(f"PREPARE {name} AS {statement}")
            nulls = ", ".join(["NULL"] * len(parameters))
            rows = await connection.exec_driver_sql(
                f"EXPLAIN EXECUTE {name}" + (f"({nulls})" if parameters else "")
            )
            generic = "\n".join([statement, *(str(row[0]) for row in rows)])
            for table in TABLES:
                assert f"Seq Scan on {table}" not in generic, generic
            plans = [json.dumps(plan, indent=1), generic]
            raise ZeroDivisionError  # it was executed to be measured, and is not to stay
    return plans


def rows_seen(node: dict[str, Any]) -> int:
    """The rows of the large tables that a plan's nodes looked at, whether they kept them or not."""
    own = 0
    if node.get("Relation Name") in TABLES:
        removed = node.get("Rows Removed by Filter", 0) + node.get(
            "Rows Removed by Index Recheck", 0
        )
        own = round((node["Actual Rows"] + removed) * node["Actual Loops"])
    return max([own, *(rows_seen(child) for child in node.get("Plans", []))])
