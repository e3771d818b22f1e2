"""One function for each figure; each returns lines of a Markdown table."""

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import asyncpg
import httpx2
from sqlalchemy import text

from agentvine.client import Client
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.work import limiting
from agentvine.domains.work.enums import LimitScope, OrderStatus
from agentvine.protocol.enums import ExecutionPhase
from agentvine.protocol.executions import LogBatchIn, LogLineIn
from agentvine.protocol.limits import LimitTarget
from agentvine.protocol.queue import (
    CompleteIn,
    ExecutionReport,
    HeartbeatIn,
    Held,
    LeaseState,
    ReportIn,
)
from benchmarks.fleet.grounds import Caller, Site, cpu_of, running_site
from benchmarks.queue.services import Services
from tests.support.history import copy_attempts, copy_orders

Row = tuple[str, str, str]
"""What, how much, and beside what it stands."""

CLAIMERS = 8
BEAT_SECONDS = 20.0
_WORKERS = 1000
_IDLE_SECONDS = 10.0
_LEAST_BEATS = 2000
_AT_ONCE = 50
_LINES = 500
_CAPPED = "docs"


async def drain(services: Services, scale: float) -> list[Row]:
    """Orders a second through claims and reports of eight claimers over HTTP."""
    rows: list[Row] = []
    async with (
        running_site(services) as site,
        Client(site.fleet.url, site.fleet.worker_token) as client,
    ):
        plain = await _rate(max(400, round(3000 * scale)), site)
        callers = [await Caller.register(site, client, f"w{n}") for n in range(CLAIMERS)]
        for batch, full in ((1, 2000), (10, 6000), (100, 10000)):
            count = max(400, round(full * scale))
            await site.crew.enqueue_copies(count)
            await _vacuum(site)
            started = time.perf_counter()
            done = await asyncio.gather(*(_drain(caller, batch) for caller in callers))
            rate = sum(done) / (time.perf_counter() - started)
            assert sum(done) == count, f"{count} orders, {sum(done)} done"
            beside = f"{rate / plain:.2f} x as many as requests for `/health` ({plain:,.0f}/s)"
            rows.append((f"orders over HTTP, batch {batch}", f"{rate:,.0f}/s", beside))
    return rows


async def _drain(caller: Caller, batch: int) -> int:
    done = 0
    while orders := await caller.claim(batch):
        reports = [
            CompleteIn(order_id=o.order_id, fence=o.fence, report=ExecutionReport(exit_code=0))
            for o in orders
        ]
        if len(reports) == 1:
            await caller.client.queue.complete(reports[0])
        else:
            outcomes = await caller.client.queue.report_many(
                [ReportIn(complete=report) for report in reports]
            )
            assert all(each.outcome is not None for each in outcomes), outcomes
        done += len(orders)
    return done


async def pickup(services: Services, scale: float) -> list[Row]:
    """Milliseconds from the commit of an order to the answer of a claim that waited for it."""
    times: list[float] = []
    bare: list[float] = []
    async with (
        running_site(services) as site,
        Client(site.fleet.url, site.fleet.worker_token) as client,
        httpx2.AsyncClient(base_url=site.fleet.url) as http,
    ):
        caller = await Caller.register(site, client, "waiting")
        for _ in range(max(60, round(300 * scale))):
            waiting = asyncio.create_task(caller.claim(1, wait_seconds=20))
            await asyncio.sleep(0.05)  # until it waits
            await site.crew.enqueue()
            started = time.perf_counter()
            (order,) = await waiting
            times.append((time.perf_counter() - started) * 1000)
            await client.queue.complete(
                CompleteIn(order_id=order.order_id, fence=order.fence, report=ExecutionReport())
            )
            started = time.perf_counter()
            await http.get("/health")
            bare.append((time.perf_counter() - started) * 1000)
    beside = f"`/health` alone: p50 {_part(bare, 50):.1f} ms, p99 {_part(bare, 99):.1f} ms"
    return [
        ("pickup, p50", f"{_part(times, 50):.1f} ms", beside),
        ("pickup, p99", f"{_part(times, 99):.1f} ms", "aim: 15 ms on an idle machine"),
    ]


