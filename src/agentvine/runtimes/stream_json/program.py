"""The translation between Claude Code's lines (stream-json and its control protocol) and ours."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agentvine.protocol.questions import AnswerDecision, QuestionKind, QuestionOption
from agentvine.runtimes.agent import NOTHING, ProgramEnd, Step
from agentvine.runtimes.asking import RunAnswer, RunQuestion
from agentvine.runtimes.events import (
    AgentEvent,
    Asked,
    AssistantText,
    Failed,
    Finished,
    LimitNotice,
    ModelUsage,
    Notice,
    SessionStarted,
    Thinking,
    ToolCall,
    ToolResult,
    UsageTotals,
    Withdrawn,
)
from agentvine.runtimes.runner import Program
from agentvine.runtimes.stream_json.failures import failure_of_result, failure_of_words

_BACKGROUND = "Run it in the foreground: what runs in the background is ended with the run."
_NO_ANSWER = "Nobody answered; go on with your best judgement."


@dataclass(slots=True)
class _Request:
    """A tool that waits for a word of ours."""

    id: str
    tool_id: str
    name: str
    input: Mapping[str, Any]
    answers: dict[str, str] = field(default_factory=dict[str, str])
    open: dict[str, str] = field(default_factory=dict[str, str])
    """Questions that wait, by key, with their text."""


class StreamJsonProgram:
    """One run of such a program."""

    def __init__(self, plan: Program, prompt: str, *, resumes: bool, is_qwen: bool = False) -> None:
        """Start this, and say this first.

        Args:
            plan: What to start.
            prompt: The first words.
            resumes: Whether it goes on with an earlier session, whose totals it then tells, too.
            is_qwen: It wants to be greeted before it is told anything, and counts what came from
                a cache among its input.
        """
        self._plan = plan
        self._prompt = prompt
        self._resumes = resumes
        self._is_qwen = is_qwen
        self._model: str | None = None
        self._session: tuple[str, str | None] | None = None
        self._untold = 0
        """Words of a person's that it was sent, and has not taken up."""
        self._requests: dict[str, _Request] = {}
        self._by_key: dict[str, str] = {}
        self._resets_at: datetime | None = None
        self._usage = ModelUsage()
        self._denied: set[str] = set()
        self._has_ended = False
        self._acts: dict[str, Callable[[Mapping[str, Any]], Step]] = {
            "system": self._on_system,
            "assistant": self._on_assistant,
            "user": self._on_user,
            "rate_limit_event": self._on_limit,
            "result": self._on_result,
            "control_request": self._on_request,
            "control_response": self._on_response,
            "control_cancel_request": self._on_cancel,
        }

    def program(self) -> Program:
        """What to start."""
        return self._plan

    def begin(self) -> Step:
        """Hand the task over."""
        if self._is_qwen:
            return Step(send=[_control("hello", {"subtype": "initialize"})])
        return Step(send=[_user(self._prompt)])

    def on_line(self, line: str) -> Step:
        """One line of its own."""
        told = json.loads(line)
        act = self._acts.get(str(told.get("type")))
        return NOTHING if act is None else act(told)

    def answer(self, question: RunQuestion, answer: RunAnswer) -> Step:
        """Tell it the answer; several questions of one request are answered together."""
        request = self._requests.get(self._by_key.pop(question.key, ""))
        if request is None:
            return NOTHING
        text = request.open.pop(question.key, None)
        if text is not None:
            is_answered = answer.decision is AnswerDecision.ANSWER or answer.is_allowed
            words = ", ".join(answer.choices) or answer.text
            request.answers[text] = words if is_answered and words else answer.text or _NO_ANSWER
            if request.open:
                return NOTHING
            updated = {**request.input, "answers": request.answers}
            return self._reply(request, {"behavior": "allow", "updatedInput": updated})
        if answer.is_allowed:
            updated = dict(answer.updated_input or request.input)
            return self._reply(request, {"behavior": "allow", "updatedInput": updated})
        return self._deny(request, answer.text or "This was not allowed.")

    def steer(self, text: str) -> Step | None:
        """Put words in its queue; it takes them up between two steps, or after its answer."""
        if self._session is None:
            return None
        self._untold += 1
        return Step(send=[_user(text)])

    def interrupt(self) -> Step | None:
        """Ask it to end."""
        return Step(send=[_control("interrupt", {"subtype": "interrupt"})])

    def on_end(self, end: ProgramEnd, /) -> Sequence[AgentEvent]:
        """What standard error says, where no last event came."""
        text = "\n".join(end.error_lines)
        found = None if self._has_ended else failure_of_words(text)
        return [Failed(failure_class=found, message=text[-1000:])] if found else []

    def _on_system(self, told: Mapping[str, Any]) -> Step:
        match told.get("subtype"):
            case "init":
                self._model = told.get("model") or self._model
                seen = (str(told["session_id"]), self._model)
                if seen == self._session:
                    return NOTHING
                self._session = seen
                return Step(events=[SessionStarted(session_id=seen[0], model=seen[1])])
            case "api_retry" | "retry":
                return Step(events=[Notice(text=f"It asks its provider again: {_why(told)}")])
            case "permission_denied":
                self._denied.add(str(told.get("tool_use_id")))
            case _:
                pass
        return NOTHING

    def _on_assistant(self, told: Mapping[str, Any]) -> Step:
        events: list[AgentEvent] = []
        for block in told["message"]["content"]:
            match block.get("type"):
                case "text" if block["text"].strip():
                    events.append(AssistantText(text=block["text"]))
                case "thinking" if block.get("thinking"):
                    events.append(Thinking(text=block["thinking"]))
                case "tool_use":
                    events.append(
                        ToolCall(id=block["id"], name=block["name"], input=block["input"])
                    )
                case _:
                    pass
        return Step(events=events)

    def _on_user(self, told: Mapping[str, Any]) -> Step:
        content = told["message"]["content"]
        if told.get("isReplay"):
            self._untold = max(self._untold - 1, 0)
            return NOTHING
        if isinstance(content, str):
            return NOTHING
        results = [block for block in content if block.get("type") == "tool_result"]
        return Step(events=[self._result_of(block) for block in results])

    def _result_of(self, block: Mapping[str, Any]) -> ToolResult:
        key = str(block["tool_use_id"])
        return ToolResult(
            id=key,
            output=_text_of(block.get("content")),
            is_error=bool(block.get("is_error")),
            is_denied=key in self._denied,
        )

    def _on_limit(self, told: Mapping[str, Any]) -> Step:
        info = told.get("rate_limit_info") or told
        is_reached = info.get("status") == "rejected"
        at = info.get("resetsAt")
        resets_at = datetime.fromtimestamp(at, UTC) if isinstance(at, int | float) else None
        if is_reached:
            self._resets_at = resets_at
        elif info.get("status") == "allowed":
            return NOTHING
        text = f"The limit {info.get('rateLimitType') or ''} is {info.get('status')}."
        return Step(events=[LimitNotice(text=text, is_reached=is_reached, resets_at=resets_at)])

    def _on_result(self, told: Mapping[str, Any]) -> Step:
        events: list[AgentEvent] = []
        if (usage := self._usage_of(told)) is not None:
            events.append(usage)
        failed = failure_of_result(told, self._resets_at)
        if failed is None and self._untold:
            # What a person said meanwhile is its next turn.
            self._untold -= 1
            return Step(events=events)
        self._has_ended = True
        events.append(failed or Finished(text=str(told.get("result") or "")))
        return Step(events=events, ends_input=True)

    def _usage_of(self, told: Mapping[str, Any]) -> UsageTotals | None:
        by_model = told.get("modelUsage")
        if by_model and not self._resumes:
            return UsageTotals(models={name: _counted(each) for name, each in by_model.items()})
        usage = told.get("usage")
        if not usage:
            return None
        # Of this turn alone, where the totals by model are those of the whole session.
        before, new = self._usage, _spent(usage, has_cached=self._is_qwen)
        self._usage = ModelUsage(
            input_tokens=before.input_tokens + new.input_tokens,
            output_tokens=before.output_tokens + new.output_tokens,
            cache_read_tokens=before.cache_read_tokens + new.cache_read_tokens,
            cache_write_tokens=before.cache_write_tokens + new.cache_write_tokens,
        )
        return UsageTotals(models={self._model or "unknown": self._usage})

    def _on_request(self, told: Mapping[str, Any]) -> Step:
        asked = told["request"]
        if asked.get("subtype") != "can_use_tool":
            return Step(send=[_response(told["request_id"], None)])
        key = str(asked.get("tool_use_id") or told["request_id"])[:180]
        request = _Request(
            str(told["request_id"]), key, asked["tool_name"], asked.get("input") or {}
        )
        self._requests[request.id] = request
        if request.input.get("run_in_background"):
            return self._deny(request, _BACKGROUND)
        questions = self._questions_of(request, key)
        for question in questions:
            self._by_key[question.key] = request.id
        return Step(events=[Asked(question=question) for question in questions])

    def _questions_of(self, request: _Request, key: str) -> list[RunQuestion]:
        if request.name in {"AskUserQuestion", "ask_user_question"}:
            found: list[RunQuestion] = []
            for number, each in enumerate(request.input["questions"]):
                inner = f"{key}-{number}"
                request.open[inner] = each["question"]
                found.append(_question(inner, each))
            return found
        if request.name in {"ExitPlanMode", "exit_plan_mode"}:
            text = str(request.input.get("plan") or "The agent has a plan.")
            return [RunQuestion(key=key, kind=QuestionKind.PLAN, text=text)]
        return [
            RunQuestion(
                key=key,
                kind=QuestionKind.PERMISSION,
                text=f"May {request.name} be used?",
                tool_name=request.name,
                tool_input=request.input,
            )
        ]

    def _on_cancel(self, told: Mapping[str, Any]) -> Step:
        request_id = told.get("request_id")
        keys = [key for key, owner in self._by_key.items() if owner == request_id]
        for key in keys:
            del self._by_key[key]
        self._requests.pop(str(request_id), None)
        return Step(events=[Withdrawn(key=key) for key in keys])

    def _on_response(self, told: Mapping[str, Any]) -> Step:
        response: Mapping[str, Any] = told["response"]
        if response.get("request_id") == "hello":
            return Step(send=[_user(self._prompt)])
        return NOTHING

    def _deny(self, request: _Request, message: str) -> Step:
        self._denied.add(request.tool_id)
        return self._reply(request, {"behavior": "deny", "message": message})

    def _reply(self, request: _Request, said: Mapping[str, Any]) -> Step:
        self._requests.pop(request.id, None)
        return Step(send=[_response(request.id, said)])


