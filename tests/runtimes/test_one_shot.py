"""What agents that only print have said, and how it went with them."""

import json
from pathlib import Path
from typing import Any

import pytest

from agentvine.kit.process import ExitReason, ProcessExit, ProcessId
from agentvine.protocol.enums import FailureClass
from agentvine.runtimes.agent import ProgramEnd
from agentvine.runtimes.events import AssistantText, Failed, Finished, ToolResult, UsageTotals
from agentvine.runtimes.one_shot.aider import AiderReader
from agentvine.runtimes.one_shot.mini_swe_agent import MiniReader

BUDGET = "litellm.APIError: APIError: OpenAIException - AgentVine: budget exceeded for this task."


def ended(exit_code: int = 0, *errors: str) -> ProgramEnd:
    exited = ProcessExit(
        reason=ExitReason.EXITED,
        exit_code=exit_code,
        signal=None,
        duration_seconds=1.0,
        peak_memory_bytes=0,
        cpu_seconds=0.0,
        process=ProcessId(1, "0"),
        is_output_complete=True,
        leftover_count=0,
    )
    return ProgramEnd(exited=exited, error_lines=errors)


def mini(folder: Path, *messages: dict[str, Any]) -> MiniReader:
    told = folder / "trajectory.json"
    told.write_text(json.dumps({"messages": messages}))
    return MiniReader(told, "m-1")


def spoken(usage: dict[str, Any]) -> dict[str, Any]:
    action = {"command": "ls", "tool_call_id": "c-1"}
    return {"role": "assistant", "extra": {"actions": [action], "response": {"usage": usage}}}


def test_what_mini_used_is_summed_in_classes_that_do_not_overlap(tmp_path: Path):
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 40},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    result = {"role": "tool", "tool_call_id": "c-1", "extra": {"raw_output": "a", "returncode": 2}}
    last = {"role": "exit", "content": "ok", "extra": {"exit_status": "Submitted"}}
    reader = mini(tmp_path, spoken(usage), result, spoken(usage), last)
    events = reader.on_end(ended())
    [totals] = [event for event in events if isinstance(event, UsageTotals)]
    counts = totals.models["m-1"]
    assert (counts.input_tokens, counts.cache_read_tokens) == (120, 80)
    assert (counts.output_tokens, counts.reasoning_tokens) == (20, 6)
    [told] = [event for event in events if isinstance(event, ToolResult)]
    assert told.is_error
    assert events[-1] == Finished(text="ok")


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        ("APIError", BUDGET, FailureClass.BUDGET_EXHAUSTED),
        ("RepeatedFormatError", "", FailureClass.TOOL_FAILED),
        ("LimitsExceeded", "", FailureClass.LIMIT_EXCEEDED),
        ("AuthenticationError", "no", FailureClass.AUTH_FAILED),
        ("SomethingNew", "", FailureClass.CRASHED),
    ],
)
def test_mini_has_only_done_what_it_has_submitted(
    tmp_path: Path, status: str, text: str, expected: FailureClass
):
    last = {"role": "exit", "content": text, "extra": {"exit_status": status}}
    [failed] = mini(tmp_path, last).on_end(ended())
    assert isinstance(failed, Failed)
    assert failed.failure_class is expected
    assert failed.message


def test_without_its_file_mini_s_last_words_count(tmp_path: Path):
    reader = MiniReader(tmp_path / "none.json", "m-1")
    assert reader.on_end(ended(0)) == []
    [failed] = reader.on_end(ended(1, BUDGET))
    assert isinstance(failed, Failed)


def test_a_step_of_mini_s_is_shown_when_it_is_complete(tmp_path: Path):
    reader = MiniReader(tmp_path / "none.json", "m-1")
    lines = ["User:", "Please", "mini-swe-agent (step 1, $0.00):", "I look.", "", "Tool:", "x"]
    events = [event for line in lines for event in reader.on_line(line)]
    assert events == [AssistantText(text="I look.")]


def test_aider_is_done_when_the_model_has_answered_and_nothing_was_wrong_after_it():
    reader = AiderReader()
    reader.on_line("litellm.InternalServerError: overloaded. Retrying in 0.2 seconds...")
    reader.on_line("Tokens: 1.1k sent, 22 received.")
    assert reader.on_end(ended()) == [Finished()]

    silent = AiderReader()
    silent.on_line("Aider v0.86.2")
    assert not silent.on_end(ended()), "its exit status says nothing"

    wrong = AiderReader()
    wrong.on_line("Tokens: 1.1k sent, 22 received.")
    wrong.on_line("litellm.AuthenticationError: invalid key")
    [failed] = wrong.on_end(ended())
    assert isinstance(failed, Failed)
    assert failed.failure_class is FailureClass.AUTH_FAILED


def test_aider_is_not_waited_for_where_a_budget_is_used_up():
    reader = AiderReader()
    events = [*reader.on_line(BUDGET), *reader.on_line(BUDGET)]
    [failed] = [event for event in events if isinstance(event, Failed)]
    assert failed.failure_class is FailureClass.BUDGET_EXHAUSTED
    assert reader.on_end(ended()) == ()
