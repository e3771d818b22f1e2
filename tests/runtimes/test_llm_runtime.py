"""The built-in agent, against a scripted model behind something shaped like the gateway."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentvine.kit.process import ExitReason
from agentvine.protocol.briefs import RunBriefOut
from agentvine.protocol.controls import SteeringMessage
from agentvine.protocol.enums import FailureClass, PermissionLevel
from agentvine.protocol.questions import AnswerDecision
from agentvine.runtimes.asking import AnswerDeferred, RunAnswer, RunQuestion
from agentvine.runtimes.base import McpAccess, ModelAccess, RunContext, RunOutcome
from agentvine.runtimes.llm import LlmRuntime
from tests.support.models import Model, scripted_model

Make = Callable[..., RunContext]
USAGE = "usage: {input: 100, output: 20, cache_read: 30, cache_write: 4}\n"


@asynccontextmanager
async def given(make: Make, script: str, **changes: Any) -> AsyncIterator[tuple[RunContext, Model]]:
    async with scripted_model(f"{USAGE}{script}") as model:
        access = ModelAccess(base_url=model.url, key="av_llm_key", default_model="claude-x")
        yield make(None, models=access, **changes), model


async def run(context: RunContext) -> RunOutcome:
    return await LlmRuntime().run(context)


class Person:
    """Answers as told, and remembers the questions."""

    def __init__(self, answer: RunAnswer | AnswerDeferred) -> None:
        self.answer = answer
        self.asked: list[RunQuestion] = []

    async def ask(self, question: RunQuestion) -> RunAnswer:
        self.asked.append(question)
        if isinstance(self.answer, AnswerDeferred):
            raise self.answer
        return self.answer

    async def withdraw(self, key: str) -> None:
        """Nothing was asked in vain."""


async def test_it_reads_edits_runs_and_finishes(make_context: Make, sink: Any, tmp_path: Path):
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    script = """
turns:
  - thinking: What is there?
    text: I look around.
    calls: [{list_files: {}}, {read_file: {path: a.txt}}, {search: {pattern: tw}}]
  - calls:
      - edit_file: {path: a.txt, old: two, new: "2"}
      - write_file: {path: b/c.txt, content: new}
  - calls: [{run_command: {command: "cat a.txt b/c.txt; exit 3"}}]
  - calls: [{finish: {summary: All is done.}}]
"""
    async with given(make_context, script) as (context, model):
        outcome = await run(context)

    assert outcome.is_success, outcome.message
    assert outcome.message == "All is done."
    assert (tmp_path / "a.txt").read_text() == "one\n2\n"
    told = json.dumps(model.requests[3].body)
    assert "one\\\\n2\\\\nnew\\\\n(exit code 3)" in told or "one\\n2\\nnew\\n(exit code 3)" in told
    assert "a.txt:2: two" in told
    assert outcome.metrics["turns"] == 4
    assert outcome.metrics["tool_calls"] == 7
    usage = outcome.metrics["usage"]["claude-x"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (400, 80)
    assert (usage["cache_read_tokens"], usage["cache_write_tokens"]) == (120, 16)
    kinds = [json.loads(line)["type"] for line in sink.of("events")]
    assert kinds[:4] == ["usage_totals", "thinking", "assistant_text", "tool_call"]
    assert kinds[-1] == "finished"
    assert "I look around." in sink.of("stdout")


async def test_the_models_errors_are_told_to_it_and_end_nothing(make_context: Make):
    script = """
turns:
  - calls:
      - {tool: read_file, input: {path: ../../etc/passwd}}
      - {tool: read_file, input: {}}
      - {tool: no_such_tool, input: {}}
      - {tool: run_command, input: {command: "echo before; sleep 60", timeout_seconds: 0.5}}
  - calls: [{finish: {summary: Enough.}}]
"""
    async with given(make_context, script) as (context, model):
        outcome = await run(context)

    assert outcome.is_success
    told = json.dumps(model.requests[1].body)
    for said in ("outside of the work tree", "Field required", "no tool no_such_tool"):
        assert said in told
    assert "time limit of 0.5 s" in told


async def test_a_model_that_only_talks_does_not_succeed(make_context: Make):
    async with given(make_context, "turns: [{text: I am done.}]") as (context, model):
        outcome = await run(context)

    assert not outcome.is_success
    assert outcome.failure is not None
    assert "without finishing" in outcome.failure.message
    assert len(model.requests) == 4
    assert "you have not called finish" in json.dumps(model.requests[1].body)


async def test_a_looping_model_is_stopped_when_its_budget_is_used_up(make_context: Make):
    refusals = "faults: [{status: 402, message: The budget is used up., times: forever}]"
    script = f"""
turns:
  - calls: [{{list_files: {{}}}}]
    repeat: 5
  - {refusals}
