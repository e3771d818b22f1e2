"""Run a short command and keep what it prints."""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from agentvine.kit.guards import assert_no_transaction
from agentvine.kit.process.child import CHUNK_BYTES, Child, start_child

_PIPE_WAIT_SECONDS = 2.0
"""How long to read on after the end when a background process holds the pipe open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """What a short command printed, and how it ended."""

    exit_code: int
    """Minus the signal's number when a signal ended it."""
    stdout: bytes
    stderr: bytes
    """The last part of it."""
    is_truncated: bool
    """Whether it was ended because it printed more than was asked for."""
    has_timed_out: bool
    duration_seconds: float


async def capture(
    argv: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    stdin: bytes | IO[bytes] = b"",
    timeout_seconds: float = 60.0,
    max_stdout_bytes: int = 64 * 1024 * 1024,
    max_stderr_bytes: int = 64 * 1024,
) -> Captured:
    """Run a short, well-behaved command, and end its process group after it.

    For programs that may be hostile there is ``run_process``.

    Args:
        argv: The program and its arguments.
        cwd: Where to start it.
        environment: All of its environment.
        stdin: What it can read: bytes, or an unbuffered file from where it stands.
        timeout_seconds: When to kill it.
        max_stdout_bytes: How much to keep; a command that prints more is killed.
        max_stderr_bytes: How much of the end of standard error to keep.
    """
    assert_no_transaction(f"run {argv[0]}")
    started = time.monotonic()
    with _input_file(stdin) as source:
        child = start_child(argv, cwd=cwd, environment=environment, stdin=source)
    out, err = _Head(max_stdout_bytes), _Tail(max_stderr_bytes)
    async with _ended_with_the_block(child):
        pipes = await child.open_pipes()
        pumps = asyncio.gather(_pump(pipes[0], out, child), _pump(pipes[1], err, child))
        try:
            done, _ = await asyncio.wait({child.ended}, timeout=timeout_seconds)
            has_timed_out = not done
            child.signal_group(signal.SIGKILL)
            with suppress(TimeoutError):
                async with asyncio.timeout(_PIPE_WAIT_SECONDS):
                    await pumps
        finally:
            pumps.cancel()
            await asyncio.gather(pumps, return_exceptions=True)
    reaped = child.reap()
    return Captured(
        exit_code=os.waitstatus_to_exitcode(reaped.status),
        stdout=bytes(out.data),
        stderr=bytes(err.data),
        is_truncated=out.is_full,
        has_timed_out=has_timed_out,
        duration_seconds=time.monotonic() - started,
    )


class _Head:
    """Keeps the beginning."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.data = bytearray()
        self.is_full = False

    def add(self, chunk: bytes) -> None:
        room = self._max_bytes - len(self.data)
        self.data += chunk[:room]
        self.is_full = self.is_full or len(chunk) > room


class _Tail:
    """Keeps the end."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.data = bytearray()
        self.is_full = False

    def add(self, chunk: bytes) -> None:
        self.data += chunk
        del self.data[: -self._max_bytes]


async def _pump(reader: asyncio.StreamReader, into: _Head | _Tail, child: Child) -> None:
    while chunk := await reader.read(CHUNK_BYTES):
        into.add(chunk)
        if into.is_full:
            child.signal_group(signal.SIGKILL)
            return


@asynccontextmanager
async def _ended_with_the_block(child: Child) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        # The leader is not reaped before this: the group is still its own.
        child.signal_group(signal.SIGKILL)
        child.reap()
        child.close()


@contextmanager
def _input_file(data: bytes | IO[bytes]) -> Generator[IO[bytes]]:
    if not isinstance(data, bytes):
        yield data
        return
    # A file cannot fill up as a pipe can, and the command may read it when it likes, or never.
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        yield file
