"""One living process per worker name and data directory."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from agentvine.kit.errors import Conflict


class WorkerAlreadyRuns(Conflict):
    """A worker of this name runs already on this data directory."""

    code = "worker_already_runs"


class WorkerLock:
    """Held for the life of a worker's process; the system lets go of it however that ends."""

    def __init__(self, path: Path, worker_name: str) -> None:
        """Name the lock; nothing is locked yet."""
        self._path = path
        self._worker_name = worker_name
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            WorkerAlreadyRuns: Another process holds it.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Python opens files so that programs we start do not inherit them: an orphan of ours does
        # not keep the lock.
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise WorkerAlreadyRuns(
                f"A worker named {self._worker_name} runs already (process {holder or 'unknown'}, "
                f"lock {self._path}). Stop it, or give this one another --name."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_locked(path: Path) -> bool:
    """Whether a living process holds this lock; for those who only look."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
