"""The machine's processes at one moment: who started whom, and in which group and session.

On Linux everything comes from one read of ``/proc/<pid>/stat`` per process; elsewhere from psutil.
"""

import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

RUN_MARKER = "AGENTVINE_RUN_ID"
"""The environment variable that every program of a run inherits, however far it wanders off."""


_EXEC_LOOKS = 20
_EXEC_SECONDS = 0.001
"""How often, and after which pauses, to look at a process that seems to have no environment."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process, told apart from a later one that was given the same number."""

    pid: int
    start: str
    """When it started, in the system's own words: compare it, do not read it."""


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One line of the process table."""

    id: ProcessId
    parent_pid: int
    group: int
    session: int
    is_zombie: bool
    memory_bytes: int
    cpu_seconds: float = 0.0
    """Its own processor time, and that of its children that have ended and been waited for."""
    is_stopped: bool = False
    is_deep: bool = False
    """It waits in the kernel, where no signal reaches it: for the disk, or for what it spawned."""
    is_of_kernel: bool = False

    @property
    def pid(self) -> int:
        """The process's number."""
        return self.id.pid


def process_table() -> dict[int, ProcessRow]:
    """Every process that can be seen, by its number."""
    rows = (read_process(pid) for pid in psutil.pids())
    return {row.pid: row for row in rows if row is not None}


def table_below(pids: Iterable[int]) -> dict[int, ProcessRow] | None:
    """These processes and their descendants; None where the system keeps no lists of children.

    It costs what these cost, however many others the machine runs. A child that begins while we
    look may be missed until the next time.
    """
    if not _has_lists_of_children():
        return None
    table: dict[int, ProcessRow] = {}
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        if pid not in table and (row := read_process(pid)) is not None:
            table[pid] = row
            waiting += _children(pid)
    return table


def find_process(pid: int) -> ProcessId | None:
    """The identity of the process with this number, dead or alive, if there is one."""
    row = read_process(pid)
    return row.id if row else None


def is_running(process: ProcessId) -> bool:
    """Whether this very process still runs: a zombie does not, nor does a later one."""
    row = read_process(process.pid)
    return row is not None and row.id == process and not row.is_zombie


def carries_marker(row: ProcessRow, run_id: str) -> bool:
    """Whether the process was started with this run's marker in its environment."""
    if row.is_of_kernel or row.is_zombie:
        return False
    wanted = f"{RUN_MARKER}={run_id}".encode()
    try:
        for _ in range(_EXEC_LOOKS):
            environment = read_environment(row.pid)
            if environment:
                return wanted in environment.split(b"\0")
            # It has none, or becomes another program at this instant, and keeps what it has.
            time.sleep(_EXEC_SECONDS)
    except (psutil.Error, OSError):
        pass  # gone, or another user's: those were not started by us
    return False


if sys.platform == "linux":
    _PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
    _OF_KERNEL = 0x00200000
    _READ_BYTES = 16_384
    _TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

    def read_process(pid: int) -> ProcessRow | None:
        """One process's line of the table, or None when there is no such process."""
        try:
            stat = _read(f"/proc/{pid}/stat")
        except OSError:
            return None
        # The name, in parentheses, may itself hold spaces and parentheses: count after the last.
        fields = stat[stat.rindex(b")") + 2 :].split()
        return ProcessRow(
            id=ProcessId(pid, f"{_boot_id()}:{int(fields[19])}"),
            parent_pid=int(fields[1]),
            group=int(fields[2]),
            session=int(fields[3]),
            is_zombie=fields[0] in {b"Z", b"X"},
            memory_bytes=int(fields[21]) * _PAGE_BYTES,
            cpu_seconds=sum(map(int, fields[11:15])) / _TICKS_PER_SECOND,
            is_stopped=fields[0] in {b"T", b"t"},
            is_deep=fields[0] == b"D",
            is_of_kernel=bool(int(fields[6]) & _OF_KERNEL),
        )

    def _has_lists_of_children() -> bool:
        return Path("/proc/thread-self/children").exists()

    def _children(pid: int) -> list[int]:
        found: list[int] = []
        # It may be gone, and so may each of its threads.
        with suppress(OSError), os.scandir(f"/proc/{pid}/task") as threads:
            for thread in threads:
                with suppress(OSError):
                    found += map(int, _read(f"{thread.path}/children").split())
        return found

    def _read(path: str) -> bytes:
        # Of a look at a thousand processes, objects for their paths would cost as much as the rest.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts: list[bytes] = []
            while part := os.read(file, _READ_BYTES):
                parts.append(part)
            return b"".join(parts)
        finally:
            os.close(file)

    def read_environment(pid: int) -> bytes:
        """A process's variables, each ended by a NUL, as it was started with them.

        Raises:
            OSError: There is none of that number, or it is another user's.
        """
        return Path(f"/proc/{pid}/environ").read_bytes()

    def _boot_id() -> str:
        # Start times count from the boot, and so repeat after the next one.
        global _boot_id_cache  # noqa: PLW0603 - a constant that can only be read at run time
        if not _boot_id_cache:
            _boot_id_cache = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return _boot_id_cache

    _boot_id_cache = ""

else:

    def read_process(pid: int) -> ProcessRow | None:
        """One process's line of the table, or None when there is no such process."""
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                is_zombie = process.status() == psutil.STATUS_ZOMBIE
                return ProcessRow(
                    id=ProcessId(pid, f"{process.create_time():.2f}"),
                    parent_pid=process.ppid(),
                    group=os.getpgid(pid),
                    session=os.getsid(pid),
                    is_zombie=is_zombie,
                    memory_bytes=0 if is_zombie else process.memory_info().rss,
                    cpu_seconds=0.0 if is_zombie else sum(process.cpu_times()[:2]),
                    is_stopped=process.status() == psutil.STATUS_STOPPED,
                )
        except (psutil.Error, OSError):
            return None

    def _has_lists_of_children() -> bool:
        return False

    def _children(pid: int) -> list[int]:
        return []

    def read_environment(pid: int) -> bytes:
        """A process's variables, each ended by a NUL, as it was started with them.

        Raises:
            psutil.Error: There is none of that number, or it is another user's.
        """
        pairs = psutil.Process(pid).environ().items()
        return b"".join(f"{name}={value}\0".encode() for name, value in pairs)
