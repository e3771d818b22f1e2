"""A lock between processes that the system lets go of when its holder dies."""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from agentvine.git.errors import RepositoryBusy


@asynccontextmanager
async def file_lock(path: Path, *, timeout_seconds: float) -> AsyncGenerator[None]:
    """Hold the lock of a file, or of a folder, for the length of the block, alone among all.

    It holds between processes as well as between tasks of one. A missing file is made.

    Raises:
        RepositoryBusy: Somebody else held it all the time.
    """
    descriptor = _open(path)
    try:
        deadline = time.monotonic() + timeout_seconds
        pause = 0.005
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise RepositoryBusy(f"{path} was locked for {timeout_seconds:g} seconds.")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.2)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    if path.is_dir():
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The file stays: removing it would let two hold "the" lock on two files of one name.
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
