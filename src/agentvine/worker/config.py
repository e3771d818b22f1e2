"""What a worker is told when it starts."""

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import SecretStr

from agentvine.kit.errors import Invalid
from agentvine.kit.process import ContainmentLevel
from agentvine.protocol.enums import CapabilityLevel, TaskType
from agentvine.protocol.runs import UNLIMITED, RunLimits

_NONE = SecretStr("")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class WorkerNameInvalid(Invalid):
    """A worker's name cannot be this."""

    code = "worker_name_invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """One worker: who it is, what it takes, and where it keeps its things."""

    server_url: str
    token: SecretStr
    """What it shows the server; may be empty where it has a key of its own, or an invitation."""
    data_dir: Path
    enrolment: SecretStr = _NONE
    """An invitation, to be exchanged for a key of its own."""
    prefers_own_key: bool = False
    """Whether its own key, where it has one, is shown rather than the token."""
    name: str = ""
    """Unique on the server; the machine's name when left empty. A restart under the same name and
    data directory takes up what the last process left."""
    accepts: tuple[TaskType, ...] = ()
    """Kinds of task it takes; empty means all."""
    runtimes: tuple[str, ...] = ()
    """Runtimes it offers; empty means all that work here."""
    capabilities: Mapping[str, CapabilityLevel] = field(default_factory=dict[str, CapabilityLevel])
    queues: tuple[str, ...] = ("default",)
    concurrency: int = 1
    grace_seconds: float = 5.0
    """Between asking a program to end and ending it."""
    drain_timeout_seconds: float | None = None
    """How long running work may go on after the worker was told to stop; None: to its end."""
    max_log_bytes: int = 64 * 1024 * 1024
    """Output kept for one run: its beginning and its end; what was between is counted."""
    max_cache_bytes: int = 4 * 2**30
    """What set-up commands have made, kept for later runs."""
    leftover_seconds: float = 14 * 86_400.0
    """How long what dead workers left is kept unused, before it is taken away; 0: for good."""
    look_seconds: float = 60.0
    """How often it looks whether an agent's program was installed since, or logged in."""
    answer_wait_seconds: float = 900.0
    """How long a run that has asked something keeps its slot."""
    containment: ContainmentLevel | None = None
    """How firmly a run's processes are held; None: as firmly as this machine allows."""
    minimum_containment: ContainmentLevel | None = None
    """The weakest that will do; where only weaker ones are to be had, the worker does not start."""
    limits: RunLimits = UNLIMITED
    """What a run may use at most; a task or repository may ask for less, not for more."""

    def checked(self) -> "WorkerConfig":
        """The same with its name filled in.

        Raises:
            WorkerNameInvalid: The name cannot be used.
        """
        name = self.name or default_worker_name()
        if not _NAME.fullmatch(name):
            raise WorkerNameInvalid(
                f"{name!r} is not a worker's name: up to 100 letters, digits, '.', '_' and '-', "
                "beginning with a letter or digit."
            )
        if self.concurrency < 1:
            raise Invalid("A worker's concurrency is at least 1.")
        return replace(self, name=name)


def default_worker_name() -> str:
    """The machine's name, made fit."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname()).strip("-._")
    return name[:100] or "worker"
