"""Run a program to its end, whatever it does, and leave nothing of it behind."""

import asyncio
import contextlib
import os
import resource
import time
from dataclasses import dataclass, replace

from agentvine.kit.errors import AppError
from agentvine.kit.guards import assert_no_transaction
from agentvine.kit.process.child import CHUNK_BYTES, Child, peak_bytes, start_child
from agentvine.kit.process.containment import ControlGroup
from agentvine.kit.process.errors import ProgramNotStarted
from agentvine.kit.process.kept import KeptChild, start_kept
from agentvine.kit.process.limits import (
    Breach,
    Limit,
    breach_of_end,
    find_breach,
    folder_bytes,
)
from agentvine.kit.process.spec import (
    ExitReason,
    OutputHandler,
    ProcessExit,
    ProcessJournal,
    ProcessSpec,
    Stream,
)
from agentvine.kit.process.stdin import ProgramInput
from agentvine.kit.process.table import RUN_MARKER
from agentvine.kit.process.tree import EndedTree, ProcessTree
from agentvine.kit.process.watch import PauseSwitch, Watch, Watchdog, WatchTimes

_SAMPLE_SECONDS = 1.0
_OFTEN_SECONDS = 0.2
_DISK_SECONDS = 2.0
_DISK_SHARE = 20
"""Looking through the folder may take this part of the time."""


async def run_process(
    spec: ProcessSpec,
    on_output: OutputHandler,
    *,
    stop: asyncio.Event | None = None,
    pause: PauseSwitch | None = None,
    journal: ProcessJournal | None = None,
    stdin: ProgramInput | None = None,
) -> ProcessExit:
    """Run a program in its own session and wait for its end.

    However this function is left (a result, a timeout, ``stop``, cancellation, an error from
    ``on_output``), the program and all that it started have been ended before. A cancellation
    gives the program its grace period; a second one kills at once.

    Args:
        spec: What to run.
        on_output: Called for each piece of output, in order within each stream.
        stop: Ends the program when set.
        pause: Lets it, and all it started, stand still meanwhile; its clocks stand still, too.
        journal: Told of the program before it starts, and as soon as nothing of it is left.
        stdin: What it reads, from now until its end; without, it reads an end at once.

    Raises:
        ProgramNotFound: The program is not on the environment's PATH.
        WorkingDirectoryMissing: The folder to start it in is not there.
        ProgramNotStarted: The system refused for another reason.
    """
    assert_no_transaction("run a program")
    # What a child reports as its peak includes ours at the fork; only more than that is its own.
    inherited_peak = peak_bytes(resource.getrusage(resource.RUSAGE_SELF))
    group = _make_group(spec)
    child = _start(spec, group, journal, stdin)
    pause = pause or PauseSwitch()
    run = _Run(spec, child, on_output, group)
    stood_still = pause.stood_still_seconds()
    try:
        if journal is not None:
            journal.record(spec.run_id, child.id)
        end = await run.until_end(stop or asyncio.Event(), pause)
    except BaseException:
        # A second cancellation lands in this wait, and goes straight on to the kill below.
        with contextlib.suppress(asyncio.CancelledError):
            await run.end()
        raise
    finally:
        if run.ended is None:
            run.ended = EndedTree(0, run.tree.kill())
        has_run_out_of_memory = group is not None and group.has_run_out_of_memory()
        reaped = child.reap()
        run.note_cpu(reaped.cpu_seconds, group.cpu_seconds() if group is not None else 0.0)
        child.close()
        if stdin is not None:
            stdin.close()
        if group is not None:
            group.remove()
        if journal is not None and not run.ended.survivors:
            journal.forget(spec.run_id)
    # A keeper has seen to that itself.
    peak = reaped.peak_bytes or 0
    own_peak = peak if isinstance(child, KeptChild) or peak > inherited_peak else 0
    result = run.result(end, reaped.status, own_peak, has_run_out_of_memory=has_run_out_of_memory)
    ran = result.duration_seconds - (pause.stood_still_seconds() - stood_still)
    return replace(result, duration_seconds=max(0.0, ran))


