"""The PostgreSQL driver, with the types it does not bring; the only place that imports it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs]  # the driver has none

CONNECT_TIMEOUT_SECONDS = 10


SERVER_ERROR = cast("type[Exception]", asyncpg.PostgresError)
"""What the server refuses; ``sqlstate_of`` tells why."""

CONNECT_ERRORS = (
    OSError,
    TimeoutError,
    SERVER_ERROR,
    cast("type[Exception]", asyncpg.InterfaceError),
)
"""Everything that can go wrong while connecting, or with a connection that broke."""

Listener = Callable[["PostgresConnection", int, str, str], None]
"""Called with the connection, the sender's process id, the channel and the payload."""


class PostgresConnection(Protocol):
    """What we use of the driver's connection."""

    async def execute(self, query: str, *args: object) -> str: ...
    async def executemany(self, command: str, args: Sequence[Sequence[object]]) -> None: ...
    async def fetchval(self, query: str, *args: object, column: int = 0) -> Any: ...
    async def fetch(self, query: str, *args: object) -> Sequence[Mapping[str, Any]]: ...
    async def add_listener(self, channel: str, callback: Listener) -> None: ...
    async def remove_listener(self, channel: str, callback: Listener) -> None: ...
    def add_termination_listener(self, callback: Callable[[Any], None]) -> None: ...
    async def set_type_codec(self, typename: str, **options: Any) -> None: ...
    def get_server_pid(self) -> int: ...
    def is_closed(self) -> bool: ...
    async def close(self) -> None: ...
    def terminate(self) -> None: ...


async def connect(
    dsn: str, *, server_settings: Mapping[str, str] | None = None
) -> PostgresConnection:
    """Open a connection; raises one of ``CONNECT_ERRORS``."""
    opener = cast("Callable[..., Awaitable[PostgresConnection]]", asyncpg.connect)
    return await opener(
        dsn,
        timeout=CONNECT_TIMEOUT_SECONDS,
        server_settings=dict(server_settings or {}),
    )


async def create_pool(dsn: str, **options: Any) -> Any:
    """Open the driver's own pool; raises one of ``CONNECT_ERRORS``."""
    opener = cast("Callable[..., Awaitable[Any]]", asyncpg.create_pool)
    return await opener(dsn, timeout=CONNECT_TIMEOUT_SECONDS, **options)


def sqlstate_of(error: BaseException | None) -> str:
    """PostgreSQL's five-character code of an error; empty where there is none."""
    return str(getattr(error, "sqlstate", None) or "")
