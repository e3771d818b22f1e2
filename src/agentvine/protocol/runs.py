"""What a run may use, be silent for, reach and find: limits, watch, sandbox, workspace.

The same words are used by tasks, by repositories and by work orders. What a work order carries is
read tolerantly (the ``Ordered...`` models), so that an older worker takes a newer server's order.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from agentvine.protocol.base import Input

HostPattern = Annotated[
    str, Field(min_length=1, max_length=255, pattern=r"^(\*\.)?[A-Za-z0-9.-]+$")
]
"""A host's name, or ``*.`` and a domain for all names below it."""
AbsolutePath = Annotated[str, Field(min_length=2, max_length=4096, pattern=r"^/[^:]*$")]


class RunLimits(Input):
    """The most that all processes of a run may use together; null means the worker's own limit."""

    memory_mib: int | None = Field(default=None, ge=1, le=2**24)
    processes: int | None = Field(default=None, ge=1, le=100_000)
    cpu_seconds: int | None = Field(default=None, ge=1, le=10**8)
    file_mib: int | None = Field(default=None, ge=1, le=2**24)
    """The largest single file."""
    disk_mib: int | None = Field(default=None, ge=1, le=2**24)
    """How much the work tree may grow to."""


UNLIMITED = RunLimits()


def tightest(*limits: RunLimits) -> RunLimits:
    """Of each limit the lowest that anybody sets."""
    lowest: dict[str, int] = {}
    for each in limits:
        for name, value in each:
            if value is not None:
                lowest[name] = min(value, lowest.get(name, value))
    return RunLimits(**lowest)


class RunWatch(Input):
    """How long a run may be silent where; null means the runtime's own time, 0 means for ever."""

    start_up_seconds: float | None = Field(default=None, ge=0)
    """Until it prints anything."""
    first_event_seconds: float | None = Field(default=None, ge=0)
    """Until its runtime sees the first event."""
    silence_seconds: float | None = Field(default=None, ge=0)
    """Between two signs of life."""
    after_result_seconds: float | None = Field(default=None, ge=0)
    """Between its result and its end."""


UNWATCHED = RunWatch()
"""Every time is the runtime's own."""


class SandboxNetwork(StrEnum):
    """What a sandboxed run may reach."""

    OFF = "off"
    ALLOW_LIST = "allow_list"


class SandboxPolicy(Input):
    """What a sandboxed run sees beside the system's programs and its own work tree."""

    network: SandboxNetwork = SandboxNetwork.OFF
    allowed_hosts: list[HostPattern] = Field(default_factory=list[str], max_length=200)
    """Reached by HTTPS through the worker's proxy; only with ``allow_list``."""
    readable: list[AbsolutePath] = Field(default_factory=list[str], max_length=50)
    """Folders of the worker's machine that it may read: tools that are not in /usr."""
    writable: list[AbsolutePath] = Field(default_factory=list[str], max_length=50)
    """Folders of the worker's machine that it may write: caches."""


class Submodules(StrEnum):
    """What becomes of a repository's submodules in a work tree: they are never fetched."""

    REFUSE = "refuse"
    """Nothing is run on a commit that has any."""
    EMPTY = "empty"
    """Their folders are empty."""


class LargeFiles(StrEnum):
    """What becomes of files kept by git-lfs in a work tree: they are never fetched."""

    REFUSE = "refuse"
    """Nothing is run on a commit that has any."""
    POINTERS = "pointers"
    """Each is a pointer: a text of three lines."""


def _lies_inside(path: str) -> str:
    parts = path.split("/")
    if any(part in {"", ".", ".."} or part.lower() == ".git" for part in parts):
        raise ValueError("is no path inside the work tree, like .venv or web/node_modules")
    return path


InnerPath = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_lies_inside)]
"""A path relative to the top of a work tree."""


class WorkspacePolicy(Input):
    """What a run finds in its work tree, and what is done there before and after it."""

    submodules: Submodules = Submodules.REFUSE
    large_files: LargeFiles = LargeFiles.REFUSE
    setup_command: str | None = Field(default=None, max_length=10_000)
    """Run before the runtime; when it fails, so does the attempt."""
    setup_timeout_seconds: int = Field(default=1800, ge=1, le=24 * 3600)
    cleanup_command: str | None = Field(default=None, max_length=10_000)
    """Run when all is done or has failed; how it ends changes nothing."""
    cleanup_timeout_seconds: int = Field(default=60, ge=1, le=3600)
    cached_paths: list[InnerPath] = Field(default_factory=list[str], max_length=20)
    """What set-up makes. Kept by each worker; where it is there already, set-up is not run."""
    cache_key_files: list[InnerPath] = Field(default_factory=list[str], max_length=50)
    """Files that set-up reads, such as lock files: where one differs, set-up is run anew."""


class OrderedLimits(RunLimits):
    """Limits as an order carries them."""

    model_config = ConfigDict(extra="ignore")


class OrderedWatch(RunWatch):
    """Watchdogs as an order carries them."""

    model_config = ConfigDict(extra="ignore")


class OrderedSandbox(SandboxPolicy):
    """A sandbox as an order carries it."""

    model_config = ConfigDict(extra="ignore")


class OrderedWorkspace(WorkspacePolicy):
    """A workspace as an order carries it."""

    model_config = ConfigDict(extra="ignore")
