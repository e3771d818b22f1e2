"""What every runtime that drives an agent keeps to, whatever its program speaks."""

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentvine.kit.ids import new_id
from agentvine.kit.process import ExitReason
from agentvine.protocol.briefs import NativeSession, RunBriefOut
from agentvine.protocol.controls import SteeringMessage
from agentvine.protocol.enums import FailureClass
from agentvine.protocol.questions import AnswerDecision, QuestionKind
from agentvine.runtimes.asking import AnswerDeferred, RunAnswer, RunQuestion
from agentvine.runtimes.base import McpAccess, ModelAccess, RunContext, RunOutcome, Runtime
from agentvine.runtimes.steering import Mailbox
from tests.runtimes.conformance import subjects
from tests.runtimes.conformance.subjects import MORE_SUBJECTS, SUBJECTS, Subject

GENEROUS = 60.0
GATEWAY = ModelAccess(
    base_url="http://127.0.0.1:9/gateway", key="av_llm_test", default_model="claude-m"
)
STARTED_ALIKE = {subjects.EDITS, subjects.GOES_ON, subjects.LOOKS_AROUND}
"""Scenes in which it matters how an agent is started; the rest is the language's."""


def those_that_play(scene: str) -> pytest.MarkDecorator:
    """For the runtimes whose programs have words for a scene."""
    able = [subject for subject in SUBJECTS if scene not in subject.cannot]
    more = [
        pytest.param(subject, marks=pytest.mark.slow)
        for subject in MORE_SUBJECTS
        if scene not in subject.cannot and scene in STARTED_ALIKE
    ]
    return pytest.mark.parametrize("subject", [*able, *more], ids=lambda subject: subject.name)


class Sessions:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, str | None]] = []

    async def note_session(self, session_id: str, model: str | None) -> None:
        self.noted.append((session_id, model))


class Person:
    """Answers everything in the same way."""

    def __init__(self, answer: RunAnswer | AnswerDeferred) -> None:
        self.answer = answer
        self.asked: list[RunQuestion] = []

    async def ask(self, question: RunQuestion) -> RunAnswer:
        self.asked.append(question)
        if isinstance(self.answer, AnswerDeferred):
            raise self.answer
        return self.answer

    async def withdraw(self, key: str) -> None:
        raise AssertionError(f"{key} was withdrawn")


class Stage:
    """Lets a subject play scenes in one work tree and home."""

    def __init__(
        self, subject: Subject, folder: Path, sink: Any, make_context: Callable[..., RunContext]
    ) -> None:
        self.subject = subject
        self.sink = sink
        self.sessions = Sessions()
        self.home = folder / "home"
        self.worktree = folder / "worktree"
        for place in (self.home, self.worktree, folder / "programs"):
            place.mkdir()
        self.runtime: Runtime = subject.make(folder / "programs")
        self._make_context = make_context

    def context(self, scene: str, **changes: Any) -> RunContext:
        brief = {"instruction": f"Play {scene}."} | changes.pop("brief", {})
        if self.subject.has_models:
            changes = {"models": GATEWAY} | changes
        return self._make_context(
            self.subject.commands[scene],
            worktree=self.worktree,
            home=self.home,
            session=self.sessions,
            brief=RunBriefOut.model_validate(brief),
            **changes,
        )

    async def play(self, scene: str, **changes: Any) -> RunOutcome:
        async with asyncio.timeout(GENEROUS):
            return await self.runtime.run(self.context(scene, **changes))

    def events(self, kind: str) -> list[dict[str, Any]]:
        told = [json.loads(line) for line in self.sink.of("events")]
        return [event for event in told if event["type"] == kind]

    def file(self, name: str) -> str:
        return (self.worktree / name).read_text()


@pytest.fixture
def stage(
    subject: Subject,
    tmp_path: Path,
    sink: Any,
    make_context: Callable[..., RunContext],
    monkeypatch: pytest.MonkeyPatch,
) -> Stage:
    monkeypatch.setenv("PATH", str(tmp_path / "programs"), prepend=os.pathsep)
    return Stage(subject, tmp_path, sink, make_context)


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(GENEROUS):
        while not is_true():  # noqa: ASYNC110 - a file of another program's
            await asyncio.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@those_that_play(subjects.EDITS)
async def test_it_says_what_it_can(stage: Stage):
    info = await stage.runtime.detect()
    assert info.is_available, info.problem
    assert stage.runtime.is_agent
    assert info.takes_messages is (subjects.LISTENS not in stage.subject.cannot)
    assert info.asks is (subjects.WANTS not in stage.subject.cannot)
    assert info.uses_models is stage.subject.has_models
    assert info.resumes is (subjects.GOES_ON not in stage.subject.cannot)


