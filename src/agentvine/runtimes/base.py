"""What every runtime follows: say whether you can work here, and do one run.

A runtime gets a ``RunContext`` and gives back a ``RunOutcome``. It knows nothing of the server, of
git or of leases: whoever calls it prepared the work tree, and judges the result. It must stop soon
after ``context.stop`` is set, and may not leave a process behind; ``kit.process.run_process`` does
both for a program.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from agentvine.config.settings import environment_for_child
from agentvine.kit.process import (
    BY_GROUP,
    Containment,
    ExitReason,
    PauseSwitch,
    ProcessJournal,
)
from agentvine.protocol.briefs import RunBriefOut
from agentvine.protocol.enums import FailureClass, LogLevel
from agentvine.protocol.queue import OrderPayload
from agentvine.protocol.runs import UNLIMITED, UNWATCHED, RunLimits, RunWatch
from agentvine.runtimes.asking import Asker, NobodyThere, NoToolQuestions, ToolQuestions
from agentvine.runtimes.events import ModelUsage
from agentvine.runtimes.sandbox import Sandbox
from agentvine.runtimes.steering import Mailbox


class LoginState(StrEnum):
    """Whether a runtime's program can reach a model by itself, without keys of ours."""

    READY = "ready"
    """It is logged in, as far as can be seen without asking the provider."""
    MISSING = "missing"
    UNKNOWN = "unknown"
    """It cannot be seen from outside."""
    NOT_NEEDED = "not_needed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeInfo:
    """Whether a runtime can work on this machine, found out before it is given work."""

    name: str
    version: str | None = None
    is_available: bool
    problem: str | None = None
    """Why it cannot, and what to do about it."""
    takes_messages: bool = False
    """Whether its runs can be told something while they run (``RunContext.mailbox``)."""
    login: LoginState = LoginState.NOT_NEEDED
    login_help: str | None = None
    """What to do where there is neither a login nor a provider of models."""
    uses_models: bool = False
    """Whether it is given access to models (``RunContext.models``)."""
    asks: bool = False
    """Whether its runs ask questions and for permissions (``RunContext.asker``)."""
    resumes: bool = False
    """Whether a later attempt can go on with the session of an earlier one."""
    pinned_version: str | None = None
    """The version that we have tried; others may work."""
    install: str | None = None
    """The command that installs it at that version."""


