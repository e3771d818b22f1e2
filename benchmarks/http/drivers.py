"""The same statement through each driver: ten rows renewed by their ids, prepared once."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable

import asyncpg
import psycopg
import uvloop

from benchmarks.queue.services import Services

_CONNECTIONS = 4
_ROWS = 400
_IDS = [uuid.UUID(int=number) for number in range(_ROWS)]
_SQL = (
    "UPDATE leases SET until = now() + interval '60 s' WHERE id = ANY({ids}) AND fence = {fence} "
    "RETURNING id, fence, until"
)

_Run = Callable[[list[uuid.UUID]], Awaitable[int]]


async def _asyncpg(dsn: str) -> tuple[_Run, Callable[[], Awaitable[None]]]:
    connection = await asyncpg.connect(dsn)
    sql = _SQL.format(ids="$1::uuid[]", fence="$2::bigint")

    async def run(ids: list[uuid.UUID]) -> int:
        return len(await connection.fetch(sql, ids, 3))

    return run, connection.close


async def _psycopg(dsn: str) -> tuple[_Run, Callable[[], Awaitable[None]]]:
    connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True, prepare_threshold=0)
    cursor = connection.cursor(binary=True)
    sql = _SQL.format(ids="%s::uuid[]", fence="%s::bigint").encode()

    async def run(ids: list[uuid.UUID]) -> int:
        await cursor.execute(sql, (ids, 3), prepare=True)
        return len(await cursor.fetchall())

    return run, connection.close


DRIVERS = {"asyncpg": _asyncpg, "psycopg 3, in C": _psycopg}


def statements(services: Services, seconds: float, rounds: int) -> dict[str, tuple[float, float]]:
    """Statements a second, and milliseconds of the caller's CPU for one; by driver."""
    services.postgres.create_database("drivers")
    dsn = services.dsn("drivers")
    uvloop.run(_prepare(dsn))
    count, took, cpu = (dict.fromkeys(DRIVERS, 0.0) for _ in range(3))
    for _ in range(rounds):
        for name in DRIVERS:
            started, before = time.perf_counter(), time.process_time()
            count[name] += uvloop.run(_many(name, dsn, seconds))
            took[name] += time.perf_counter() - started
            cpu[name] += time.process_time() - before
    services.postgres.drop_database("drivers")
    return {name: (count[name] / took[name], cpu[name] / count[name] * 1000) for name in DRIVERS}


async def _prepare(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "CREATE TABLE leases (id uuid PRIMARY KEY, fence bigint, until timestamptz) "
        "WITH (fillfactor = 50)"
    )
    await connection.executemany("INSERT INTO leases VALUES ($1, 3, now())", [(i,) for i in _IDS])
    await connection.close()


async def _many(name: str, dsn: str, seconds: float) -> int:
    end = time.perf_counter() + seconds
    return sum(await asyncio.gather(*(_one(name, dsn, n, end) for n in range(_CONNECTIONS))))


async def _one(name: str, dsn: str, number: int, end: float) -> int:
    run, close = await DRIVERS[name](dsn)
    share = _ROWS // _CONNECTIONS
    own = _IDS[number * share : (number + 1) * share]
    done = 0
    while time.perf_counter() < end:
        first = done * 10 % share
        assert await run(own[first : first + 10]) == 10
        done += 1
    await close()
    return done
