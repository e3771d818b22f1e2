"""SQLite without threads: each call of the driver runs in the loop, after a moment drawn by lot.

Built on the driver's own hooks: SQLAlchemy asks the ``do_connect`` event how to connect, and the
connection made here does everything aiosqlite's does, but for the thread. The database's clock is
the simulation's, and what the observer's triggers tell is kept once its transaction has committed.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import aiosqlite
from sqlalchemy import Engine, event

from tests.reliability.simulator.loop import NODE, SimulatedClock, SimulatedLoop
from tests.support.histories.history import History
from tests.support.histories.observer import facts_of

OBSERVE = "SELECT observe({values})"
_SLOW_SHARE = 0.15
_SLOW_SECONDS = 0.03


class SimulatedDisk:
    """All connections to the one database, which die with the node that opened them."""

    def __init__(self, loop: SimulatedLoop, history: History) -> None:
        self.loop = loop
        self.history = history
        self.clock = SimulatedClock(loop)
        """The database's, which a test may set wrong."""
        self._open: dict[str, list[InlineConnection | PlainConnection]] = {}
        self._strftime = sqlite3.connect(":memory:")

    @contextmanager
    def plugged_in(self) -> Generator[None]:
        """Let every engine of this process connect through here."""

        def connect(dialect: Any, record: Any, cargs: Any, cparams: dict[str, Any]) -> Any:
            if not dialect.is_async:
                return self._connect_plain(*cargs, **cparams)
            cparams["async_creator_fn"] = self._connect
            return None

        event.listen(Engine, "do_connect", connect)
        try:
            yield
        finally:
            event.remove(Engine, "do_connect", connect)
            for node in list(self._open):
                self.pull_plug(node)
            self._strftime.close()

    def pull_plug(self, node: str) -> None:
        """Close a node's connections in whatever they do; what is not committed is undone."""
        for connection in self._open.pop(node, []):
            connection.die()

    def now_text(self, *args: Any) -> str | None:
        """SQLite's own ``strftime``, but for what "now" means."""
        now = self.clock.now().strftime("%Y-%m-%d %H:%M:%S.%f")
        given = [now if arg == "now" else arg for arg in args]
        marks = ", ".join("?" * len(given))
        found: str | None = self._strftime.execute(f"SELECT strftime({marks})", given).fetchone()[0]
        return found

    def _connect(self, path: str, **options: Any) -> "InlineConnection":
        node = NODE.get()
        if self.loop.is_dead(node):
            raise asyncio.CancelledError  # no process, no file

        def opened() -> sqlite3.Connection:
            plain = sqlite3.connect(path, **options)
            plain.create_function("strftime", -1, self.now_text, deterministic=True)
            return plain

        connection = InlineConnection(opened, self)
        self._open.setdefault(node, []).append(connection)
        return connection

    def _connect_plain(self, path: str, **options: Any) -> "PlainConnection":
        connection = sqlite3.connect(path, factory=PlainConnection, **options)
        connection.disk = self
        connection.create_function("strftime", -1, self.now_text, deterministic=True)
        connection.create_function("observe", -1, lambda *row: connection.told.append(row))
        self._open.setdefault(NODE.get(), []).append(connection)
        return connection

    def tell(self, rows: list[tuple[Any, ...]]) -> None:
        """Keep what a transaction has told that was committed."""
        for row in rows:
            self.history.facts.extend(facts_of(self.loop.time(), row))


class PlainConnection(sqlite3.Connection):
    """The connection of blocks, which the loop runs as a whole."""

    disk: SimulatedDisk

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.told: list[tuple[Any, ...]] = []

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        try:
            return super().execute(sql, *values)
        finally:
            if self.told and not self.in_transaction:
                rows, self.told = self.told, []
                self.disk.tell(rows if sql == "COMMIT" else [])

    def die(self) -> None:
        """Close without a word."""
        self.close()


class InlineConnection(aiosqlite.Connection):
    """A connection whose calls run where they are made."""

    def __init__(self, opened: Callable[[], sqlite3.Connection], disk: SimulatedDisk) -> None:
        super().__init__(opened, 64)
        self._disk = disk
        self._told: list[tuple[Any, ...]] = []
        self._tx: Any = _AtOnce()  # what the driver puts into its thread's queue

    def __await__(self) -> Generator[Any, None, aiosqlite.Connection]:
        return self._connect().__await__()

    async def _connect(self) -> aiosqlite.Connection:
        self._connection = self._connector()
        self._connection.create_function("observe", -1, lambda *row: self._told.append(row))
        return self

    async def _execute(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        loop = self._disk.loop
        if loop.random.random() < _SLOW_SHARE:
            await asyncio.sleep(loop.random.uniform(0, _SLOW_SECONDS))
        plain = self._connection
        if plain is None:
            raise asyncio.CancelledError  # its process is gone
        try:
            return fn(*args, **kwargs)
        finally:
            if self._told and (self._connection is None or not plain.in_transaction):
                self._tell(is_committed=fn.__name__ == "commit")

    def _tell(self, *, is_committed: bool) -> None:
        rows, self._told = self._told, []
        self._disk.tell(rows if is_committed else [])

    async def close(self) -> None:
        self.die()

    def stop(self) -> None:
        """There is no thread to be stopped."""

    @property
    def _conn(self) -> sqlite3.Connection:
        if self._connection is None:
            raise asyncio.CancelledError  # its process is gone
        return self._connection

    def die(self) -> None:
        """Close without a word."""
        self._told = []
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._running = False


class _AtOnce:
    """In the place of the thread's queue, for who puts work into that: it is done at once."""

    def put_nowait(self, item: tuple[Any, Callable[[], Any]]) -> None:
        future, function = item
        future.set_result(function())
