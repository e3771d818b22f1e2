"""The worker's main loop: clear up, register, claim, and stop in good order.

SIGTERM or SIGINT once: claim no more, finish what runs, deliver, leave with 0.
A second time, or after the drain time-out: end what runs; its work is kept, and reported as
``worker_stopped``, so that it is tried again.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import structlog

from agentvine.client import Client, RetryPolicy
from agentvine.client.transport import NO_RETRIES
from agentvine.config.settings import environment_for_child
from agentvine.git.environment import FOR_REMOTES
from agentvine.git.runner import Git
from agentvine.kit.clock import Clock, SystemClock
from agentvine.kit.errors import AppError, Conflict, Internal, LimitReached, NotFound, Unavailable
from agentvine.kit.ids import new_id
from agentvine.kit.orphans import OrphanJournal
from agentvine.kit.redaction import Redactor
from agentvine.protocol.base import ProtocolUnsupported
from agentvine.protocol.queue import ReleaseIn
from agentvine.runtimes.base import RuntimeInfo
from agentvine.runtimes.registry import RuntimeRegistry, builtin_runtimes
from agentvine.worker.claims import Claims
from agentvine.worker.config import WorkerConfig
from agentvine.worker.delivery import Outbox
from agentvine.worker.folders import PendingReport, RunFolder
from agentvine.worker.heartbeat import Heartbeat, HeartbeatEvents, Identity
from agentvine.worker.isolation import find_isolation
from agentvine.worker.key import with_own_key
from agentvine.worker.leases import LeaseBook
from agentvine.worker.lock import WorkerLock
from agentvine.worker.places import DataPlaces
from agentvine.worker.recovery import recover
from agentvine.worker.registration import look_for_runtimes, notice_runtimes, register
from agentvine.worker.runs import Run
from agentvine.worker.tools import StopReason, WorkerTools
from agentvine.worker.upkeep import keep_up

_RETRY = RetryPolicy(base_seconds=0.5, cap_seconds=10.0)
_PASSING = (Unavailable, LimitReached, Internal, OSError)
_LAST_DELIVERY_SECONDS = 10.0
_HURRIED_DELIVERY_SECONDS = 2.0
"""The same when we are to stop at once; what is not delivered stays on disk."""
_STOP_SECONDS = 30.0

log = structlog.get_logger(__name__)


async def run_worker(
    config: WorkerConfig, *, runtimes: RuntimeRegistry | None = None, clock: Clock | None = None
) -> int:
    """Be a worker until told to stop.

    Args:
        config: Who it is and what it takes.
        runtimes: What it can run; those that come with AgentVine when left out.
        clock: What it takes the time from; the machine's own when left out.

    Returns:
        The process's exit code.

    Raises:
        WorkerAlreadyRuns: One of this name runs on this data directory.
        RuntimeNotUsable: A runtime it shall offer does not work here.
        ContainmentUnavailable: Runs cannot be held here as firmly as asked.
        AppError: The server does not take this worker: its token or its name is wrong.
    """
    async with open_tools(config, runtimes or builtin_runtimes(), clock) as tools:
        worker = Worker(tools)
        upkeep = asyncio.create_task(keep_up(tools))
        try:
            with _signals_to(worker):
                return await worker.run()
        finally:
            upkeep.cancel()
            await asyncio.wait([upkeep])


@asynccontextmanager
async def open_tools(
    config: WorkerConfig, runtimes: RuntimeRegistry, clock: Clock | None = None
) -> AsyncGenerator[WorkerTools]:
    """Lock the worker's folder, connect, and put its tools together."""
    config = config.checked()
    places = DataPlaces(config.data_dir).worker(config.name)
    with (
        WorkerLock(places.lock, config.name),
        structlog.contextvars.bound_contextvars(worker=config.name),
    ):
        config = await with_own_key(config, places.key)
        isolation = await find_isolation(config.containment, minimum=config.minimum_containment)
        log.info("worker.isolation", containment=isolation.containment.level.value)
        # Every caller here repeats what may be repeated for as long as it takes.
        async with Client(
            config.server_url,
            config.token,
            retry=NO_RETRIES,
            max_connections=10 + 2 * config.concurrency,
        ) as client:
            yield WorkerTools(
                config=config,
                places=places,
                git=Git(environment=environment_for_child(FOR_REMOTES)),
                client=client,
                runtimes=runtimes,
                journal=OrphanJournal(places.processes),
                clock=clock or SystemClock(),
                redactor=Redactor([config.token.get_secret_value()]),
                book=LeaseBook(),
                heartbeat=partial(Heartbeat, config.server_url, config.token),
                isolation=isolation,
                outbox=Outbox(client),
            )


