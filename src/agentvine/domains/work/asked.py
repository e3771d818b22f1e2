"""What workers ask of the short ways, and what everybody is told when it is done."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from agentvine.db.direct import Row
from agentvine.db.engine import to_json
from agentvine.db.hints import Hints
from agentvine.domains.work import store
from agentvine.kit.actor import WorkerActor
from agentvine.protocol.queue import ClaimIn, CompleteIn

MOST_AT_ONCE = 200
"""Orders in one transaction."""


@dataclass(frozen=True, slots=True)
class Claiming:
    """A claim on its way into the database."""

    actor: WorkerActor
    message: ClaimIn
    wanted: store.ClaimFilter
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Completing:
    """Completions of one worker on their way into the database, each order once."""

    actor: WorkerActor
    plain: Sequence[Mapping[str, object]]
    """Of each the values, from ``values_of``."""
    request_id: str | None


class Way(Protocol):
    """How one of the databases does what is plain."""

    async def claim(self, claiming: Claiming) -> Sequence[Row]:
        """A row for each order that is granted, best first; without an ``id`` where there is none.

        Each tells the ``room`` that the worker had. No row, or no room: the long way decides.
        """
        ...

    async def complete(self, completing: Completing) -> Sequence[Row]:
        """A row for each order that is completed; the long way decides about the others."""
        ...


def values_of(message: CompleteIn) -> dict[str, object] | None:
    """The values of one completion; None when it is not plain."""
    report = message.report
    if report.change is not None:
        return None
    try:
        metrics = to_json(
            {
                **report.metrics,
                "duration_seconds": report.duration_seconds,
                "peak_memory_bytes": report.peak_memory_bytes,
            }
        )
    except ValueError:
        return None
    return {
        "order_id": message.order_id,
        "fence": message.fence,
        "exit_code": report.exit_code,
        "duration_seconds": round(report.duration_seconds),
        "metrics": metrics,
        "report": report.model_dump_json(),
    }


def orders_of(completing: Completing) -> set[object]:
    """The ids of what is to be completed."""
    return {values["order_id"] for values in completing.plain}


def tell_of_claims(hints: Hints, rows: Iterable[Row]) -> None:
    """Wake whoever looks at what was claimed, once it is committed."""
    _tell(hints, {str(row["project_id"]) for row in rows if row["id"] is not None})


def tell_of_completions(hints: Hints, rows: Sequence[Row]) -> None:
    """Wake whoever looks at what was completed, once it is committed."""
    _tell(hints, {str(row["project_id"]) for row in rows})
    for row in rows:
        hints.publish("logs", str(row["execution_id"]))


def _tell(hints: Hints, projects: set[str]) -> None:
    # Executions are told of without their project.
    for project in {"", *projects} if projects else ():
        hints.publish("events", project)
