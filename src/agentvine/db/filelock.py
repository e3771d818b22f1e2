"""One process per SQLite file: a lock that the operating system frees when its holder dies.

Hints and the writers' turn live inside one process, so a second server on the same file would
wait for work it never hears of. The lock stands beside the database, as ``<name>.lock``, and
names its holder for the message.
"""

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from agentvine.db.errors import DatabaseInUse, DatabaseUnreachable


class DatabaseFileLock:
    """Held by a server for its life, and by a migration for its length."""

    def __init__(self, database: Path, purpose: str) -> None:
        """Name the database file, and what for ("server", "migration")."""
        self._path = database.with_name(f"{database.name}.lock")
        self._purpose = purpose
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock at once or not at all.

        Raises:
            DatabaseInUse: Another process holds it.
        """
        if self._descriptor is not None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DatabaseUnreachable(f"Cannot write {self._path}: {error.strerror}.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise DatabaseUnreachable(
                    f"Cannot lock {self._path}: {error.strerror}. SQLite needs a local file system."
                ) from error
            raise DatabaseInUse(
                f"{self._path.with_suffix('')} is in use by {holder or 'another process'}. "
                "Stop it first; one SQLite file has one server. For several, use PostgreSQL."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{self._purpose} (process {os.getpid()})\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back. The file stays: to delete it would race with the next holder."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        """Acquire."""
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release."""
        self.release()
