"""What a script may do with a database, whichever it is.

Queries are written with ``$1``, ``$2`` ...; one statement each. Values go in and come out as Python
values: documents as dicts and lists, arrays as lists, UUIDs, aware datetimes, Decimals.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class Record(Protocol):
    """A row: read by column name or position; iterates over its values; ``dict(row)`` works."""

    def __getitem__(self, key: int | str) -> Any: ...
    def __len__(self) -> int: ...
    def get(self, key: str, default: Any = None) -> Any: ...
    def keys(self) -> Iterable[str]: ...
    def values(self) -> Iterable[Any]: ...
    def items(self) -> Iterable[tuple[str, Any]]: ...


class Queries(Protocol):
    """The statements one can run, on the database or on one connection of it."""

    async def fetch(self, query: str, *args: object) -> Sequence[Record]:
        """All rows."""
        ...

    async def fetchrow(self, query: str, *args: object) -> Record | None:
        """The first row, or None."""
        ...

    async def fetchval(self, query: str, *args: object, column: int = 0) -> Any:
        """One value of the first row; None where there is none."""
        ...

    async def execute(self, query: str, *args: object) -> str:
        """Run a statement; tells what it did, like ``UPDATE 3``."""
        ...

    async def executemany(self, query: str, rows: Iterable[Sequence[object]]) -> None:
        """Run a statement once for every row of arguments, all or nothing."""
        ...


class RawConnection(Queries, Protocol):
    """One connection."""

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """A block that commits at its end, and rolls back when it raises."""
        ...


class RawDatabase(ABC, Queries):
    """An open database with its connections; each statement commits by itself."""

    @abstractmethod
    def acquire(self) -> AbstractAsyncContextManager[RawConnection]:
        """One connection for the length of the block, for transactions."""

    @abstractmethod
    async def close(self) -> None:
        """Close every connection."""
