"""The driver's own few connections: what comes while all are taken waits, but not for ever."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from agentvine.config.settings import DatabaseSettings
from agentvine.db.direct import Direct
from agentvine.db.errors import DatabaseBusy


@pytest.fixture
async def one_place(postgres_settings: DatabaseSettings) -> AsyncIterator[Direct]:
    small = {"direct_connections": 1, "pool_timeout_seconds": 0.5}
    direct = Direct(postgres_settings.model_copy(update=small))
    yield direct
    await direct.close()


async def holding(direct: Direct, seconds: float) -> "asyncio.Task[object]":
    task = asyncio.create_task(direct.fetch("SELECT pg_sleep($1)", seconds))
    await asyncio.sleep(0)
    return task


async def test_who_finds_every_connection_taken_is_told_so_after_a_while(one_place: Direct):
    holder = await holding(one_place, 1.5)
    with pytest.raises(DatabaseBusy, match="in use") as caught:
        await one_place.fetch("SELECT 1")
    assert caught.value.retry_after
    await holder
    assert [row["n"] for row in await one_place.fetch("SELECT 1 AS n")] == [1]


async def test_who_waits_gets_the_connection_that_comes_free(one_place: Direct):
    holder = await holding(one_place, 0.3)
    both = await asyncio.gather(*(one_place.fetch("SELECT 1 AS n") for _ in range(2)))
    assert [row["n"] for rows in both for row in rows] == [1, 1]
    await holder
