"""Running hostile programs in tests: small scripts, and looking whether they are gone."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from agentvine.kit.process import (
    ProcessExit,
    ProcessSpec,
    Stream,
    find_process,
    is_running,
    run_process,
)

ENVIRONMENT = {"PATH": os.defpath}


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


class Output:
    """Collects what a program prints, and waits for a word of it."""

    def __init__(self) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._changed = asyncio.Event()

    async def take(self, stream: Stream, chunk: bytes) -> None:
        (self.stdout if stream is Stream.STDOUT else self.stderr).extend(chunk)
        self._changed.set()

    async def wait_for(self, count: int = 1) -> list[str]:
        """The first complete lines of standard output."""
        async with asyncio.timeout(15):
            while self.stdout.count(b"\n") < count:
                self._changed.clear()
                await self._changed.wait()
        return self.stdout.decode().splitlines()[:count]

    @property
    def pids(self) -> list[int]:
        return [int(word) for word in self.stdout.split() if word.isdigit()]


def spec(argv: list[str], cwd: Path, **options: object) -> ProcessSpec:
    defaults: dict[str, object] = {
        "run_id": f"test-{cwd.name}",
        "grace_seconds": 0.2,
        "environment": ENVIRONMENT,
    }
    return ProcessSpec(argv=argv, cwd=cwd, **(defaults | options))  # type: ignore[arg-type]  # a test passes any


async def run(
    argv: list[str], cwd: Path, stop: asyncio.Event | None = None, **options: object
) -> tuple[ProcessExit, Output]:
    output = Output()
    return await run_process(spec(argv, cwd, **options), output.take, stop=stop), output


@contextmanager
def stranger(
    argv: Sequence[str] = ("sleep", "60"),
    *,
    run_id: str | None = None,
    stdout: Path | None = None,
) -> Generator[subprocess.Popen[bytes]]:
    """A process that no run has started, for the length of the block."""
    marker = {} if run_id is None else {"AGENTVINE_RUN_ID": run_id}
    with contextlib.ExitStack() as stack:
        process = subprocess.Popen(
            argv,
            env=ENVIRONMENT | marker,
            start_new_session=True,
            stdout=None if stdout is None else stack.enter_context(stdout.open("wb")),
        )
        try:
            # For a moment after its start a program has no environment that others can read.
            while process.poll() is None and not psutil.Process(process.pid).environ():
                time.sleep(0.001)
            yield process
        finally:
            process.kill()
            process.wait()


async def written(path: Path) -> str:
    """What a program writes into a file, as soon as there is a whole line of it."""
    async with asyncio.timeout(15):
        while not (text := _read_if_whole(path)):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
    return text


async def gone(pid: int) -> bool:
    """Whether a process that was sent SIGKILL disappears; the system takes a moment."""
    for _ in range(200):
        if not runs(pid):
            return True
        await asyncio.sleep(0.01)
    return False


def _read_if_whole(path: Path) -> str:
    text = path.read_text() if path.exists() else ""
    return text if text.endswith("\n") else ""


def runs(pid: int) -> bool:
    process = find_process(pid)
    return process is not None and is_running(process)
