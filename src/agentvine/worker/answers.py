"""The answer that a run leaves in its work tree, where it was asked for one."""

import asyncio
import os
import stat
from pathlib import Path

from agentvine.protocol.queue import ANSWER_FILE, MAX_ANSWER_CHARACTERS

_MAX_BYTES = 4 * MAX_ANSWER_CHARACTERS


async def read_answer(worktree: Path) -> str | None:
    """What stands in the answer's file; None where there is none, or it cannot be one.

    It is made by a program that we do not trust: a link, a pipe or a text without end is no answer.
    """
    return await asyncio.to_thread(_read, worktree / ANSWER_FILE)


def _read(path: Path) -> str | None:
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        return None
    with os.fdopen(opened, "rb") as file:
        content = file.read(_MAX_BYTES + 1)
    text = content.decode("utf-8", "replace")
    return text if len(text) <= MAX_ANSWER_CHARACTERS else None
