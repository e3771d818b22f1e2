"""A server without its database, asked again and again: it refuses, and keeps nothing of it.

AGENTVINE_SOAK_REQUESTS makes it longer.
"""

import asyncio
import os
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path

import httpx2
import psutil
import pytest

from agentvine.config.settings import DatabaseSettings
from tests.support.fleet import Fleet
from tests.support.histories.report import report
from tests.support.postgres import PostgresServer
from tests.support.space import log_body

REQUESTS = int(os.environ.get("AGENTVINE_SOAK_REQUESTS", "800"))
BODY_BYTES = 200_000
SENDERS = 8
ROUNDS = 4
MOST_GROWTH_MIB = 48
"""A third of what is sent in the short form: whoever kept the messages would keep more."""

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(600 + REQUESTS),
    pytest.mark.promise("P22", "P23"),
]


@pytest.fixture
async def fleet(postgres_settings: DatabaseSettings, tmp_path: Path) -> AsyncIterator[Fleet]:
    fleet = Fleet(tmp_path, postgres_settings, lease_seconds=60)
    await fleet.prepare()
    await fleet.start_server()
    yield fleet
    fleet.stop()


async def test_a_server_without_its_database_keeps_nothing_of_what_it_refuses(
    fleet: Fleet, postgres_server: PostgresServer
):
    assert fleet.server is not None
    server = psutil.Process(fleet.server.pid)
    name = fleet.database.url.partition("?")[0].rpartition("/")[2]
    headers = {"Authorization": f"Bearer {fleet.worker_token}"}
    async with httpx2.AsyncClient(
        base_url=f"{fleet.url}/api/v1", headers=headers, timeout=120, trust_env=False
    ) as client:
        take_away(postgres_server, name)
        await ask(client, REQUESTS // 2)  # whatever is made once is made now
        memory, answers = [server.memory_info().rss / 2**20], Counter[int]()
        for _ in range(ROUNDS):
            answers += await ask(client, REQUESTS // ROUNDS)
            memory.append(server.memory_info().rss / 2**20)
        assert answers == {503: sum(answers.values())}
        assert memory[-1] - memory[0] <= MOST_GROWTH_MIB, memory
        postgres_server.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
        await fleet.until_ready()
    report(
        "a server without its database",
        requests=sum(answers.values()),
        mebibytes_sent=round(REQUESTS * BODY_BYTES / 2**20),
        memory_mib=[round(each, 1) for each in memory],
    )


def take_away(server: PostgresServer, name: str) -> None:
    server.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
    server.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    )


async def ask(client: httpx2.AsyncClient, count: int) -> Counter[int]:
    """Send lines of runs, several batches at a time; how many had which answer."""
    numbers, answers = iter(range(count)), Counter[int]()

    async def send() -> None:
        for _ in islice(numbers, count):
            order = {"order_id": str(uuid.uuid4()), "fence": 1}
            body = log_body(order, *(os.urandom(2500).hex() for _ in range(BODY_BYTES // 5000)))
            answer = await client.post(f"/executions/{uuid.uuid4()}/logs", json=body)
            answers[answer.status_code] += 1
            assert answer.headers.get("retry-after"), answer.text

    await asyncio.gather(*(send() for _ in range(SENDERS)))
    return answers
