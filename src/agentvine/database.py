"""Raw SQL for scripts, on either database.

    from agentvine.database import close_db, get_db, init_db

    await init_db()
    db = get_db()
    rows = await db.fetch("SELECT * FROM project_contexts WHERE owner_id = $1", user_id)
    await close_db()

The database is the one of AGENTVINE_DATABASE_URL (or DATABASE_URL), unless another is named. The
product itself does not use this module; it writes through ``agentvine.db.session``.
"""

from sqlalchemy import make_url

from agentvine.config.settings import DatabaseSettings, load_settings, normalise_database_url
from agentvine.db.engine import dialect_of, postgres_dsn
from agentvine.db.raw.interface import RawConnection, RawDatabase, Record
from agentvine.db.raw.on_postgres import PostgresRawDatabase
from agentvine.db.raw.on_sqlite import SqliteRawDatabase
from agentvine.kit.errors import Conflict

__all__ = [
    "DatabaseAlreadyOpen",
    "DatabaseNotOpen",
    "RawConnection",
    "RawDatabase",
    "Record",
    "close_db",
    "get_db",
    "init_db",
]


class DatabaseNotOpen(Conflict):
    """No database is open: call `await init_db()` first."""

    code = "database_not_open"


class DatabaseAlreadyOpen(Conflict):
    """Another database is open: call `await close_db()` first."""

    code = "database_already_open"


class _Open:
    """The one database of this process."""

    def __init__(self) -> None:
        self.url = ""
        self.database: RawDatabase | None = None


_open = _Open()


async def init_db(
    url: str | None = None,
    *,
    min_size: int = 10,
    max_size: int = 50,
    command_timeout: float = 60.0,
) -> RawDatabase:
    """Open the database; a second call for the same one does nothing.

    Args:
        url: ``sqlite:///path`` or ``postgresql://...``; by default that of the settings.
        min_size: Connections that are kept open on PostgreSQL.
        max_size: Connections at most.
        command_timeout: Seconds that one statement may take.

    Raises:
        DatabaseUnreachable: There is none, or it does not answer.
        DatabaseAlreadyOpen: Another one is open.
        SettingsError: No usable URL is set.
    """
    settings = _settings(url)
    if _open.database is not None:
        if _open.url != settings.url:
            shown = make_url(_open.url).render_as_string(hide_password=True)
            raise DatabaseAlreadyOpen(f"{shown} is open: call `await close_db()` first.")
        return _open.database
    if dialect_of(settings).serialises_writers:
        database: RawDatabase = await SqliteRawDatabase.open(
            settings, max_size=max_size, command_timeout=command_timeout
        )
    else:
        database = await PostgresRawDatabase.open(
            postgres_dsn(settings),
            min_size=min_size,
            max_size=max_size,
            command_timeout=command_timeout,
            name=f"{settings.application_name}-script",
        )
    _open.url, _open.database = settings.url, database
    return database


def get_db() -> RawDatabase:
    """The open database.

    Raises:
        DatabaseNotOpen: ``init_db`` was not called.
    """
    if _open.database is None:
        raise DatabaseNotOpen("No database is open: call `await init_db()` first.")
    return _open.database


async def close_db() -> None:
    """Close the database; safe where none is open."""
    database, _open.database = _open.database, None
    if database is not None:
        await database.close()


def _settings(url: str | None) -> DatabaseSettings:
    if url is None:
        return load_settings().database
    return DatabaseSettings(url=normalise_database_url(url))
