"""Many callers, several gateway processes, and kills: a budget is never passed, the books balance.

AGENTVINE_GATEWAY_CALLERS and AGENTVINE_GATEWAY_PROCESSES make it longer (200 and 4).
"""

import asyncio
import contextlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import httpx2
import pytest
from sqlalchemy import text

from agentvine.config.settings import DatabaseSettings, QueueSettings
from agentvine.db.session import Database
from agentvine.domains.usage.jobs import UsageChores
from agentvine.domains.usage.prices import Tokens, price_of
from agentvine.kit.clock import SystemClock
from agentvine.reactions.routing import build_reactions
from tests.support.gateway import Run, make_run, until
from tests.support.http import free_port
from tests.support.upstream import Heard, Reply, running_upstream, sse

CALLERS = int(os.environ.get("AGENTVINE_GATEWAY_CALLERS", "40"))
PROCESSES = int(os.environ.get("AGENTVINE_GATEWAY_PROCESSES", "2"))
SEED = int(os.environ.get("AGENTVINE_CHAOS_SEED", "0")) or random.SystemRandom().randrange(10**6)
pytestmark = [
    pytest.mark.chaos,
    pytest.mark.promise("P14", "P15", "P16"),
    pytest.mark.timeout(180 + 3 * CALLERS),
]

LIMIT = Decimal("2.00")
CALLS_EACH = 3
LIFETIME_SECONDS = 5.0
MODEL = "claude-sonnet-4-5"


@dataclass
class Provider:
    """Keeps its own account of what it told."""

    draw: random.Random
    told: list[Tokens] = field(default_factory=list)

    def answer(self, heard: Heard) -> Reply:
        used = Tokens(100, self.draw.randint(1, heard.json["max_tokens"]))
        self.told.append(used)
        start = {"usage": {"input_tokens": used.input, "output_tokens": 1}}
        events = sse(
            {"type": "message_start", "message": start},
            {"type": "content_block_delta", "index": 0, "delta": {"text": "x"}},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {"output_tokens": used.output},
            },
            {"type": "message_stop"},
        )
        return Reply(events, content_type="text/event-stream")


async def test_budgets_hold_while_gateways_are_killed(database_settings: DatabaseSettings):
    reactions = build_reactions(QueueSettings())
    database = await Database.open(database_settings, SystemClock(), reactions)
    try:
        await race(database, database_settings.url)
    finally:
        await database.close()


async def race(database: Database, url: str) -> None:
    is_file = url.startswith("sqlite")
    provider, draw = Provider(random.Random(SEED)), random.Random(SEED + 1)
    run = await make_run(database)
    budget = await run.budget(str(LIMIT))
    await refuse_to_be_over(database, is_file=is_file)
    ports = [free_port() for _ in range(PROCESSES)]
    async with running_upstream(provider.answer) as upstream:
        with gateways(url, upstream.url, ports) as running:
            await asyncio.gather(*(until(lambda port=port: listens(port), 90) for port in ports))
            calling = [
                asyncio.create_task(caller(run, ports, random.Random(SEED + number)))
                for number in range(CALLERS)
            ]
            for _ in range(2):
                await answered(provider, len(provider.told) + CALLERS // 2, calling)
                running.kill(draw.choice(ports))
            statuses = [status for each in await asyncio.gather(*calling) for status in each]
    await until(lambda: everything_is_counted(database, run), 120)
    rows, counter = await run.rows(), await run.counter(budget)
    now = datetime.now(UTC)
    told = [price_of(used, model=MODEL, provider="anthropic", at=now) for used in provider.told]

    assert set(statuses) <= {200, 402, 0}, f"seed {SEED}"
    assert counter.reserved_usd == 0
    assert counter.spent_usd == sum(row.cost_usd for row in rows)
    assert sum(told) <= counter.spent_usd <= LIMIT, f"seed {SEED}"
    assert len(rows) >= len(told) > 0


async def caller(run: Run, ports: list[int], draw: random.Random) -> list[int]:
    """A few calls, some of which are hung up on; the statuses, 0 where a gateway was gone."""
    statuses: list[int] = []
    async with httpx2.AsyncClient(timeout=60, trust_env=False) as client:
        for _ in range(CALLS_EACH):
            body = {
                "model": MODEL,
                "max_tokens": draw.randint(300, 4000),
                "stream": True,
                "messages": [{"role": "user", "content": "hello"}],
            }
            url = f"http://127.0.0.1:{draw.choice(ports)}/gateway/anthropic/v1/messages"
            try:
                async with client.stream(
                    "POST", url, json=body, headers={"x-api-key": run.key}
                ) as response:
                    statuses.append(response.status_code)
                    if draw.random() < 0.8:
                        await response.aread()
            except httpx2.HTTPError:
                statuses.append(0)
    return statuses


class Running:
    """Gateway processes by their ports; a killed one is started again."""

    def __init__(self, database_url: str, upstream: str) -> None:
        self.arguments = (database_url, upstream)
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, port: int) -> None:
        command = [sys.executable, "-m", "tests.support.gateway_process", *self.arguments]
        self.processes[port] = subprocess.Popen([*command, str(port), str(LIFETIME_SECONDS)])

    def kill(self, port: int) -> None:
        self.processes[port].kill()
        self.processes[port].wait()
        self.start(port)


@contextmanager
def gateways(database_url: str, upstream: str, ports: list[int]) -> Iterator[Running]:
    running = Running(database_url, upstream)
    try:
        for port in ports:
            running.start(port)
        yield running
    finally:
        for process in running.processes.values():
            process.kill()
            process.wait()


async def refuse_to_be_over(database: Database, *, is_file: bool) -> None:
    """Have the database itself look at every change: a limit that is passed is an error."""
    if is_file:
        rule = (
            "CREATE TRIGGER never_over BEFORE UPDATE ON budget_counters "
            f"WHEN NEW.spent_usd + NEW.reserved_usd > {int(LIMIT * 1_000_000)} "
            "BEGIN SELECT RAISE(ABORT, 'over'); END"
        )
    else:
        rule = (
            "ALTER TABLE budget_counters ADD CONSTRAINT never_over "
            f"CHECK (spent_usd + reserved_usd <= {LIMIT})"
        )
    async with database.transaction() as tx:
        await tx.execute(text(rule))


async def everything_is_counted(database: Database, run: Run) -> bool:
    await UsageChores(database, ZoneInfo("UTC")).expire()
    return await run.nothing_is_reserved()


async def answered(
    provider: Provider, count: int, calling: list["asyncio.Task[list[int]]"]
) -> None:
    async def is_so() -> bool:
        return len(provider.told) >= count or all(task.done() for task in calling)

    await until(is_so, 120)


async def listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True
    return False
