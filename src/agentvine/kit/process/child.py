"""One started program: its session, its pipes, and the moment it ends.

The leader of the group is not reaped when it ends but kept as a zombie until ``reap``: while it is
there, neither its number nor its group's can be given to a stranger, so signals cannot go astray.
(Python on macOS has no ``waitid`` before 3.13; there the leader is reaped at once.)
"""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from agentvine.kit.process.errors import (
    ProgramNotFound,
    ProgramNotStarted,
    WorkingDirectoryMissing,
)
from agentvine.kit.process.table import ProcessId, find_process

CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Reaped:
    """How an ended program ended, and what the system says it used."""

    status: int
    """The wait status."""
    peak_bytes: int | None = None
    """The most memory that it or a waited-for child of it held; None when that is not known."""
    cpu_seconds: float = 0.0
    """Processor time of it and of those that it waited for."""


class Child:
    """A program running as the leader of its own session and process group."""

    def __init__(self, popen: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop) -> None:
        """Take over a program that was just started; only ``start_child`` does."""
        self._popen = popen
        self._loop = loop
        self._reaped: Reaped | None = None
        self._transports: dict[IO[bytes], asyncio.ReadTransport] = {}
        self._started = time.monotonic()
        self.id = find_process(popen.pid) or ProcessId(popen.pid, "")
        self.ended: asyncio.Future[None] = loop.create_future()
        """Done when the leader has ended."""
        self.duration_seconds = 0.0
        """From start to end of the leader; known when it has ended."""
        self._watcher = threading.Thread(target=self._watch, name=f"wait-{popen.pid}", daemon=True)
        self._watcher.start()

    @property
    def is_reaped(self) -> bool:
        """Whether the leader's number is free for strangers."""
        return self._reaped is not None

    async def open_pipes(self) -> tuple[asyncio.StreamReader, asyncio.StreamReader]:
        """Readers for standard output and standard error."""
        assert self._popen.stdout is not None
        assert self._popen.stderr is not None
        return await self._open(self._popen.stdout), await self._open(self._popen.stderr)

    def signal_group(self, signum: signal.Signals) -> None:
        """Signal the leader and all that stayed in its group."""
        if not self.is_reaped:
            # PermissionError: macOS's word for a group that has only zombies left.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.id.pid, signum)

    def reap(self, *, wait_seconds: float = 5.0) -> Reaped:
        """Let the ended leader go."""
        deadline = time.monotonic() + wait_seconds
        while self._reaped is None:
            try:
                pid, status, usage = os.wait4(self.id.pid, os.WNOHANG)
            except ChildProcessError:
                # macOS: our thread was first. Elsewhere: the system was told to drop zombies.
                if self._reaped is None:
                    return Reaped(0)
                break
            if pid:
                self._reaped = Reaped(status, peak_bytes(usage), usage.ru_utime + usage.ru_stime)
            elif time.monotonic() > deadline:
                # It hangs in the kernel, out of reach of SIGKILL: nothing more can be done.
                return Reaped(signal.SIGKILL)
            else:
                time.sleep(0.005)
        self._popen.returncode = os.waitstatus_to_exitcode(self._reaped.status)
        return self._reaped

    def close(self) -> None:
        """Close the pipes."""
        for pipe in (self._popen.stdout, self._popen.stderr):
            assert pipe is not None
            # A pipe that was opened for reading belongs to its transport.
            (self._transports.get(pipe) or pipe).close()

    async def _open(self, pipe: IO[bytes]) -> asyncio.StreamReader:
        # The reader stops reading at twice its limit: that bounds the memory for a slow consumer.
        reader = asyncio.StreamReader(limit=CHUNK_BYTES, loop=self._loop)
        transport, _ = await self._loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader, loop=self._loop), pipe
        )
        self._transports[pipe] = transport
        return reader

    def _watch(self) -> None:
        if sys.platform != "darwin" or sys.version_info >= (3, 13):
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, self.id.pid, os.WEXITED | os.WNOWAIT)
        else:
            with suppress(ChildProcessError):
                _, status, usage = os.wait4(self.id.pid, 0)
                self._reaped = Reaped(status, peak_bytes(usage), usage.ru_utime + usage.ru_stime)
        self.duration_seconds = time.monotonic() - self._started
        self._on_loop(self._note_end)

    def _on_loop(self, call: Callable[..., None], *arguments: object) -> None:
        # RuntimeError: the loop has closed; who closed it has also ended this program.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *arguments)

    def _note_end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


def start_child(
    argv: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    stdin: IO[bytes] | None = None,
    descriptors: tuple[int, ...] = (),
) -> Child:
    """Start a program in a session of its own, with exactly this environment.

    Raises:
        WorkingDirectoryMissing: There is no such folder.
        ProgramNotFound: The program is not on the environment's PATH.
        ProgramNotStarted: The system refused for another reason.
    """
    refuse_missing_folder(argv[0], cwd)
    try:
        popen = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=dict(environment),
            stdin=stdin if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
            pass_fds=descriptors,
        )
    except FileNotFoundError as error:
        raise ProgramNotFound(
            f"{argv[0]} was not found: install it, or name it by its full path.", program=argv[0]
        ) from error
    except (OSError, ValueError) as error:
        # ValueError: a NUL in an argument. OSError: no permission, no such format, too long.
        raise ProgramNotStarted(
            f"{argv[0]} could not be started: {error}.", program=argv[0]
        ) from error
    return Child(popen, asyncio.get_running_loop())


def refuse_missing_folder(program: str, cwd: Path) -> None:
    """See that there is a folder to start in.

    Raises:
        WorkingDirectoryMissing: There is none.
    """
    if not cwd.is_dir():
        raise WorkingDirectoryMissing(
            f"Cannot start {program} in {cwd}: there is no such folder.", path=str(cwd)
        )


def peak_bytes(usage: resource.struct_rusage) -> int:
    """The peak of memory that the system tells, in bytes."""
    # Kilobytes everywhere but on macOS.
    return usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024
