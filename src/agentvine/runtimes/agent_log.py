"""What of an agent's words is kept: its own lines, our events, and lines for people to follow."""

from types import TracebackType
from typing import Self

from agentvine.kit.process import Stream
from agentvine.protocol.enums import LogLevel
from agentvine.protocol.executions import MAX_LINE_CHARACTERS
from agentvine.runtimes.base import OutputSink
from agentvine.runtimes.events import AgentEvent, Failed, event_line, readable
from agentvine.runtimes.shell import LineWriter

RAW, EVENTS, TEXT = "raw", "events", "stdout"
MAX_LINE_BYTES = 32 * 1024 * 1024
"""Of one line of the program's; longer ones are dropped, and said to be."""


class LongLines:
    """Cuts a program's output into whole lines, however long, up to a limit."""

    def __init__(self, max_bytes: int = MAX_LINE_BYTES) -> None:
        """Start with an empty line."""
        self._max_bytes = max_bytes
        self._rest = bytearray()
        self._is_dropping = False
        self._dropped = 0

    def feed(self, chunk: bytes) -> list[str]:
        """Take in the next bytes, and give out the lines that are complete."""
        *ends, rest = chunk.split(b"\n")
        lines: list[str] = []
        for end in ends:
            self._add(end)
            lines += self.finish()
        self._add(rest)
        return lines

    def finish(self) -> list[str]:
        """Give out what is left."""
        line, was_dropped = bytes(self._rest), self._is_dropping
        self._rest.clear()
        self._is_dropping = False
        return [] if was_dropped or not line else [_clean(line.decode("utf-8", "replace"))]

    def take_dropped(self) -> int:
        """How many bytes were dropped since the last call."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    def _add(self, part: bytes) -> None:
        if self._is_dropping or len(self._rest) + len(part) > self._max_bytes:
            self._dropped += len(part) + len(self._rest)
            self._rest.clear()
            self._is_dropping = True
        else:
            self._rest += part


class AgentLog:
    """Writes all three into a run's log."""

    def __init__(self, output: OutputSink) -> None:
        """Write here."""
        self._output = output
        self._errors = LineWriter(output, None)
        self._said = LongLines()

    async def __aenter__(self) -> Self:
        """Begin to look for lines that stay unfinished."""
        await self._errors.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what is left of standard error."""
        await self._errors.__aexit__(kind, error, trace)

    async def feed_errors(self, chunk: bytes) -> list[str]:
        """Keep what comes on standard error; its complete lines."""
        await self._errors.feed(Stream.STDERR, chunk)
        return [line for line in self._said.feed(chunk) if line.strip()]

    async def keep_raw(self, line: str) -> None:
        """Keep a line of the program's own."""
        await self._write(RAW, line)

    async def keep(self, event: AgentEvent) -> None:
        """Keep an event, and show it to those who follow."""
        await self._write(EVENTS, event_line(event))
        if (text := readable(event)) is not None:
            level = LogLevel.ERROR if isinstance(event, Failed) else LogLevel.INFO
            for line in text.splitlines():
                await self._write(TEXT, line, level=level)

    async def _write(self, stream: str, line: str, *, level: LogLevel = LogLevel.INFO) -> None:
        text = _clean(line)
        last = max(len(text) - 1, 0) // MAX_LINE_CHARACTERS
        for number in range(last + 1):
            part = text[number * MAX_LINE_CHARACTERS : (number + 1) * MAX_LINE_CHARACTERS]
            metadata = {"part": True} if number < last else None
            await self._output.write(stream, part, level=level, metadata=metadata)


def _clean(text: str) -> str:
    """What a database can keep: no NUL, and no half of a pair of surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
