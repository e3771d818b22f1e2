"""The one way to the database: ``Database.transaction()`` for commands, ``.read()`` for queries.

A command is one transaction, and only the block in ``Database.transaction`` commits it. What a
command must make happen elsewhere is one of three kinds:

- ``emit(event)``: delivered to the reactions before the commit, in order; all or nothing;
- a row in the queue: written like any other row;
- ``after_commit(callback)`` and ``hint(channel)``: best effort, once the change is visible.
"""

import asyncio
import inspect
import logging
import sqlite3
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NoReturn, Self, TypeVar, cast

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from agentvine.config.settings import DatabaseSettings
from agentvine.db.blocks import Row, Sql, SqliteBlocks, Steps
from agentvine.db.dialect import Dialect, dialect_named
from agentvine.db.direct import Direct
from agentvine.db.engine import for_reading, open_engine, sqlite_path
from agentvine.db.errors import DatabaseBusy, DatabaseUnreachable
from agentvine.db.hinting import open_hints
from agentvine.db.hints import Hints
from agentvine.db.postgres import CONNECT_ERRORS
from agentvine.db.shielding import finish
from agentvine.kit.actor import SYSTEM, Actor
from agentvine.kit.clock import Clock
from agentvine.kit.errors import Internal
from agentvine.kit.guards import assert_no_transaction, transaction_mark

AfterCommit = Callable[[], Awaitable[None] | None]
Reactions = Callable[["Transaction", Any], Awaitable[None]]
"""Called with every emitted event, inside the transaction that emitted it."""

AnySession = TypeVar("AnySession", bound="ReadSession")

_MAX_EVENTS = 1000
_LAST_PRAGMAS = (
    "PRAGMA query_only=OFF",
    "PRAGMA busy_timeout=200",  # whoever still reads is not waited for
    "PRAGMA optimize",
    "PRAGMA wal_checkpoint(TRUNCATE)",
)
_log = logging.getLogger(__name__)


class ReadSession(AsyncSession):
    """A session that may only read; what it reads is one committed state."""

    dialect: Dialect

    async def commit(self) -> NoReturn:
        """Refuse: only the block that opened the session ends it."""
        raise Internal("A session is committed by the block that opened it, nowhere else.")

    async def rollback(self) -> NoReturn:
        """Refuse: raise an error instead, and the block that opened the session rolls back."""
        raise Internal("Raise an error to roll back; the block that opened the session does it.")


class Transaction(ReadSession):
    """A session that may write: one command, with its actor and its instant."""

    now: datetime
    """One instant for every timestamp of the command."""
    actor: Actor

    def prepare(
        self, *, now: datetime, actor: Actor, hints: Hints, reactions: Reactions | None
    ) -> None:
        """Give a fresh session what a command needs; for ``Database`` only."""
        self._reactions = reactions
        self.now = now
        self.actor = actor
        self._hints = hints
        self._events: deque[Any] = deque()
        self._after_commit: list[AfterCommit] = []

    def emit(self, event: Any) -> None:
        """Tell the reactions, before this transaction commits."""
        self._events.append(event)

    def after_commit(self, callback: AfterCommit) -> None:
        """Call back once this transaction is committed; never where it is rolled back."""
        self._after_commit.append(callback)

    def hint(self, channel: str, payload: str = "") -> None:
        """Wake whoever waits on the channel, once this transaction is committed."""
        self.after_commit(lambda: self._hints.publish(channel, payload))

    @asynccontextmanager
    async def attempt(self) -> AsyncGenerator[None, None]:
        """A part of the command that may fail alone: what it did, said and promised is undone.

        Events given before are delivered first, those given within at the end of the block, so that
        an error of a reaction belongs to the part that caused it.
        """
        await self.deliver_events(self._reactions)
        promised = len(self._after_commit)
        try:
            async with self.begin_nested():
                yield
                await self.deliver_events(self._reactions)
        except BaseException:
            self._events.clear()
            del self._after_commit[promised:]
            raise

    async def deliver_events(self, reactions: Reactions | None) -> None:
        """Flush, and hand over events in order, also those that reactions emit themselves."""
        await self.flush()
        delivered = 0
        while self._events:
            event = self._events.popleft()
            delivered += 1
            if delivered > _MAX_EVENTS:
                raise Internal(f"More than {_MAX_EVENTS} events in one transaction: a circle?")
            if reactions is not None:
                await reactions(self, event)
                await self.flush()

    async def commit_by_owner(self) -> None:
        """Commit; for ``Database`` only."""
        await super(ReadSession, self).commit()

    async def run_after_commit(self) -> None:
        """Run the callbacks. The change is made: a failing one is logged, and hides none."""
        for callback in self._after_commit:
            try:
                result = callback()
                if inspect.isawaitable(result):
                    await result
            except Exception:  # noqa: BLE001  # job boundary: the command itself has succeeded
                _log.exception("after_commit callback failed; the change itself is committed")


