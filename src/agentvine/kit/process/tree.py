"""All that a run has started, wherever it went, and ending it.

A process belongs to a run when one of these holds:

- it is in the leader's group or session (the common case);
- it descends from a member, or did when somebody last looked (it called ``setsid``);
- it carries the run's marker in its environment (it became a daemon: two forks and ``setsid``).

What cleared its environment *and* detached between two looks escapes from these. With a keeper
(``containment``) nobody does: whoever detaches still descends from the keeper.
"""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from agentvine.kit.process.containment import BY_GROUP, Containment, ControlGroup
from agentvine.kit.process.table import (
    ProcessId,
    ProcessRow,
    carries_marker,
    is_running,
    process_table,
    read_process,
    table_below,
)

_KILL_SECONDS = 5.0
"""How long to repeat SIGKILL: a process in an uninterruptible call ends when the call does."""
_STOP_ROUNDS = 50
_WIDE_LOOKS = 5
"""Of so many looks at a run that others could leave, one is at all that the machine runs."""


@dataclass(frozen=True, slots=True)
class EndedTree:
    """What ending a run's processes came to."""

    found_count: int
    """How many were running."""
    survivors: list[ProcessRow]
    """What could not be ended: empty but for processes that hang in the kernel."""


class ProcessTree:
    """The processes of one run."""

    def __init__(
        self,
        leader: ProcessId,
        run_id: str | None,
        *,
        is_leader_held: Callable[[], bool],
        containment: Containment = BY_GROUP,
        group: ControlGroup | None = None,
    ) -> None:
        """Describe a run by its leader and its marker.

        Args:
            leader: The process that was started.
            run_id: The marker's value, or None when the run has no marker.
            is_leader_held: Whether the leader is certainly not reaped yet. When it is, its
                number may belong to a stranger, and so may the group of that number.
            containment: What holds it; keepers are not counted as members.
            group: Its control group, if it has one.
        """
        self._leader = leader
        self._run_id = run_id
        self._is_leader_held = is_leader_held
        self._containment = containment
        self._group = group
        self._seen: set[ProcessId] = {leader}
        self._living: set[int] = {leader.pid}
        self._looks = 0
        self._halted: set[ProcessId] = set()
        self._is_ending = False
        self._stopping = threading.Lock()

    def members(self) -> list[ProcessRow]:
        """Look who is running now, among all that the machine runs."""
        table = process_table()
        return self._members_of(table, self._pids_of_group(), look_for_marker=True)

    def sample(self) -> list[ProcessRow]:
        """Look who is running now, for little: at those known, and at whom they have started.

        Who has lost their parent between two looks is found by every fifth one, in the leader's
        group or session. Nobody leaves a namespace or a control group: there no other look is
        needed.
        """
        self._looks += 1
        is_closed = self._containment.is_namespace or self._group is not None
        in_group, table = self._pids_of_group(), None
        if is_closed or self._looks % _WIDE_LOOKS:
            table = table_below(self._living | in_group)
        return self._members_of(table or process_table(), in_group, look_for_marker=False)

    def _members_of(
        self, table: dict[int, ProcessRow], in_group: set[int], *, look_for_marker: bool
    ) -> list[ProcessRow]:
        keepers = self._keepers(table)
        rows = self._find(table, in_group, look_for_marker=look_for_marker)
        return [row for row in rows if row.pid not in keepers]

    def stop(self) -> bool:
        """Let all stand still. Blocks, usually for a few milliseconds.

        Returns:
            Whether all do; new ones may have come while we looked, or the run is being ended.
        """
        for _ in range(_STOP_ROUNDS):
            # Who ends the run waits for this round, and then lets all go on: none comes later.
            with self._stopping:
                if self._is_ending:
                    return False
                if self._halt():
                    return True
            time.sleep(0.002)
        return False

    def go_on(self) -> None:
        """Let those go on that stand still."""
        if self._group is not None:
            self._group.freeze(is_frozen=False)
        # One that was told to stop a moment ago may not look like it yet.
        rows = [row for row in self.members() if row.is_stopped or row.id in self._halted]
        self._halted.clear()
        _signal_all(rows, signal.SIGCONT)

    def _halt(self) -> bool:
        if self._group is not None and self._group.freeze(is_frozen=True):
            return self._group.is_frozen()
        # Deep in the kernel a signal waits, and comes before anything else does. One that spawned
        # waits there until its child begins; that, once stopped, does not.
        moving = [
            row
            for row in self.members()
            if not (row.is_stopped or (row.is_deep and row.id in self._halted))
        ]
        self._halted |= {row.id for row in moving}
        _signal_all(moving, signal.SIGSTOP)
        return not moving

    def _begin_to_end(self) -> list[ProcessRow]:
        with self._stopping:
            self._is_ending = True
        return self.members()

    def _find(
        self, table: dict[int, ProcessRow], in_group: set[int], *, look_for_marker: bool
    ) -> list[ProcessRow]:
        spared = _self_and_ancestors(table)
        # Nobody leaves a namespace: the descendants are all there are.
        look_for_marker = look_for_marker and not self._containment.is_namespace
        found = {
            row.pid: row
            for row in table.values()
            if row.pid not in spared
            and (
                row.pid in in_group or self._is_member(row, table, look_for_marker=look_for_marker)
            )
        }
        children: dict[int, list[ProcessRow]] = {}
        for row in table.values():
            children.setdefault(row.parent_pid, []).append(row)
        waiting = list(found)
        while waiting:
            for row in children.get(waiting.pop(), []):
                if row.pid not in found and row.pid not in spared:
                    found[row.pid] = row
                    waiting.append(row.pid)
        rows = [row for row in found.values() if not row.is_zombie]
        self._seen |= {row.id for row in rows}
        self._living = {self._leader.pid, *(row.pid for row in rows)}
        return rows

    def _pids_of_group(self) -> set[int]:
        return self._group.pids() if self._group is not None else set()

    async def end(self, *, grace_seconds: float) -> EndedTree:
        """SIGTERM to all, time to finish, SIGKILL to what is left; nothing is stopped from here."""
        rows = await asyncio.to_thread(self._begin_to_end)
        found_count = len(rows)
        if not rows:
            return EndedTree(0, [])
        _signal_all(rows, signal.SIGTERM)
        # One that stands still hears of it only when it goes on.
        await asyncio.to_thread(self.go_on)
        deadline = time.monotonic() + grace_seconds
        pause = 0.005
        while (left := deadline - time.monotonic()) > 0:
            rows = [row for row in rows if is_running(row.id)]
            if not rows:
                break
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.2)
        # Looks again in any case: one may have started another while it was ending.
        return EndedTree(found_count, await asyncio.to_thread(self.kill))

    def kill(self) -> list[ProcessRow]:
        """SIGKILL to all, again until nobody is left. Blocks, usually for a few milliseconds.

        Returns:
            What could not be ended.
        """
        deadline = time.monotonic() + _KILL_SECONDS
        while rows := self.members():
            if not self._kill_at_once():
                # Who stands still cannot start others while we go through them.
                _signal_all(rows, signal.SIGSTOP)
                _signal_all(rows, signal.SIGKILL)
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        return rows

    def _kill_at_once(self) -> bool:
        """Let the kernel do it; False when it cannot."""
        if self._containment.is_namespace:
            inner = [row for row in process_table().values() if self._is_inner_keeper(row)]
            _signal_all(inner, signal.SIGKILL)
            return bool(inner)
        return self._group is not None and self._group.kill()

    def _keepers(self, table: dict[int, ProcessRow]) -> set[int]:
        if not self._containment.has_keeper:
            return set()
        found = {row.pid for row in table.values() if self._is_inner_keeper(row)}
        return found | {self._leader.pid}

    def _is_inner_keeper(self, row: ProcessRow) -> bool:
        return self._containment.is_namespace and row.parent_pid == self._leader.pid

    def _is_member(
        self, row: ProcessRow, table: dict[int, ProcessRow], *, look_for_marker: bool
    ) -> bool:
        if row.id in self._seen:
            return True
        if self._owns_group(table) and self._leader.pid in (row.group, row.session):
            return True
        if not look_for_marker or self._run_id is None:
            return False
        return carries_marker(row, self._run_id)

    def _owns_group(self, table: dict[int, ProcessRow]) -> bool:
        holder = table.get(self._leader.pid)
        return self._is_leader_held() or (holder is not None and holder.id == self._leader)


def _self_and_ancestors(table: dict[int, ProcessRow]) -> set[int]:
    # AgentVine may itself run inside a run, and inherits that run's marker: never end ourselves.
    spared = {0, 1}
    pid = os.getpid()
    while pid not in spared:
        spared.add(pid)
        row = table.get(pid)
        pid = row.parent_pid if row else 0
    return spared


def _signal_all(rows: list[ProcessRow], signum: signal.Signals) -> None:
    for row in rows:
        with suppress(ProcessLookupError, PermissionError):
            _signal(row.id, signum)


if sys.platform == "linux":

    def _signal(process: ProcessId, signum: signal.Signals) -> None:
        # The descriptor pins the process: after the comparison the number cannot change hands.
        descriptor = os.pidfd_open(process.pid)
        try:
            row = read_process(process.pid)
            if row is not None and row.id == process:
                signal.pidfd_send_signal(descriptor, signum)
        finally:
            os.close(descriptor)

else:

    def _signal(process: ProcessId, signum: signal.Signals) -> None:
        row = read_process(process.pid)
        if row is not None and row.id == process:
            os.kill(process.pid, signum)
