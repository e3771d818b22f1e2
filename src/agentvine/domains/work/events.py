"""What happens to work orders, told to the reactions in the same transaction."""

import uuid
from dataclasses import dataclass

from agentvine.domains.work.models import WorkOrder
from agentvine.protocol.enums import ExecutionPhase, FailureClass
from agentvine.protocol.queue import ExecutionReport


@dataclass(frozen=True, slots=True)
class OrderClaimed:
    """A worker holds the order now; the attempt is to be recorded."""

    order: WorkOrder
    worker_id: uuid.UUID
    execution_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class AttemptAdvanced:
    """A beat told what the worker is doing with its claim."""

    task_id: uuid.UUID
    execution_id: uuid.UUID
    phase: ExecutionPhase


@dataclass(frozen=True, slots=True)
class PlacesFreed:
    """A claim has ended: what it took up under its limits is free, when all else is done."""

    limits: tuple[int, ...]
    queue_name: str


@dataclass(frozen=True, slots=True)
class OrderCompleted:
    """The attempt succeeded, and with it the order."""

    order: WorkOrder
    execution_id: uuid.UUID
    report: ExecutionReport


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt did not succeed: it failed, was lost, or was given back.

    ``will_retry`` tells whether the order waits to be claimed again; otherwise it is over, and
    ``failure_class`` and ``message`` are the reason of the task's end.
    """

    order: WorkOrder
    execution_id: uuid.UUID | None
    failure_class: FailureClass | None
    message: str
    will_retry: bool
    report: ExecutionReport | None = None
