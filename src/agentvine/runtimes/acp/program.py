"""One run of an agent, from the handshake to the answer to its last prompt."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from agentvine import __version__
from agentvine.protocol.enums import FailureClass
from agentvine.runtimes import json_rpc as wire
from agentvine.runtimes.acp.asking import FormRequest, Pending, PermissionRequest
from agentvine.runtimes.acp.updates import Updates, usage_counts
from agentvine.runtimes.agent import NOTHING, ProgramEnd, Step
from agentvine.runtimes.asking import RunAnswer, RunQuestion
from agentvine.runtimes.base import McpAccess
from agentvine.runtimes.error_words import class_of, class_of_text
from agentvine.runtimes.events import (
    AgentEvent,
    Asked,
    Failed,
    Finished,
    ModelUsage,
    Notice,
    SessionStarted,
    UsageTotals,
    Withdrawn,
)
from agentvine.runtimes.json_rpc import Json
from agentvine.runtimes.own_tools import SERVER, headers_for
from agentvine.runtimes.runner import Program

_PROTOCOL_VERSION = 1
_MAX_DENIALS = 5
"""So often an agent that stops at a denial is told to go on without."""
_DENIED = (
    "You were not allowed to do that{why}. Go on with the task without it; if there is no way "
    "without it, say so and end."
)
_STOPS_AT_DENIALS = ("cancelled", "end_turn")
_GOES_ON = ("agent_message_chunk", "tool_call")
"""With these an agent shows that it goes on after a denial by itself."""
_STOPS = {
    "max_tokens": (FailureClass.CONTEXT_OVERFLOW, "The model's answer was cut off at its limit."),
    "max_turn_requests": (
        FailureClass.LIMIT_EXCEEDED,
        "The agent used up the number of requests that it allows itself.",
    ),
    "refusal": (FailureClass.COMMAND_FAILED, "The agent refused the task."),
    "cancelled": (
        FailureClass.PERMISSION_DENIED,
        "The agent stopped by itself, again and again, at what it was not allowed to do.",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPlan:
    """What the session is to be like."""

    cwd: str
    prompt: str
    resumed_prompt: str
    resume: str | None = None
    """The session to go on with."""
    mode: str | None = None
    """The agent's own mode in which it asks for permissions; None: the one it starts in."""
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    """Values for the agent's own settings of a session, as far as it has them."""
    model: str | None = None
    """Under which name what it uses is counted."""
    tells_usage: bool = True
    """Whether what it says that a prompt used is all that the prompt used."""
    shows_errors_as_text: bool = False
    """Whether it calls a failed prompt a success, and tells the error as a message without id."""
    mcp: McpAccess | None = None
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the session is begun with beside the protocol: an agent's own settings of it."""