"""
    async with given(make_context, script) as (context, model):
        outcome = await run(context)

    assert outcome.failure is not None
    assert outcome.failure.failure_class is FailureClass.BUDGET_EXHAUSTED
    assert "The budget is used up." in outcome.message
    assert len(model.requests) == 6


async def test_a_limit_tells_when_it_ends(make_context: Make):
    fault = "{status: 429, headers: {retry-after: '900'}, times: forever}"
    async with given(make_context, f"turns: [{{faults: [{fault}]}}]") as (context, _):
        outcome = await run(context)

    assert outcome.failure is not None
    assert outcome.failure.failure_class is FailureClass.RATE_LIMITED
    assert outcome.failure.retry_after_seconds == 900


@pytest.mark.parametrize("is_stopped", [True, False])
async def test_a_stop_and_a_time_limit_end_the_command_too(
    make_context: Make, tmp_path: Path, is_stopped: bool
):
    script = "turns: [{calls: [{run_command: {command: 'touch begun; sleep 600; touch ended'}}]}]"
    seconds = 60.0 if is_stopped else 2.0
    async with given(make_context, script, timeout_seconds=seconds) as (context, _):
        running = asyncio.create_task(run(context))
        while not ((tmp_path / "begun").exists() or running.done()):  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.01)
        if is_stopped:
            context.stop.set()
        outcome = await running

    assert outcome.reason is (ExitReason.CANCELLED if is_stopped else ExitReason.TIMEOUT)
    assert not outcome.is_success
    assert not (tmp_path / "ended").exists()


async def test_what_people_say_is_heard_between_two_turns(make_context: Make, tmp_path: Path):
    script = """
conversations:
  - when: {prompt: Use tabs}
    turns: [{calls: [{finish: {summary: With tabs.}}]}]
turns:
  - calls: [{run_command: {command: 'touch begun; while [ ! -e heard ]; do sleep 0.05; done'}}]
  - calls: [{finish: {summary: Without.}}]
"""
    async with given(make_context, script) as (context, _):
        running = asyncio.create_task(run(context))
        while not (tmp_path / "begun").exists():  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.01)
        said = SteeringMessage(
            number=1, author="ada", text="Use tabs, please.", created_at=datetime.now(UTC)
        )
        context.mailbox.put([said])
        assert await context.mailbox.hand_over() == [said]
        (tmp_path / "heard").touch()
        outcome = await running

    assert outcome.message == "With tabs."


async def test_a_question_is_asked_and_its_answer_told(make_context: Make):
    person = Person(RunAnswer(decision=AnswerDecision.ANSWER, choices=["Blue"]))
    script = """
turns:
  - calls: [{ask: {question: "Which colour?", options: [Red, Blue]}}]
  - calls: [{finish: {summary: Done.}}]
"""
    async with given(make_context, script, asker=person) as (context, model):
        outcome = await run(context)

    assert outcome.is_success
    [question] = person.asked
    assert (question.text, [each.label for each in question.options]) == (
        *("Which colour?", ["Red", "Blue"]),
    )
    assert "Blue" in json.dumps(model.requests[1].body)


async def test_a_deferred_answer_ends_the_run_to_be_resumed(make_context: Make):
    script = "turns: [{calls: [{ask: {question: 'Which?'}}]}]"
    async with given(make_context, script, asker=Person(AnswerDeferred())) as (context, _):
        outcome = await run(context)

    assert outcome.failure is not None
    assert outcome.failure.failure_class is FailureClass.WAITING_FOR_ANSWER


async def test_where_a_person_must_allow_commands_they_are_asked_first(
    make_context: Make, tmp_path: Path
):
    brief = RunBriefOut(instruction="Go", permission_level=PermissionLevel.HUMAN_REQUIRED)
    person = Person(RunAnswer(decision=AnswerDecision.DENY, text="Not today."))
    script = """
turns:
  - calls: [{run_command: {command: touch forbidden}}]
  - calls: [{finish: {summary: It was not allowed.}}]
"""
    async with given(make_context, script, asker=person, brief=brief) as (context, model):
        outcome = await run(context)

    assert outcome.is_success
    assert not (tmp_path / "forbidden").exists()
    assert "Not today." in json.dumps(model.requests[1].body)
    assert person.asked[0].tool_input == {"command": "touch forbidden"}


async def test_without_access_to_a_model_it_says_what_to_set(make_context: Make):
    outcome = await run(make_context(None, models_problem="Run this."))

    assert not outcome.is_success
    assert outcome.message == "Run this."
    assert outcome.failure is not None
    assert outcome.failure.failure_class is FailureClass.AUTH_FAILED, "no other attempt helps"


async def test_without_the_server_s_tools_it_works_all_the_same(make_context: Make):
    access = McpAccess(url="http://127.0.0.1:9/mcp", key="av_mcp_key")
    script = "turns: [{calls: [{finish: {summary: Done.}}]}]"
    async with given(make_context, script, mcp=access) as (context, _):
        assert (await run(context)).is_success
