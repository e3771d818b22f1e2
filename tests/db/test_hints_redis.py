"""Hints by way of Redis, between two servers of one PostgreSQL; and none of it is needed."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agentvine.config.settings import DatabaseSettings, SettingsError, load_settings
from agentvine.db.hints_redis import RedisHints
from agentvine.db.session import Database
from agentvine.kit.clock import SystemClock
from tests.support.valkey import Valkey


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def pair(
    postgres_settings: DatabaseSettings, valkey: Valkey
) -> AsyncIterator[tuple[Database, Database]]:
    """Two servers' databases."""
    settings = postgres_settings.model_copy(update={"redis_url": valkey.url})
    one = await Database.open(settings, SystemClock())
    two = await Database.open(settings, SystemClock())
    assert isinstance(one.hints, RedisHints)
    yield one, two
    await one.close()
    await two.close()


async def test_a_hint_wakes_the_other_server_at_once_with_its_payloads(
    pair: tuple[Database, Database],
):
    one, two = pair
    async with two.hints.subscribe("queue") as subscription:
        started = time.monotonic()
        for payload in ("a", "b", "a"):
            one.hints.publish("queue", payload)
        heard: list[str] = []
        while len(heard) < 2:
            assert await subscription.wait(10)
            heard += subscription.take()
        assert heard == ["a", "b"]
        assert time.monotonic() - started < 5


async def test_who_gave_a_hint_hears_it_once(pair: tuple[Database, Database]):
    one, two = pair
    async with (
        one.hints.subscribe("queue") as here,
        two.hints.subscribe("queue") as there,
    ):
        one.hints.publish("queue", "x")
        assert await here.wait(10)
        assert here.take() == ["x"]
        assert await there.wait(10)
        # By now the message has been to Redis and back.
        two.hints.publish("queue", "y")
        assert await here.wait(10)
        assert here.take() == ["y"]


@pytest.mark.promise("P24")
async def test_when_redis_was_killed_everybody_looks_and_hints_go_on(
    pair: tuple[Database, Database], valkey: Valkey
):
    one, two = pair
    async with two.hints.subscribe("queue") as subscription:
        valkey.kill()
        one.hints.publish("queue", "kept until it is back")
        valkey.start()
        heard: set[str] = set()
        async with asyncio.timeout(40):
            while "kept until it is back" not in heard:
                assert await subscription.wait(30)
                heard |= set(subscription.take())
                one.hints.publish("queue", "kept until it is back")


@pytest.mark.promise("P24")
async def test_without_any_redis_nothing_fails_but_the_hints(postgres_settings: DatabaseSettings):
    settings = postgres_settings.model_copy(update={"redis_url": "redis://127.0.0.1:9/0"})
    database = await Database.open(settings, SystemClock())
    async with database.hints.subscribe("queue") as subscription:
        async with database.transaction() as tx:
            tx.hint("queue", "here")
        assert await subscription.wait(10), "in the same process it needs no Redis"
        assert subscription.take() == ["here"]
    await database.close()


def test_an_address_that_is_none_is_told(tmp_path: Path):
    with pytest.raises(SettingsError, match="AGENTVINE_REDIS_URL"):
        load_settings(data_dir=tmp_path, redis_url="localhost:6379")
