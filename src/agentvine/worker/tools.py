"""What the parts of a worker share, built once at its start."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from agentvine.client import Client
from agentvine.git.runner import Git
from agentvine.kit.clock import Clock
from agentvine.kit.orphans import OrphanJournal
from agentvine.kit.process import PauseSwitch, ProcessId
from agentvine.kit.redaction import Redactor
from agentvine.runtimes.registry import RuntimeRegistry
from agentvine.runtimes.steering import Mailbox
from agentvine.worker.config import WorkerConfig
from agentvine.worker.delivery import Outbox
from agentvine.worker.heartbeat import Heartbeat, HeartbeatEvents
from agentvine.worker.isolation import Isolation
from agentvine.worker.leases import Lease, LeaseBook
from agentvine.worker.places import WorkerPlaces


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTools:
    """One worker's tools."""

    config: WorkerConfig
    places: WorkerPlaces
    git: Git
    client: Client
    runtimes: RuntimeRegistry
    journal: OrphanJournal
    clock: Clock
    redactor: Redactor
    book: LeaseBook
    heartbeat: Callable[[LeaseBook, HeartbeatEvents], Heartbeat]
    """Makes the one that extends the leases in the book."""
    isolation: Isolation
    outbox: Outbox


class StopReason(StrEnum):
    """Why a run is to end before its time."""

    CANCELLED = "cancelled"
    LEASE_LOST = "lease_lost"
    LEASE_EXPIRED = "lease_expired"
    WORKER_STOPPED = "worker_stopped"
    BUDGET_EXHAUSTED = "budget_exhausted"


class StopSwitch:
    """The one place that says whether a run is to stop, and why; or to stand still, or to hear."""

    def __init__(self) -> None:
        """Let it run."""
        self.event = asyncio.Event()
        self.pause = PauseSwitch()
        self.mailbox = Mailbox()
        self.reason: StopReason | None = None

    def stop(self, reason: StopReason) -> None:
        """Ask the run to stop. The first reason stands, but a lost lease outranks all."""
        if self.reason is None or reason is StopReason.LEASE_LOST:
            self.reason = reason
        self.event.set()


class LeaseJournal:
    """Records a run's programs on disk, and in its lease for the heartbeat's watchdog."""

    def __init__(self, journal: OrphanJournal, lease: Lease) -> None:
        """Record in both."""
        self._journal = journal
        self._lease = lease

    def announce(self, run_id: str) -> None:
        """A program is about to start."""
        self._journal.announce(run_id)

    def record(self, run_id: str, process: ProcessId) -> None:
        """It became this process."""
        self._lease.program = process
        self._journal.record(run_id, process)

    def forget(self, run_id: str) -> None:
        """Nothing of it is left."""
        self._lease.program = None
        self._journal.forget(run_id)
