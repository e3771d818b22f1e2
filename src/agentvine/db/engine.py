"""Opens the engine of either database and makes its transactions mean what they say.

SQLite: the driver's own transaction handling is switched off and ``BEGIN`` is emitted here. The
driver's default loses updates silently (a SELECT starts no transaction, so two writers read the
same old row), and a plain ``BEGIN`` fails with "database is locked" as soon as a reader wants to
write. A write transaction therefore begins with ``BEGIN IMMEDIATE``; a read begins with ``BEGIN``
on a connection that refuses to write.

PostgreSQL: every connection has a time limit for statements, locks and idle transactions; a read
is a read-only snapshot, as it is on SQLite.
"""

import asyncio
import contextlib
import json
import sqlite3
import threading
from functools import partial
from pathlib import Path
from typing import Any, cast

from sqlalchemy import URL, Connection, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool
from sqlalchemy.util.concurrency import in_greenlet

from agentvine.config.settings import DatabaseSettings
from agentvine.db import postgres
from agentvine.db.containment import json_text_contains
from agentvine.db.dialect import Dialect, dialect_named
from agentvine.kit.errors import Invalid

_READ_ONLY = "agentvine_read_only"
_LIBPQ_ONLY = (
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "sslcompression",
    "tcp_user_timeout",
)
_QUERY_ONLY = "agentvine_query_only"
_GIVEN_UP = "agentvine_given_up"
_STEPS_BETWEEN_LOOKS = 50_000  # of SQLite's machine; about a millisecond

to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
"""Refuses NaN and infinity, which SQLite would store and PostgreSQL refuse."""


def dialect_of(settings: DatabaseSettings) -> Dialect:
    """The dialect object that belongs to the settings' URL."""
    return dialect_named(make_url(settings.url).get_backend_name())


def sqlite_path(settings: DatabaseSettings) -> Path:
    """The database file of a SQLite URL."""
    name = make_url(settings.url).database
    if not name or name == ":memory:":
        raise Invalid("SQLite needs a file: write a URL like sqlite:///agentvine.db.")
    return Path(name).absolute()


def describe(settings: DatabaseSettings) -> str:
    """The database as a person names it, without the password."""
    url = make_url(settings.url)
    if url.get_backend_name() == "sqlite":
        return str(sqlite_path(settings))
    return url.set(drivername="postgresql").render_as_string(hide_password=True)


def postgres_dsn(settings: DatabaseSettings, *, database: str | None = None) -> str:
    """The URL as the driver reads it, with its parameters (``sslmode`` ...) kept.

    Those that only libpq knows are left out: the driver would take them for server settings.
    """
    url = make_url(settings.url).set(drivername="postgresql")
    url = url.difference_update_query(_LIBPQ_ONLY)
    if database is not None:
        url = url.set(database=database)
    return url.render_as_string(hide_password=False)


def postgres_limits(settings: DatabaseSettings) -> dict[str, str]:
    """Server settings of every PostgreSQL connection; durations in milliseconds."""
    return {
        "application_name": settings.application_name,
        "statement_timeout": _milliseconds(settings.statement_timeout_seconds),
        "lock_timeout": _milliseconds(settings.lock_timeout_seconds),
        "idle_in_transaction_session_timeout": _milliseconds(
            settings.idle_in_transaction_timeout_seconds
        ),
    }


def open_engine(settings: DatabaseSettings) -> AsyncEngine:
    """An engine whose transactions follow the rules above; write mode unless asked otherwise."""
    url = make_url(settings.url)
    if url.get_backend_name() == "sqlite":
        return _open_sqlite(url, settings)
    return _open_postgres(url, settings)


