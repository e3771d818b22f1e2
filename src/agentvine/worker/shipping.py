"""Sends a run's spooled lines to the server, in order, once each, however often the line drops."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path

import structlog

from agentvine.client import Client, RetryPolicy
from agentvine.kit.errors import (
    AppError,
    Conflict,
    Forbidden,
    Internal,
    LimitReached,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from agentvine.protocol.executions import MAX_LINES_PER_BATCH, LogBatchIn
from agentvine.worker.spool import LogSpool, SpooledLine

TRY_AGAIN = (Unavailable, LimitReached, Internal, Unauthenticated, Forbidden)
"""What may pass: the server is away or broken, or our token is being replaced."""
_RETRY = RetryPolicy(base_seconds=0.2, cap_seconds=3.0)
_MAX_CRASHES = 4
"""So many in a row, and the run's outcome is told without its last lines."""
_MAX_PARTS = 16
_PROGRAM = ("stdout", "stderr")

log = structlog.get_logger(__name__)


class LogShipper:
    """One run's way to the server's log. It runs beside the run."""

    def __init__(
        self,
        client: Client,
        spool: LogSpool,
        *,
        execution_id: uuid.UUID,
        claim: tuple[uuid.UUID, int],
    ) -> None:
        """Ship a spool's lines.

        Args:
            client: Where to.
            spool: Where from; its acknowledged offset is kept in a file beside it.
            execution_id: Whose lines they are.
            claim: Order and fence, which go with every batch.
        """
        self._client = client
        self._spool = spool
        self._execution_id = execution_id
        self._order_id, self._fence = claim
        self._mark: Path = spool.path.with_suffix(".sent")
        self._sent = _read_mark(self._mark)
        self.is_given_up = False
        """Whether the server will not take this run's lines any more."""

    async def run(self) -> None:
        """Ship lines as they come; return when the spool is closed and all are acknowledged."""
        failures = crashes = 0
        while not self.is_given_up:
            if self._sent >= self._spool.size:
                if self._spool.is_closed:
                    return
                await self._spool.grown.wait()
                self._spool.grown.clear()
                continue
            try:
                await self._send_some()
                failures = crashes = 0
            except TRY_AGAIN as error:
                if failures == 0:
                    log.warning("log.not_sent", problem=error.detail, code=error.code)
                pause = _RETRY.pause(failures, error.retry_after)
                failures += 1
                await asyncio.sleep(pause)
            except AppError as error:
                self._give_up(error)
            except Exception as error:
                # The supervisor of this loop: the run's outcome is told after its lines only.
                log.exception("log.shipping_crashed", execution=str(self._execution_id))
                crashes += 1
                if crashes >= _MAX_CRASHES:
                    self._give_up(Internal(f"Its lines cannot be read or sent: {error}"))
                await asyncio.sleep(_RETRY.pause(crashes, None))

    async def _send_some(self) -> None:
        lines = await asyncio.to_thread(self._spool.read, self._sent)
        for part in in_parts(lines):
            for start in range(0, len(part), MAX_LINES_PER_BATCH):
                await self._send(part[start : start + MAX_LINES_PER_BATCH])
        self._sent = lines[-1].end_offset
        # Neither synced nor needed, should the disk be full: an older mark, or none, only means
        # that the server is told of some lines again.
        with suppress(OSError):
            self._mark.write_text(str(self._sent))

    async def _send(self, lines: Sequence[SpooledLine]) -> None:
        batch = LogBatchIn(
            order_id=self._order_id,
            fence=self._fence,
            stream=lines[0].stream,
            first_seq=lines[0].seq,
            lines=[line.line for line in lines],
        )
        await self._client.executions.append_logs(self._execution_id, batch)

    def _give_up(self, error: AppError) -> None:
        self.is_given_up = True
        is_over = isinstance(error, NotFound) or (
            isinstance(error, Conflict) and error.code == "lease_lost"
        )
        say = log.info if is_over else log.error
        say(
            "log.refused",
            execution=str(self._execution_id),
            code=error.code,
            problem=error.detail,
        )


def in_parts(lines: Sequence[SpooledLine]) -> list[list[SpooledLine]]:
    """The lines in parts of one stream each, in the order in which people are to read them.

    That is the order of the spool. Only where a program goes to and fro between its two outputs
    too often are these two sorted out, between one remark of ours and the next: every part costs
    a request.
    """
    parts = _split(lines, lambda line: line.stream)
    if len(parts) <= _MAX_PARTS:
        return parts
    stretches = _split(lines, lambda line: "" if line.stream in _PROGRAM else line.stream)
    return [
        part
        for stretch in stretches
        for part in _split(sorted(stretch, key=lambda line: line.stream), lambda line: line.stream)
    ]


def _split(
    lines: Sequence[SpooledLine], key: Callable[[SpooledLine], str]
) -> list[list[SpooledLine]]:
    return [list(part) for _, part in groupby(lines, key=key)]


def _read_mark(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
