"""Hints by LISTEN and NOTIFY."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from agentvine.config.settings import DatabaseSettings
from agentvine.db import postgres
from agentvine.db.engine import postgres_dsn
from agentvine.db.hints import RelayedHints, Send

_CHANNEL = "agentvine_hints"


class PostgresHints(RelayedHints):
    """Hints between processes that share a PostgreSQL database, on a connection of their own."""

    def __init__(self, settings: DatabaseSettings) -> None:
        """Take the database; nothing is opened yet."""
        super().__init__()
        self._dsn = postgres_dsn(settings)
        self._name = f"{settings.application_name}-hints"

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[Send, None]:
        connection = await postgres.connect(
            self._dsn, server_settings={"application_name": self._name}
        )
        own_pid = connection.get_server_pid()

        def hear(_connection: object, pid: int, _channel: str, message: str) -> None:
            if pid != own_pid:  # those here were woken when the hint was given
                self._heard(message)

        async def send(messages: list[str]) -> None:
            # With no message this is the ping: no row, no notification.
            await connection.execute(
                "SELECT pg_notify($1, message) FROM unnest($2::text[]) AS message",
                _CHANNEL,
                messages,
            )

        try:
            connection.add_termination_listener(lambda _connection: self._stir())
            await connection.add_listener(_CHANNEL, hear)
            yield send
        finally:
            connection.terminate()