def for_reading(engine: AsyncEngine) -> AsyncEngine:
    """A view of the engine, over the same pool, whose transactions only read."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(**{_READ_ONLY: True})
    # A read sees one snapshot from its first statement to its last, as on SQLite. A read-only
    # transaction at this level never fails to serialise.
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _open_sqlite(url: URL, settings: DatabaseSettings) -> AsyncEngine:
    sqlite_path(settings)  # refuses a database without a file
    engine = create_async_engine(
        url,
        pool_size=settings.pool_size,
        max_overflow=settings.max_overflow,
        pool_timeout=settings.pool_timeout_seconds,
        connect_args={"timeout": settings.lock_timeout_seconds},
        json_serializer=to_json,
        hide_parameters=True,  # an error that is logged must not show what was stored
    )
    pragmas = sqlite_pragmas(settings)

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        # From here on the driver neither begins nor commits by itself.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()
        cast("Any", connection).create_function(
            "agentvine_json_contains", 2, json_text_contains, deterministic=True
        )
        given_up = threading.Event()
        entry.info[_GIVEN_UP] = given_up
        # SQLite's own interrupt() would also stop the ROLLBACK that must follow it.
        watched = cast("Any", connection)
        watched.run_async(partial(_watch, given_up=given_up))

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        begin_sqlite(connection)

    undoing: set[asyncio.Task[None]] = set()

    @event.listens_for(engine.sync_engine, "invalidate")
    def give_up(
        connection: DBAPIConnection, entry: ConnectionPoolEntry, _error: BaseException | None
    ) -> None:
        # A statement was cancelled. Its cursor may live on in a traceback, and then closing the
        # connection would leave its transaction open, with the lock, until Python collects it.
        # Not waited for: the connection's own thread does it before it closes.
        entry.info[_GIVEN_UP].set()
        if in_greenlet():
            undo = _end_transaction(cast("Any", connection).driver_connection)
            task = asyncio.get_running_loop().create_task(undo)
            undoing.add(task)
            task.add_done_callback(undoing.discard)

    return engine


async def _watch(driver: Any, *, given_up: threading.Event) -> None:
    await driver.set_progress_handler(given_up.is_set, _STEPS_BETWEEN_LOOKS)


async def _end_transaction(driver: Any) -> None:
    with contextlib.suppress(sqlite3.Error, ValueError):  # closed already
        await driver.rollback()


def connect_sqlite(settings: DatabaseSettings) -> sqlite3.Connection:
    """A connection that a thread uses by itself: opened as an engine opens its own, then let go."""
    engine = create_engine(
        make_url(settings.url).set(drivername="sqlite"),
        poolclass=NullPool,
        connect_args={"isolation_level": None, "cached_statements": 64},
    )
    lent = engine.raw_connection()
    driver = cast("sqlite3.Connection", lent.driver_connection)
    lent.detach()
    for pragma in sqlite_pragmas(settings):
        driver.execute(pragma).close()
    return driver


def sqlite_pragmas(settings: DatabaseSettings) -> list[str]:
    """What every SQLite connection is told first."""
    if settings.sqlite_synchronous not in ("FULL", "NORMAL"):
        raise Invalid("sqlite_synchronous is FULL or NORMAL.")
    return [
        "PRAGMA journal_mode=WAL",
        f"PRAGMA synchronous={settings.sqlite_synchronous}",
        f"PRAGMA busy_timeout={_milliseconds(settings.lock_timeout_seconds)}",
        "PRAGMA foreign_keys=ON",
        "PRAGMA temp_store=MEMORY",
        "PRAGMA cache_size=-65536",
        "PRAGMA journal_size_limit=67108864",
    ]


def begin_sqlite(connection: Connection) -> None:
    """Begin as the connection's mode says, and make the mode hold in the database itself."""
    read_only = bool(connection.get_execution_options().get(_READ_ONLY, False))
    # query_only outlives the transaction on a pooled connection; set only where it changes, and
    # forgotten first, so that a cancelled change is made again.
    if connection.info.get(_QUERY_ONLY) != read_only:
        connection.info.pop(_QUERY_ONLY, None)
        connection.exec_driver_sql(f"PRAGMA query_only={'ON' if read_only else 'OFF'}")
        connection.info[_QUERY_ONLY] = read_only
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _open_postgres(url: URL, settings: DatabaseSettings) -> AsyncEngine:
    dsn = postgres_dsn(settings)
    limits = postgres_limits(settings)

    async def connect() -> Any:
        # asyncpg reads the DSN itself, so that libpq's parameters (sslmode ...) mean the same.
        return await postgres.connect(dsn, server_settings=limits)

    return create_async_engine(
        url,
        async_creator=connect,
        pool_size=settings.pool_size,
        max_overflow=settings.max_overflow,
        pool_timeout=settings.pool_timeout_seconds,
        pool_recycle=1800,
        pool_pre_ping=True,
        json_serializer=to_json,
        hide_parameters=True,  # an error that is logged must not show what was stored
    )


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
