"""Claude Code and Qwen Code themselves: a job, a question, a denial, a budget, a second attempt."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from agentvine.kit.ids import new_id
from agentvine.llm.scripted import ScriptedUpstream, parse_script
from agentvine.llm.scripted.serving import serving
from agentvine.protocol.briefs import NativeSession, RunBriefOut
from agentvine.protocol.enums import FailureClass, LogLevel, PermissionLevel, TaskType
from agentvine.protocol.questions import AnswerDecision, QuestionKind
from agentvine.protocol.queue import OrderPayload
from agentvine.runtimes.asking import RunAnswer, RunQuestion
from agentvine.runtimes.base import ModelAccess, RunContext, RunOutcome
from agentvine.runtimes.registry import builtin_runtimes
from tests.clis.driving import left_over

CLIS = {"claude-code": "claude-opus-5-5", "qwen": "scripted"}
USAGE = "usage: {input: 1111, output: 22, cache_read: 333, cache_write: 44, reasoning: 5}\n"
JOB = (
    USAGE
    + """
turns:
  - text: I write it.
    calls: [{write_file: {path: hello.txt, content: "hello\\n"}}]
  - text: I copy it.
    calls: [{run_command: {command: "cp hello.txt copied.txt"}}]
  - text: All is done.
"""
)
ASKS = """
turns:
  - calls: [{ask: {question: "Which colour?", options: [Red, Blue]}}]
  - text: So be it.
"""
REFUSED = """
turns:
  - calls: [{write_file: {path: hello.txt, content: "hello\\n"}}]
  - text: not reached
    faults:
      - status: 402
        times: forever
        type: billing_error
        code: budget_exceeded
        message: "AgentVine: budget exceeded for this task."
        headers: {x-should-retry: "false"}
"""
LONG = """
turns:
  - calls: [{run_command: {command: "python3 -c 'import time; time.sleep(600)'"}}]
  - text: not reached
"""
GOES_ON = """
conversations:
  - when: {prompt: "Your earlier run at this task was interrupted"}
    turns:
      - calls: [{run_command: {command: "echo yes > resumed.txt"}}]
      - text: All is done.
