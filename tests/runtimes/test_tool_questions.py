"""An agent that asks by our own tool, which its runtime sees only as a call."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from agentvine.protocol.enums import FailureClass
from agentvine.runtimes.agent import NOTHING, ProgramEnd, Step, run_agent
from agentvine.runtimes.asking import AnswerDeferred, RunAnswer, RunQuestion
from agentvine.runtimes.base import RunContext
from agentvine.runtimes.events import AgentEvent, Finished, ToolCall, ToolResult
from agentvine.runtimes.own_tools import own_input, own_tool
from agentvine.runtimes.runner import Program

UNTIL_FOLLOWED = "until [ -e begun ]; do sleep 0.05; done"
CALL = ToolCall(id="1", name="mcp__agentvine__ask_human", input={"question": "Which?"})
EVENTS: dict[str, AgentEvent] = {
    "asks": CALL,
    "is told": ToolResult(id="1", output="Blue."),
    "ends": Finished(text="Done."),
}


class Lines:
    """A program whose lines are the names of events; it goes on when it reads a line."""

    def __init__(self, script: str) -> None:
        self.script = script

    def program(self) -> Program:
        return Program(argv=["/bin/sh", "-c", self.script], timeout_seconds=60, has_input=True)

    def begin(self) -> Step:
        return NOTHING

    def on_line(self, line: str) -> Step:
        return Step(events=[EVENTS[line]])

    def answer(self, question: RunQuestion, answer: RunAnswer) -> Step:
        raise AssertionError("it asks nobody but by the tool")

    def steer(self, text: str) -> Step | None:
        return None

    def interrupt(self) -> Step | None:
        return None

    def on_end(self, end: ProgramEnd, /) -> Sequence[AgentEvent]:
        return ()


class Followed:
    """What the worker knows of the question."""

    def __init__(self, begun: Path, *, gives_up: bool = False, is_open: bool = False) -> None:
        self.begun, self.gives_up, self.is_open = begun, gives_up, is_open
        self.ended: list[str] = []

    async def follow(self, pause: Callable[[bool], None]) -> None:
        pause(True)
        if self.gives_up:
            raise AnswerDeferred("Which?")
        self.begun.touch()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.append("followed")

    async def check(self) -> None:
        self.ended.append("checked")
        if self.is_open:
            raise AnswerDeferred("Which?")


async def test_it_is_followed_until_the_call_is_over(
    make_context: Callable[..., RunContext], tmp_path: Path
):
    followed = Followed(tmp_path / "begun")
    script = f"echo asks; {UNTIL_FOLLOWED}; echo 'is told'; echo ends"
    outcome = await run_agent(make_context("", tool_questions=followed), Lines(script))

    assert outcome.is_success, outcome
    assert followed.ended == ["followed", "checked"]


@pytest.mark.parametrize(
    ("script", "followed"),
    [
        ("echo asks; exec sleep 600", {"gives_up": True}),
        ("echo asks; echo 'is told'; echo ends", {"is_open": True}),
    ],
    ids=["it has waited for too long", "it has ended without the answer"],
)
async def test_without_an_answer_the_run_ends_until_there_is_one(
    make_context: Callable[..., RunContext], tmp_path: Path, script: str, followed: dict[str, Any]
):
    context = make_context("", tool_questions=Followed(tmp_path / "begun", **followed))
    outcome = await run_agent(context, Lines(script))

    assert outcome.failure is not None
    assert outcome.failure.failure_class is FailureClass.WAITING_FOR_ANSWER
    assert outcome.failure.message == "Which?"


@pytest.mark.parametrize(
    ("told", "given"),
    [
        (("mcp__agentvine__recall",), {}),
        (("mcp_agentvine_recall",), {}),
        (("other", "agentvine_recall"), {"text": "x"}),
        (("other", "recall (agentvine MCP Server)"), {}),
        (("execute", "run"), {"server": "agentvine", "tool": "recall", "arguments": {}}),
    ],
)
def test_our_tools_have_one_name_whatever_an_agent_calls_them(
    told: tuple[str, ...], given: dict[str, Any]
):
    assert own_tool(*told, given=given) == "mcp__agentvine__recall"


@pytest.mark.parametrize(
    "told", ["mcp__other__recall", "recall", "agentvine", "x agentvine_recall"]
)
def test_no_other_tool_passes_for_ours(told: str):
    assert own_tool(told, given={"server": "other", "tool": "recall"}) is None


def test_what_is_wrapped_around_the_input_is_left_out():
    wrapped = {"server": "agentvine", "tool": "recall", "arguments": {"text": "x"}}
    assert own_input(wrapped) == {"text": "x"}
    assert own_input({"text": "x"}) == {"text": "x"}