class Worker:
    """One worker's process."""

    def __init__(self, tools: WorkerTools) -> None:
        """Prepare; ``run`` starts."""
        self._tools = tools
        self._config = tools.config
        self._session_id = new_id()
        self._claims = Claims(tools.client, tools.places, tools.book)
        self._runs: dict[asyncio.Task[None], Run] = {}
        self._draining = asyncio.Event()
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        """A run has ended, or the loop has another reason to look around."""
        self._runtimes: Sequence[RuntimeInfo] = ()
        """What was found here when we last looked."""
        self._must_register = False
        """Whether the server has forgotten us, or does not know what can be run here now."""
        self._fatal: AppError | None = None
        loop = asyncio.get_running_loop()
        self._heartbeat = tools.heartbeat(
            tools.book,
            HeartbeatEvents(
                on_drain=lambda: _on_loop(loop, self.drain),
                on_refused=lambda error: _on_loop(loop, lambda: self._on_refused(error)),
            ),
        )

    def drain(self) -> None:
        """Claim no more."""
        if not self._draining.is_set():
            self._draining.set()
            self._wake.set()
            log.info("worker.draining", running=len(self._runs))

    def stop(self) -> None:
        """End what runs."""
        self.drain()
        self._stopping.set()

    def on_signal(self) -> None:
        """First drain, then stop."""
        if self._draining.is_set():
            self.stop()
            log.warning("worker.stopping", running=len(self._runs))
        else:
            self.drain()

    async def run(self) -> int:
        """Be a worker until told to stop; see ``run_worker``."""
        self._runtimes = await look_for_runtimes(self._config, self._tools.runtimes)
        folders = await recover(self._tools)
        deliveries = [
            Run(self._tools, folder, claimed_at=self._tools.book.now()) for folder in folders
        ]
        identity = await self._register()
        if identity is None:
            log.info("worker.stopped", undelivered=len(deliveries))
            return 0
        self._heartbeat.start(identity)
        noticing = asyncio.create_task(notice_runtimes(self._tools, self._runtimes, self._on_found))
        try:
            for run in deliveries:
                self._start(run, run.deliver_only())
            await self._claim_until_draining(identity)
            await self._finish()
        finally:
            noticing.cancel()
            self._heartbeat.stop()
        log.info("worker.stopped")
        if self._fatal is not None:
            raise self._fatal
        return 0

    def _on_found(self, runtimes: Sequence[RuntimeInfo]) -> None:
        """Other runtimes than before can be offered now."""
        self._runtimes = runtimes
        # Only between two claims: an order under way to us must not be taken back.
        self._must_register = True
        self._wake.set()

    async def _register(self) -> Identity | None:
        """Introduce ourselves, however long it takes; None when told to stop meanwhile."""
        failures = 0
        while not self._draining.is_set():
            try:
                return await register(
                    self._tools.client,
                    self._config,
                    session_id=self._session_id,
                    runtimes=self._runtimes,
                    held=self._tools.book.execution_ids(),
                    isolation=self._tools.isolation,
                )
            except _PASSING as error:
                await self._pause("worker.not_registered", error, failures)
                failures += 1
        return None

    async def _claim_until_draining(self, identity: Identity) -> None:
        failures = 0
        while not self._draining.is_set():
            self._wake.clear()
            try:
                if self._must_register:
                    identity = await self._register_again() or identity
                free = self._config.concurrency - len(self._runs)
                if free <= 0:
                    await self._wake.wait()
                else:
                    await self._claim(identity, free)
                failures = 0
            except NotFound as error:
                log.warning("worker.unknown", problem=error.detail)
                self._must_register = True
            except (Conflict, ProtocolUnsupported) as error:
                self._give_up(error)
            except (*_PASSING, AppError) as error:
                await self._pause("claim.failed", error, failures)
                failures += 1
        if self._claims.is_unanswered:
            await self._return_unwanted(identity)

    async def _claim(self, identity: Identity, free: int) -> None:
        # The lease begins with the grant: a longer wait would eat up what we reckon from here.
        wait = min(identity.long_poll_seconds, identity.lease_seconds / 2)
        claiming = asyncio.ensure_future(
            self._claims.claim(identity, slots=free, wait_seconds=wait)
        )
        draining = asyncio.ensure_future(self._draining.wait())
        try:
            await asyncio.wait([claiming, draining], return_when=asyncio.FIRST_COMPLETED)
            if not claiming.done():
                return
            claimed = claiming.result()
        finally:
            for task in (claiming, draining):
                task.cancel()
            await asyncio.wait([claiming, draining])
        for folder in claimed.folders:
            log.info(
                "order.claimed",
                order=str(folder.order.order_id),
                execution=str(folder.order.execution_id),
                fence=folder.order.fence,
            )
            run = Run(self._tools, folder, claimed_at=claimed.sent_at)
            self._start(run, run.carry_out())
        if claimed.folders:
            self._heartbeat.beat_now()

    async def _return_unwanted(self, identity: Identity) -> None:
        """Ask what the claim that was broken off has brought, and give it back at once."""
        try:
            async with self._last_words():
                claimed = await self._claims.claim(identity, slots=1, wait_seconds=0)
        except (TimeoutError, AppError, OSError) as error:
            # The token stays on disk: the next start asks again.
            log.warning("claim.unanswered", problem=str(error))
            return
        for folder in claimed.folders:
            _put_release(folder)
            run = Run(self._tools, folder, claimed_at=claimed.sent_at)
            self._start(run, run.deliver_only())

    async def _finish(self) -> None:
        """Let runs end, and the server hear of them; what it does not hear stays on disk."""
        deadline = asyncio.ensure_future(self._drain_timeout())
        try:
            while any(not run.is_delivering for run in self._runs.values()):
                self._wake.clear()
                wakes = [asyncio.ensure_future(self._wake.wait()), deadline]
                await asyncio.wait(wakes, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
                wakes[0].cancel()
                if deadline.done():
                    await self._stop_runs()
                    break
        finally:
            deadline.cancel()
        if self._runs:
            with contextlib.suppress(TimeoutError):
                async with self._last_words():
                    await asyncio.wait(self._runs)
        for task in list(self._runs):
            log.warning("report.left_in_outbox")
            task.cancel()
        if self._runs:
            await asyncio.wait(self._runs)

    @asynccontextmanager
    async def _last_words(self) -> AsyncGenerator[None]:
        """Time to tell the server; it ends sooner when we are told to stop at once.

        Raises:
            TimeoutError: It is over.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_LAST_DELIVERY_SECONDS) as limit:

            async def hurry() -> None:
                await self._stopping.wait()
                soon = loop.time() + _HURRIED_DELIVERY_SECONDS
                limit.reschedule(min(soon, limit.when() or soon))

            hurrying = asyncio.create_task(hurry())
            try:
                yield
            finally:
                hurrying.cancel()

    async def _drain_timeout(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.drain_timeout_seconds):
                await self._stopping.wait()

    async def _stop_runs(self) -> None:
        for run in self._runs.values():
            run.stop(StopReason.WORKER_STOPPED)
        deadline = self._tools.book.now() + _STOP_SECONDS + self._config.grace_seconds
        while self._tools.book.now() < deadline:
            if all(run.is_delivering for run in self._runs.values()):
                return
            # Runs say when they end, but not when only their delivery is left.
            await asyncio.sleep(0.05)

    def _start(self, run: Run, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._runs[task] = run
        task.add_done_callback(self._on_run_end)

    def _on_run_end(self, task: "asyncio.Task[None]") -> None:
        self._runs.pop(task, None)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # What is on disk is taken up at the next start; its lease runs out.
            log.error("run.crashed", exc_info=error)

    def _on_refused(self, error: AppError) -> None:
        """The heartbeat was told that we are not who we say."""
        if isinstance(error, NotFound):
            self._must_register = True
            self._wake.set()
        elif isinstance(error, Conflict | ProtocolUnsupported):
            self._give_up(error)

    async def _register_again(self) -> Identity | None:
        told = self._runtimes
        identity = await self._register()
        if identity is not None:
            self._must_register = self._runtimes is not told
            self._heartbeat.change_identity(identity)
        return identity

    def _give_up(self, error: AppError) -> None:
        """Another process is this worker now, and two would fight; or the server was replaced."""
        if self._fatal is None:
            log.error("worker.gives_up", code=error.code, problem=error.detail)
            self._fatal = error
        self.stop()

    async def _pause(self, event: str, error: Exception, failures: int) -> None:
        retry_after = error.retry_after if isinstance(error, AppError) else None
        pause = _RETRY.pause(failures, retry_after)
        if failures == 0:
            code = error.code if isinstance(error, AppError) else type(error).__name__
            log.warning(event, code=code, problem=str(error))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._draining.wait()


def _put_release(folder: RunFolder) -> None:
    order = folder.order
    release = ReleaseIn(
        order_id=order.order_id, fence=order.fence, reason="The worker was told to stop."
    )
    folder.put_report(PendingReport(release=release))


def _on_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(call)


@contextmanager
def _signals_to(worker: Worker) -> Generator[None]:
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, worker.on_signal)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
