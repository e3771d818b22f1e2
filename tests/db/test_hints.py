"""Hints behave alike on both databases; on PostgreSQL they also reach other processes."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from agentvine.config.settings import DatabaseSettings
from agentvine.db.hints import Hints
from agentvine.db.session import Database
from agentvine.kit.clock import SystemClock


@pytest.fixture
async def other(database: Database, database_settings: DatabaseSettings) -> AsyncIterator[Hints]:
    """The hints of another server process on PostgreSQL; on SQLite there is only this one."""
    if not database.dialect.supports_notify:
        yield database.hints
        return
    opened = await Database.open(database_settings, SystemClock())
    yield opened.hints
    await opened.close()


async def test_a_hint_wakes_a_waiting_subscriber_at_once(database: Database, other: Hints):
    async with other.subscribe("queue") as subscription:
        waiting = asyncio.create_task(subscription.wait(30))
        await asyncio.sleep(0)
        started = time.monotonic()
        database.hints.publish("queue")
        assert await waiting
        assert time.monotonic() - started < 10


async def test_a_hint_that_comes_before_the_wait_is_kept(database: Database, other: Hints):
    async with other.subscribe("queue") as subscription:
        database.hints.publish("queue", "7")
        assert await subscription.wait(5)
        assert subscription.take() == ["7"]
        assert subscription.take() == []


async def test_without_a_hint_the_wait_ends_with_its_timeout(database: Database, other: Hints):
    async with other.subscribe("queue") as subscription:
        database.hints.publish("another channel")
        assert not await subscription.wait(0.04)


async def test_every_subscriber_of_a_channel_is_woken(database: Database, other: Hints):
    async with (
        other.subscribe("queue") as first,
        other.subscribe("queue") as second,
        database.hints.subscribe("queue") as here,
    ):
        database.hints.publish("queue")
        assert await asyncio.gather(first.wait(5), second.wait(5), here.wait(5)) == [True] * 3


async def test_hints_given_together_keep_their_distinct_payloads(database: Database, other: Hints):
    async with other.subscribe("queue") as subscription:
        for payload in ("a", "b", "a", "c"):
            database.hints.publish("queue", payload)
        heard: set[str] = set()
        while heard != {"a", "b", "c"}:
            assert await subscription.wait(5)
            heard.update(subscription.take())


async def test_payloads_too_long_for_a_notification_still_wake(database: Database, other: Hints):
    async with other.subscribe("queue") as subscription:
        database.hints.publish("queue", "x" * 20_000)
        assert await subscription.wait(5)


async def test_a_hint_of_a_transaction_is_given_after_its_commit(database: Database, other: Hints):
    async with other.subscribe("users") as subscription:
        async with database.transaction() as tx:
            tx.hint("users", "new")
            assert not await subscription.wait(0.04)
        assert await subscription.wait(5)


async def test_a_transaction_that_is_rolled_back_gives_no_hint(database: Database, other: Hints):
    async with other.subscribe("users") as subscription:
        with pytest.raises(ZeroDivisionError):
            await _give_hint_and_fail(database)
        assert not await subscription.wait(0.04)


async def test_closing_wakes_whoever_waits_and_may_be_repeated(database: Database, other: Hints):
    async with other.subscribe("queue") as subscription:
        waiting = asyncio.create_task(subscription.wait(5))
        await asyncio.sleep(0)
        await other.close()
        assert await waiting
        await other.close()


async def test_a_flood_of_hints_becomes_few_notifications(
    database: Database, other: Hints, database_kind: str
):
    """At most one NOTIFY per channel every 20 ms; a subscriber is woken, not flooded."""
    wakes = 0
    async with other.subscribe("queue") as subscription:
        ends = time.monotonic() + 0.2
        while time.monotonic() < ends:
            for _ in range(50):
                database.hints.publish("queue", "same")
            await asyncio.sleep(0)
            # A thousand a second would be one per turn of this loop.
            if database_kind == "postgres" and await subscription.wait(0.001):
                wakes += 1
        assert wakes <= 12
        assert await subscription.wait(5)


async def test_a_broken_connection_is_opened_again_and_everybody_woken(
    postgres_settings: DatabaseSettings,
):
    database = await Database.open(postgres_settings, SystemClock())
    async with database.hints.subscribe("queue") as subscription:
        async with database.transaction() as tx:
            ended = await tx.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name LIKE '%-hints' AND datname = current_database()"
                )
            )
            assert len(ended.all()) == 1
        assert await subscription.wait(5), "hints may have been missed: look"
        database.hints.publish("queue", "after")
        assert await subscription.wait(5)
        assert "after" in subscription.take()
    await database.close()


async def _give_hint_and_fail(database: Database) -> None:
    async with database.transaction() as tx:
        tx.hint("users")
        raise ZeroDivisionError