def _make_group(spec: ProcessSpec) -> ControlGroup | None:
    parent = spec.containment.cgroups
    if parent is None:
        return None
    try:
        group = ControlGroup(parent, spec.run_id[:40])
    except OSError as error:
        raise ProgramNotStarted(
            f"{spec.argv[0]}: no control group could be made for it: {error}.",
            program=spec.argv[0],
        ) from error
    group.limit(spec.limits)
    return group


def _start(
    spec: ProcessSpec,
    group: ControlGroup | None,
    journal: ProcessJournal | None,
    stdin: ProgramInput | None,
) -> Child:
    if journal is not None:
        journal.announce(spec.run_id)
    environment = {**spec.environment, RUN_MARKER: spec.run_id}
    source = stdin.connect() if stdin is not None else None
    try:
        if not spec.containment.has_keeper:
            return start_child(
                spec.argv,
                cwd=spec.cwd,
                environment=environment,
                stdin=source,
                descriptors=spec.descriptors,
            )
        return start_kept(
            spec.argv,
            cwd=spec.cwd,
            environment=environment,
            is_namespace=spec.containment.is_namespace,
            group=group,
            rlimits=spec.limits.for_system(),
            descriptors=spec.descriptors,
            stdin=source,
        )
    except AppError:
        if stdin is not None:
            stdin.close()
        if journal is not None:
            journal.forget(spec.run_id)
        if group is not None:
            group.remove()
        raise
    finally:
        if source is not None:
            source.close()


@dataclass(frozen=True, slots=True)
class _End:
    """Why a program is to end, or has ended."""

    reason: ExitReason
    watchdog: Watchdog | None = None
    breach: Breach | None = None


