"""Starting programs and ending them: process groups, streams, limits, and nothing left behind.

``run_process`` runs a program that may do anything (a user's command, an agent's CLI);
``capture`` runs a short command of our own and keeps its output; ``LineSplitter`` makes log lines
of what a program prints; ``ProcessTree`` finds and ends what a run has started.
"""

from agentvine.kit.process.capture import Captured, capture
from agentvine.kit.process.containment import (
    BY_GROUP,
    Containment,
    ContainmentLevel,
    Probe,
)
from agentvine.kit.process.errors import (
    ProgramNotFound,
    ProgramNotStarted,
    WorkingDirectoryMissing,
)
from agentvine.kit.process.limits import Breach, Limit, ResourceLimits
from agentvine.kit.process.lines import LineSplitter
from agentvine.kit.process.probe import probe_containment
from agentvine.kit.process.run import run_process
from agentvine.kit.process.spec import (
    ExitReason,
    OutputHandler,
    ProcessExit,
    ProcessJournal,
    ProcessSpec,
    Stream,
)
from agentvine.kit.process.stdin import ProgramInput
from agentvine.kit.process.table import RUN_MARKER, ProcessId, find_process, is_running
from agentvine.kit.process.tree import EndedTree, ProcessTree
from agentvine.kit.process.watch import PauseSwitch, Watch, Watchdog, WatchTimes

__all__ = [
    "BY_GROUP",
    "RUN_MARKER",
    "Breach",
    "Captured",
    "Containment",
    "ContainmentLevel",
    "EndedTree",
    "ExitReason",
    "Limit",
    "LineSplitter",
    "OutputHandler",
    "PauseSwitch",
    "Probe",
    "ProcessExit",
    "ProcessId",
    "ProcessJournal",
    "ProcessSpec",
    "ProcessTree",
    "ProgramInput",
    "ProgramNotFound",
    "ProgramNotStarted",
    "ResourceLimits",
    "Stream",
    "Watch",
    "WatchTimes",
    "Watchdog",
    "WorkingDirectoryMissing",
    "capture",
    "find_process",
    "is_running",
    "probe_containment",
    "run_process",
]
