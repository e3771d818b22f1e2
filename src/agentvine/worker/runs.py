"""A run under supervision: carried out, written down, cleaned up, delivered, in this order."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

import structlog

from agentvine.protocol.controls import LeaseControl
from agentvine.protocol.enums import ExecutionPhase
from agentvine.protocol.queue import CompleteIn, FailIn
from agentvine.worker.attempt import Attempt, Verdict
from agentvine.worker.delivery import Delivery, settle
from agentvine.worker.files import FileFetcher
from agentvine.worker.folders import PendingReport, RunFolder
from agentvine.worker.leases import Lease, LeaseEnd
from agentvine.worker.shipping import LogShipper
from agentvine.worker.spool import LogSpool
from agentvine.worker.steward import Steward
from agentvine.worker.tools import StopReason, StopSwitch, WorkerTools

_DISK_RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)

_REASONS = {
    LeaseEnd.LOST: StopReason.LEASE_LOST,
    LeaseEnd.EXPIRED: StopReason.LEASE_EXPIRED,
    LeaseEnd.CANCEL: StopReason.CANCELLED,
}


class Run:
    """One claim, from its folder to the server's acknowledgement."""

    def __init__(self, tools: WorkerTools, folder: RunFolder, *, claimed_at: float) -> None:
        """Hold the claim from now on; ``carry_out`` or ``deliver_only`` does the rest.

        Args:
            tools: The worker's.
            folder: The claim's.
            claimed_at: When the request was sent that last extended the claim.
        """
        self._tools = tools
        self._folder = folder
        self._switch = StopSwitch()
        self._steward: Steward | None = None
        self.is_delivering = False
        """Whether the outcome is on disk, and only the server is still to hear of it."""
        loop = asyncio.get_running_loop()
        self._lease = Lease(
            folder.order,
            claimed_at=claimed_at,
            # From the heartbeat's thread to the loop's.
            on_end=lambda end: _call(loop, self._switch, _REASONS[end]),
            on_control=lambda wanted: _on_loop(loop, self._control, wanted),
            phase=ExecutionPhase.STARTING
            if folder.get_report() is None
            else ExecutionPhase.REPORTING,
        )
        tools.book.add(self._lease)

    def stop(self, reason: StopReason) -> None:
        """End the run before its time; it still keeps and reports what it has."""
        self._switch.stop(reason)

    async def carry_out(self) -> None:
        """Do the work and deliver the report."""
        order = self._folder.order
        with structlog.contextvars.bound_contextvars(
            execution=str(order.execution_id), task=order.payload.task_ref
        ):
            log.info("run.started", attempt=order.attempt, title=order.payload.title)
            output = _Output(self._tools, self._folder)
            attempt = Attempt(
                self._tools, self._folder, output.spool, lease=self._lease, switch=self._switch
            )
            try:
                async with self._stewarded(output):
                    verdict = await attempt.carry_out()
                if self._folder.order.payload.workspace.cleanup_command:
                    await self._clean_up(attempt, verdict, output)
                if verdict is not None:
                    await attempt.tell(verdict)
                await output.close()
                if verdict is not None:
                    high_water = output.spool.high_water
                    await self._keep(_report(self._folder, verdict, high_water))
                await attempt.take_away()
                _tell(verdict)
                await self._deliver(output)
            finally:
                output.abandon()
                self._tools.book.remove(self._lease)
            await attempt.tidy_up()

    @asynccontextmanager
    async def _stewarded(self, output: "_Output") -> AsyncGenerator[None]:
        """Let people pause and steer the run while the block runs."""

        async def say(text: str, step: str) -> None:
            await output.spool.write("system", text, metadata={"step": step})

        client, order = self._tools.client, self._folder.order
        files = FileFetcher(
            client, order.execution_id, order.order_id, order.fence, self._folder.inbox
        )
        steward = Steward(client, self._lease, self._switch, files, say)
        self._steward = steward
        following = asyncio.create_task(steward.run())
        try:
            yield
        finally:
            self._steward = None
            following.cancel()
            await asyncio.wait([following])
        await steward.close()

    def _control(self, wanted: LeaseControl) -> None:
        if self._steward is not None:
            self._steward.take(wanted)

    async def _clean_up(self, attempt: Attempt, verdict: Verdict | None, output: "_Output") -> None:
        if verdict is not None:
            # It may take its time, and this process may not live to see its end.
            await self._keep(_report(self._folder, verdict, output.spool.high_water))
        await attempt.run_clean_up()

    async def _keep(self, report: PendingReport) -> None:
        """Bring the outcome onto the disk; one that is full is waited for, as for the log."""
        while True:
            try:
                self._folder.put_report(report)
            except OSError as error:
                log.warning("report.not_written", path=str(self._folder.path), problem=str(error))
                await asyncio.sleep(_DISK_RETRY_SECONDS)
            else:
                return

    async def deliver_only(self) -> None:
        """Deliver the report that an earlier process left."""
        with structlog.contextvars.bound_contextvars(
            execution=str(self._folder.order.execution_id)
        ):
            output = _Output(self._tools, self._folder)
            try:
                await output.close()
                await self._deliver(output)
            finally:
                output.abandon()
                self._tools.book.remove(self._lease)

    async def _deliver(self, output: "_Output") -> None:
        self.is_delivering = True
        report = self._folder.get_report()
        if report is None:
            # The lease was lost: nobody asks for the result any more. The rescue ref keeps it.
            self._folder.remove()
            return
        delivered = await Delivery(
            self._tools.client, self._tools.outbox, self._folder, output.shipping
        ).deliver(report)
        settle(self._folder, delivered, self._tools.places.refused)