class Database:
    """An open database: sessions, hints, and the objects every command needs."""

    def __init__(
        self,
        settings: DatabaseSettings,
        engine: AsyncEngine,
        clock: Clock,
        reactions: Reactions | None = None,
    ) -> None:
        """Wrap an engine; use ``Database.open``."""
        self.settings = settings
        self.engine = engine
        self.clock = clock
        self.reactions = reactions
        self.dialect = dialect_named(engine.dialect.name)
        self.hints = open_hints(settings)
        self.direct = Direct(settings) if self.dialect.supports_direct else None
        """For statements that are a whole transaction; None where the database has no such."""
        self._blocks = self.direct or SqliteBlocks(settings)
        self._read_engine = for_reading(engine)
        self._writers_turn = asyncio.Lock() if self.dialect.serialises_writers else None
        self._abandoned: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(
        cls, settings: DatabaseSettings, clock: Clock, reactions: Reactions | None = None
    ) -> Self:
        """Open an existing database.

        Raises:
            DatabaseUnreachable: There is none, or it does not answer.
        """
        engine = open_engine(settings)
        if engine.dialect.name == "sqlite" and not sqlite_path(settings).exists():
            await engine.dispose()
            raise DatabaseUnreachable(
                f"There is no database at {sqlite_path(settings)}: run `agentvine db setup`."
            )
        database = cls(settings, engine, clock, reactions)
        try:
            await database.ping()
        except BaseException:
            await database.close()
            raise
        return database

    async def close(self) -> None:
        """Close every connection; safe to call twice."""
        await self.hints.close()
        await self._blocks.close()
        while self._abandoned:
            await asyncio.wait(self._abandoned)
        if self.dialect.serialises_writers:
            await self._tidy_up()
        await self.engine.dispose()

    async def ping(self) -> None:
        """Ask the database for a trivial answer.

        Raises:
            DatabaseUnreachable: It does not give one.
        """
        async with self.read() as read:
            await read.execute(text("SELECT 1"))

    @asynccontextmanager
    async def transaction(self, actor: Actor = SYSTEM) -> AsyncGenerator[Transaction, None]:
        """Open the one transaction of a command; commits when the block ends without an error.

        On SQLite writers take turns in the order they came, before they occupy a connection.
        """
        assert_no_transaction("open a second transaction")
        async with self._turn_to_write(), self._session(Transaction, self.engine) as tx:
            tx.prepare(
                now=self.clock.now(), actor=actor, hints=self.hints, reactions=self.reactions
            )
            with _OwnErrors(self.dialect, is_writing=True), transaction_mark("an open transaction"):
                yield tx
                await tx.deliver_events(self.reactions)
                await finish(tx.commit_by_owner())
        await tx.run_after_commit()

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[ReadSession, None]:
        """Open a session that sees one committed state and cannot write."""
        assert_no_transaction("open a second session (pass the transaction on instead)")
        async with self._session(ReadSession, self._read_engine) as read:
            with _OwnErrors(self.dialect):
                yield read

    async def run_block(self, steps: Steps, statements: Mapping[str, Sql]) -> None:
        """Run a block of plain statements as one transaction, without a session.

        No reactions, no hints, no history: for who knows that there is nothing to tell.
        """
        assert_no_transaction("run a block of its own")
        async with self._turn_to_write():
            await self._blocks.run(steps, statements)

    async def look(self, sql: Sql, *values: object) -> list[Row]:
        """Ask one plain question about what is committed, without a session."""
        assert_no_transaction("look outside of it")
        return await self._blocks.look(sql, *values)

    @asynccontextmanager
    async def _turn_to_write(self) -> AsyncGenerator[None, None]:
        if self._writers_turn is None:
            yield
            return
        try:
            async with asyncio.timeout(self.settings.pool_timeout_seconds):
                await self._writers_turn.acquire()
        except TimeoutError:
            raise DatabaseBusy(
                "Too many writers are waiting for their turn.", retry_after=1.0
            ) from None
        try:
            yield
        finally:
            self._writers_turn.release()

    @asynccontextmanager
    async def _session(
        self, kind: type[AnySession], engine: AsyncEngine
    ) -> AsyncGenerator[AnySession, None]:
        """A session on a connection of its own; what is not committed at the end is undone."""
        connection = await self._connect(engine)
        session = kind(bind=connection, expire_on_commit=False, autoflush=False)
        session.dialect = self.dialect
        try:
            yield session
        finally:
            await finish(_give_back(session, connection))

    async def _connect(self, engine: AsyncEngine) -> AsyncConnection:
        connecting = asyncio.create_task(_start(engine))
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            # Waiting for a connection may be given up at any time, but the pool must not be torn
            # out of it: whatever comes is given back when it comes.
            self._abandoned.add(connecting)
            connecting.add_done_callback(self._give_back_abandoned)
            raise
        except PoolTimeoutError:
            raise DatabaseBusy("All database connections are in use.", retry_after=1.0) from None
        except DBAPIError as error:
            is_writing = engine is self.engine
            raise self.dialect.trouble(error, is_writing=is_writing) or DatabaseUnreachable(
                f"The database does not answer: {error.orig}.", retry_after=2.0
            ) from error
        except CONNECT_ERRORS as error:
            raise DatabaseUnreachable(
                f"The database does not answer: {error}.", retry_after=2.0
            ) from error

    def _give_back_abandoned(self, connecting: asyncio.Task[AsyncConnection]) -> None:
        self._abandoned.discard(connecting)
        if not connecting.cancelled() and connecting.exception() is None:
            closing = asyncio.create_task(connecting.result().close())
            self._abandoned.add(closing)
            closing.add_done_callback(self._abandoned.discard)

    async def _tidy_up(self) -> None:
        """Leave a SQLite file in one piece, with fresh statistics; nothing depends on it."""
        try:
            async with self.engine.connect() as connection:
                raw = await connection.get_raw_connection()
                driver = cast("Any", raw.driver_connection)
                # The connection may last have served a reader, and so be closed for writing.
                for pragma in _LAST_PRAGMAS:
                    cursor = await driver.execute(pragma)
                    await cursor.close()
        except (DBAPIError, sqlite3.Error, OSError) as error:
            _log.info("could not tidy up the database on closing: %s", error)


async def _start(engine: AsyncEngine) -> AsyncConnection:
    return await engine.connect().start()


async def _give_back(session: AsyncSession, connection: AsyncConnection) -> None:
    try:
        try:
            await session.close()
        finally:
            await connection.close()
    except DBAPIError as error:
        # It broke. The database itself undoes what was not committed; what was read or committed
        # before is as good as ever, and what went wrong before is told by the block.
        _log.info("a connection broke when it was given back: %s", error)


class _OwnErrors:
    """Turns "busy", "full", "read only" and "gone" into our errors; any other passes unchanged."""

    def __init__(self, dialect: Dialect, *, is_writing: bool = False) -> None:
        self._dialect = dialect
        self._is_writing = is_writing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DBAPIError):
            trouble = self._dialect.trouble(error, is_writing=self._is_writing)
            if trouble is not None:
                raise trouble from error
