"""Each runtime with its real CLI: works, asks, obeys, stops, goes on, and leaves nothing behind."""

import asyncio

import pytest

from agentvine.protocol.briefs import RunBriefOut
from agentvine.protocol.enums import FailureClass, PermissionLevel
from agentvine.protocol.questions import AnswerDecision, QuestionKind
from agentvine.runtimes.asking import RunAnswer, RunQuestion
from tests.clis.driving import MakeDrive, short_form

NAMES = ("codex", "claude-agent-acp", "codex-acp", "gemini", "opencode", "qwen-acp")
"""Claude Code and Qwen Code by their own language are in ``test_stream_json``."""
TWO_STEPS = """
usage: {input: 1111, output: 22, cache_read: 333, cache_write: 44, reasoning: 5}
turns:
  - text: I write it.
    calls: [{write_file: {path: hello.txt, content: "hello\\n"}}]
  - text: I look at it.
    calls: [{run_command: {command: "cp hello.txt copied.txt"}}]
  - text: All is done.
"""
# Codex asks only where its model says that a command needs more than the sandbox allows.
ESCALATED = TWO_STEPS.replace(
    '{run_command: {command: "cp hello.txt copied.txt"}}',
    "{tool: exec_command, input: {cmd: cp hello.txt copied.txt, justification: To copy it, "
    "sandbox_permissions: require_escalated}}",
)
DENIED = """
conversations:
  - when: {prompt: "You were not allowed to do that"}
    turns: [{text: I end without it.}]
turns:
  - text: I write it.
    calls: [{write_file: {path: hello.txt, content: "hello\\n"}}]
  - text: I end without it.
"""
LONG = """
turns:
  - text: First a quick one.
    calls: [{write_file: {path: hello.txt, content: "hello\\n"}}]
  - text: This takes a while.
    calls: [{run_command: {command: "python3 -c 'import time; time.sleep(600)'"}}]
  - text: Not reached.
"""
REFUSED = """
turns:
  - text: I write it.
    calls: [{write_file: {path: hello.txt, content: "hello\\n"}}]
  - text: not reached
    faults:
      - status: 402
        times: forever
        type: billing_error
        code: budget_exceeded
        message: "AgentVine: budget exceeded for this task."
        headers: {x-should-retry: "false"}
"""
ASKS = """
turns:
  - calls: [{ask: {question: "Which colour?", options: [Red, Blue]}}]
  - text: So be it.
"""


def deny(question: RunQuestion) -> RunAnswer:
    return RunAnswer(decision=AnswerDecision.DENY, text="Not today.")


@pytest.mark.parametrize("name", short_form(NAMES, "codex", "qwen-acp"))
async def test_it_does_a_job_of_two_steps_and_asks_for_both(name: str, drive: MakeDrive):
    run = drive(name, ESCALATED if name == "codex-acp" else TWO_STEPS)

    outcome, asker = await run.run("Write hello, and copy it.")

    assert outcome.is_success, f"{outcome}\n{run.log.tail}"
    assert outcome.message == "All is done."
    assert (run.worktree / "hello.txt").read_text() == "hello\n"
    assert (run.worktree / "copied.txt").read_text() == "hello\n"
    assert run.sessions.session_id == outcome.metrics["session_id"]
    assert [event["text"].strip() for event in run.log.of_type("assistant_text")] == [
        "I write it.",
        "I look at it.",
        "All is done.",
    ]
    assert len(run.log.of_type("tool_call")) == 2
    assert [event["is_error"] for event in run.log.of_type("tool_result")] == [False, False]
    keys = {each.key_id for each in run.upstream.requests}
    assert len(keys) == 1, "all calls came with the key of the run"
    assert all(each.problem is None for each in run.upstream.requests)
    assert {each.kind for each in asker.asked} <= {QuestionKind.PERMISSION}


