"""One shell command as a run: used by the ``command`` runtime and by the tests of a change."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from agentvine.kit.process import LineSplitter, Stream
from agentvine.protocol.executions import MAX_LINE_CHARACTERS
from agentvine.protocol.runs import UNWATCHED, RunWatch
from agentvine.runtimes.base import OutputSink, RunContext, RunOutcome
from agentvine.runtimes.runner import Program, describe_end, outcome_of, prepare_program

SHELL = "/bin/sh"
_QUIET_SECONDS = 2.0
"""An unfinished line (a prompt, a progress bar) is shown after this long without more output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellRun:
    """What to run in the context's work tree, and how to show it."""

    command: str
    timeout_seconds: float
    extra_environment: Mapping[str, str] | None = None
    stream: str | None = None
    """Where all output goes; None keeps ``stdout`` and ``stderr`` apart."""
    watch: RunWatch = UNWATCHED
    """No watchdog but the time limit, unless the task wants one: a command may be silent long."""


async def run_shell(context: RunContext, run: ShellRun) -> RunOutcome:
    """Run a command with ``sh -c``, its output going to the sink.

    Raises:
        ProgramNotStarted: The system refused to start the shell (a command that is too long).
    """
    program = Program(
        argv=[SHELL, "-c", run.command],
        timeout_seconds=run.timeout_seconds,
        extra_environment=run.extra_environment or {},
        watch=run.watch,
    )
    running = prepare_program(context, program)
    lines = LineWriter(context.output, run.stream)
    async with lines:
        ended = await running.run(lines.feed)
    return outcome_of(ended, message=describe_end(ended, running.watch.times))


class LineWriter:
    """Turns pieces of output into lines of the sink, each stream by itself.

    Use it as a context manager: what is left without a line's end is written when it closes.
    """

    def __init__(
        self, sink: OutputSink, stream: str | None, *, quiet_seconds: float = _QUIET_SECONDS
    ) -> None:
        """Write to one named stream, or to those the output came from."""
        self._sink = sink
        self._quiet_seconds = quiet_seconds
        self._sources = {source: _Source(stream or source.value) for source in Stream}
        self._closing = asyncio.Event()
        self._flusher: asyncio.Task[None] | None = None

    async def feed(self, source: Stream, chunk: bytes) -> None:
        """Write the lines that these bytes complete."""
        state = self._sources[source]
        async with state.lock:
            state.fed_at = asyncio.get_running_loop().time()
            await self._write(state, state.splitter.feed(chunk))

    async def __aenter__(self) -> Self:
        """Begin to look for lines that stay unfinished."""
        self._flusher = asyncio.create_task(self._flush_quiet_lines())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write what is left, whatever happened."""
        self._closing.set()
        if self._flusher is not None:
            await self._flusher
        for state in self._sources.values():
            async with state.lock:
                await self._write(state, state.splitter.finish())

    async def _flush_quiet_lines(self) -> None:
        # Ended by an event, never by cancellation: that could fall between taking a line out of
        # the splitter and writing it.
        loop = asyncio.get_running_loop()
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._quiet_seconds / 2):
                    await self._closing.wait()
            for state in self._sources.values():
                async with state.lock:
                    if loop.time() - state.fed_at >= self._quiet_seconds:
                        await self._write(state, state.splitter.flush())

    async def _write(self, state: "_Source", lines: list[str]) -> None:
        for line in lines:
            # A part fills its limit but for the bytes of one character that did not fit.
            is_part = len(line) * 4 > MAX_LINE_CHARACTERS and (
                len(line.encode()) > MAX_LINE_CHARACTERS - 4
            )
            await self._sink.write(state.stream, line, metadata={"part": True} if is_part else None)


class _Source:
    """One of the program's two streams."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.splitter = LineSplitter(MAX_LINE_CHARACTERS)
        self.lock = asyncio.Lock()
        self.fed_at = 0.0
