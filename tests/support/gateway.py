"""A gateway on a socket, with runs that call it: real database, real HTTP, a scripted provider."""

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
import uvicorn
from sqlalchemy import func, select

from agentvine.db.session import Database, Transaction
from agentvine.domains.gateway.bodies import BodyKeeper
from agentvine.domains.gateway.enums import ModelWire
from agentvine.domains.gateway.keys import KeyDesk, make_key
from agentvine.domains.gateway.relay import Gateway, KeyWatch
from agentvine.domains.gateway.targets import Target
from agentvine.domains.usage import budgets
from agentvine.domains.usage.calls import Payer
from agentvine.domains.usage.ledger import Ledger
from agentvine.domains.usage.models import BudgetCounter, BudgetReservation, TokenUsage
from agentvine.domains.usage.prices import Rates
from agentvine.domains.usage.purses import BOOKS
from agentvine.protocol.queue import ClaimedOrder
from agentvine.protocol.usage import BudgetCreateIn
from tests.support.builders.identity import unique
from tests.support.builders.work import Crew, Hand, make_crew

_KINDS = {
    "anthropic": ("anthropic", "anthropic", ""),
    "openai": ("openai", "openai", "/v1"),
    "gemini": ("gemini", "google", ""),
}


@dataclass
class FixedTargets:
    """Providers that a test names: each answers for all languages."""

    urls: Sequence[str]
    key: str = "sk-canary-0123456789abcdef"
    keys: dict[str, str] = field(default_factory=dict)
    """Other keys than this, by the provider's name."""
    aliases: dict[str, str] = field(default_factory=dict)
    limits: list[tuple[str, float]] = field(default_factory=list)
    rates: Rates | None = None

    async def find(self, payer: Payer, wire: ModelWire, model: str) -> Sequence[Target]:
        kind, priced_as, version = _KINDS[wire]
        real = self.aliases.get(model, model)
        return [
            Target(
                kind,
                f"{url}{version}",
                real,
                priced_as,
                allows_private=True,
                key=self.keys.get(f"p{number}", self.key),
                name=f"p{number}",
                rates=self.rates,
            )
            for number, url in enumerate(self.urls)
        ]

    async def note_limit(self, target: Target, seconds: float, reason: str) -> None:
        self.limits.append((target.name, seconds))


@dataclass
class Served:
    """A running gateway."""

    url: str
    gateway: Gateway
    database: Database
    targets: FixedTargets

    def client(self, key: str | None, **options: Any) -> httpx2.AsyncClient:
        headers = {"x-api-key": key} if key else {}
        return httpx2.AsyncClient(
            base_url=f"{self.url}/gateway", headers=headers, timeout=60, trust_env=False, **options
        )


@asynccontextmanager
async def running_gateway(
    database: Database,
    *urls: str,
    drain_seconds: float = 60,
    keep_days: float = 0,
    patience_seconds: float = 60,
) -> AsyncIterator[Served]:
    """A gateway over a database, whose providers are at these addresses.

    However busy the machine, an answer is read to its end after its caller has left.
    """
    targets = FixedTargets(urls)
    gateway = Gateway(
        database,
        Ledger(database, "test"),
        KeyDesk(database),
        targets,
        ZoneInfo("UTC"),
        BodyKeeper(database, keep_days),
        drain_seconds,
        patience_seconds,
    )
    listener = socket.socket()
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind(("127.0.0.1", 0))
    server = _Server(uvicorn.Config(gateway, lifespan="off", log_config=None, access_log=False))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        port = listener.getsockname()[1]
        yield Served(f"http://127.0.0.1:{port}", gateway, database, targets)
    finally:
        server.should_exit = True
        await serving
        await gateway.close()


class _Server(uvicorn.Server):
    """A server inside a test leaves the test's signals alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class Run:
    """A claimed order with a key for models."""

    crew: Crew
    hand: Hand
    order: ClaimedOrder
    key: str
    payer: Payer

    @property
    def database(self) -> Database:
        return self.crew.database

    async def new_key(self) -> str:
        """Another key for the same claim."""
        return (await _key(self.hand, self.order))[0]

    async def budget(self, amount: str, **fields: Any) -> uuid.UUID:
        """A daily budget of the run's project that blocks."""
        wanted = BudgetCreateIn.model_validate(
            {
                "name": unique("budget"),
                "scope": "project",
                "project_id": self.payer.project_id,
                "amount_usd": amount,
                "period": "daily",
                **fields,
            }
        )
        async with self.crew.ground.transaction() as tx:
            return (await budgets.create_budget(tx, self.crew.ground.owner, wanted)).id

    @asynccontextmanager
    async def books_held(self) -> AsyncIterator[Transaction]:
        """Nobody else writes in the books meanwhile, as while somebody makes a budget."""
        async with self.crew.ground.transaction() as tx:
            await tx.dialect.close_lock(tx, BOOKS)
            yield tx

    async def counter(self, budget_id: uuid.UUID) -> BudgetCounter:
        """The one counter of a budget."""
        query = select(BudgetCounter).where(BudgetCounter.budget_id == budget_id)
        async with self.database.read() as read:
            return (await read.scalars(query)).one()

    async def rows(self) -> Sequence[TokenUsage]:
        """What the ledger holds of the run, oldest first."""
        query = select(TokenUsage).where(TokenUsage.execution_id == self.order.execution_id)
        async with self.database.read() as read:
            return (await read.scalars(query.order_by(TokenUsage.id))).all()

    async def row(self) -> TokenUsage:
        """The one call of the run, once it is in the books."""
        await until(self.nothing_is_reserved)
        [row] = await self.rows()
        return row

    async def nothing_is_reserved(self) -> bool:
        async with self.database.read() as read:
            count = await read.scalar(select(func.count()).select_from(BudgetReservation))
        return count == 0


async def make_run(database: Database, **task: Any) -> Run:
    """A run of a task of its own, in a project of its own."""
    crew = await make_crew(database)
    hand = await crew.worker()
    await crew.enqueue(**task)
    order = await hand.claim_one()
    key, payer = await _key(hand, order)
    return Run(crew, hand, order, key, payer)


async def _key(hand: Hand, order: ClaimedOrder) -> tuple[str, Payer]:
    async with hand.crew.database.transaction(hand.actor) as tx:
        return await make_key(tx, hand.actor, order.execution_id, order.order_id, order.fence)


async def until(is_so: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not await is_so():  # noqa: ASYNC110  # a condition in the database
            await asyncio.sleep(0.02)


async def until_so(is_so: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition that is seen at once."""

    async def look() -> bool:
        return is_so()

    await until(look, seconds)


@asynccontextmanager
async def watching(served: Served) -> AsyncIterator[None]:
    """The chore that cuts off the answers of dead keys."""

    async def look() -> None:
        while True:
            await KeyWatch(served.gateway).look()
            await asyncio.sleep(0.05)

    task = asyncio.create_task(look())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