class AcpProgram:
    """The translation of one run."""

    def __init__(self, program: Program, plan: SessionPlan) -> None:
        """Start with nothing said."""
        self._plan_to_start = program
        self._plan = plan
        self._updates = Updates()
        self._dialogue = wire.Dialogue(self._on_request, self._on_notification)
        self._pending: dict[int | str, Pending] = {}
        """The agent's requests that people are to answer."""
        self._asked: dict[str, Pending] = {}
        self._session_id = ""
        self._mcp_transports: Json = {}
        self._is_prompting = False
        self._has_worked = False
        """Whether the agent has said or done anything for a prompt of ours."""
        self._said: list[str] = []
        """Words of people's, for the next prompt."""
        self._why_denied: str | None = None
        self._denials = 0
        self._is_interrupted = False
        self._usage: dict[str, int] = {}

    def program(self) -> Program:
        """The agent, spoken to on its standard input."""
        return self._plan_to_start

    def begin(self) -> Step:
        """Shake hands.

        Neither files nor terminals are offered: the agent uses its own, which are where it is, in
        the run's sandbox, and end with the run.
        """
        about: Json = {
            "protocolVersion": _PROTOCOL_VERSION,
            "clientCapabilities": {
                "fs": {"readTextFile": False, "writeTextFile": False},
                "terminal": False,
                "elicitation": {"form": {}},
            },
            "clientInfo": {"name": "agentvine", "title": "AgentVine", "version": __version__},
        }
        return self._dialogue.ask("initialize", about, self._on_initialized)

    def on_line(self, line: str) -> Step:
        """One message."""
        return self._dialogue.take(line)

    def answer(self, question: RunQuestion, answer: RunAnswer) -> Step:
        """Answer the agent's request, when it needs no more answers."""
        pending = self._asked.pop(question.key, None)
        if pending is None or pending.number not in self._pending:
            return NOTHING
        events: list[AgentEvent] = []
        if isinstance(pending, PermissionRequest) and not answer.is_allowed:
            # The protocol has no place for the reason: should the agent stop there, it gets it.
            self._why_denied = f": {answer.text}" if answer.text else ""
            events += self._updates.deny(pending.call_id, answer.text or "It was not allowed.")
        line = pending.take(question.key, answer)
        if line is None:
            return NOTHING
        return Step(events=[*events, *self._withdraw(pending)], send=[line])

    def steer(self, text: str) -> Step | None:
        """Keep words for the next prompt, which follows the one that the agent works on."""
        if self._is_interrupted:
            return None
        self._said.append(text)
        return NOTHING

    def interrupt(self) -> Step | None:
        """Cancel the prompt, and answer all that waits for people, as the protocol wants it."""
        self._is_interrupted = True
        if not self._session_id:
            return None
        cancelled = wire.notification("session/cancel", {"sessionId": self._session_id})
        lines = [each.cancel() for each in self._pending.values()]
        self._pending.clear()
        return Step(send=[cancelled, *lines])

    def on_end(self, end: ProgramEnd) -> Sequence[AgentEvent]:
        """What was said last; a word about how it went can only have come before."""
        events = self._updates.flush()
        said = "\n".join(end.error_lines)
        if self._session_id or not said:
            return events
        # It did not come to a session: what it printed tells why.
        failure_class = class_of_text(said)
        if failure_class is FailureClass.AUTH_FAILED:
            last = end.error_lines[-1].strip()[:500]
            events = [*events, Failed(failure_class=failure_class, message=last)]
        return events

    # --- The handshake and the session

    def _on_initialized(self, message: Json) -> Step:
        if (error := wire.error_of(message)) is not None:
            return self._fail(class_of(error), error.text)
        result = cast("Json", message.get("result") or {})
        version = result.get("protocolVersion")
        if version != _PROTOCOL_VERSION:
            told = f"The agent speaks version {version} of the protocol; we speak version 1."
            return self._fail(FailureClass.RUNTIME_UNAVAILABLE, told)
        able = cast("Json", result.get("agentCapabilities") or {})
        self._mcp_transports = cast("Json", able.get("mcpCapabilities") or {})
        where: Json = {"cwd": self._plan.cwd, "mcpServers": self._mcp_servers()}
        if self._plan.meta:
            where["_meta"] = dict(self._plan.meta)
        if self._plan.resume is None:
            return self._dialogue.ask("session/new", where, self._on_session)
        can = cast("Json", able.get("sessionCapabilities") or {})
        known = {"sessionId": self._plan.resume, **where}
        if can.get("resume") is not None:
            return self._dialogue.ask("session/resume", known, self._on_resumed)
        if able.get("loadSession"):
            return self._dialogue.ask("session/load", known, self._on_resumed)
        told = "The agent cannot go on with an earlier session."
        return self._fail(FailureClass.RESUME_REFUSED, told)

    def _on_resumed(self, message: Json) -> Step:
        if (error := wire.error_of(message)) is not None:
            return self._fail(FailureClass.RESUME_REFUSED, error.text)
        assert self._plan.resume is not None, "it was asked to go on with one"
        return self._settle(self._plan.resume, self._plan.resumed_prompt, message)

    def _on_session(self, message: Json) -> Step:
        if (error := wire.error_of(message)) is not None:
            return self._fail(class_of(error), error.text)
        return self._settle(str(message["result"]["sessionId"]), self._plan.prompt, message)

    def _settle(self, session_id: str, prompt: str, message: Json) -> Step:
        """Make the session's settings, and give it the prompt."""
        self._session_id = session_id
        if self._is_interrupted:
            return self._fail(FailureClass.CANCELLED, "The run was ended before it began.")
        result = cast("Json", message.get("result") or {})
        lines = [*self._set_mode(result), *self._set_options(result)]
        step = self._prompt(prompt)
        model = self._plan.model or _current_model(result)
        events = [SessionStarted(session_id=session_id, model=model)]
        return Step(events=events, send=[*lines, *step.send])

    def _set_mode(self, result: Json) -> list[str]:
        mode, modes = self._plan.mode, cast("Json", result.get("modes") or {})
        offered = {each.get("id") for each in modes.get("availableModes") or ()}
        if mode is None or mode not in offered or modes.get("currentModeId") == mode:
            return []
        params = {"sessionId": self._session_id, "modeId": mode}
        return list(self._dialogue.ask("session/set_mode", params, self._on_set("its mode")).send)

    def _set_options(self, result: Json) -> list[str]:
        lines: list[str] = []
        for each in cast("list[Json]", result.get("configOptions") or []):
            wanted = self._plan.options.get(str(each.get("id")))
            if wanted is None or each.get("currentValue") == wanted:
                continue
            params = {"sessionId": self._session_id, "configId": each["id"], "value": wanted}
            react = self._on_set(f"{each['id']} to {wanted}")
            lines += self._dialogue.ask("session/set_config_option", params, react).send
        return lines

    def _on_set(self, what: str) -> Callable[[Json], Step]:
        def react(message: Json) -> Step:
            error = wire.error_of(message)
            if error is None:
                return NOTHING
            return Step(events=[Notice(text=f"The agent did not set {what}: {error.text}")])

        return react

    def _mcp_servers(self) -> list[Json]:
        mcp = self._plan.mcp
        if mcp is None or not self._mcp_transports.get("http"):
            return []
        headers = [{"name": name, "value": value} for name, value in headers_for(mcp).items()]
        return [{"type": "http", "name": SERVER, "url": mcp.url, "headers": headers}]

    # --- Prompts

    def _prompt(self, text: str) -> Step:
        self._is_prompting = True
        prompt = [{"type": "text", "text": text}]
        params = {"sessionId": self._session_id, "prompt": prompt}
        return self._dialogue.ask("session/prompt", params, self._on_prompted)

    def _on_prompted(self, message: Json) -> Step:
        self._is_prompting = False
        events = [*self._updates.flush(), *self._withdraw_all()]
        error = wire.error_of(message)
        if error is not None:
            failure_class = class_of(error)
            is_at_once = self._plan.resume is not None and not self._has_worked
            if is_at_once and failure_class is FailureClass.CRASHED:
                # opencode takes up a session whose folder is gone, and fails at its first prompt.
                failure_class = FailureClass.RESUME_REFUSED
            return self._fail(failure_class, error.text, before=events)
        result = cast("Json", message.get("result") or {})
        events += self._count(result)
        reason = str(result.get("stopReason"))
        if self._is_interrupted:
            return self._fail(FailureClass.CANCELLED, "The agent was interrupted.", before=events)
        if reason in _STOPS_AT_DENIALS and (text := self._go_on_without()) is not None:
            return Step(events=events, send=self._prompt(text).send)
        if reason == "end_turn":
            return self._finish(events)
        failure_class, told = _STOPS.get(
            reason, (FailureClass.CRASHED, f"The agent stopped, and says: {reason}.")
        )
        return self._fail(failure_class, told, before=events)

    def _finish(self, events: Sequence[AgentEvent]) -> Step:
        if self._said:
            said, self._said = "\n\n".join(self._said), []
            return Step(events=events, send=self._prompt(said).send)
        text = self._updates.last_text
        if self._plan.shows_errors_as_text and self._updates.is_last_anonymous and text:
            failure_class = class_of_text(text) or FailureClass.CRASHED
            return self._fail(failure_class, text, before=events)
        return Step(events=[*events, Finished(text=text)], ends_input=True)

    def _go_on_without(self) -> str | None:
        """What to say to an agent that stopped because something was denied; None: it did not."""
        if self._why_denied is None or self._denials >= _MAX_DENIALS:
            return None
        why, self._why_denied = self._why_denied, None
        self._denials += 1
        return _DENIED.format(why=why)

    def _count(self, result: Json) -> list[AgentEvent]:
        counts = usage_counts(result) if self._plan.tells_usage else None
        if counts is None:
            return []
        for name, count in counts.items():
            self._usage[name] = self._usage.get(name, 0) + count
        usage = ModelUsage(**self._usage, cost_usd=self._updates.cost_usd)
        return [UsageTotals(models={self._plan.model or "unknown": usage})]

    def _fail(
        self, failure_class: FailureClass, message: str, *, before: Sequence[AgentEvent] = ()
    ) -> Step:
        failed = Failed(failure_class=failure_class, message=message)
        return Step(events=[*before, failed], ends_input=True)

    # --- What the agent says and asks

    def _on_notification(self, method: str, params: Json) -> Step:
        if method == "$/cancel_request":
            pending = self._pending.pop(params.get("requestId", ""), None)
            return Step(events=self._withdraw(pending) if pending is not None else ())
        if method != "session/update" or not self._is_prompting:
            # A session that is loaded tells all that was said in it.
            return NOTHING
        update = cast("Json", params["update"])
        if update.get("sessionUpdate") in _GOES_ON:
            self._why_denied = None
            self._has_worked = True
        return Step(events=self._updates.take(update))

    def _on_request(self, number: int | str, method: str, params: Json) -> Step:
        if self._is_interrupted or not self._is_prompting:
            return self._refuse(number, method)
        match method:
            case "session/request_permission":
                told = cast("Json", params["toolCall"])
                call = self._updates.call(told)
                events = [*self._updates.flush(), *self._updates.tell_call(told)]
                return self._ask(PermissionRequest(number, params, call), events)
            case "elicitation/create" if params.get("mode", "form") == "form":
                form = FormRequest(number, params)
                if form.questions:
                    return self._ask(form, self._updates.flush())
                return Step(send=[wire.answer(number, {"action": "accept", "content": {}})])
            case _:
                return self._refuse(number, method)

    def _ask(self, pending: Pending, events: Sequence[AgentEvent]) -> Step:
        self._pending[pending.number] = pending
        for question in pending.questions:
            self._asked[question.key] = pending
        return Step(events=[*events, *(Asked(question=each) for each in pending.questions)])

    def _refuse(self, number: int | str, method: str) -> Step:
        if method == "session/request_permission":
            cancelled = {"outcome": {"outcome": "cancelled"}}
            return Step(send=[wire.answer(number, cancelled)])
        if method == "elicitation/create":
            return Step(send=[wire.answer(number, {"action": "cancel"})])
        told = f"{method} is not offered"
        return Step(send=[wire.refusal(number, wire.METHOD_NOT_FOUND, told)])

    def _withdraw(self, pending: Pending) -> list[AgentEvent]:
        """Forget a request; whatever was asked for it and is open is not wanted any more."""
        self._pending.pop(pending.number, None)
        keys = [key for key, other in self._asked.items() if other is pending]
        for key in keys:
            del self._asked[key]
        return [Withdrawn(key=key) for key in keys]

    def _withdraw_all(self) -> list[AgentEvent]:
        """A prompt that has ended waits for nobody."""
        return [event for each in [*self._pending.values()] for event in self._withdraw(each)]


def _current_model(result: Json) -> str | None:
    for each in cast("list[Json]", result.get("configOptions") or []):
        if each.get("id") == "model":
            return str(each.get("currentValue"))
    models = cast("Json", result.get("models") or {})
    current: Any = models.get("currentModelId")
    return str(current) if current else None
