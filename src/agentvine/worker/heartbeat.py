"""The heartbeat: a thread with its own connection, so that busy runs cannot stop it.

It does three things side by side. It extends the leases of all claims held, with one request per
beat. It listens for news meanwhile, and then beats at once, so that a cancelled run ends soon. And
it watches the leases' deadlines, so that a run is ended in time also while the server cannot be
reached, or while the main thread hangs.
"""

import asyncio
import contextlib
import random
import threading
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog
from pydantic import SecretStr

from agentvine.client import Client
from agentvine.client.transport import NO_RETRIES
from agentvine.kit.errors import AppError
from agentvine.protocol.enums import ExecutionPhase
from agentvine.protocol.queue import HeartbeatIn, HeartbeatOut, Held, LeaseState, ListenIn
from agentvine.worker.leases import Lease, LeaseBook, LeaseEnd

_JITTER = 0.1
_AGAIN_SECONDS = 0.5
_WATCH_SECONDS = 0.1
_NEWS_SECONDS = 0.5
"""A run that has been in a phase for so long is spoken of before the next beat is due."""
_CONNECT_SECONDS = 10.0
_LISTEN_PAUSE_SECONDS = 0.1
"""So long from one answer to the next question: what a beat does not settle is no hurry."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the worker is to the server, as registered."""

    worker_id: uuid.UUID
    session_id: uuid.UUID
    lease_seconds: float
    heartbeat_seconds: float
    long_poll_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatEvents:
    """What the heartbeat tells; called from its thread."""

    on_drain: Callable[[], None]
    """The server asks for no more claims."""
    on_refused: Callable[[AppError], None]
    """The server does not take this process for the worker (any more)."""


