"""A run's output on disk: every line has its number before anybody hears of it.

Lines are numbered per stream from 1. They are collected for a moment, written and synced as one
batch, and only then sent (``shipping``): so a number the server has seen is never given to another
line, also when the worker dies and a later process goes on with the same file.
"""

import asyncio
import contextlib
import json
import os
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import structlog

from agentvine.kit.clock import Clock
from agentvine.kit.redaction import Redactor
from agentvine.protocol.enums import LogLevel
from agentvine.protocol.executions import MAX_LINE_CHARACTERS, LogLineIn

BATCH_BYTES = 256 * 1024
BATCH_SECONDS = 0.25
_MAX_WAITING_BYTES = 4 * BATCH_BYTES
_DISK_RETRY_SECONDS = 1.0
_KEPT_BEYOND_THE_LIMIT = ("system",)
_MAX_TAIL_BYTES = 8 * 1024 * 1024
"""The end of a long output waits in memory: enough to see how it went on."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that has no number yet."""

    stream: str
    message: str
    level: LogLevel
    metadata: dict[str, Any]
    at: str


@dataclass(frozen=True, slots=True)
class SpooledLine:
    """A numbered line as it lies on disk."""

    stream: str
    seq: int
    line: LogLineIn
    end_offset: int
    """Where the next line begins."""


