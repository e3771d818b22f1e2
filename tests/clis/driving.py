"""One run of a runtime with its real CLI, against a model that follows a script."""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from agentvine.llm.scripted import ScriptedUpstream
from agentvine.protocol.enums import LogLevel
from agentvine.protocol.questions import AnswerDecision
from agentvine.protocol.queue import OrderPayload
from agentvine.runtimes.asking import RunAnswer, RunQuestion
from agentvine.runtimes.base import ModelAccess, RunContext, RunOutcome, Runtime

CLIS_OF = {
    "claude-code": ("claude-code",),
    "codex": ("codex",),
    "claude-agent-acp": ("claude-code", "claude-agent-acp"),
    # The adapter brings a `codex` that lacks its program.
    "codex-acp": ("codex", "codex-acp"),
    "gemini": ("gemini",),
    "opencode": ("opencode",),
    "qwen": ("qwen",),
    "qwen-acp": ("qwen",),
}
"""The programs that a runtime needs."""
MODELS = {
    "claude-code": "claude-opus-5-5",
    "codex": "gpt-5.5",
    "claude-agent-acp": "claude-opus-5-5",
    "codex-acp": "gpt-5.5",
    "gemini": "gemini-2.5-flash",
}
"""What they are to ask for; of the others nothing depends on the name."""


def short_form(names: Sequence[str], *short: str) -> list[Any]:
    """All of them, of which CI runs these."""
    return [
        each if each in short else pytest.param(each, marks=pytest.mark.clis_long) for each in names
    ]


@dataclass
class Log:
    """What a run wrote, by stream."""

    lines: dict[str, list[str]] = field(default_factory=dict)
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    async def write(
        self,
        stream: str,
        message: str,
        *,
        level: LogLevel = LogLevel.INFO,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.lines.setdefault(stream, []).append(message)
        self.grown.set()

    @property
    def events(self) -> list[dict[str, Any]]:
        """Our own events."""
        return [json.loads(line) for line in self.lines.get("events", [])]

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    async def wait_for(self, kind: str, running: "asyncio.Task[Any]", *, count: int = 1) -> None:
        """Wait until so many events of a kind have come; a run that ends before is a failure."""
        while len(self.of_type(kind)) < count:
            self.grown.clear()
            grown = asyncio.create_task(self.grown.wait())
            await asyncio.wait([grown, running], return_when=asyncio.FIRST_COMPLETED)
            grown.cancel()
            if running.done() and len(self.of_type(kind)) < count:
                raise AssertionError(f"{running.result()}\n{self.tail}")

    @property
    def tail(self) -> str:
        ends = [(stream, line) for stream, lines in self.lines.items() for line in lines[-12:]]
        return "\n".join(f"{stream}: {line[:300]}" for stream, line in ends)


Answering = Callable[[RunQuestion], RunAnswer | Awaitable[RunAnswer]]


@dataclass
class ScriptedAsker:
    """Answers by a function, and keeps what was asked."""

    answering: Answering
    asked: list[RunQuestion] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)

    async def ask(self, question: RunQuestion) -> RunAnswer:
        self.asked.append(question)
        given = self.answering(question)
        return given if isinstance(given, RunAnswer) else await given

    async def withdraw(self, key: str) -> None:
        self.withdrawn.append(key)


@dataclass
class Sessions:
    """Keeps a run's session."""

    session_id: str | None = None

    async def note_session(self, session_id: str, model: str | None) -> None:
        self.session_id = session_id


def allow(question: RunQuestion) -> RunAnswer:
    return RunAnswer(decision=AnswerDecision.ALLOW)


@dataclass
class Drive:
    """A runtime, its place, and what its run leaves there."""

    runtime: Runtime
    worktree: Path
    home: Path
    base_url: str
    upstream: ScriptedUpstream
    model: str
    key: str = "av_llm_test"
    log: Log = field(default_factory=Log)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    sessions: Sessions = field(default_factory=Sessions)
    run_id: str = field(default_factory=lambda: f"clis-{uuid.uuid4().hex[:12]}")

    async def run(
        self, description: str, *, answering: Answering = allow, **more: Any
    ) -> tuple[RunOutcome, ScriptedAsker]:
        """Run it to its end."""
        asker = ScriptedAsker(answering)
        context = RunContext(
            run_id=self.run_id,
            execution_id=str(uuid.uuid4()),
            worktree=self.worktree,
            payload=payload(self.runtime.name, description),
            output=self.log,
            stop=self.stop,
            timeout_seconds=300,
            asker=asker,
            models=ModelAccess(base_url=self.base_url, key=self.key, default_model=self.model),
            home=self.home,
            session=self.sessions,
            **more,
        )
        outcome = await self.runtime.run(context)
        assert left_over(self.run_id) == [], "processes of the run are left"
        return outcome, asker


MakeDrive = Callable[[str, str], Drive]
"""Given the runtime's name and the model's script."""


def payload(runtime: str, description: str) -> OrderPayload:
    return OrderPayload.model_validate(
        {
            "task_id": uuid.uuid4(),
            "task_ref": "T-1",
            "title": "Do what the script says",
            "description": description,
            "task_type": "feature",
            "runtime": runtime,
            "timeout_seconds": 300,
            "test_timeout_seconds": 60,
        }
    )


def processes_of(run_id: str) -> list[psutil.Process]:
    """What still runs of a run, by its marker."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            is_of_run = process.environ().get("AGENTVINE_RUN_ID") == run_id
            if is_of_run and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def left_over(run_id: str) -> list[str]:
    """The command lines of it."""
    found: list[str] = []
    for process in processes_of(run_id):
        with suppress(psutil.Error, OSError):
            found.append(" ".join(process.cmdline())[:200])
    return found