class OutputSink(Protocol):
    """Where a run's lines go. A call waits when lines come faster than they can be kept."""

    async def write(
        self,
        stream: str,
        message: str,
        *,
        level: LogLevel = LogLevel.INFO,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep one line of a stream: ``stdout``, ``stderr``, ``system``, ``test``, ``events``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAccess:
    """Where a run reaches models, and the key that is good for this run alone."""

    base_url: str
    """Of the gateway, without a slash at its end; below it each wire format has its place:
    ``/anthropic``, ``/openai/v1``, ``/gemini``."""
    key: str = field(repr=False)
    models: tuple[str, ...] = ()
    """The names that may be asked for; empty: whatever the upstream knows."""
    default_model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class McpAccess:
    """Where a run's agent finds our own tools."""

    url: str
    key: str = field(repr=False)


class SessionKeeper(Protocol):
    """Keeps the name of an agent's session, at once and beyond our own death."""

    async def note_session(self, session_id: str, model: str | None) -> None:
        """Take note of it; returns soon, whether the server can be reached or not."""
        ...


class UsageKeeper(Protocol):
    """Takes down what a run uses of models that it calls past the gateway."""

    def note_usage(self, models: Mapping[str, ModelUsage]) -> None:
        """Take note of what the run has used so far of each model; returns at once."""
        ...


class NoUsage:
    """Takes down nothing: the gateway counts, or nobody does."""

    def note_usage(self, models: Mapping[str, ModelUsage]) -> None:
        """Forget it."""


class NoSessions:
    """Keeps nothing: the run cannot be resumed."""

    async def note_session(self, session_id: str, model: str | None) -> None:
        """Forget it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """One run, as its runtime sees it."""

    run_id: str
    """Marks every process of the run; unique to this attempt."""
    execution_id: str
    worktree: Path
    payload: OrderPayload
    output: OutputSink
    stop: asyncio.Event
    """Set when the run shall end now: it was cancelled, or its lease is lost."""
    timeout_seconds: float
    grace_seconds: float = 5.0
    """Between the request to end and the end by force."""
    journal: ProcessJournal | None = None
    containment: Containment = BY_GROUP
    """What holds its processes together."""
    limits: RunLimits = UNLIMITED
    watch: RunWatch = UNWATCHED
    """The task's times; what it leaves open is the runtime's."""
    sandbox: Sandbox | None = None
    """What its programs see of the machine; None: what the worker's user sees."""
    pause: PauseSwitch = field(default_factory=PauseSwitch)
    """Set while the run shall stand still."""
    mailbox: Mailbox = field(default_factory=Mailbox)
    """What people say to the run; opened by a runtime whose runs take messages."""
    asker: Asker = field(default_factory=NobodyThere)
    """Where the run gets answers to what it asks."""
    tool_questions: ToolQuestions = field(default_factory=NoToolQuestions)
    """What it asks by our own tools."""
    inbox: Path | None = None
    """A folder that the run's programs may read, in a sandbox too, and the worker alone writes;
    None where nothing is said to them."""
    brief: RunBriefOut | None = None
    """What an agent is to do; None for runtimes that drive none, or where there is no server."""
    models: ModelAccess | None = None
    """None: the program's own login is all there is."""
    models_problem: str | None = None
    """What to set on the server, where it has nobody to be asked."""
    mcp: McpAccess | None = None
    home: Path | None = None
    """A private folder of this task and runtime, kept for later attempts: the program's settings
    and sessions; a sandbox lets it write there. None where nothing is to be kept."""
    earlier_work: str | None = None
    """A sentence on what became of an earlier attempt's files; None where that left none here."""
    session: SessionKeeper = field(default_factory=NoSessions)
    usage: UsageKeeper = field(default_factory=NoUsage)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The whole environment for the run's program: an allow-list, the run's ids, and extras.

        Nothing else of the worker's environment may pass: it holds the worker's token.
        """
        return {
            **environment_for_child(),
            "AGENTVINE_TASK_ID": str(self.payload.task_id),
            "AGENTVINE_TASK_REF": self.payload.task_ref,
            "AGENTVINE_EXECUTION_ID": self.execution_id,
            "AGENTVINE_RUN_ID": self.run_id,
            **(extra or {}),
        }


@dataclass(frozen=True, slots=True)
class RunFailure:
    """Why a run did not succeed, as far as its runtime can tell."""

    failure_class: FailureClass
    message: str
    """One sentence for people."""
    retry_at: datetime | None = None
    """When a limit of the provider's is lifted, by the provider's clock."""
    retry_after_seconds: float | None = None
    """The same where the provider tells a time span."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """How a run ended. Whether it succeeded is ``is_success``; why not, ``reason`` and the code."""

    reason: ExitReason
    exit_code: int | None
    signal: int | None = None
    duration_seconds: float
    peak_memory_bytes: int | None = None
    cpu_seconds: float = 0.0
    """Processor time of all its processes, as far as that is known."""
    message: str = ""
    """One sentence for people."""
    metrics: dict[str, Any] = field(default_factory=dict[str, Any])
    failure: RunFailure | None = None
    """What the runtime knows better than the exit code: 0 is not always success."""

    told_result: bool | None = None
    """Whether the runtime's own last event tells of success; None for runtimes without events, of
    which the exit code is all there is."""

    @property
    def is_success(self) -> bool:
        """Whether the program says that all went well, and nothing else says no."""
        if self.failure is not None:
            return False
        if self.told_result is not None:
            return self.told_result
        return self.reason is ExitReason.EXITED and self.exit_code == 0


class Runtime(Protocol):
    """One way to get work done."""

    @property
    def name(self) -> str:
        """The word for it in tasks and on the command line."""
        ...

    @property
    def is_agent(self) -> bool:
        """Whether it drives an agent, which is given a brief, rather than a command."""
        ...

    @property
    def uses_models(self) -> bool:
        """Whether its runs are to be given access to models."""
        ...

    async def detect(self) -> RuntimeInfo:
        """Look whether it is installed and usable here."""
        ...

    async def run(self, context: RunContext) -> RunOutcome:
        """Do one run.

        Raises:
            Invalid: The order lacks something, or the program could not be started.
        """
        ...
