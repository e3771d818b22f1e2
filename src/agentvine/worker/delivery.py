"""Brings a report from the outbox to the server: log, bundle, outcome, in this order.

It goes on until the server has answered for good, with pauses while the server is away. All three
may be repeated, so it does not matter where an earlier try, or an earlier process, got stuck.
"""

import asyncio
from collections.abc import Awaitable
from enum import StrEnum
from pathlib import Path

import structlog

from agentvine.client import Client, RetryPolicy
from agentvine.kit.errors import AppError, Conflict, Internal, LimitReached, NotFound
from agentvine.protocol.enums import FailureClass
from agentvine.protocol.queue import ExecutionReport, FailIn, OrderOutcome
from agentvine.worker.folders import PendingReport, RunFolder
from agentvine.worker.shipping import TRY_AGAIN

_RETRY = RetryPolicy(base_seconds=0.25, cap_seconds=5.0)
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


class Delivery:
    """Delivers one run's report."""

    def __init__(self, client: Client, folder: RunFolder, shipping: Awaitable[None]) -> None:
        """Prepare.

        Args:
            client: Where to.
            folder: Whose report.
            shipping: Done when the log is acknowledged, or not wanted.
        """
        self._client = client
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
        queue = self._client.queue
        if report.release is not None:
            return await queue.release(report.release)
        message = report.complete or report.fail
        assert message is not None, "a report is one of three"
        change = message.report.change
        if change is not None and change.bundle_sha256 is not None:
            await self._put_bundle()
        if report.complete is not None:
            return await queue.complete(report.complete)
        assert report.fail is not None
        return await queue.fail(report.fail)

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
