"""A gateway as a process of its own, to be killed: ``python -m tests.support.gateway_process``."""

import asyncio
import sys
from datetime import timedelta
from zoneinfo import ZoneInfo

import uvicorn

from agentvine.config.settings import DatabaseSettings
from agentvine.db.session import Database
from agentvine.domains.gateway.bodies import BodyKeeper
from agentvine.domains.gateway.keys import KeyDesk
from agentvine.domains.gateway.relay import Gateway
from agentvine.domains.usage.ledger import Ledger
from agentvine.kit.clock import SystemClock
from tests.support.gateway import FixedTargets


async def serve(database_url: str, upstream: str, port: int, lifetime: float) -> None:
    """Serve until killed."""
    database = await Database.open(DatabaseSettings(url=database_url), SystemClock())
    ledger = Ledger(database, f"port {port}", timedelta(seconds=lifetime))
    targets = FixedTargets([upstream])
    gateway = Gateway(
        database, ledger, KeyDesk(database), targets, ZoneInfo("UTC"), BodyKeeper(database, 0)
    )
    config = uvicorn.Config(gateway, port=port, lifespan="off", log_config=None, access_log=False)
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
