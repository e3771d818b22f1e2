"""The runtime of mini-swe-agent."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from agentvine.protocol.enums import FailureClass
from agentvine.runtimes.agent import AGENT_WATCH, ProgramEnd, run_agent
from agentvine.runtimes.base import LoginState, RunContext, RunOutcome, RuntimeInfo
from agentvine.runtimes.detection import detect_program, places_of, require_program
from agentvine.runtimes.error_words import class_of_text
from agentvine.runtimes.events import (
    AgentEvent,
    AssistantText,
    Failed,
    Finished,
    ModelUsage,
    ToolCall,
    ToolResult,
    UsageTotals,
)
from agentvine.runtimes.logins import MINI_LOGIN, no_way_to_a_model
from agentvine.runtimes.model_choice import require_model
from agentvine.runtimes.one_shot.program import OneShotProgram, library_access
from agentvine.runtimes.pins import MINI_SWE_AGENT
from agentvine.runtimes.resuming import prompt_of
from agentvine.runtimes.runner import Program

_SUBMITTED = "Submitted"
_STEP = re.compile(r"^mini-swe-agent \(step \d+")
_STEP_ENDS = re.compile(r"^(Tool:|Exit:|User:|─{10})")
_MAX_TASK = 120_000
"""Of its task: one argument of a program may not be longer than 128 KiB."""


class MiniSweAgentRuntime:
    """mini-swe-agent."""

    name = "mini-swe-agent"
    is_agent = True
    uses_models = True

    async def detect(self) -> RuntimeInfo:
        """Look for `mini`, and whether the worker has a key for it."""
        return await detect_program(self.name, MINI_SWE_AGENT, MINI_LOGIN, is_driven=False)

    async def run(self, context: RunContext) -> RunOutcome:
        """Do the task.

        Raises:
            AgentProgramMissing: `mini` is not here.
            ModelNotNamed: It has to be told a model.
        """
        found = require_program(MINI_SWE_AGENT)
        if context.models is None and MINI_LOGIN.state() is LoginState.MISSING:
            return no_way_to_a_model(context, MINI_LOGIN)
        model = require_model(context, "mini-swe-agent")
        assert context.home is not None, "an agent's run has a home"
        told = context.home / "trajectory.json"
        await asyncio.to_thread(told.unlink, missing_ok=True)
        access = library_access(context, MINI_LOGIN, model)
        task = prompt_of(context, is_resumed=False).encode()[:_MAX_TASK].decode(errors="ignore")
        argv = [str(found), "-y", "--exit-immediately", "-m", access.model, "-o", str(told)]
        environment = {
            **access.environment,
            "HOME": str(context.home),
            "MSWEA_CONFIGURED": "true",
            "MSWEA_SILENT_STARTUP": "1",
            "MSWEA_COST_TRACKING": "ignore_errors",
            "MSWEA_GLOBAL_CONFIG_DIR": str(context.home / "mini"),
            # It asks again, and waits, also where the budget is used up.
            "MSWEA_MODEL_RETRY_STOP_AFTER_ATTEMPT": "2" if context.models is None else "1",
        }
        program = Program(
            argv=[*argv, "-t", task],
            timeout_seconds=context.timeout_seconds,
            extra_environment=environment,
            watch=AGENT_WATCH,
            needs=places_of(found),
        )
        return await run_agent(context, OneShotProgram(program, MiniReader(told, model)))


@dataclass(slots=True)
class MiniReader:
    """Shows what it says while it works; its file tells how that went, step by step."""

    told: Path
    model: str
    _step: list[str] | None = None
    _lines: list[str] = field(default_factory=list[str])

    def on_line(self, line: str) -> Sequence[AgentEvent]:
        """The text of a step is shown when it is complete."""
        if self._step is not None and _STEP_ENDS.match(line):
            text, self._step = "\n".join(self._step).strip(), None
            return [AssistantText(text=text)] if text else []
        if _STEP.match(line):
            self._step = []
        elif self._step is not None:
            self._step.append(line)
        return []

    def on_end(self, end: ProgramEnd) -> Sequence[AgentEvent]:
        """The tools that it used, what it used of the model, and its last word."""
        messages = self._read()
        events: list[AgentEvent] = []
        for message in messages:
            events += _tools_of(message)
        if (usage := _usage_of(messages)) is not None:
            events.append(UsageTotals(models={self.model: usage}))
        last: Mapping[str, Any] = messages[-1] if messages else {}
        if last.get("role") != "exit":
            # It came to no end of its own: what it printed may tell why.
            said = "\n".join(end.error_lines)
            found = class_of_text(said) if end.exited.exit_code else None
            if found is not None:
                events.append(Failed(failure_class=found, message=said[-1000:]))
            return events
        extra = cast("Mapping[str, Any]", last.get("extra") or {})
        status = str(extra.get("exit_status") or "")
        text = str(last.get("content") or "").strip()
        if status == _SUBMITTED:
            return [*events, Finished(text=text)]
        message = text or f"It ended with {status}."
        failure_class = class_of_text(message) or _CLASSES.get(status, FailureClass.CRASHED)
        return [*events, Failed(failure_class=failure_class, message=message[:1000])]

    def _read(self) -> list[Mapping[str, Any]]:
        with suppress(OSError, ValueError, KeyError, TypeError):
            return cast("list[Mapping[str, Any]]", json.loads(self.told.read_bytes())["messages"])
        return []


_CLASSES = {
    "LimitsExceeded": FailureClass.LIMIT_EXCEEDED,
    "RepeatedFormatError": FailureClass.TOOL_FAILED,
    "ContextWindowExceededError": FailureClass.CONTEXT_OVERFLOW,
    "AuthenticationError": FailureClass.AUTH_FAILED,
    "RateLimitError": FailureClass.RATE_LIMITED,
    "NotFoundError": FailureClass.MODEL_INVALID,
}


def _tools_of(message: Mapping[str, Any]) -> list[AgentEvent]:
    extra = cast("Mapping[str, Any]", message.get("extra") or {})
    if message.get("role") == "assistant":
        return [
            ToolCall(
                id=str(each.get("tool_call_id")),
                name="bash",
                input={"command": each.get("command")},
            )
            for each in extra.get("actions") or ()
        ]
    if message.get("role") != "tool":
        return []
    result = ToolResult(
        id=str(message.get("tool_call_id")),
        output=str(extra.get("raw_output") or ""),
        is_error=bool(extra.get("returncode")),
    )
    return [result]


def _usage_of(messages: Sequence[Mapping[str, Any]]) -> ModelUsage | None:
    """The sum of what its calls' answers said, in the words of OpenAI."""
    total, is_told = ModelUsage(), False
    for message in messages:
        extra = cast("Mapping[str, Any]", message.get("extra") or {})
        response = cast("Mapping[str, Any]", extra.get("response") or {})
        usage = cast("Mapping[str, Any]", response.get("usage") or {})
        if not usage:
            continue
        is_told = True
        inside = cast("Mapping[str, Any]", usage.get("prompt_tokens_details") or {})
        outside = cast("Mapping[str, Any]", usage.get("completion_tokens_details") or {})
        cached = int(inside.get("cached_tokens") or 0)
        total = ModelUsage(
            input_tokens=total.input_tokens + int(usage.get("prompt_tokens") or 0) - cached,
            output_tokens=total.output_tokens + int(usage.get("completion_tokens") or 0),
            cache_read_tokens=total.cache_read_tokens + cached,
            reasoning_tokens=total.reasoning_tokens + int(outside.get("reasoning_tokens") or 0),
        )
    return total if is_told else None