class _Run:
    """One program while it runs."""

    def __init__(
        self,
        spec: ProcessSpec,
        child: Child,
        on_output: OutputHandler,
        group: ControlGroup | None,
    ) -> None:
        self._spec = spec
        self._child = child
        self._on_output = on_output
        self._watch = spec.watch or Watch(WatchTimes(total=spec.timeout_seconds))
        self.tree = ProcessTree(
            child.id,
            spec.run_id,
            is_leader_held=lambda: not child.is_reaped,
            containment=spec.containment,
            group=group,
        )
        self.peak_bytes = 0
        self.cpu_seconds = 0.0
        self.is_output_complete = False
        self.ended: EndedTree | None = None
        self._breach: asyncio.Future[Breach] = asyncio.get_running_loop().create_future()

    async def until_end(self, stop: asyncio.Event, pause: PauseSwitch) -> _End:
        """Pass the output on until the program and all it started have ended."""
        stdout, stderr = await self._child.open_pipes()
        stopped = asyncio.create_task(stop.wait())
        barked = asyncio.create_task(self._watch.bark())
        aside = [asyncio.create_task(self._sample()), asyncio.create_task(self._measure_disk())]
        pumps = asyncio.gather(self._pump(Stream.STDOUT, stdout), self._pump(Stream.STDERR, stderr))
        try:
            if isinstance(self._child, KeptChild):
                await self._child.wait_for_start()
            aside.append(following := asyncio.create_task(self._follow(pause)))
            end = await self._first_end(pumps, stopped, barked)
            following.cancel()
            await self.end()
            # All known holders of the pipes are gone: what is in them is read in no time.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._spec.pipe_wait_seconds):
                    await pumps
                self.is_output_complete = True
        finally:
            for task in (stopped, barked, pumps, *aside):
                task.cancel()
            await asyncio.gather(stopped, barked, pumps, *aside, return_exceptions=True)
        return end

    async def end(self) -> None:
        """End all that is left of the run."""
        self.ended = await self.tree.end(grace_seconds=self._spec.grace_seconds)

    def note_cpu(self, *seconds: float) -> None:
        """Take note of what was seen of the time used; each may have missed some."""
        self.cpu_seconds = max(self.cpu_seconds, *seconds)

    def result(
        self, end: _End, status: int, peak_bytes: int, *, has_run_out_of_memory: bool
    ) -> ProcessExit:
        """How it ended, given the wait status and the peak that the system vouches for."""
        assert self.ended is not None
        exit_code = os.waitstatus_to_exitcode(status)
        peak = max(self.peak_bytes, peak_bytes)
        is_ours = end.reason is not ExitReason.EXITED
        if not is_ours:
            limits = self._spec.limits
            breach = breach_of_end(limits, exit_code, peak)
            if has_run_out_of_memory and limits.memory_bytes is not None and exit_code != 0:
                breach = Breach(Limit.MEMORY, limits.memory_bytes)
            if breach is not None:
                end = _End(ExitReason.LIMIT, breach=breach)
            elif exit_code < 0:
                end = _End(ExitReason.KILLED)
        return ProcessExit(
            exit_code=exit_code if exit_code >= 0 else None,
            signal=-exit_code if exit_code < 0 else None,
            reason=end.reason,
            duration_seconds=self._child.duration_seconds,
            peak_memory_bytes=peak,
            cpu_seconds=self.cpu_seconds,
            process=self._child.id,
            is_output_complete=self.is_output_complete,
            # What we ended together with the program was no leftover of it.
            leftover_count=0 if is_ours else self.ended.found_count,
            survivor_pids=tuple(row.pid for row in self.ended.survivors),
            watchdog=end.watchdog,
            breach=end.breach,
        )

    async def _first_end(
        self,
        pumps: asyncio.Future[tuple[None, None]],
        stopped: asyncio.Task[bool],
        barked: asyncio.Task[Watchdog],
    ) -> _End:
        awaited: set[asyncio.Future[object]] = {
            self._child.ended,
            stopped,
            barked,
            self._breach,
            pumps,
        }  # pyright: ignore[reportAssignmentType] - futures of unlike results
        while True:
            done, awaited = await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            if self._child.ended in done:
                return _End(ExitReason.EXITED)
            if stopped in done:
                return _End(ExitReason.CANCELLED)
            if self._breach in done:
                return _End(ExitReason.LIMIT, breach=self._breach.result())
            if barked in done:
                watchdog = barked.result()
                if watchdog is Watchdog.TOTAL:
                    return _End(ExitReason.TIMEOUT, watchdog)
                return _End(ExitReason.WATCHDOG, watchdog)
            # Both pipes closed and the program lives on; or the handler failed: raise that.
            pumps.result()

    async def _pump(self, stream: Stream, reader: asyncio.StreamReader) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            self._watch.note_output()
            await self._on_output(stream, chunk)

    async def _sample(self) -> None:
        # Also notes who descends from the leader, so that those who detach later are known.
        limits = self._spec.limits
        most = _OFTEN_SECONDS if limits.is_sampled else _SAMPLE_SECONDS
        pause = 0.02
        while True:
            rows = await asyncio.to_thread(self.tree.sample)
            self.peak_bytes = max(self.peak_bytes, sum(row.memory_bytes for row in rows))
            self.note_cpu(sum(row.cpu_seconds for row in rows))
            self._note_breach(find_breach(limits, rows))
            await asyncio.sleep(pause)
            pause = min(pause * 2, most)

    async def _measure_disk(self) -> None:
        limit = self._spec.limits.disk_bytes
        while limit is not None:
            started = time.monotonic()
            taken = await asyncio.to_thread(folder_bytes, self._spec.cwd)
            if taken > limit:
                self._note_breach(Breach(Limit.DISK, limit, taken))
            spent = time.monotonic() - started
            await asyncio.sleep(max(_DISK_SECONDS, spent * _DISK_SHARE))

    def _note_breach(self, breach: Breach | None) -> None:
        if breach is not None and not self._breach.done():
            self._breach.set_result(breach)

    async def _follow(self, pause: PauseSwitch) -> None:
        """Let the run stand still and go on as it is told."""
        is_stopped = False
        try:
            while True:
                pause.changed.clear()
                if pause.is_paused:
                    self._watch.pause()
                    is_stopped = True
                    if not await asyncio.to_thread(self.tree.stop):
                        pause.changed.set()
                        continue
                elif is_stopped:
                    await asyncio.to_thread(self.tree.go_on)
                    self._watch.resume()
                    is_stopped = False
                pause.settle(stands_still=is_stopped)
                await pause.changed.wait()
        finally:
            # The next program of the run, if there is one, begins by itself.
            pause.settle(stands_still=False)
