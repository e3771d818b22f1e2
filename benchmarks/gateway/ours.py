"""Our gateway as a process of its own: with durable hard budgets, or without any."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import uvicorn

from agentvine.config.settings import DatabaseSettings, normalise_database_url
from agentvine.db.session import Database
from agentvine.domains.gateway.bodies import BodyKeeper
from agentvine.domains.gateway.keys import KeyDesk
from agentvine.domains.gateway.relay import Gateway
from agentvine.domains.gateway.targets import Target
from agentvine.domains.usage.calls import Call, Outcome
from agentvine.domains.usage.ledger import Ledger
from agentvine.kit.clock import SystemClock


@dataclass
class OneTarget:
    """One provider that speaks Anthropic's language."""

    url: str

    async def find(self, payer: Any, wire: Any, model: str) -> Sequence[Target]:
        """Where every call goes."""
        return [Target("anthropic", self.url, model, "anthropic", allows_private=True, key="sk")]

    async def note_limit(self, target: Target, seconds: float, reason: str) -> None:
        """It has none."""


@dataclass
class NoBooks(Ledger):
    """A ledger that keeps nothing."""

    async def reserve(self, call: Call, most_usd: Decimal, least_usd: Decimal) -> Decimal:
        """Let everything through."""
        return most_usd

    async def settle(self, call: Call, outcome: Outcome) -> None:
        """Count nothing."""

    async def shrink(self, request_id: str, amount_usd: Decimal) -> None:
        """Give nothing back."""


async def serve(options: argparse.Namespace) -> None:
    """Serve until stopped."""
    url = normalise_database_url(options.database)
    database = await Database.open(DatabaseSettings(url=url), SystemClock())
    ledger = (NoBooks if options.without_budgets else Ledger)(database, f"bench:{options.port}")
    gateway = Gateway(
        database,
        ledger,
        KeyDesk(database),
        OneTarget(options.upstream),
        ZoneInfo("UTC"),
        BodyKeeper(database, 0),
    )
    config = uvicorn.Config(
        gateway, port=options.port, lifespan="off", log_level="error", access_log=False
    )
    await uvicorn.Server(config).serve()
    await gateway.close()
    await database.close()


if __name__ == "__main__":
    import uvloop

    parser = argparse.ArgumentParser()
    parser.add_argument("--database")
    parser.add_argument("--upstream")
    parser.add_argument("--port", type=int)
    parser.add_argument("--without-budgets", action="store_true")
    uvloop.run(serve(parser.parse_args()))