@those_that_play(subjects.EDITS)
async def test_a_job_is_done_and_all_of_it_is_told(stage: Stage):
    outcome = await stage.play(subjects.EDITS)
    assert (outcome.is_success, outcome.failure) == (True, None), outcome
    assert stage.file("hello.txt") == "hello\n"
    [(session, _)] = stage.sessions.noted[-1:]
    assert outcome.metrics["session_id"] == session
    assert stage.events("session_started")[0]["session_id"] == session
    assert stage.events("tool_call")
    assert len(stage.events("finished")) == 1
    assert stage.sink.of("raw"), "the program's own lines are kept"
    assert any("written" in line for line in stage.sink.of("stdout"))


@those_that_play(subjects.EDITS)
async def test_counts_are_totals_not_steps(stage: Stage):
    outcome = await stage.play(subjects.EDITS)
    assert ("usage" in outcome.metrics) is stage.subject.tells_usage
    if not stage.subject.tells_usage:
        return
    [counts] = outcome.metrics["usage"].values()
    assert (counts["input_tokens"], counts["output_tokens"]) == (30, 12)


@those_that_play(subjects.FAILS)
async def test_a_limit_is_told_with_its_end(stage: Stage):
    outcome = await stage.play(subjects.FAILS)
    assert not outcome.is_success
    assert outcome.failure is not None
    assert outcome.failure.failure_class in {
        FailureClass.RATE_LIMITED,
        FailureClass.QUOTA_EXHAUSTED,
    }
    told_end = outcome.failure.retry_at or outcome.failure.retry_after_seconds
    assert bool(told_end) is stage.subject.tells_when
    assert len(stage.events("failed")) == 1


@pytest.mark.parametrize("scene", [subjects.ENDS_EARLY, subjects.CRASHES])
@those_that_play(subjects.ENDS_EARLY)
async def test_without_its_last_event_it_has_crashed_whatever_its_exit_code(
    stage: Stage, scene: str
):
    outcome = await stage.play(scene)
    assert (outcome.exit_code == 0) is (scene == subjects.ENDS_EARLY)
    assert not outcome.is_success
    assert outcome.failure is not None
    assert outcome.failure.failure_class is FailureClass.CRASHED


@those_that_play(subjects.ASKS)
async def test_a_question_is_asked_and_its_answer_reaches_the_agent(stage: Stage):
    person = Person(RunAnswer(decision=AnswerDecision.ANSWER, choices=["Blue"]))
    outcome = await stage.play(subjects.ASKS, asker=person)
    assert outcome.is_success
    assert stage.file("colour.txt").strip() == "Blue"
    [question] = person.asked
    assert question.kind is QuestionKind.QUESTION
    assert [option.label for option in question.options] == ["Red", "Blue"]
    assert "colour" in question.text


@pytest.mark.parametrize("decision", [AnswerDecision.ALLOW, AnswerDecision.DENY])
@those_that_play(subjects.WANTS)
async def test_a_tool_is_used_only_when_it_may_be(stage: Stage, decision: AnswerDecision):
    person = Person(RunAnswer(decision=decision, text="because"))
    outcome = await stage.play(subjects.WANTS, asker=person)
    assert outcome.is_success
    [question] = person.asked
    assert question.kind is QuestionKind.PERMISSION
    assert "touch allowed.txt" in json.dumps(dict(question.tool_input or {}))
    allowed = decision is AnswerDecision.ALLOW
    assert (stage.worktree / "allowed.txt").exists() is allowed


@those_that_play(subjects.WANTS)
async def test_where_nobody_can_be_asked_a_tool_is_not_used(stage: Stage):
    outcome = await stage.play(subjects.WANTS)
    assert outcome.is_success
    assert not (stage.worktree / "allowed.txt").exists()


@those_that_play(subjects.ASKS)
async def test_a_deferred_answer_ends_the_run_and_says_why(stage: Stage):
    person = Person(AnswerDeferred("It waits for a person."))
    outcome = await stage.play(subjects.ASKS, asker=person)
    assert outcome.failure is not None
    assert outcome.failure.failure_class is FailureClass.WAITING_FOR_ANSWER
    assert outcome.failure.message == "It waits for a person."
    assert stage.sessions.noted, "it can be resumed"


