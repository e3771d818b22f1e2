"""What this worker holds, seen by two threads: the heartbeat extends it, the runs live by it.

The server's clock alone decides who holds an order. This book only makes sure that we stop in
time: a run whose lease was not extended is ended while the server still keeps it for us, measured
on a clock that no correction moves and that goes on while the machine sleeps.
"""

import threading
import time
import uuid
from collections.abc import Callable
from enum import StrEnum

from agentvine.kit.process import ProcessId, ProcessTree
from agentvine.protocol.controls import ControlKnown, LeaseControl
from agentvine.protocol.enums import ExecutionPhase
from agentvine.protocol.queue import ClaimedOrder, Held

_MARGIN_SECONDS = 10.0


def lease_clock() -> float:
    """Seconds that pass also while the machine is suspended, where the system can tell."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def safety_margin(lease_seconds: float) -> float:
    """How long before the lease's end a run that was not extended is ended."""
    return min(_MARGIN_SECONDS, lease_seconds / 6)


class LeaseEnd(StrEnum):
    """Why a lease is over, or is to be given up."""

    LOST = "lost"
    """The server says that it is not ours any more."""
    EXPIRED = "expired"
    """Nobody extended it in time."""
    CANCEL = "cancel"
    """It is ours, and the run shall stop."""


class Lease:
    """One claim held."""

    def __init__(
        self,
        order: ClaimedOrder,
        *,
        claimed_at: float,
        on_end: Callable[[LeaseEnd], None],
        on_control: Callable[[LeaseControl], None] = lambda _: None,
        phase: ExecutionPhase = ExecutionPhase.STARTING,
    ) -> None:
        """Hold a claim.

        Args:
            order: The claim.
            claimed_at: When the request was *sent* that got or last extended it.
            on_end: Called, from the heartbeat's thread, once per reason.
            on_control: Called, from the same, with every beat that says what people want of it.
            phase: What is being done with it.
        """
        self.order_id: uuid.UUID = order.order_id
        self.execution_id: uuid.UUID = order.execution_id
        self.fence = order.fence
        self.phase = phase
        self.deadline = claimed_at + order.lease_seconds - safety_margin(order.lease_seconds)
        self.kill_at = self.deadline + safety_margin(order.lease_seconds) * 0.7
        self.ended: set[LeaseEnd] = set()
        self.on_end = on_end
        self.on_control = on_control
        self.heard: ControlKnown | None = None
        """What we have heard of what people want of it; None when they never wanted anything."""
        self.program: ProcessId | None = None
        """The program that runs for it now."""

    def extend(self, sent_at: float, lease_seconds: float) -> None:
        """The server kept it, at some moment after the request was sent."""
        margin = safety_margin(lease_seconds)
        self.deadline = sent_at + lease_seconds - margin
        self.kill_at = self.deadline + margin * 0.7

    def end(self, reason: LeaseEnd) -> None:
        """Tell the run, once."""
        if reason not in self.ended:
            self.ended.add(reason)
            self.on_end(reason)

    def control(self, wanted: LeaseControl) -> None:
        """Tell the run what people want of it."""
        numbers = [message.number for message in wanted.messages]
        before = self.heard.messages_to if self.heard else 0
        self.heard = ControlKnown(
            order_id=self.order_id,
            fence=self.fence,
            is_paused=wanted.is_paused,
            messages_to=max([before, *numbers]),
        )
        self.on_control(wanted)

    def kill_program(self) -> None:
        """End the run's program at once, from whichever thread; for when nobody else does."""
        if self.program is not None:
            ProcessTree(self.program, str(self.execution_id), is_leader_held=lambda: False).kill()


class LeaseBook:
    """All claims held. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = lease_clock) -> None:
        """Hold nothing."""
        self.now = clock
        """What all leases of this worker are measured on."""
        self._lock = threading.Lock()
        self._leases: dict[uuid.UUID, Lease] = {}

    def add(self, lease: Lease) -> None:
        """Hold a claim from now on."""
        with self._lock:
            self._leases[lease.execution_id] = lease

    def remove(self, lease: Lease) -> None:
        """The claim is settled."""
        with self._lock:
            self._leases.pop(lease.execution_id, None)

    def all(self) -> list[Lease]:
        """What is held now."""
        with self._lock:
            return list(self._leases.values())

    def execution_ids(self) -> set[uuid.UUID]:
        """The executions of all claims held."""
        with self._lock:
            return set(self._leases)

    def going_on(self) -> list[Held]:
        """What runs and is to go on, as far as we know: of these, an end would be news."""
        return [
            Held(order_id=lease.order_id, fence=lease.fence, phase=lease.phase)
            for lease in self.all()
            if not lease.ended and lease.phase is not ExecutionPhase.REPORTING
        ]

    def heard(self) -> list[ControlKnown]:
        """What we have heard of what people want of what goes on."""
        return [
            lease.heard
            for lease in self.all()
            if lease.heard is not None
            and not lease.ended
            and lease.phase is not ExecutionPhase.REPORTING
        ]

    def held(self) -> list[Held]:
        """What to tell the server: all but what it has taken away.

        A run that was ended because nobody extended its lease is still spoken of: until it is
        reported, nobody else needs to have it.
        """
        return [
            Held(order_id=lease.order_id, fence=lease.fence, phase=lease.phase)
            for lease in self.all()
            if LeaseEnd.LOST not in lease.ended
        ]