@pytest.mark.clis_long
@pytest.mark.parametrize("name", NAMES)
async def test_what_is_denied_is_not_done_and_it_goes_on(name: str, drive: MakeDrive):
    run = drive(name, DENIED)

    brief = RunBriefOut(instruction="Write hello.", permission_level=PermissionLevel.HUMAN_REQUIRED)
    outcome, asker = await run.run("", answering=deny, brief=brief)

    assert asker.asked, run.log.tail
    first = asker.asked[0]
    assert "hello" in (first.diff or "") or "hello.txt" in f"{first.text} {first.tool_input}"
    assert not (run.worktree / "hello.txt").exists()
    assert outcome.is_success, f"{outcome}\n{run.log.tail}"
    assert outcome.message == "I end without it."
    assert [event["is_denied"] for event in run.log.of_type("tool_result")] == [True]


@pytest.mark.clis_long
@pytest.mark.parametrize("name", NAMES)
async def test_a_budget_that_is_used_up_ends_it_soon(name: str, drive: MakeDrive):
    run = drive(name, REFUSED)
    loop, refused = asyncio.get_running_loop(), list[float]()
    began = loop.time()

    async def watch() -> None:
        while not any(each.fault for each in run.upstream.requests):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)
        refused.append(loop.time())

    watching = asyncio.create_task(watch())
    outcome, _ = await run.run("Write hello.")
    ended = loop.time()
    watching.cancel()

    assert outcome.failure is not None, run.log.tail
    assert outcome.failure.failure_class is FailureClass.BUDGET_EXHAUSTED
    assert "budget exceeded for this task" in outcome.failure.message
    assert (run.worktree / "hello.txt").exists(), "what was done before stays"
    # A machine that is slow to end it was as slow to come so far; no retry fits into either.
    assert ended - refused[0] < max(10, refused[0] - began)
    assert sum(1 for each in run.upstream.requests if each.fault) <= 2


async def test_what_codex_tells_of_usage_is_what_its_model_said_to_the_token(drive: MakeDrive):
    run = drive("codex", TWO_STEPS)

    outcome, _ = await run.run("Write hello, and copy it.")

    told = [each.usage for each in run.upstream.requests if each.usage and each.is_told]
    [counts] = outcome.metrics["usage"].values()
    assert counts["output_tokens"] == sum(each.tokens_out for each in told)
    assert counts["reasoning_tokens"] == 5 * len(told) > 0, "as the script says of each turn"
    assert counts["cache_read_tokens"] == 333 * len(told)
    classes = ("input_tokens", "cache_read_tokens", "cache_write_tokens")
    assert sum(counts[name] for name in classes) == sum(each.tokens_in for each in told)


@pytest.mark.clis_long
@pytest.mark.parametrize("name", NAMES)
async def test_it_is_stopped_with_all_that_it_started(name: str, drive: MakeDrive):
    run = drive(name, LONG)
    running = asyncio.create_task(run.run("Take your time."))

    await run.log.wait_for("tool_call", running, count=2)
    run.stop.set()
    outcome, _ = await running

    assert not outcome.is_success


@pytest.mark.clis_long
@pytest.mark.parametrize("name", ["claude-agent-acp", "codex"])
async def test_a_question_with_choices_is_answered(name: str, drive: MakeDrive):
    run = drive(name, ASKS)

    def answer(question: RunQuestion) -> RunAnswer:
        if question.kind is QuestionKind.QUESTION:
            return RunAnswer(decision=AnswerDecision.ANSWER, choices=["Blue"])
        return RunAnswer(decision=AnswerDecision.ALLOW)

    outcome, asker = await run.run("Ask me.", answering=answer)

    assert outcome.is_success, f"{outcome}\n{run.log.tail}"
    (question,) = [each for each in asker.asked if each.kind is QuestionKind.QUESTION]
    assert question.text == "Which colour?"
    assert [each.label for each in question.options] == ["Red", "Blue"]
    assert "Blue" in str(run.upstream.requests[-1].body)
