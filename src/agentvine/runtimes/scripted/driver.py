"""Plays a task's script as an agent: with a session, questions, permissions, usage and failures."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agentvine.protocol.enums import FailureClass
from agentvine.protocol.questions import QuestionKind, QuestionOption
from agentvine.runtimes.agent import AGENT_WATCH, ProgramEnd, Step, run_agent
from agentvine.runtimes.asking import RunAnswer, RunQuestion
from agentvine.runtimes.base import RunContext, RunOutcome, RuntimeInfo
from agentvine.runtimes.events import (
    AgentEvent,
    Asked,
    AssistantText,
    Failed,
    Finished,
    ModelUsage,
    SessionStarted,
    Thinking,
    ToolCall,
    ToolResult,
    UsageTotals,
)
from agentvine.runtimes.own_tools import MAX_WAIT_SECONDS, headers_for
from agentvine.runtimes.resuming import run_or_begin_anew
from agentvine.runtimes.runner import Program
from agentvine.runtimes.scripted.script import Script, find_script

_PLAYER = Path(__file__).with_name("player.py")


class ScriptedRuntime:
    """An agent that does what its script says; it needs no model, no key and no network."""

    name = "scripted"
    is_agent = True
    uses_models = False

    async def detect(self) -> RuntimeInfo:
        """It comes with us."""
        return RuntimeInfo(
            name=self.name, is_available=True, takes_messages=True, asks=True, resumes=True
        )

    async def run(self, context: RunContext) -> RunOutcome:
        """Play the script that the task's command is or names.

        Raises:
            RunScriptInvalid: There is none, or it cannot be read.
        """
        script = find_script(context.worktree, context.payload.command)

        async def play(session_id: str | None) -> RunOutcome:
            return await run_agent(context, ScriptedProgram(context, script, session_id))

        return await run_or_begin_anew(context, play)


class ScriptedProgram:
    """One play."""

    def __init__(self, context: RunContext, script: Script, session_id: str | None) -> None:
        """Play in this context, going on with a session where one is given."""
        self._context = context
        self._script = script
        self._session_id = session_id

    def program(self) -> Program:
        """The player, on the interpreter that we run on."""
        return Program(
            argv=[sys.executable, "-I", "-S", str(_PLAYER)],
            timeout_seconds=self._context.timeout_seconds,
            watch=AGENT_WATCH,
            needs=(_PLAYER, *python_places()),
            has_input=True,
        )

    def begin(self) -> Step:
        """Hand the script over."""
        home, mcp = self._context.home, self._context.mcp
        tools = None
        if mcp is not None:
            tools = {"url": mcp.url, "headers": headers_for(mcp, MAX_WAIT_SECONDS)}
        start = {
            "type": "start",
            "script": self._script.plain(),
            "sessions": str(home / "sessions") if home else None,
            "resume": self._session_id,
            "tools": tools,
        }
        return Step(send=[json.dumps(start)])

    def on_line(self, line: str) -> Step:
        """One event of the player's."""
        told: dict[str, Any] = json.loads(line)
        event = _EVENTS[told["type"]](told)
        return Step(events=[event], ends_input=isinstance(event, Finished | Failed))

    def answer(self, question: RunQuestion, answer: RunAnswer) -> Step:
        """Tell it the answer."""
        told = {
            "type": "answer",
            "key": question.key,
            "decision": answer.decision.value,
            "text": answer.text,
            "choices": list(answer.choices),
        }
        return Step(send=[json.dumps(told)])

    def steer(self, text: str) -> Step | None:
        """Hand words over."""
        return Step(send=[json.dumps({"type": "message", "text": text})])

    def interrupt(self) -> Step | None:
        """Ask it to end."""
        return Step(send=[json.dumps({"type": "interrupt"})])

    def on_end(self, _end: ProgramEnd, /) -> Sequence[AgentEvent]:
        """Its last event, or none, says all."""
        return ()


def python_places() -> tuple[Path, ...]:
    """Where the interpreter is that we run on, for a sandbox that shows only the system's."""
    python = Path(sys.executable).resolve()
    places = dict.fromkeys((python.parent.parent, Path(sys.base_prefix).resolve()))
    return tuple(place for place in places if not place.is_relative_to("/usr"))


def _asked(told: dict[str, Any]) -> Asked:
    options = [QuestionOption(label=label) for label in told.get("options", ())]
    question = RunQuestion(
        key=told["key"],
        kind=QuestionKind(told["kind"]),
        text=told["text"],
        options=options,
        tool_name=told.get("tool"),
        tool_input=told.get("input"),
    )
    return Asked(question=question)


def _usage(told: dict[str, Any]) -> UsageTotals:
    counts = {name: value for name, value in told.items() if name not in {"type", "model"}}
    return UsageTotals(models={told["model"]: ModelUsage(**counts)})


def _failed(told: dict[str, Any]) -> Failed:
    return Failed(
        failure_class=FailureClass(told["failure_class"]),
        message=told["message"],
        retry_after_seconds=told["retry_after_seconds"],
    )


_EVENTS: dict[str, Callable[[dict[str, Any]], AgentEvent]] = {
    "session": lambda told: SessionStarted(session_id=told["session_id"], model=told["model"]),
    "text": lambda told: AssistantText(text=told["text"]),
    "thinking": lambda told: Thinking(text=told["text"]),
    "tool_call": lambda told: ToolCall(id=told["id"], name=told["name"], input=told["input"]),
    "tool_result": lambda told: ToolResult(
        id=told["id"], output=told["output"], is_error=told["is_error"]
    ),
    "question": _asked,
    "usage": _usage,
    "result": lambda told: Finished(text=told["text"]),
    "error": _failed,
}