def _question(key: str, told: Mapping[str, Any]) -> RunQuestion:
    options = [
        QuestionOption(
            label=str(each["label"])[:500], description=str(each.get("description") or "")[:4000]
        )
        for each in told.get("options") or ()
    ]
    return RunQuestion(
        key=key,
        kind=QuestionKind.QUESTION,
        text=told["question"],
        options=options,
        allows_several=bool(told.get("multiSelect")),
    )


def _counted(told: Mapping[str, Any]) -> ModelUsage:
    return ModelUsage(
        input_tokens=int(told.get("inputTokens") or 0),
        output_tokens=int(told.get("outputTokens") or 0),
        cache_read_tokens=int(told.get("cacheReadInputTokens") or 0),
        cache_write_tokens=int(told.get("cacheCreationInputTokens") or 0),
        cost_usd=told.get("costUSD"),
    )


def _spent(told: Mapping[str, Any], *, has_cached: bool) -> ModelUsage:
    cached = int(told.get("cache_read_input_tokens") or 0)
    return ModelUsage(
        input_tokens=int(told.get("input_tokens") or 0) - (cached if has_cached else 0),
        output_tokens=int(told.get("output_tokens") or 0),
        cache_read_tokens=cached,
        cache_write_tokens=int(told.get("cache_creation_input_tokens") or 0),
    )


def _text_of(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(str(block.get("text", "")) for block in content)


def _why(told: Mapping[str, Any]) -> str:
    return " ".join(str(told[name]) for name in ("error_status", "error") if told.get(name))


def _user(text: str) -> str:
    return json.dumps({"type": "user", "message": {"role": "user", "content": text}})


def _control(request_id: str, request: Mapping[str, Any]) -> str:
    return json.dumps({"type": "control_request", "request_id": request_id, "request": request})


def _response(request_id: str, said: Mapping[str, Any] | None) -> str:
    response: dict[str, Any] = {"subtype": "success", "request_id": request_id}
    if said is not None:
        response["response"] = said
    return json.dumps({"type": "control_response", "response": response})
