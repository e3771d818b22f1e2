from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from agentvine.config.settings import QueueSettings
from agentvine.db.session import Database
from agentvine.kit.clock import SystemClock
from agentvine.reactions.routing import build_reactions
from tests.support.per_file import own_database


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def crew_database(
    postgres_template: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[Database]:
    """The database that has statements which change several tables; with reactions."""
    with own_database("postgres", tmp_path_factory.mktemp("quick"), request) as settings:
        reactions = build_reactions(QueueSettings())
        database = await Database.open(settings, SystemClock(), reactions=reactions)
        yield database
        await database.close()