class LogSpool:
    """Takes lines (it is the run's ``OutputSink``) and keeps them until they are sent."""

    def __init__(self, path: Path, *, clock: Clock, redactor: Redactor, max_bytes: int) -> None:
        """Open the file, and go on where an earlier process stopped.

        Args:
            path: The file; made when missing.
            clock: Stamps the lines.
            redactor: Cleans them.
            max_bytes: How much output to keep, of its beginning and of its end; the worker's own
                lines come on top.
        """
        self.path = path
        """The file."""
        self._clock = clock
        self._redactor = redactor
        self._last: dict[str, str] = {}
        """Per stream the line before, cleaned: a private key takes several."""
        self._max_bytes = max_bytes
        self._max_tail_bytes = min(_MAX_TAIL_BYTES, max_bytes // 4)
        self._tail: deque[_Line] = deque()
        self._tail_bytes = 0
        self._is_cut = False
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._is_closing = False
        self._wants_flush = asyncio.Event()
        self._is_urgent = asyncio.Event()
        """A whole batch waits, or nothing more will come."""
        self.grown = asyncio.Event()
        """Set when more lines are safely on disk, and when no more will come."""
        self.is_closed = False
        """No more lines will come, and all are on disk."""
        self.dropped_count = 0
        """Lines between the beginning and the end of a long output, which are not kept."""
        self.high_water, self.size = _recover(path)
        """The last number given, per stream; and the bytes that are safely on disk."""
        self._kept_bytes = self.size

    async def write(
        self,
        stream: str,
        message: str,
        *,
        level: LogLevel = LogLevel.INFO,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep one line; waits when lines come faster than the disk takes them."""
        is_cut = stream not in _KEPT_BEYOND_THE_LIMIT and self._is_full
        if is_cut:
            await self._note_cut()
        await self._has_room.wait()
        before = self._last.get(stream)
        self._last[stream] = text = self._redactor.clean_line(
            message.replace("\0", ""), after=before
        )
        # Text with half a surrogate pair, from a file name, cannot be stored.
        text = text.encode("utf-8", "replace").decode()
        for start in range(0, max(len(text), 1), MAX_LINE_CHARACTERS):
            part = text[start : start + MAX_LINE_CHARACTERS]
            at = self._clock.now().isoformat()
            line = _Line(stream, part, level, dict(metadata or {}), at)
            (self._keep_for_the_end if is_cut else self._append)(line)

    async def run(self) -> None:
        """Bring lines onto the disk as they come, until ``close``."""
        while not self.is_closed:
            await self._wants_flush.wait()
            # A moment for more lines to come along, unless they are many already.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BATCH_SECONDS):
                    await self._is_urgent.wait()
            await self._flush()
            if self._is_closing and not self._waiting:
                self.is_closed = True
            self.grown.set()

    def end_output(self) -> None:
        """The programs have ended: what was kept of the end of a long output takes its place."""
        if self.dropped_count and self._tail:
            text = f"{self.dropped_count} lines are left out here; this is how it ended."
            at = self._clock.now().isoformat()
            self._append(_Line("system", text, LogLevel.WARNING, {}, at))
        while self._tail:
            self._append(self._tail.popleft())
        self._max_tail_bytes = self._tail_bytes = 0

    def close(self) -> None:
        """No more lines will come; ``run`` ends when the last is on disk."""
        self.end_output()
        self._is_closing = True
        self._wants_flush.set()
        self._is_urgent.set()

    async def _flush(self) -> None:
        # A full disk is waited for: the run stands still meanwhile, and nothing is lost.
        self._wants_flush.clear()
        while self._waiting:
            count = len(self._waiting)
            batch = b"".join(self._waiting)
            try:
                await asyncio.to_thread(_append_synced, self.path, self.size, batch)
            except OSError as error:
                log.warning("log.not_written", path=str(self.path), problem=str(error))
                await asyncio.sleep(_DISK_RETRY_SECONDS)
                continue
            self.size += len(batch)
            del self._waiting[:count]
            self._waiting_bytes -= len(batch)
            if not self._is_closing:
                self._is_urgent.clear()
            if self._waiting_bytes < _MAX_WAITING_BYTES:
                self._has_room.set()

    def read(self, offset: int) -> list[SpooledLine]:
        """About one batch of lines from an offset on; empty when there are no more."""
        if offset >= self.size:
            return []
        with self.path.open("rb") as file:
            file.seek(offset)
            chunk = file.read(min(BATCH_BYTES, self.size - offset))
            # At least one line: a single one may be longer than a batch when it is escaped.
            if not chunk.endswith(b"\n"):
                chunk = chunk[: chunk.rfind(b"\n") + 1] or chunk + file.readline()
        return list(_lines(chunk, offset))

    @property
    def _is_full(self) -> bool:
        return self._kept_bytes >= self._max_bytes - self._max_tail_bytes

    def _append(self, line: _Line) -> None:
        seq = self.high_water.get(line.stream, 0) + 1
        self.high_water[line.stream] = seq
        record: dict[str, Any] = {
            "stream": line.stream,
            "seq": seq,
            "level": line.level.value,
            "at": line.at,
            "message": line.message,
        }
        if line.metadata:
            record["metadata"] = line.metadata
        data = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        self._kept_bytes += len(data)
        self._wants_flush.set()
        if self._waiting_bytes >= BATCH_BYTES:
            self._is_urgent.set()
        if self._waiting_bytes >= _MAX_WAITING_BYTES:
            self._has_room.clear()

    def _keep_for_the_end(self, line: _Line) -> None:
        self._tail.append(line)
        self._tail_bytes += len(line.message) + 1
        while self._tail and self._tail_bytes > self._max_tail_bytes:
            self._tail_bytes -= len(self._tail.popleft().message) + 1
            self.dropped_count += 1

    async def _note_cut(self) -> None:
        if not self._is_cut:
            self._is_cut = True
            limit = self._max_bytes / 2**20
            await self.write(
                "system",
                f"The output is about to reach {limit:g} MiB; of what follows only the end is "
                "kept, and shown when the programs have ended.",
                level=LogLevel.WARNING,
            )
        # The program goes on at full speed: let others have their turn.
        await asyncio.sleep(0)


def _recover(path: Path) -> tuple[dict[str, int], int]:
    high_water: dict[str, int] = {}
    if not path.exists():
        path.touch(0o600)
        return high_water, 0
    size = 0
    with path.open("rb") as file:
        for data in file:
            # A torn last line was never sent: its numbers are free.
            try:
                record = json.loads(data) if data.endswith(b"\n") else None
            except ValueError:
                record = None
            if record is None:
                break
            high_water[record["stream"]] = record["seq"]
            size += len(data)
    return high_water, size


def _append_synced(path: Path, offset: int, data: bytes) -> None:
    # At the offset, not at the end: an attempt that failed half-way is overwritten.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.ftruncate(descriptor, offset)
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lines(chunk: bytes, offset: int) -> Iterator[SpooledLine]:
    for data in chunk.splitlines(keepends=True):
        offset += len(data)
        record = cast("dict[str, Any]", json.loads(data))
        line = LogLineIn(
            message=record["message"],
            level=LogLevel(record["level"]),
            logged_at=datetime.fromisoformat(record["at"]),
            metadata=record.get("metadata", {}),
        )
        yield SpooledLine(record["stream"], record["seq"], line, offset)
