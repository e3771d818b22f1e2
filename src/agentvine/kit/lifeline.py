"""A child that ends when its parent is gone, however that died.

A parent killed by SIGKILL tells its children nothing. The system does: it gives them another
parent. A child that was told its parent's number looks twice a second whether that is still so,
and then behaves as if it had been sent SIGTERM. Unlike Linux's parent-death signal this works on
every POSIX system and does not mistake the end of the starting *thread* for that of the process.
"""

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager

_LOOK_SECONDS = 0.5


@contextmanager
def stop_without_parent(parent_pid: int | None) -> Generator[None]:
    """Send this process SIGTERM when ``parent_pid`` is no longer its parent.

    A second SIGTERM follows: nobody is there any more for whom running work could be finished.

    Args:
        parent_pid: Who started us; None for a process that lives on its own.
    """
    if parent_pid is None:
        yield
        return
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(parent_pid, done), name="lifeline", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()


def _watch(parent_pid: int, done: threading.Event) -> None:
    while os.getppid() == parent_pid:
        if done.wait(_LOOK_SECONDS):
            return
    while not done.is_set():
        os.kill(os.getpid(), signal.SIGTERM)
        done.wait(_LOOK_SECONDS * 2)
