"""Remembers started programs on disk, so that a worker killed outright finds its own again.

One small file per run, ``<run id>.json``, is on the disk before the program starts, and says which
process it became as soon as that is known. Whoever starts next on the same folder ends what is
left of those runs. A process is taken for ours only when its number *and* its start time match,
when it belongs to such a process's group, session or descendants, or when it carries the run's
marker in its environment: a stranger that was given the number meanwhile is never touched.
"""

import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from agentvine.kit.errors import Invalid
from agentvine.kit.process import ProcessId, ProcessTree, find_process, is_running

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_SUFFIX = ".json"


class RunIdInvalid(Invalid):
    """A run id must be usable as a file name."""

    code = "run_id_invalid"


@dataclass(frozen=True, slots=True)
class EndedOrphan:
    """A run that was found left over, and what became of it."""

    run_id: str
    ended_count: int
    """How many processes were still running."""
    survivor_pids: tuple[int, ...]
    """What could not be ended; its record stays, for the next start."""


class OrphanJournal:
    """The record of the programs that one worker has started."""

    def __init__(self, directory: Path) -> None:
        """Keep the records in this folder, which is made when it is missing."""
        self._directory = directory
        self._owner = find_process(os.getpid())
        directory.mkdir(parents=True, exist_ok=True)

    def announce(self, run_id: str) -> None:
        """Note, durably, that a program is about to start."""
        self._write(run_id, None)

    def record(self, run_id: str, process: ProcessId) -> None:
        """Note, durably, which process it became."""
        self._write(run_id, process)

    def forget(self, run_id: str) -> None:
        """Note that nothing of it is left. No need to be durable: a second look finds nothing."""
        self._path(run_id).unlink(missing_ok=True)

    def find_orphans(self) -> list[str]:
        """The runs whose owner has died without saying that they ended."""
        runs: list[str] = []
        for path in sorted(self._directory.glob(f"*{_SUFFIX}")):
            owner = _process(_read(path).get("owner"))
            if owner is None or not is_running(owner):
                runs.append(path.name.removesuffix(_SUFFIX))
        return runs

    async def end_orphans(self, *, grace_seconds: float = 5.0) -> list[EndedOrphan]:
        """End what is left of each orphaned run, and forget it.

        Call it at the start, before anything runs. Records of a living owner are left alone.
        """
        return [await self._end(run_id, grace_seconds) for run_id in self.find_orphans()]

    async def _end(self, run_id: str, grace_seconds: float) -> EndedOrphan:
        process = _process(_read(self._path(run_id)).get("process"))
        # Without a known process only the marker can tell: number 0 is nobody's.
        tree = ProcessTree(process or ProcessId(0, ""), run_id, is_leader_held=lambda: False)
        ended = await tree.end(grace_seconds=grace_seconds)
        if not ended.survivors:
            self.forget(run_id)
        return EndedOrphan(
            run_id, ended.found_count, tuple(survivor.pid for survivor in ended.survivors)
        )

    def _write(self, run_id: str, process: ProcessId | None) -> None:
        path = self._path(run_id)
        record = {
            "run_id": run_id,
            "owner": asdict(self._owner) if self._owner else None,
            "process": asdict(process) if process else None,
        }
        temporary = path.with_suffix(".tmp")
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(record, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        # The name, too, has to reach the disk.
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _path(self, run_id: str) -> Path:
        if not _RUN_ID.fullmatch(run_id):
            raise RunIdInvalid(
                f"{run_id!r} cannot be a run id: use letters, digits, '-', '_' and '.'.",
                run_id=run_id,
            )
        return self._directory / f"{run_id}{_SUFFIX}"


def _read(path: Path) -> dict[str, Any]:
    # An unreadable record still has its name: the marker finds what the record cannot tell.
    with suppress(OSError, ValueError):
        record: object = json.loads(path.read_bytes())
        if isinstance(record, dict):
            return cast("dict[str, Any]", record)
    return {}


def _process(value: object) -> ProcessId | None:
    match value:
        case {"pid": int(pid), "start": str(start)}:
            return ProcessId(pid, start)
        case _:
            return None
