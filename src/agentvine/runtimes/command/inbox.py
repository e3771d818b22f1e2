"""The file in which a command finds what people say to it: a JSON object a line, only added to."""

import asyncio
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from agentvine.protocol.controls import SteeringMessage

INBOX = "AGENTVINE_INBOX"
"""The environment variable that names it."""


class Inbox:
    """An open inbox."""

    def __init__(self, descriptor: int) -> None:
        """Write here."""
        self._descriptor = descriptor

    async def take(self, message: SteeringMessage) -> None:
        """Add one message.

        Raises:
            OSError: The disk is full, say.
        """
        line = {
            "number": message.number,
            "author": message.author,
            "text": message.text,
            "sent_at": message.created_at.isoformat(),
        }
        await asyncio.to_thread(self._append, json.dumps(line).encode() + b"\n")

    def _append(self, line: bytes) -> None:
        begin = os.fstat(self._descriptor).st_size
        written = os.write(self._descriptor, line)
        if written < len(line):
            # Half a line must not stay: the message comes again as a whole.
            os.ftruncate(self._descriptor, begin)
            raise OSError("the disk has no room for the message")


@contextmanager
def open_inbox(path: Path) -> Generator[Inbox]:
    """Make the file, empty, and keep it open: who puts another in its place gains nothing."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        yield Inbox(descriptor)
    finally:
        os.close(descriptor)
