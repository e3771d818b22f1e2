"""The one way in which runtimes start programs: held, watched, limited, and ended as a whole.

A runtime says what to run and makes sense of the output; everything that keeps a run in bounds is
here, once for all runtimes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from agentvine.kit.process import (
    ExitReason,
    OutputHandler,
    ProcessExit,
    ProcessSpec,
    ProgramInput,
    ResourceLimits,
    Watch,
    Watchdog,
    WatchTimes,
    run_process,
)
from agentvine.protocol.enums import FailureClass, LogLevel
from agentvine.protocol.runs import UNWATCHED, RunLimits, RunWatch
from agentvine.runtimes.base import ModelAccess, RunContext, RunFailure, RunOutcome
from agentvine.runtimes.sandbox import doors_to

_MIB = 2**20
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_IS_SIGNAL, _LAST = 129, 128 + 65
_WATCHDOGS = {
    Watchdog.START_UP: FailureClass.START_UP_TIMEOUT,
    Watchdog.FIRST_EVENT: FailureClass.FIRST_EVENT_TIMEOUT,
    Watchdog.SILENCE: FailureClass.SILENCE_TIMEOUT,
    Watchdog.AFTER_RESULT: FailureClass.AFTER_RESULT_TIMEOUT,
    Watchdog.TOTAL: FailureClass.TIMEOUT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a runtime wants to have run in the context's work tree."""

    argv: Sequence[str]
    timeout_seconds: float
    extra_environment: Mapping[str, str] = field(default_factory=dict[str, str])
    watch: RunWatch = UNWATCHED
    """The runtime's own times; the task's come first."""
    needs: Sequence[Path] = ()
    """Folders that it must be able to read, in a sandbox too: where it is installed."""
    servers: Sequence[str] = ()
    """Addresses that it must be able to reach, in a sandbox too: of its model, and of our tools."""
    has_input: bool = False
    """Whether it is spoken to on standard input."""
    folder: Path | None = None
    """Where it starts, if not in the work tree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningProgram:
    """A program to be run once, with its clocks."""

    context: RunContext
    program: Program
    watch: Watch
    """Told of output by itself; of events and of the result by the runtime."""

    async def run(
        self, on_output: OutputHandler, *, stdin: ProgramInput | None = None
    ) -> ProcessExit:
        """Run it to its end.

        Args:
            on_output: Called for each piece of output.
            stdin: What it reads; without, it reads an end at once.

        Raises:
            Invalid: It could not be started.
        """
        context, program = self.context, self.program
        spec = ProcessSpec(
            argv=program.argv,
            cwd=program.folder or context.worktree,
            environment=self._environment(),
            run_id=context.run_id,
            grace_seconds=context.grace_seconds,
            containment=context.containment,
            limits=resource_limits(context.limits),
            watch=self.watch,
        )
        if context.sandbox is None:
            return await self._run(spec, on_output, stdin)
        sandbox = replace(
            context.sandbox,
            readable=(*context.sandbox.readable, *program.needs),
            doors=context.sandbox.doors | doors_to(program.servers),
            start=program.folder,
        )
        async with sandbox.prepare(program.argv, spec.environment) as prepared:
            inside = replace(
                spec,
                argv=prepared.argv,
                environment=prepared.environment,
                descriptors=prepared.descriptors,
            )
            ended = await self._run(inside, on_output, stdin)
            for problem in prepared.proxy.refused if prepared.proxy else ():
                await context.output.write(
                    "system", f"Not let out: {problem}.", level=LogLevel.WARNING
                )
        return with_inner_signal(ended)

    def _environment(self) -> dict[str, str]:
        # A proxy that a program learns of from elsewhere must not get what goes to this machine or
        # to the gateway; but in a sandbox the proxy is the only way there is.
        own = {} if self.context.sandbox is not None else _past_proxies(self.context.models)
        return self.context.environment({**own, **self.program.extra_environment})

    async def _run(
        self, spec: ProcessSpec, on_output: OutputHandler, stdin: ProgramInput | None
    ) -> ProcessExit:
        context = self.context
        return await run_process(
            spec,
            on_output,
            stop=context.stop,
            pause=context.pause,
            journal=context.journal,
            stdin=stdin,
        )


def _past_proxies(models: ModelAccess | None) -> dict[str, str]:
    gateway = urlsplit(models.base_url).hostname if models is not None else None
    names = ",".join(dict.fromkeys([*_LOOPBACK, *([gateway] if gateway else [])]))
    return {"NO_PROXY": names, "no_proxy": names}


def prepare_program(context: RunContext, program: Program) -> RunningProgram:
    """Put a program and its clocks together; they run from here."""
    times = watch_times(context.watch, program.watch, program.timeout_seconds)
    return RunningProgram(context=context, program=program, watch=Watch(times))


def outcome_of(
    ended: ProcessExit,
    *,
    message: str,
    failure: RunFailure | None = None,
) -> RunOutcome:
    """The outcome of a run's program; what ended it from outside outranks what it said itself."""
    return RunOutcome(
        reason=ended.reason,
        exit_code=ended.exit_code,
        signal=ended.signal,
        duration_seconds=ended.duration_seconds,
        # No sample fell into a run of a few milliseconds: that is not known, rather than nothing.
        peak_memory_bytes=ended.peak_memory_bytes or None,
        cpu_seconds=ended.cpu_seconds,
        message=message,
        metrics={"leftover_processes": ended.leftover_count} if ended.leftover_count else {},
        failure=_failure_of_end(ended, message) or failure,
    )


