"""Agents use our own tools by their real CLIs: they report, ask a person, and go on as told."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agentvine.client import Client
from agentvine.config.settings import DatabaseSettings
from agentvine.kit.redaction import Redactor
from agentvine.llm.scripted import parse_script
from agentvine.llm.scripted.serving import serving
from agentvine.protocol.questions import AnswerIn, QuestionKind
from agentvine.runtimes.base import McpAccess
from agentvine.runtimes.registry import builtin_runtimes
from agentvine.worker.asking import ServerAsker
from tests.clis.driving import CLIS_OF, MODELS, Drive
from tests.support.api import running_api
from tests.support.repositories import make_repo
from tests.support.space import Json, WireWorker, make_space
from tests.support.tools import listening, tool_key

SCRIPT = """
turns:
  - calls: [{server: agentvine, tool: report_progress, input: {message: "I look around."}}]
  - calls:
      - server: agentvine
        tool: ask_human
        input: {question: "Which colour?", options: [Red, Blue]}
  - text: So be it.
"""
SHORT = ("claude-code", "codex-acp")
LONG = ("codex", "qwen", "claude-agent-acp", "gemini", "opencode", "qwen-acp")
NAMES = [*SHORT, *(pytest.param(name, marks=pytest.mark.clis_long) for name in LONG)]


@pytest.mark.parametrize("name", NAMES)
async def test_it_reports_asks_and_goes_on_with_the_answer(
    name: str,
    installed: Callable[..., list[Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sqlite_settings: DatabaseSettings,
):
    folders = dict.fromkeys(map(str, installed(*CLIS_OF[name])))
    monkeypatch.setenv("PATH", os.pathsep.join(folders), prepend=os.pathsep)
    for folder in ("home", "tmp"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    said, noticed = list[str](), asyncio.Event()
    async with (
        running_api(sqlite_settings, tmp_path / "data") as api,
        listening(api) as url,
        serving(parse_script(SCRIPT)) as (upstream, model_url, _),
    ):
        space = await make_space(api)
        await space.task(run_runtime=name)
        worker = await space.worker(runtimes=[name])
        order = await worker.claim_one()
        key = await tool_key(worker.caller, order)
        run = Drive(
            runtime=builtin_runtimes().get(name),
            worktree=make_repo(tmp_path / "repository").path,
            home=tmp_path / "home",
            base_url=model_url,
            upstream=upstream,
            model=MODELS.get(name, "scripted"),
        )
        async with (
            Client(url, token_of(worker)) as workers,
            Client(url, space.owner.http.headers["authorization"].split()[1]) as people,
        ):
            answering = asyncio.create_task(answer_first(people, noticed))
            outcome, asker = await run.run(
                "Do it.",
                mcp=McpAccess(url=f"{url}/mcp", key=key),
                tool_questions=following(workers, order, run, said, noticed),
            )
            assert answering.done(), f"nobody was asked: {outcome}\n{run.log.tail}"
            answering.cancel()
        [question] = (await space.owner.get("/questions"))["items"]

    assert outcome.is_success, f"{outcome}\n{run.log.tail}"
    assert outcome.message == "So be it."
    assert question["answer"]["choices"] == ["Blue"]
    assert [option["label"] for option in question["options"]] == ["Red", "Blue"]
    assert said == ["Asks: Which colour?"], "its worker knew that it waits"
    calls = run.log.of_type("tool_call")
    assert [call["name"].rpartition("__")[2] for call in calls] == ["report_progress", "ask_human"]
    assert "chose: Blue" in str(upstream.requests[-1].body)
    # Where a program asks for each tool, a rule has to know ours.
    assert {each.kind for each in asker.asked} <= {QuestionKind.PERMISSION}
    assert all((each.tool_name or "").startswith("mcp__agentvine__") for each in asker.asked)


def token_of(worker: WireWorker) -> str:
    return worker.caller.http.headers["authorization"].split()[1]


def following(
    client: Client, order: Json, run: Drive, said: list[str], noticed: asyncio.Event
) -> ServerAsker:
    """The worker's own way to know what its agent asks."""

    async def say(text: str, step: str) -> None:
        said.append(text)
        noticed.set()

    return ServerAsker(
        client=client,
        execution_id=order["execution_id"],
        order_id=order["order_id"],
        fence=order["fence"],
        worktree=str(run.worktree),
        inbox=run.worktree.parent / "inbox",
        stop=run.stop,
        wait_seconds=300,
        redactor=Redactor(()),
        say=say,
    )


async def answer_first(client: Client, noticed: asyncio.Event) -> None:
    """A person who follows what is asked, and answers when the worker knows of it, too."""
    await noticed.wait()
    async for question in client.questions.follow():
        await client.questions.answer(question.id, AnswerIn(choices=["Blue"]))
        return