class _Output:
    """A run's log on its two ways: to the disk, and from there to the server."""

    def __init__(self, tools: WorkerTools, folder: RunFolder) -> None:
        self.spool = open_spool(tools, folder)
        shipper = LogShipper(
            tools.client,
            self.spool,
            execution_id=folder.order.execution_id,
            claim=(folder.order.order_id, folder.order.fence),
        )
        self._writing = asyncio.create_task(self.spool.run())
        self.shipping = asyncio.create_task(shipper.run())

    async def close(self) -> None:
        """No more lines will come; all are on disk when this returns."""
        self.spool.close()
        await self._writing

    def abandon(self) -> None:
        """Stop in whatever state it is: what is on disk is sent another time."""
        self._writing.cancel()
        self.shipping.cancel()


def _tell(verdict: Verdict | None) -> None:
    if verdict is None:
        log.warning("run.discarded", reason="lease_lost")
    elif verdict.failure_class is None:
        log.info("run.succeeded", result=verdict.message)
    else:
        log.warning(
            "run.failed", failure_class=verdict.failure_class.value, problem=verdict.message
        )


def open_spool(tools: WorkerTools, folder: RunFolder) -> LogSpool:
    """The output of a run, as far as it is on disk."""
    return LogSpool(
        folder.log,
        clock=tools.clock,
        redactor=tools.redactor,
        max_bytes=tools.config.max_log_bytes,
    )


def _on_loop(
    loop: asyncio.AbstractEventLoop, call: Callable[[LeaseControl], None], wanted: LeaseControl
) -> None:
    loop.call_soon_threadsafe(call, wanted)


def _call(loop: asyncio.AbstractEventLoop, switch: StopSwitch, reason: StopReason) -> None:
    loop.call_soon_threadsafe(switch.stop, reason)


def _report(folder: RunFolder, verdict: Verdict, high_water: Mapping[str, int]) -> PendingReport:
    order = folder.order
    report = verdict.report.model_copy(update={"log_high_water": dict(high_water)})
    failure = verdict.failure
    if failure is None:
        return PendingReport(
            complete=CompleteIn(order_id=order.order_id, fence=order.fence, report=report)
        )
    fail = FailIn(
        order_id=order.order_id,
        fence=order.fence,
        failure_class=failure.failure_class,
        message=verdict.message,
        report=report,
    )
    told = {"retry_at": failure.retry_at, "retry_after_seconds": failure.retry_after_seconds}
    # Left out where unknown: an older server does not know these fields.
    known = {name: value for name, value in told.items() if value is not None}
    return PendingReport(fail=fail.model_copy(update=known))