turns: [{text: anew}]
"""


class Stage:
    """One CLI with a home, and a person who gives one answer to everything."""

    def __init__(self, name: str, folder: Path, url: str, upstream: ScriptedUpstream) -> None:
        self.name, self.url, self.upstream = name, url, upstream
        self.home, self.worktree = folder / "home", folder / "attempt-1"
        for place in (self.home, self.worktree):
            place.mkdir()
        self.lines: list[tuple[str, str]] = []
        self.asked: list[RunQuestion] = []
        self.answer = RunAnswer(decision=AnswerDecision.ALLOW)
        self.session = ""
        self.stop = asyncio.Event()
        self.run_id = f"run-{new_id().hex}"

    async def write(
        self,
        stream: str,
        message: str,
        *,
        level: LogLevel = LogLevel.INFO,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.lines.append((stream, message))

    async def ask(self, question: RunQuestion) -> RunAnswer:
        self.asked.append(question)
        return self.answer

    async def withdraw(self, key: str) -> None:
        self.asked = [each for each in self.asked if each.key != key]

    async def note_session(self, session_id: str, model: str | None) -> None:
        self.session = session_id

    def events(self, kind: str) -> list[dict[str, Any]]:
        told = [json.loads(line) for stream, line in self.lines if stream == "events"]
        return [event for event in told if event["type"] == kind]

    async def run(self, script: str, **brief: Any) -> RunOutcome:
        self.upstream.play(parse_script(script))
        payload = OrderPayload(
            task_id=new_id(),
            task_ref="T-1",
            title="Do what the script says",
            task_type=TaskType.FEATURE,
            runtime=self.name,
            timeout_seconds=300,
            test_timeout_seconds=60,
        )
        told = {"instruction": "Do it.", "permission_level": PermissionLevel.HUMAN_REQUIRED}
        context = RunContext(
            run_id=self.run_id,
            execution_id=str(new_id()),
            worktree=self.worktree,
            payload=payload,
            output=self,
            stop=self.stop,
            timeout_seconds=300,
            asker=self,
            session=self,
            home=self.home,
            brief=RunBriefOut.model_validate(told | brief),
            models=ModelAccess(base_url=self.url, key="av_llm_test", default_model=CLIS[self.name]),
        )
        outcome = await builtin_runtimes().get(self.name).run(context)
        assert left_over(self.run_id) == []
        return outcome


@pytest.fixture(params=CLIS)
async def stage(
    request: pytest.FixtureRequest,
    installed: Callable[..., list[Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Stage]:
    folders = os.pathsep.join(map(str, installed(request.param)))
    monkeypatch.setenv("PATH", folders, prepend=os.pathsep)
    # A proxy of the user's must not come between an agent and the gateway.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    # Their login shells would read the user's files, and be killed at it.
    monkeypatch.setenv("HOME", str(tmp_path))
    async with serving(parse_script(JOB)) as (upstream, url, _):
        yield Stage(request.param, tmp_path, url, upstream)


async def test_a_job_of_two_steps_is_done_after_asking_and_counted_to_the_token(stage: Stage):
    info = await builtin_runtimes().get(stage.name).detect()
    assert (info.is_available, info.version) == (True, info.pinned_version)

    outcome = await stage.run(JOB)

    assert outcome.is_success, stage.lines[-20:]
    assert (stage.worktree / "copied.txt").read_text() == "hello\n"
    assert {question.kind for question in stage.asked} == {QuestionKind.PERMISSION}
    assert len(stage.asked) == 2
    assert outcome.metrics["session_id"] == stage.session
    told = [each.usage for each in stage.upstream.requests if each.usage and each.is_told]
    [counts] = outcome.metrics["usage"].values()
    assert counts["output_tokens"] == sum(each.tokens_out for each in told)
    classes = ("input_tokens", "cache_read_tokens", "cache_write_tokens")
    assert sum(counts[name] for name in classes) == sum(each.tokens_in for each in told)
    assert len(stage.events("tool_result")) == 2
    assert any(stream == "raw" for stream, _ in stage.lines)


async def test_what_is_denied_is_not_done(stage: Stage):
    stage.answer = RunAnswer(decision=AnswerDecision.DENY, text="Not today.")
    outcome = await stage.run(JOB)
    assert outcome.is_success, stage.lines[-20:]
    assert not (stage.worktree / "hello.txt").exists()
    assert stage.events("tool_result")[0]["is_denied"]


async def test_an_autonomous_agent_is_not_in_need_of_anybody(stage: Stage):
    stage.answer = RunAnswer(decision=AnswerDecision.DENY)
    outcome = await stage.run(JOB, permission_level=PermissionLevel.AUTONOMOUS)
    assert outcome.is_success, stage.lines[-20:]
    assert (stage.worktree / "copied.txt").exists()
    assert stage.asked == []


@pytest.mark.parametrize("stage", ["claude-code"], indirect=True)  # Qwen has no tool that asks.
async def test_a_question_gets_its_answer(stage: Stage):
    stage.answer = RunAnswer(decision=AnswerDecision.ANSWER, choices=["Blue"])
    outcome = await stage.run(ASKS)
    assert outcome.is_success, stage.lines[-20:]
    [question] = stage.asked
    assert question.kind is QuestionKind.QUESTION
    assert [option.label for option in question.options] == ["Red", "Blue"]
    assert "Blue" in json.dumps(stage.upstream.requests[-1].to_json())


async def test_a_budget_that_is_used_up_ends_it_with_the_gateway_s_words(stage: Stage):
    outcome = await stage.run(REFUSED)
    assert outcome.failure is not None
    assert outcome.failure.failure_class is FailureClass.BUDGET_EXHAUSTED
    assert "budget exceeded" in outcome.failure.message
    assert (stage.worktree / "hello.txt").exists(), "what it did before stays"


async def test_a_run_that_was_stopped_goes_on_in_another_work_tree(stage: Stage):
    running = asyncio.create_task(stage.run(LONG))
    async with asyncio.timeout(240):
        while not stage.asked:  # noqa: ASYNC110 - it is asked from another task
            await asyncio.sleep(0.05)
    stage.stop.set()
    assert not (await running).is_success
    first, stage.stop = stage.session, asyncio.Event()
    stage.worktree = Path(shutil.move(stage.worktree, stage.worktree.with_name("attempt-2")))

    session = NativeSession(
        session_id=first, runtime=stage.name, worker_id=new_id(), execution_id=new_id()
    )
    outcome = await stage.run(GOES_ON, session=session.model_dump(mode="json"))

    assert outcome.is_success, stage.lines[-20:]
    assert not any("could not be resumed" in line for _, line in stage.lines)
    assert (stage.worktree / "resumed.txt").exists()
    assert "time.sleep(600)" in json.dumps(stage.upstream.requests[-1].to_json())