class Heartbeat:
    """The thread. Start it when registered; it may be told of a new registration later."""

    def __init__(
        self, server_url: str, token: SecretStr, book: LeaseBook, events: HeartbeatEvents
    ) -> None:
        """Prepare; ``start`` starts."""
        self._server_url = server_url
        self._token = token
        self._book = book
        self._events = events
        self._identity: Identity | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None
        self._held: asyncio.Event | None = None
        self._stopping: asyncio.Event | None = None
        self._is_failing = False
        self._told: dict[uuid.UUID, ExecutionPhase] = {}
        self._news_since: float | None = None
        self._ready = threading.Event()
        self._ended = threading.Event()
        """We are told to stop: what dies is not started again."""
        # A daemon: should the main thread die of an error, the process must not live on for us.
        self._thread = threading.Thread(target=self._main, name="heartbeat", daemon=True)

    def start(self, identity: Identity) -> None:
        """Begin to beat."""
        self._identity = identity
        self._thread.start()
        self._ready.wait()

    def change_identity(self, identity: Identity) -> None:
        """Beat as somebody else from now on."""
        self._identity = identity
        self.beat_now()

    def beat_now(self) -> None:
        """Do not wait for the next beat: something is held that was not before."""
        self._call(self._held)
        self._call(self._wake)

    def stop(self) -> None:
        """Stop, and wait until stopped."""
        self._ended.set()
        self._call(self._stopping)
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _call(self, event: asyncio.Event | None) -> None:
        if self._loop is not None and event is not None:
            # The loop may have closed between the look and the call.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(event.set)

    def _main(self) -> None:
        while not self._ended.is_set():
            try:
                asyncio.run(self._run())
            except Exception:
                # The supervisor of the thread: without beats every run would be ended, and without
                # a watch over deadlines none in time.
                log.exception("heartbeat.died")
                self._ended.wait(_AGAIN_SECONDS)

    async def _run(self) -> None:
        """Beat, listen and watch until told to stop.

        Raises:
            Exception: One of the three has died; none of them goes on without the others.
        """
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._held = asyncio.Event()
        self._stopping = asyncio.Event()
        self._ready.set()
        if self._ended.is_set():
            return  # told while this loop was being made
        loops = [
            asyncio.create_task(self._keep_beating(self._wake)),
            asyncio.create_task(self._keep_listening(self._wake, self._held)),
            asyncio.create_task(self._watch_deadlines()),
        ]
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([stopping, *loops], return_when=asyncio.FIRST_COMPLETED)
            for task in loops:
                if task.done():
                    task.result()
        finally:
            for task in (stopping, *loops):
                task.cancel()
            await asyncio.gather(stopping, *loops, return_exceptions=True)

    async def _keep_beating(self, wake: asyncio.Event) -> None:
        assert self._identity is not None
        timeout = max(0.5, min(self._identity.heartbeat_seconds, self._identity.lease_seconds / 4))
        async with self._connect(timeout) as client:
            while True:
                wake.clear()
                pause = await self._beat_once(client)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await wake.wait()

    def _connect(self, timeout_seconds: float) -> Client:
        return Client(
            self._server_url,
            self._token,
            timeout_seconds=timeout_seconds,
            retry=NO_RETRIES,
            max_connections=2,
        )

    async def _keep_listening(self, wake: asyncio.Event, held: asyncio.Event) -> None:
        async with self._connect(_CONNECT_SECONDS) as client:
            while True:
                held.clear()
                if not self._book.going_on():
                    await held.wait()
                    continue
                await asyncio.sleep(await self._listen_once(client, wake))

    async def _listen_once(self, client: Client, wake: asyncio.Event) -> float:
        """Beat if there is news; how long to wait before listening again."""
        identity = self._identity
        assert identity is not None
        body = ListenIn(
            worker_id=identity.worker_id,
            session_id=identity.session_id,
            held=self._book.going_on(),
            wait_seconds=identity.long_poll_seconds,
        )
        if heard := self._book.heard():
            # Left out otherwise: an older server does not know this field.
            body = body.model_copy(update={"controls": heard})
        try:
            if (await client.queue.listen(body)).news:
                wake.set()
        except AppError as error:
            # The beats tell of trouble, and bring the news as well.
            log.debug("listening.failed", code=error.code)
            return identity.heartbeat_seconds
        except Exception:
            # The supervisor of this loop: without it, news comes with the beats alone.
            log.exception("listening.crashed")
            return identity.heartbeat_seconds
        return _LISTEN_PAUSE_SECONDS

    async def _beat_once(self, client: Client) -> float:
        identity = self._identity
        assert identity is not None
        # Only spreads the load.
        pause = identity.heartbeat_seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
        body = HeartbeatIn(
            worker_id=identity.worker_id,
            session_id=identity.session_id,
            held=self._book.held(),
        )
        self._told = _phases(body.held)
        sent_at = self._book.now()
        try:
            self._take(await client.queue.heartbeat(body), sent_at)
        except AppError as error:
            self._note_failure(error)
            # Sooner than the next beat: leases are running out.
            return min(pause, max(0.2, identity.lease_seconds / 20))
        except Exception:
            # The supervisor of this loop: without beats every run would be ended, so beat on.
            log.exception("heartbeat.crashed")
            return pause
        if self._is_failing:
            self._is_failing = False
            log.info("heartbeat.recovered")
        return pause

    def _take(self, answer: HeartbeatOut, sent_at: float) -> None:
        told = {(lease.order_id, lease.fence): lease for lease in answer.leases}
        for lease in self._book.all():
            claim = told.get((lease.order_id, lease.fence))
            match claim.state if claim else None:
                case LeaseState.KEPT:
                    lease.extend(sent_at, answer.lease_seconds)
                    if claim is not None and claim.control is not None:
                        lease.control(claim.control)
                case LeaseState.CANCEL:
                    lease.extend(sent_at, answer.lease_seconds)
                    lease.end(LeaseEnd.CANCEL)
                case LeaseState.LOST:
                    lease.end(LeaseEnd.LOST)
                case None:
                    # Claimed since the request was sent.
                    pass
        if answer.drain:
            self._events.on_drain()

    def _note_failure(self, error: AppError) -> None:
        if error.permanent:
            self._events.on_refused(error)
        if not self._is_failing:
            self._is_failing = True
            log.warning("heartbeat.failed", code=error.code, problem=error.detail)

    async def _watch_deadlines(self) -> None:
        while True:
            try:
                for lease in self._book.all():
                    self._watch(lease)
                self._tell_news()
            except Exception:
                # The supervisor of this loop: the other runs have deadlines too.
                log.exception("heartbeat.watch_crashed")
            await asyncio.sleep(_WATCH_SECONDS)

    def _tell_news(self) -> None:
        """Let people see soon what a run does now; phases that it only passes are not told."""
        if _phases(self._book.held()).items() <= self._told.items():
            self._news_since = None
            return
        now = self._book.now()
        if self._news_since is None:
            self._news_since = now
        elif now - self._news_since >= _NEWS_SECONDS and self._wake is not None:
            self._news_since = None
            self._wake.set()

    def _watch(self, lease: Lease) -> None:
        # A report waiting to be delivered runs nothing, and may still be in time.
        now = self._book.now()
        if lease.phase is ExecutionPhase.REPORTING or now < lease.deadline:
            return
        if LeaseEnd.EXPIRED not in lease.ended:
            log.error("lease.expired", execution=str(lease.execution_id))
            lease.end(LeaseEnd.EXPIRED)
        if now >= lease.kill_at and lease.program is not None:
            # The main thread should have done it long ago: it hangs.
            log.error("run.killed_by_watchdog", execution=str(lease.execution_id))
            lease.kill_program()


def _phases(held: Iterable[Held]) -> dict[uuid.UUID, ExecutionPhase]:
    return {claim.order_id: claim.phase for claim in held}
