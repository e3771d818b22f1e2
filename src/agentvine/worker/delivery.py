"""Brings a report from the outbox to the server: log, bundle, outcome, in this order.

It goes on until the server has answered for good, with pauses while the server is away. All three
may be repeated, so it does not matter where an earlier try, or an earlier process, got stuck.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from enum import StrEnum
from pathlib import Path

import structlog

from agentvine.client import Client, RetryPolicy
from agentvine.kit.errors import AppError, Conflict, Internal, LimitReached, NotFound
from agentvine.kit.gathering import Gatherer
from agentvine.protocol.enums import FailureClass
from agentvine.protocol.queue import ExecutionReport, FailIn, OrderOutcome, ReportIn
from agentvine.worker.folders import PendingReport, RunFolder
from agentvine.worker.shipping import TRY_AGAIN

_RETRY = RetryPolicy(base_seconds=0.25, cap_seconds=5.0)
_MAX_TOGETHER = 20
"""Reports in one request; each may be some hundred KiB."""
_MAX_BUGS = 20
"""So many failures of the server itself on one report, and the report is taken for the cause."""

log = structlog.get_logger(__name__)


class Delivered(StrEnum):
    """What became of a report."""

    ACKNOWLEDGED = "acknowledged"
    DISCARDED = "discarded"
    """The claim is somebody else's by now, or the order is gone."""
    REFUSED = "refused"
    """The server took neither the report nor, in its place, the news that it failed."""


class _Refused(Exception):
    """The server will never take this."""

    def __init__(self, error: AppError) -> None:
        super().__init__(error.detail)
        self.error = error


class Outbox:
    """The way of all of a worker's reports: what is ready while others are sent goes together."""

    def __init__(self, client: Client) -> None:
        """Use the worker's connections."""
        self._client = client
        self._gathered: Gatherer[PendingReport, OrderOutcome | AppError | None] = Gatherer(
            self._send_some,
            fits=lambda chosen, _: len(chosen) < _MAX_TOGETHER,
            turns_at_once=2,
        )

    async def send(self, report: PendingReport) -> OrderOutcome:
        """What the server says to a report.

        Raises:
            AppError: It refuses it, or cannot be reached.
        """
        answer = await self._gathered.join(report)
        if isinstance(answer, AppError):
            raise answer
        # What is refused among others is asked alone: only that answer says all there is to say.
        return answer or await self._send_alone(report)

    async def _send_some(
        self, reports: Sequence[PendingReport]
    ) -> list[OrderOutcome | AppError | None]:
        if len(reports) == 1:
            try:
                return [await self._send_alone(reports[0])]
            except AppError as error:
                return [error]
        together = [ReportIn(**dict(report)) for report in reports]
        try:
            answers = await self._client.queue.report_many(together)
        except AppError as error:
            log.info("reports.not_sent_together", count=len(reports), code=error.code)
            return [None] * len(reports)
        return [answer.outcome for answer in answers]

    async def _send_alone(self, report: PendingReport) -> OrderOutcome:
        queue = self._client.queue
        if report.release is not None:
            return await queue.release(report.release)
        if report.complete is not None:
            return await queue.complete(report.complete)
        assert report.fail is not None, "a report is one of three"
        return await queue.fail(report.fail)


class Delivery:
    """Delivers one run's report."""

    def __init__(
        self, client: Client, outbox: Outbox, folder: RunFolder, shipping: Awaitable[None]
    ) -> None:
        """Prepare.

        Args:
            client: Where to.
            outbox: By which way.
            folder: Whose report.
            shipping: Done when the log is acknowledged, or not wanted.
        """
        self._client = client
        self._outbox = outbox
        self._folder = folder
        self._shipping = shipping
        self._has_put_bundle = False

    async def deliver(self, report: PendingReport) -> Delivered:
        """Go on until the server has answered for good."""
        await self._shipping
        try:
            try:
                outcome = await self._send(report)
            except _Refused as refused:
                outcome = await self._send(self._refusal(refused.error))
        except (NotFound, Conflict) as error:
            log.info("report.discarded", code=error.code, problem=error.detail)
            return Delivered.DISCARDED
        except _Refused as refused:
            problem = refused.error.detail
            log.exception("report.refused", code=refused.error.code, problem=problem)
            return Delivered.REFUSED
        log.info("report.acknowledged", status=outcome.status.value, will_retry=outcome.will_retry)
        return Delivered.ACKNOWLEDGED

    async def _send(self, report: PendingReport) -> OrderOutcome:
        failures = bugs = 0
        while True:
            try:
                return await self._send_once(report)
            except TRY_AGAIN as error:
                bugs += isinstance(error, Internal)
                is_final = isinstance(error, LimitReached) and error.retry_after is None
                if is_final or bugs >= _MAX_BUGS:
                    raise _Refused(error) from error
                if failures == 0:
                    log.warning("report.waiting", code=error.code, problem=error.detail)
                pause = _RETRY.pause(failures, error.retry_after)
                failures += 1
            except NotFound:
                raise
            except Conflict as error:
                if error.code == "lease_lost":
                    raise
                raise _Refused(error) from error
            except AppError as error:
                raise _Refused(error) from error
            await asyncio.sleep(pause)

    async def _send_once(self, report: PendingReport) -> OrderOutcome:
        message = report.complete or report.fail
        change = message.report.change if message is not None else None
        if change is not None and change.bundle_sha256 is not None:
            await self._put_bundle()
        return await self._outbox.send(report)

    async def _put_bundle(self) -> None:
        if self._has_put_bundle:
            return
        order = self._folder.order
        content = await asyncio.to_thread(self._folder.bundle.read_bytes)
        try:
            await self._client.executions.put_bundle(
                order.execution_id, content, order_id=order.order_id, fence=order.fence
            )
        except Conflict as error:
            # It may be the report itself that settled the order, when its answer was lost: only
            # the answer to the report tells.
            if error.code != "lease_lost":
                raise
        self._has_put_bundle = True

    def _refusal(self, error: AppError) -> PendingReport:
        """The bare news, without what the server may have stumbled over."""
        order = self._folder.order
        message = (
            f"The server refused this attempt's result ({error.code}): {error.detail} "
            "The worker keeps it under refs/agentvine/rescue/ of its mirror."
        )
        return PendingReport(
            fail=FailIn(
                order_id=order.order_id,
                fence=order.fence,
                failure_class=FailureClass.ORDER_INVALID,
                message=message[:10_000],
                report=ExecutionReport(metrics={"refused": error.code}),
            )
        )


def settle(folder: RunFolder, delivered: Delivered, refused: Path) -> None:
    """Clear the outbox of a report that has been answered for good."""
    if delivered is Delivered.REFUSED:
        log.error("report.set_aside", path=str(folder.set_aside(refused)))
    else:
        folder.remove()