def with_inner_signal(ended: ProcessExit) -> ProcessExit:
    """Tell a signal that ended the program inside, of which bubblewrap makes an exit code."""
    code = ended.exit_code
    if ended.reason is not ExitReason.EXITED or code is None or not _IS_SIGNAL <= code < _LAST:
        return ended
    return replace(ended, reason=ExitReason.KILLED, exit_code=None, signal=code - 128)


def watch_times(wanted: RunWatch, runtime: RunWatch, total_seconds: float) -> WatchTimes:
    """The times of a run's watchdogs: the task's, else the runtime's; 0 sends one to sleep."""

    def choose(name: str) -> float | None:
        value: float | None = getattr(wanted, name)
        chosen: float | None = getattr(runtime, name) if value is None else value
        return chosen or None

    return WatchTimes(
        start_up=choose("start_up_seconds"),
        first_event=choose("first_event_seconds"),
        silence=choose("silence_seconds"),
        after_result=choose("after_result_seconds"),
        total=total_seconds,
    )


def resource_limits(limits: RunLimits) -> ResourceLimits:
    """The same in the system's units."""

    def in_bytes(mib: int | None) -> int | None:
        return None if mib is None else mib * _MIB

    return ResourceLimits(
        memory_bytes=in_bytes(limits.memory_mib),
        processes=limits.processes,
        cpu_seconds=limits.cpu_seconds,
        file_bytes=in_bytes(limits.file_mib),
        disk_bytes=in_bytes(limits.disk_mib),
    )


def describe_end(ended: ProcessExit, watch: WatchTimes) -> str:
    """How a program ended, in one sentence."""
    match ended.reason:
        case ExitReason.EXITED:
            return f"The command ended with exit code {ended.exit_code}."
        case ExitReason.TIMEOUT:
            return f"The command was ended after its time limit of {watch.total:g} s."
        case ExitReason.CANCELLED:
            return "The command was stopped."
        case ExitReason.KILLED:
            return (
                f"The command was ended by signal {ended.signal} from outside "
                "(out of memory, a crash, or a person)."
            )
        case ExitReason.LIMIT:
            assert ended.breach is not None, "the reason names it"
            return ended.breach.message
        case ExitReason.WATCHDOG:
            return _describe_bark(ended.watchdog, watch)


def _describe_bark(watchdog: Watchdog | None, watch: WatchTimes) -> str:
    match watchdog:
        case Watchdog.START_UP:
            return f"The command was ended: it printed nothing within {watch.start_up:g} s."
        case Watchdog.FIRST_EVENT:
            return (
                "The command was ended: no event of its runtime came within "
                f"{watch.first_event:g} s."
            )
        case Watchdog.AFTER_RESULT:
            return (
                "The command was ended: it had told its result, and did not end within "
                f"{watch.after_result:g} s."
            )
        case _:
            return f"The command was ended: it was silent for {watch.silence:g} s."


def _failure_of_end(ended: ProcessExit, message: str) -> RunFailure | None:
    match ended.reason:
        case ExitReason.LIMIT:
            return RunFailure(FailureClass.LIMIT_EXCEEDED, message)
        case ExitReason.WATCHDOG | ExitReason.TIMEOUT:
            assert ended.watchdog is not None, "the reason is one"
            return RunFailure(_WATCHDOGS[ended.watchdog], message)
        case _:
            return None
