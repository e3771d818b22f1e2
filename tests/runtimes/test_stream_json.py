"""What Claude Code's lines mean to us, and ours to it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from agentvine.protocol.enums import FailureClass
from agentvine.protocol.questions import AnswerDecision, QuestionKind
from agentvine.runtimes.agent import Step
from agentvine.runtimes.asking import RunAnswer
from agentvine.runtimes.events import Asked, Failed, Finished, UsageTotals
from agentvine.runtimes.runner import Program
from agentvine.runtimes.stream_json.failures import failure_of_result
from agentvine.runtimes.stream_json.program import StreamJsonProgram

RESULT = {"type": "result", "subtype": "success", "is_error": False, "result": "done"}


def program(*, resumes: bool = False) -> StreamJsonProgram:
    return StreamJsonProgram(Program(argv=["x"], timeout_seconds=1), "Go.", resumes=resumes)


def feed(of: StreamJsonProgram, **told: Any) -> Step:
    return of.on_line(json.dumps(told))


def begun(*, resumes: bool = False) -> StreamJsonProgram:
    made = program(resumes=resumes)
    feed(made, type="system", subtype="init", session_id="s-1", model="m-1")
    return made


def wants(tool: str, given: dict[str, Any]) -> dict[str, Any]:
    request = {"subtype": "can_use_tool", "tool_name": tool, "input": given, "tool_use_id": "t-1"}
    return {"type": "control_request", "request_id": "r-1", "request": request}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"is_error": True, "api_error_status": 402}, FailureClass.BUDGET_EXHAUSTED),
        ({"is_error": True, "api_error_status": 401}, FailureClass.AUTH_FAILED),
        ({"is_error": True, "api_error_status": 404}, FailureClass.MODEL_INVALID),
        ({"is_error": True, "api_error_status": 429}, FailureClass.RATE_LIMITED),
        ({"is_error": True, "api_error_status": 529}, FailureClass.NETWORK_FAILED),
        ({"is_error": True, "terminal_reason": "prompt_too_long"}, FailureClass.CONTEXT_OVERFLOW),
        ({"is_error": True, "terminal_reason": "aborted_streaming"}, FailureClass.CANCELLED),
        ({"subtype": "error_max_turns"}, FailureClass.LIMIT_EXCEEDED),
        (
            {"subtype": "error_during_execution", "errors": ["No conversation found with id x"]},
            FailureClass.RESUME_REFUSED,
        ),
        ({"is_error": True, "result": "Invalid API key · Please run /login"},
         FailureClass.AUTH_FAILED),
    ],
)  # fmt: skip
def test_a_result_tells_why_it_failed(told: dict[str, Any], expected: FailureClass):
    failed = failure_of_result({**RESULT, **told}, None)
    assert failed is not None
    assert failed.failure_class is expected


def test_success_with_an_error_in_it_is_none():
    assert failure_of_result(RESULT, None) is None
    assert failure_of_result({**RESULT, "is_error": True}, None) is not None


def test_a_window_that_is_used_up_is_told_with_its_end():
    made = begun()
    info = {"status": "rejected", "rateLimitType": "five_hour", "resetsAt": 1_790_000_000}
    feed(made, type="rate_limit_event", rate_limit_info=info)
    step = feed(made, **RESULT | {"is_error": True, "api_error_status": 429})
    [failed] = [event for event in step.events if isinstance(event, Failed)]
    assert failed.failure_class is FailureClass.QUOTA_EXHAUSTED
    assert failed.retry_at == datetime.fromtimestamp(1_790_000_000, UTC)


def test_the_totals_of_a_resumed_session_are_not_taken_for_the_run_s():
    usage = {"input_tokens": 5, "output_tokens": 3}
    of_session = {"m-1": {"inputTokens": 500, "outputTokens": 300}}
    for resumes, expected in ((False, 500), (True, 5)):
        step = feed(begun(resumes=resumes), **RESULT, usage=usage, modelUsage=of_session)
        [totals] = [event for event in step.events if isinstance(event, UsageTotals)]
        assert totals.models["m-1"].input_tokens == expected


def test_the_questions_of_one_request_are_answered_together():
    made = begun()
    questions = [{"question": f"{name}?", "options": [{"label": "a"}]} for name in ("One", "Two")]
    step = feed(made, **wants("AskUserQuestion", {"questions": questions}))
    asked = [event.question for event in step.events if isinstance(event, Asked)]
    assert [question.text for question in asked] == ["One?", "Two?"]
    answer = RunAnswer(decision=AnswerDecision.ANSWER, choices=["a"])
    assert not made.answer(asked[0], answer).send
    [line] = made.answer(asked[1], answer).send
    updated = json.loads(line)["response"]["response"]["updatedInput"]
    assert updated["answers"] == {"One?": "a", "Two?": "a"}


def test_a_plan_is_asked_for_as_a_plan_and_the_background_is_forbidden():
    [event] = feed(begun(), **wants("ExitPlanMode", {"plan": "First this."})).events
    assert isinstance(event, Asked)
    assert (event.question.kind, event.question.text) == (QuestionKind.PLAN, "First this.")
    step = feed(begun(), **wants("Bash", {"command": "sleep 9", "run_in_background": True}))
    assert not step.events
    assert json.loads(step.send[0])["response"]["response"]["behavior"] == "deny"


@pytest.mark.parametrize("is_taken_up", [True, False])
def test_words_that_wait_are_the_next_turn(is_taken_up: bool):
    made = begun()
    assert made.steer("Use tabs.") is not None
    message = {"role": "user", "content": "Use tabs."}
    if is_taken_up:
        feed(made, type="user", message=message, isReplay=True)
    step = feed(made, **RESULT)
    assert step.ends_input is is_taken_up
    last = step if is_taken_up else feed(made, **RESULT)
    assert isinstance(last.events[-1], Finished)
