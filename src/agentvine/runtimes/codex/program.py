"""One run of Codex's app server: a thread, its turns, and all that is said and asked in them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from agentvine import __version__
from agentvine.protocol.enums import FailureClass
from agentvine.runtimes import json_rpc as rpc
from agentvine.runtimes.agent import NOTHING, ProgramEnd, Step
from agentvine.runtimes.asking import RunAnswer, RunQuestion
from agentvine.runtimes.codex import items
from agentvine.runtimes.codex.asking import Request, request_of
from agentvine.runtimes.error_words import class_of, class_of_text
from agentvine.runtimes.events import (
    AgentEvent,
    Asked,
    Failed,
    Finished,
    Notice,
    SessionStarted,
    UsageTotals,
    Withdrawn,
)
from agentvine.runtimes.json_rpc import Json
from agentvine.runtimes.runner import Program

_DENIED = (
    "You were not allowed to do that: {why} Go on with the task without it; if there is no way "
    "without it, say so and end."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadPlan:
    """What the thread is to be like."""

    cwd: str
    prompt: str
    approval_policy: str
    sandbox: str
    instructions: str
    model: str | None = None
    resume: str | None = None
    """The thread to go on with."""


class CodexProgram:
    """The translation of one run."""

    def __init__(self, program: Program, plan: ThreadPlan) -> None:
        """Start with nothing said."""
        self._program = program
        self._plan = plan
        self._dialogue = rpc.Dialogue(self._on_request, self._on_notification)
        self._thread_id = ""
        self._model = plan.model or "unknown"
        self._turn_id: str | None = None
        """Of the turn that runs."""
        self._turns: set[str] = set()
        self._said: list[str] = []
        """Words of people's, for the next turn."""
        self._items: dict[str, Json] = {}
        self._told: set[str] = set()
        """The steps of which the call was told."""
        self._requests: dict[int | str, Request] = {}
        self._asked: dict[str, Request] = {}
        self._before: dict[str, int] | None = None
        """What the thread had used before this run."""
        self._last_text = ""
        self._resets_at: datetime | None = None
        self._is_interrupted = False
        self._acts: dict[str, Callable[[Json], Step]] = {
            "turn/started": lambda told: self._begin_turn(str(told["turn"]["id"])),
            "turn/completed": lambda told: self._on_turn_end(cast("Json", told["turn"])),
            "item/started": lambda told: Step(events=self._on_started(told["item"])),
            "item/completed": lambda told: Step(events=self._on_completed(told["item"])),
            "thread/tokenUsage/updated": lambda told: Step(events=self._count(told)),
            "account/rateLimits/updated": lambda told: self._on_limits(told["rateLimits"]),
            "serverRequest/resolved": self._on_resolved,
            "error": self._on_error,
            "warning": self._on_warning,
            "configWarning": self._on_warning,
        }

    def program(self) -> Program:
        """The app server, spoken to on its standard input."""
        return self._program

    def begin(self) -> Step:
        """Shake hands."""
        about: Json = {
            "clientInfo": {"name": "agentvine", "title": "AgentVine", "version": __version__},
            "capabilities": {"experimentalApi": False},
        }
        return self._dialogue.ask("initialize", about, self._on_initialized)

    def on_line(self, line: str) -> Step:
        """One message."""
        return self._dialogue.take(line)

    def answer(self, question: RunQuestion, answer: RunAnswer) -> Step:
        """Answer its request, when it needs no more answers."""
        request = self._asked.pop(question.key, None)
        if request is None:
            return NOTHING
        line = request.take(question.key, answer)
        if line is None:
            return NOTHING
        events = self._forget(request)
        is_denied = not request.asked and not answer.is_allowed
        # A denial has no place for its reason: that is said to it.
        told = _DENIED.format(why=answer.text)
        more = self._tell(told, is_kept=False) if is_denied and answer.text else ()
        return Step(events=events, send=[line, *more])

    def steer(self, text: str) -> Step | None:
        """Say something to the turn that runs; where none does, it begins the next."""
        if self._is_interrupted:
            return None
        return Step(send=self._tell(text, is_kept=True))

    def interrupt(self) -> Step | None:
        """End the turn."""
        self._is_interrupted = True
        if self._turn_id is None:
            return None
        where = {"threadId": self._thread_id, "turnId": self._turn_id}
        return self._dialogue.ask("turn/interrupt", where, lambda _: NOTHING)

    def on_end(self, end: ProgramEnd, /) -> Sequence[AgentEvent]:
        """Where it did not come to a thread, what it printed tells why."""
        said = "\n".join(end.error_lines)
        found = class_of_text(said) if not self._thread_id else None
        if found is not FailureClass.AUTH_FAILED:
            return ()
        return [Failed(failure_class=found, message=end.error_lines[-1].strip()[:500])]

    # --- The handshake, the thread and its turns

    def _on_initialized(self, message: Json) -> Step:
        if (error := rpc.error_of(message)) is not None:
            return self._fail(FailureClass.RUNTIME_UNAVAILABLE, error.text)
        plan = self._plan
        about: Json = {
            "cwd": plan.cwd,
            "approvalPolicy": plan.approval_policy,
            "approvalsReviewer": "user",
            "sandbox": plan.sandbox,
        }
        if plan.model:
            about["model"] = plan.model
        if plan.instructions:
            about["developerInstructions"] = plan.instructions
        hello = rpc.notification("initialized", {})
        if plan.resume is None:
            step = self._dialogue.ask("thread/start", about, self._on_thread)
        else:
            known = {"threadId": plan.resume, **about}
            step = self._dialogue.ask("thread/resume", known, self._on_resumed)
        return Step(send=[hello, *step.send])

    def _on_resumed(self, message: Json) -> Step:
        if (error := rpc.error_of(message)) is not None:
            return self._fail(FailureClass.RESUME_REFUSED, error.text)
        return self._on_thread(message)

    def _on_thread(self, message: Json) -> Step:
        if (error := rpc.error_of(message)) is not None:
            return self._fail(class_of(error), error.text)
        result = cast("Json", message["result"])
        self._thread_id = str(result["thread"]["id"])
        self._model = str(result.get("model") or self._model)
        if self._is_interrupted:
            return self._fail(FailureClass.CANCELLED, "The run was ended before it began.")
        session = SessionStarted(session_id=self._thread_id, model=self._model)
        return Step(events=[session], send=self._turn(self._plan.prompt))

    def _turn(self, text: str) -> Sequence[str]:
        about = {"threadId": self._thread_id, "input": [_text(text)]}
        return self._dialogue.ask("turn/start", about, self._on_turn).send

    def _on_turn(self, message: Json) -> Step:
        if (error := rpc.error_of(message)) is not None:
            return self._fail(class_of(error), error.text)
        return self._begin_turn(str(message["result"]["turn"]["id"]))

    def _begin_turn(self, turn_id: str) -> Step:
        if turn_id not in self._turns:
            self._turns.add(turn_id)
            self._turn_id = turn_id
            if self._is_interrupted:
                return self.interrupt() or NOTHING
            if self._said:
                # Said while it was about to begin.
                said, self._said = "\n\n".join(self._said), []
                return Step(send=self._tell(said, is_kept=True))
        return NOTHING

    def _on_turn_end(self, turn: Json) -> Step:
        self._turn_id = None
        events = self._forget_all()
        match turn.get("status"):
            case "completed" if self._said and not self._is_interrupted:
                said, self._said = "\n\n".join(self._said), []
                return Step(events=events, send=self._turn(said))
            case "completed":
                return Step(events=[*events, Finished(text=self._last_text)], ends_input=True)
            case "interrupted":
                return self._fail(FailureClass.CANCELLED, "It was interrupted.", before=events)
            case _:
                error = cast("Json", turn.get("error") or {})
                failed = items.failure_of(error, self._resets_at)
                return Step(events=[*events, failed], ends_input=True)

    def _tell(self, text: str, *, is_kept: bool) -> Sequence[str]:
        if self._turn_id is None:
            if is_kept:
                self._said.append(text)
            return ()

        def react(message: Json) -> Step:
            if rpc.error_of(message) is None or not is_kept:
                return NOTHING
            # The turn had ended meanwhile, or takes no words: the next one does.
            if self._turn_id is None and not self._is_interrupted:
                return Step(send=self._turn(text))
            self._said.append(text)
            return NOTHING

        about = {
            "threadId": self._thread_id,
            "expectedTurnId": self._turn_id,
            "input": [_text(text)],
        }
        return self._dialogue.ask("turn/steer", about, react).send

    # --- What it says and asks

    def _on_notification(self, method: str, params: Json) -> Step:
        if params.get("threadId") not in {None, self._thread_id}:
            # A helper's of its own.
            return NOTHING
        act = self._acts.get(method)
        return NOTHING if act is None else act(params)

    def _on_resolved(self, params: Json) -> Step:
        request = self._requests.get(params["requestId"])
        return Step(events=self._forget(request) if request is not None else ())

    def _on_error(self, params: Json) -> Step:
        if not params.get("willRetry"):
            # The turn's end tells it.
            return NOTHING
        message = cast("Json", params["error"]).get("message")
        return Step(events=[Notice(text=f"It asks its provider again: {message}")])

    def _on_warning(self, params: Json) -> Step:
        text = params.get("message") or params.get("summary")
        return Step(events=[Notice(text=str(text))]) if text else NOTHING

    def _on_started(self, item: Json) -> list[AgentEvent]:
        key = str(item["id"])
        self._items[key] = item
        return self._tell_call(key, item)

    def _tell_call(self, key: str, item: Json) -> list[AgentEvent]:
        if key in self._told:
            return []
        self._told.add(key)
        return items.started(item, self._plan.cwd)

    def _on_completed(self, item: Json) -> list[AgentEvent]:
        key = str(item["id"])
        self._items.pop(key, None)
        if item.get("type") == "agentMessage":
            self._last_text = str(item.get("text") or "").strip() or self._last_text
        return [*self._tell_call(key, item), *items.completed(item)]

    def _count(self, params: Json) -> list[AgentEvent]:
        if params.get("turnId") not in self._turns:
            # Of a turn of an earlier run, told again.
            return []
        usage = cast("Json", params["tokenUsage"])
        total = items.counts_of(cast("Json", usage["total"]))
        if self._before is None:
            last = items.counts_of(cast("Json", usage["last"]))
            is_new = self._plan.resume is None
            self._before = {name: 0 if is_new else total[name] - last[name] for name in total}
        used = {name: count - self._before[name] for name, count in total.items()}
        return [UsageTotals(models={self._model: items.usage_of(used)})]

    def _on_limits(self, told: Json) -> Step:
        notice = items.limit_of(told)
        if notice is None:
            return NOTHING
        self._resets_at = notice.resets_at
        return Step(events=[notice])

    def _on_request(self, number: int | str, method: str, params: Json) -> Step:
        item = self._items.get(str(params.get("itemId")), {})
        request = request_of(number, method, params, item, self._plan.cwd)
        if method == "mcpServer/elicitation/request":
            return Step(send=[rpc.answer(number, {"action": "decline"})])
        if request is None:
            return Step(send=[rpc.refusal(number, rpc.METHOD_NOT_FOUND, f"{method}: not offered")])
        if self._is_interrupted:
            return Step(send=[rpc.answer(number, request.denied or {"answers": {}})])
        self._requests[number] = request
        for question in request.questions:
            self._asked[question.key] = request
        return Step(events=[Asked(question=question) for question in request.questions])

    def _forget(self, request: Request) -> list[AgentEvent]:
        """Forget a request; whatever was asked for it and is open is not wanted any more."""
        self._requests.pop(request.number, None)
        keys = [key for key, other in self._asked.items() if other is request]
        for key in keys:
            del self._asked[key]
        # What was asked of a run that is to end stays open: its answer may be for the next one.
        return [] if self._is_interrupted else [Withdrawn(key=key) for key in keys]

    def _forget_all(self) -> list[AgentEvent]:
        return [event for each in [*self._requests.values()] for event in self._forget(each)]

    def _fail(
        self, failure_class: FailureClass, message: str, *, before: Sequence[AgentEvent] = ()
    ) -> Step:
        failed = Failed(failure_class=failure_class, message=message)
        return Step(events=[*before, failed], ends_input=True)


def _text(text: str) -> Json:
    return {"type": "text", "text": text}