@those_that_play(subjects.LISTENS)
async def test_words_reach_it_while_it_runs(stage: Stage):
    mailbox = Mailbox()
    running = asyncio.create_task(stage.play(subjects.LISTENS, mailbox=mailbox))
    await until(lambda: bool(stage.sessions.noted))
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    mailbox.put([SteeringMessage(number=1, author="user:a", text="Use tabs", created_at=moment)])
    assert [given.number for given in await mailbox.hand_over()] == [1]
    (stage.worktree / "words-wait").touch()
    outcome = await running
    assert outcome.is_success
    assert "Use tabs" in stage.file("heard.txt")


@those_that_play(subjects.HANGS)
async def test_it_is_stopped_within_its_grace_and_leaves_nothing_running(stage: Stage):
    stop = asyncio.Event()
    running = asyncio.create_task(stage.play(subjects.HANGS, stop=stop, grace_seconds=1.0))
    pid_file = stage.worktree / "pid.txt"
    await until(lambda: pid_file.exists() and bool(pid_file.read_text().strip()))
    pid = int(pid_file.read_text())
    assert is_alive(pid)
    stop.set()
    outcome = await running
    assert outcome.reason is ExitReason.CANCELLED
    assert not outcome.is_success
    assert not is_alive(pid)


@those_that_play(subjects.GOES_ON)
async def test_it_goes_on_with_the_session_it_is_given(stage: Stage):
    await stage.play(subjects.GOES_ON)
    session, _ = stage.sessions.noted[-1]
    outcome = await stage.play(subjects.GOES_ON, brief={"session": session_of(stage, session)})
    assert outcome.is_success
    assert [event["text"].strip() for event in stage.events("assistant_text")] == [
        "anew",
        "resumed",
    ]


@those_that_play(subjects.FORGETS)
async def test_where_the_session_is_refused_it_begins_anew(stage: Stage):
    brief = {"session": session_of(stage, str(new_id())), "summary": "It stopped half way."}
    outcome = await stage.play(subjects.FORGETS, brief=brief)
    assert outcome.is_success
    assert [event["text"].strip() for event in stage.events("assistant_text")] == ["anew"]
    assert any("could not be resumed" in line for line in stage.sink.of("system"))
    if stage.subject.name != "scripted":  # It plays its script, whatever it is told.
        told = stage.file("prompt.txt")
        assert "Play forgets." in told, "it knows nothing of its task"
        assert "It stopped half way." in told


@those_that_play(subjects.LOOKS_AROUND)
async def test_it_sees_no_variable_of_the_worker_s_but_the_allowed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AGENTVINE_TOKEN", "avw_canary")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-canary")
    await stage.play(subjects.LOOKS_AROUND)
    seen = dict(
        line.split("=", 1) for line in stage.file("environment.txt").splitlines() if "=" in line
    )
    assert "canary" not in stage.file("environment.txt")
    assert seen["AGENTVINE_RUN_ID"]
    assert "HTTPS_PROXY" not in seen
    assert "127.0.0.1" in seen["NO_PROXY"]
    assert "127.0.0.1" in seen["no_proxy"]
    assert os.environ["HTTPS_PROXY"], "of the test itself"


@those_that_play(subjects.LOOKS_AROUND)
async def test_what_goes_to_the_gateway_goes_past_every_proxy(stage: Stage):
    gateway = replace(GATEWAY, base_url="http://gateway.test:8080/gateway")
    await stage.play(subjects.LOOKS_AROUND, models=gateway)
    seen = stage.file("environment.txt").splitlines()
    assert "NO_PROXY=127.0.0.1,localhost,::1,gateway.test" in seen
    assert "no_proxy=127.0.0.1,localhost,::1,gateway.test" in seen


@those_that_play(subjects.LOOKS_AROUND)
async def test_it_is_given_our_tools_with_the_key_of_the_run(stage: Stage):
    tools = McpAccess(url="http://127.0.0.1:9/mcp", key="av_mcp_test")
    await stage.play(subjects.LOOKS_AROUND, mcp=tools)
    told = stage.file("tools.txt")
    assert (tools.url in told) is stage.subject.takes_tools
    assert (tools.key in told + stage.file("environment.txt")) is stage.subject.takes_tools
    await stage.play(subjects.LOOKS_AROUND)
    assert tools.url not in stage.file("tools.txt"), "they were another run's"


def session_of(stage: Stage, session_id: str) -> dict[str, Any]:
    return NativeSession(
        session_id=session_id,
        runtime=stage.runtime.name,
        worker_id=new_id(),
        execution_id=new_id(),
    ).model_dump(mode="json")
