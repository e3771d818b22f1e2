"""Which way hints go."""

from agentvine.config.settings import DatabaseSettings
from agentvine.db.engine import dialect_of
from agentvine.db.hints import Hints, LocalHints
from agentvine.db.hints_postgres import PostgresHints
from agentvine.db.hints_redis import RedisHints


def open_hints(settings: DatabaseSettings) -> Hints:
    """The hints that belong to the settings' database.

    Raises:
        RedisNotInstalled: A Redis is named, and the client for it is missing.
    """
    if not dialect_of(settings).supports_notify:
        return LocalHints()  # one process serves, and needs nobody to tell
    return RedisHints(settings) if settings.redis_url else PostgresHints(settings)