async def beats(services: Services, scale: float) -> list[Row]:
    """What the beats of 1,000 workers with 10 orders each cost server and database.

    They come as they would: fifty a second on average, by chance. One after the other, as fast as
    they are answered, they would have neither company nor cold caches.
    """
    workers = max(20, round(1000 * scale))
    async with (
        running_site(services) as site,
        Client(site.fleet.url, site.fleet.worker_token) as client,
    ):
        await site.crew.enqueue_copies(workers * 10)
        messages: list[HeartbeatIn] = []
        beaten = time.perf_counter()
        for number in range(workers):
            if time.perf_counter() - beaten > BEAT_SECONDS:  # or leases end before it begins
                await _beat_all(client, messages)
                beaten = time.perf_counter()
            caller = await Caller.register(site, client, f"w{number}")
            orders = await caller.claim(10)
            held = [
                Held(order_id=o.order_id, fence=o.fence, phase=ExecutionPhase.RUNNING)
                for o in orders
            ]
            messages.append(
                HeartbeatIn(worker_id=caller.worker_id, session_id=caller.session_id, held=held)
            )
        await _beat_all(client, messages)  # the first one notes the phase
        before = await _idle_rate(site)
        sent = [message for _ in range(-(-_LEAST_BEATS // workers)) for message in messages]
        started = time.perf_counter()
        with cpu_of(site) as spent:
            await _beat_by_chance(client, sent)
        seconds = time.perf_counter() - started
        # What chores cost is not the beats'. The database may tidy up after the claims, or after
        # the beats: the quieter time tells.
        chores = min(before, await _idle_rate(site))
    each = spent[0] / len(sent) - chores * seconds / len(sent)
    share = each * _WORKERS / BEAT_SECONDS
    beside = (
        f"{each * 1000:.2f} ms of CPU for a beat with 10 orders, without the chores' "
        f"{chores:.1%} of a core; aim: under 5 %"
    )
    return [("beats of 1,000 workers, 10 orders each", f"{share:.1%} of a core", beside)]


async def _beat_all(client: Client, messages: Sequence[HeartbeatIn]) -> None:
    for start in range(0, len(messages), _AT_ONCE):
        beats = (client.queue.heartbeat(each) for each in messages[start : start + _AT_ONCE])
        for answer in await asyncio.gather(*beats):
            assert all(lease.state is LeaseState.KEPT for lease in answer.leases), answer


async def _idle_rate(site: Site) -> float:
    """Which part of a core server and database spend by themselves."""
    with cpu_of(site) as idle:
        await asyncio.sleep(_IDLE_SECONDS)
    return idle[0] / _IDLE_SECONDS


async def _beat_by_chance(client: Client, messages: Sequence[HeartbeatIn]) -> None:
    draw = random.Random(7)
    async with asyncio.TaskGroup() as under_way:
        for message in messages:
            under_way.create_task(client.queue.heartbeat(message))
            await asyncio.sleep(draw.expovariate(_WORKERS / BEAT_SECONDS))


async def lines(services: Services, scale: float) -> list[Row]:
    """Log lines a second over HTTP, beside plain inserts of the same rows."""
    batches = max(20, round(200 * scale))
    async with (
        running_site(services) as site,
        Client(site.fleet.url, site.fleet.worker_token) as client,
    ):
        await site.crew.enqueue()
        caller = await Caller.register(site, client, "writer")
        (order,) = await caller.claim(1)
        texts = [f"tests/test_{n}.py::test_that_nothing_is_lost PASSED" for n in range(_LINES)]
        now = datetime.now(UTC)
        started = time.perf_counter()
        for number in range(batches):
            await client.executions.append_logs(
                order.execution_id,
                LogBatchIn(
                    order_id=order.order_id,
                    fence=order.fence,
                    stream="stdout",
                    first_seq=number * _LINES + 1,
                    lines=[LogLineIn(message=text, logged_at=now) for text in texts],
                ),
            )
        rate = batches * _LINES / (time.perf_counter() - started)
        plain = await _plain_lines(site, texts, batches)
    beside = f"{rate / plain:.2f} of plain inserts of {_LINES} rows each ({plain:,.0f}/s)"
    return [("log lines over HTTP, one writer", f"{rate:,.0f}/s", beside)]


async def _plain_lines(site: Site, texts: Sequence[str], batches: int) -> float:
    connection = await asyncpg.connect(site.dsn)
    await connection.execute(
        "CREATE TABLE plain_lines (run int, seq int, logged_at timestamptz, message text, "
        "PRIMARY KEY (run, seq))"
    )
    started = time.perf_counter()
    for number in range(batches):
        first = number * len(texts)
        await connection.execute(
            "INSERT INTO plain_lines SELECT 1, $1 + n, now(), message "
            "FROM unnest($2::text[]) WITH ORDINALITY AS l (message, n)",
            first,
            list(texts),
        )
    rate = batches * len(texts) / (time.perf_counter() - started)
    await connection.close()
    return rate


async def history(services: Services, scale: float) -> list[Row]:
    """A claim and its completion with much behind and in front of it, beside an empty queue."""
    finished, capped = round(1_000_000 * scale), round(100_000 * scale)
    async with (
        running_site(services) as site,
        Client(site.fleet.url, site.fleet.worker_token) as client,
    ):
        caller = await Caller.register(site, client, "w")
        await site.crew.enqueue_copies(500)
        await _vacuum(site)
        young = await _one_by_one(caller)
        past = {"status": OrderStatus.COMPLETED, "worker_id": caller.worker_id, "fence": 1}
        await copy_orders(site.crew, finished, order=past, task={"status": TaskStatus.COMPLETED})
        await copy_attempts(site.crew, caller.worker_id)
        await _vacuum(site)
        old = await _one_by_one(caller)
        target = LimitTarget(scope=LimitScope.WORKER_TYPE, key=_CAPPED)
        async with site.database.transaction() as tx:
            await limiting.set_limit(tx, target, 0)
        limited = await _one_by_one(caller)
        await copy_orders(site.crew, capped, order={"worker_type": _CAPPED, "rank": 0})
        await _until_in_line(site)
        await _vacuum(site)
        behind = await _one_by_one(caller)
    return [
        (
            f"claim and completion after {finished:,} finished orders",
            f"{old:.1f} ms",
            f"{old / young:.2f} x those of a young queue ({young:.1f} ms)",
        ),
        (
            f"the same behind {capped:,} orders that a limit holds back",
            f"{behind:.1f} ms",
            f"{behind / limited:.2f} x those where the limit holds back none; aim: at most 2",
        ),
    ]


async def _until_in_line(site: Site) -> None:
    waiting = text(
        "SELECT count(*) FROM work_orders WHERE worker_type = :capped AND line_id IS NULL"
    ).bindparams(capped=_CAPPED)
    while True:
        async with site.database.read() as read:
            if not await read.scalar(waiting):
                return
        await asyncio.sleep(0.2)


async def _one_by_one(caller: Caller) -> float:
    """The median of a hundred, in milliseconds."""
    times = []
    for _ in range(100):
        started = time.perf_counter()
        (order,) = await caller.claim(1)
        await caller.client.queue.complete(
            CompleteIn(order_id=order.order_id, fence=order.fence, report=ExecutionReport())
        )
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


async def storm(services: Services, scale: float) -> list[Row]:
    """Inserts into a table of their own while the server's hints come down in thousands."""
    async with running_site(services) as site:
        connection, other = await asyncpg.connect(site.dsn), await asyncpg.connect(site.dsn)
        await connection.execute("CREATE TABLE inserted (id bigserial PRIMARY KEY, note text)")
        count = max(300, round(2000 * scale))
        rates: dict[bool, list[float]] = {True: [], False: []}
        for turn in range(6):
            is_stormy = turn % 2 == 1
            task = asyncio.create_task(_storm(other)) if is_stormy else None
            started = time.perf_counter()
            for _ in range(count):
                await connection.execute("INSERT INTO inserted (note) VALUES ('x')")
            rates[is_stormy].append(count / (time.perf_counter() - started))
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await connection.close()
        await other.close()
    calm, stormy = statistics.median(rates[False]), statistics.median(rates[True])
    beside = f"{stormy / calm:.2f} of those in calm weather ({calm:,.0f}/s); aim: at least 0.9"
    return [("inserts in a storm of 1,000 hints/s", f"{stormy:,.0f}/s", beside)]


async def _storm(connection: asyncpg.Connection) -> None:
    while True:
        for number in range(50):
            await connection.execute(f"SELECT pg_notify('agentvine', 'events {number}')")
        await asyncio.sleep(0.05)


async def _rate(count: int, site: Site) -> float:
    """The least that a request costs: requests for `/health` a second, by as many callers."""
    async with httpx2.AsyncClient(base_url=site.fleet.url) as http:

        async def some() -> None:
            for _ in range(count // CLAIMERS):
                (await http.get("/health")).raise_for_status()

        started = time.perf_counter()
        await asyncio.gather(*(some() for _ in range(CLAIMERS)))
        return count // CLAIMERS * CLAIMERS / (time.perf_counter() - started)


async def _vacuum(site: Site) -> None:
    connection = await asyncpg.connect(site.dsn)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


def _part(times: Sequence[float], percent: int) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[percent - 1]


ALL: dict[str, Callable[[Services, float], Awaitable[list[Row]]]] = {
    "drain": drain,
    "pickup": pickup,
    "beats": beats,
    "lines": lines,
    "history": history,
    "storm": storm,
}
