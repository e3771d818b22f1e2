"""How runs are held on this machine, found out once when the worker starts."""

from dataclasses import dataclass
from pathlib import Path

from agentvine.kit.errors import Unavailable
from agentvine.kit.process import Containment, ContainmentLevel, Probe, probe_containment
from agentvine.protocol.queue import OrderPayload
from agentvine.protocol.workers import WorkerIsolation
from agentvine.runtimes.sandbox import Bubblewrap, Sandbox, SandboxUnavailable, find_bubblewrap


class ContainmentUnavailable(Unavailable):
    """This machine cannot hold runs as firmly as asked."""

    code = "containment_unavailable"
    permanent = True


_STRENGTH = {level: rank for rank, level in enumerate(reversed(ContainmentLevel))}


@dataclass(frozen=True, slots=True)
class SandboxPlaces:
    """What of a run's own places its sandbox shows."""

    worktree: Path
    readable: tuple[Path, ...]
    writable: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Isolation:
    """What holds the runs here."""

    containment: Containment
    probe: Probe
    bubblewrap: Bubblewrap | None
    sandbox_problem: str = ""
    """Why there is no sandbox here, when there is none."""

    @property
    def told(self) -> WorkerIsolation:
        """The same for the server."""
        return WorkerIsolation(
            containment=self.containment.level.value,
            problems={level.value: why for level, why in self.probe.problems.items()},
            has_sandbox=self.bubblewrap is not None,
            sandbox_problem=self.sandbox_problem,
        )

    def sandbox_for(self, order: OrderPayload, workspace: SandboxPlaces) -> Sandbox | None:
        """The sandbox that an order asks for; None when it asks for none.

        Raises:
            SandboxUnavailable: It cannot be made here.
        """
        if order.sandbox is None:
            return None
        if self.bubblewrap is None:
            raise SandboxUnavailable(f"The sandbox cannot be made here: {self.sandbox_problem}")
        return Sandbox(
            bubblewrap=self.bubblewrap,
            policy=order.sandbox,
            worktree=workspace.worktree,
            readable=workspace.readable,
            writable=workspace.writable,
            tmp_bytes=order.limits.disk_mib * 2**20 if order.limits.disk_mib else None,
        )


async def find_isolation(
    level: ContainmentLevel | None, *, minimum: ContainmentLevel | None = None
) -> Isolation:
    """Try what this machine allows.

    Args:
        level: What is asked for; None takes the best there is.
        minimum: The weakest that will do.

    Raises:
        ContainmentUnavailable: What is asked for is not to be had; nothing weaker is taken.
    """
    probe = await probe_containment()
    containment = probe.choose(level)
    if containment is None:
        assert level is not None, "the best is always to be had"
        raise ContainmentUnavailable(
            f"Runs cannot be held by {level.value} here: {probe.problems[level]}. "
            f"{probe.best.level.value} works; leave the setting out to take it."
        )
    if minimum is not None and _STRENGTH[containment.level] < _STRENGTH[minimum]:
        told = f" ({probe.problems[minimum]})" if minimum in probe.problems else ""
        raise ContainmentUnavailable(
            f"Runs must be held at least by {minimum.value}{told}, and here only by "
            f"{containment.level.value}: let the machine allow it, or lower "
            "AGENTVINE_WORKER__MINIMUM_CONTAINMENT."
        )
    try:
        return Isolation(containment, probe, await find_bubblewrap())
    except SandboxUnavailable as error:
        return Isolation(containment, probe, None, error.detail)


async def describe_isolation() -> list[str]:
    """What holds runs on this machine, in sentences for people: containment, then sandbox."""
    told = (await find_isolation(None)).told
    weaker = "; ".join(f"no {level}: {why}" for level, why in told.problems.items())
    return [
        f"runs are held by {told.containment}{f' ({weaker})' if weaker else ''}",
        "a sandbox can be made" if told.has_sandbox else f"no sandbox: {told.sandbox_problem}",
    ]
