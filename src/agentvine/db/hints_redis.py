"""Hints by way of Redis, or of Valkey: for who has one, and servers that PostgreSQL is far from.

Nothing but hints goes there. It may be emptied, stopped or lost at any time: whoever waits looks by
itself at every poll interval.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

from agentvine.config.settings import DatabaseSettings
from agentvine.db.engine import postgres_dsn
from agentvine.db.hints import RelayedHints, Send
from agentvine.kit.errors import Invalid
from agentvine.kit.ids import random_token

try:
    from redis import asyncio as _redis
except ModuleNotFoundError:  # an optional extra
    _redis = None

_CONNECT_SECONDS = 5.0
_HEALTH_SECONDS = 5


class RedisNotInstalled(Invalid):
    """A Redis is named, but the client for it is not installed."""

    code = "redis_not_installed"


class RedisHints(RelayedHints):
    """Hints between processes that share a Redis and a database."""

    def __init__(self, settings: DatabaseSettings) -> None:
        """Take the addresses; nothing is opened yet.

        Raises:
            RedisNotInstalled: The extra is missing.
        """
        super().__init__()
        if _redis is None:
            raise RedisNotInstalled(
                "Install it with `pip install 'agentvine[redis]'`, or unset AGENTVINE_REDIS_URL."
            )
        self._url = settings.redis_url
        # By name alone: each server may know the database's machine by another one.
        database = postgres_dsn(settings).rpartition("/")[2].partition("?")[0]
        self._channel = f"agentvine:hints:{database}"
        self._me = random_token(9)

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[Send, None]:
        assert _redis is not None, "looked for when this was made"
        client: Any = _redis.Redis.from_url(  # pyright: ignore[reportUnknownMemberType]  # third party
            self._url,
            socket_connect_timeout=_CONNECT_SECONDS,
            health_check_interval=_HEALTH_SECONDS,
            decode_responses=True,
        )
        pubsub: Any = client.pubsub(ignore_subscribe_messages=True)
        await pubsub.subscribe(self._channel)
        listening = asyncio.create_task(self._listen(pubsub))
        listening.add_done_callback(lambda _task: self._stir())

        async def send(messages: list[str]) -> None:
            if listening.done():
                listening.result()
            if not messages:
                await client.ping()
            for message in messages:
                await client.publish(self._channel, f"{self._me} {message}")

        try:
            yield send
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            with suppress(Exception):  # it is gone already, as likely as not
                await pubsub.aclose()
            with suppress(Exception):  # as above
                await client.aclose()

    async def _listen(self, pubsub: Any) -> None:
        while True:
            # Short, so that the client looks after its connection in between.
            got = await pubsub.get_message(ignore_subscribe_messages=True, timeout=_HEALTH_SECONDS)
            if got is None:
                continue
            sender, _, message = str(got["data"]).partition(" ")
            if sender != self._me:  # those here were woken when the hint was given
                self._heard(message)
