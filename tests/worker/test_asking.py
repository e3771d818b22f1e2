"""How a run's question gets its answer: over lost connections, and a wait that is too long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from agentvine.client import Client
from agentvine.kit.redaction import Redactor
from agentvine.protocol.enums import FailureClass
from agentvine.protocol.questions import AnswerDecision, QuestionKind, QuestionOption
from agentvine.runtimes.asking import AnswerDeferred, AnswerMissed, RunQuestion
from agentvine.worker.asking import ServerAsker
from tests.support.api import Api
from tests.support.per_file import pytest_generate_tests, shared_api, shared_settings
from tests.support.space import Json, Space, WireWorker, claim_of, make_space

__all__ = ["pytest_generate_tests", "shared_api", "shared_settings"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUESTION = RunQuestion(
    key="1",
    kind=QuestionKind.QUESTION,
    text="Tabs or blanks?",
    options=[QuestionOption(label="tabs"), QuestionOption(label="blanks")],
)
PUSH = RunQuestion(
    key="2",
    kind=QuestionKind.PERMISSION,
    text="",
    tool_name="Bash",
    tool_input={"command": "git push https://open-sesame-1234@example.org"},
)


class Line(httpx2.AsyncBaseTransport):
    """A connection to the server that can be cut, before a request or before its answer."""

    def __init__(self, api: Api) -> None:
        self._inner = httpx2.ASGITransport(app=api.app)
        self.cuts: list[str] = []
        self.has_asked = asyncio.Event()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        cut = self.cuts.pop(0) if self.cuts else ""
        if cut == "before":
            raise httpx2.ConnectError("no line", request=request)
        response = await self._inner.handle_async_request(request)
        if request.method == "POST":
            self.has_asked.set()
        if cut == "after":
            raise httpx2.ReadError("line lost", request=request)
        return response


@dataclass
class Asking:
    """A run that is under way, and its asker."""

    space: Space
    worker: WireWorker
    order: Json
    line: Line
    asker: ServerAsker
    said: list[tuple[str, str]]
    has_said: asyncio.Event

    async def answer(self, *, file: bytes | None = None, **body: Any) -> None:
        """Answer what is open, as the owner; with a file."""
        await self.line.has_asked.wait()
        found = await self.space.owner.get("/questions", params={"state": "open"})
        [question] = [
            each for each in found["items"] if each["project_id"] == self.space.project_id
        ]
        path = f"/questions/{question['id']}"
        if file is not None:
            where, params = f"{path}/attachments", {"name": "../note.txt"}
            put = await self.space.owner.call("POST", where, params=params, content=file)
            body["attachments"] = [put.json()["id"]]
        await self.space.owner.post(f"{path}/answer", body)

    async def questions(self) -> list[Json]:
        found = await self.space.owner.get("/questions")
        return [each for each in found["items"] if each["project_id"] == self.space.project_id]


@asynccontextmanager
async def asking(
    api: Api, *, wait_seconds: float = 300.0, inbox: Path = Path("/inbox")
) -> AsyncIterator[Asking]:
    space = await make_space(api)
    await space.task()
    worker = await space.worker(controls={"can_pause": True, "takes_files": True})
    order = await worker.claim_one()
    token = worker.caller.http.headers["Authorization"].removeprefix("Bearer ")
    line, said, has_said = Line(api), list[tuple[str, str]](), asyncio.Event()

    async def say(text: str, step: str) -> None:
        said.append((step, text))
        has_said.set()

    async with Client("http://test", token, network=line) as client:
        asker = ServerAsker(
            client=client,
            execution_id=order["execution_id"],
            worktree="/tree",
            inbox=inbox,
            stop=asyncio.Event(),
            wait_seconds=wait_seconds,
            redactor=Redactor(["open-sesame-1234"]),
            say=say,
            **claim_of(order),
        )
        yield Asking(space, worker, order, line, asker, said, has_said)


async def test_files_of_an_answer_are_laid_into_the_inbox_over_a_lost_connection(
    shared_api: Api, tmp_path: Path
):
    async with asking(shared_api, inbox=tmp_path / "inbox") as run:
        waiting = asyncio.create_task(run.asker.ask(QUESTION))
        await run.answer(text="As there.", file=b"four blanks")
        run.line.cuts = ["after", "before"]
        told = await waiting
    head, path = told.text.rsplit("\n- ", 1)
    file = Path(path.partition(" (")[0])

    assert head == "As there.\n\nFiles that came with it:"
    assert file.parent == tmp_path / "inbox" / "files"
    assert file.name.endswith("-note.txt")
    assert await asyncio.to_thread(file.read_bytes) == b"four blanks"


async def test_a_run_is_told_the_answer_and_so_is_its_log(shared_api: Api):
    async with asking(shared_api) as run:
        waiting = asyncio.create_task(run.asker.ask(QUESTION))
        await run.answer(choices=["blanks"], text="four")
        answer = await waiting
        assert (answer.decision, answer.choices, answer.text) == (
            AnswerDecision.ANSWER,
            ("blanks",),
            "four",
        )
        name = run.space.owner.actor.username
        assert run.said == [
            ("asked", "Asks: Tabs or blanks?"),
            ("answered", f"{name} answered: answer: four"),
        ]


async def test_a_lost_line_costs_nothing_but_time(shared_api: Api):
    async with asking(shared_api) as run:
        run.line.cuts = ["before", "after", "after"]
        waiting = asyncio.create_task(run.asker.ask(QUESTION))
        await run.line.has_asked.wait()
        run.line.cuts = ["after", "before", "after"]
        await run.answer(text="blanks")
        assert (await waiting).text == "blanks"
        assert len(await run.questions()) == 1


async def test_after_a_while_a_run_gives_up_its_slot_and_not_its_question(shared_api: Api):
    async with asking(shared_api, wait_seconds=0.05) as run:
        with pytest.raises(AnswerDeferred, match="Tabs or blanks"):
            await run.asker.ask(QUESTION)
        assert run.asker.ended_for is not None
        assert run.asker.ended_for.failure_class is FailureClass.WAITING_FOR_ANSWER
        assert [each["state"] for each in await run.questions()] == ["open"]


async def test_a_worker_that_stops_leaves_the_question_open(shared_api: Api):
    async with asking(shared_api) as run:
        waiting = asyncio.create_task(run.asker.ask(QUESTION))
        await run.line.has_asked.wait()
        run.asker.stop.set()
        with pytest.raises(AnswerDeferred):
            await waiting
        assert [each["state"] for each in await run.questions()] == ["open"]


async def test_a_lost_lease_ends_the_wait_with_the_run(shared_api: Api):
    async with asking(shared_api) as run:
        await run.worker.complete(run.order)
        waiting = asyncio.create_task(run.asker.ask(QUESTION))
        run.asker.stop.set()
        with pytest.raises(AnswerDeferred):
            await waiting


async def test_permissions_are_asked_without_secrets_and_withdrawn(shared_api: Api):
    async with asking(shared_api) as run:
        waiting = asyncio.create_task(run.asker.ask(PUSH))
        await run.line.has_asked.wait()
        await run.has_said.wait()
        await run.asker.withdraw(PUSH.key)
        assert (await waiting).decision is AnswerDecision.DENY
        [question] = await run.questions()
        assert question["state"] == "withdrawn"
        assert question["text"] == "May it use Bash?"
        assert "open-sesame-1234" not in str(question)


async def test_a_run_that_is_to_fail_without_an_answer_is_told_so(shared_api: Api):
    async with asking(shared_api) as run:
        with pytest.raises(AnswerMissed):
            await run.asker._answered(expired(await ask_raw(run)), "Tabs or blanks?")
        assert run.asker.ended_for is not None
        assert run.asker.ended_for.failure_class is FailureClass.QUESTION_EXPIRED


async def ask_raw(run: Asking) -> Any:
    return await run.asker._post(QUESTION, QUESTION.text)


def expired(question: Any) -> Any:
    answer = {"decision": "expired", "author": "expired: fail", "answered_at": question.asked_at}
    told = question.model_dump() | {"state": "expired", "answer": answer}
    return type(question).model_validate(told)


async def asks_by_a_tool(run: Asking, text: str = "Which colour?") -> Json:
    """The agent asks by our tool, past its runtime."""
    body = claim_of(run.order) | {"key": f"mcp-{text}", "text": text}
    return await run.worker.caller.post(f"/executions/{run.order['execution_id']}/questions", body)


async def test_what_the_agent_asks_by_a_tool_stops_the_clocks_until_it_is_answered(shared_api: Api):
    waits: asyncio.Queue[bool] = asyncio.Queue()
    async with asking(shared_api) as run, asyncio.timeout(60):
        following = asyncio.create_task(run.asker.follow(waits.put_nowait))
        question = await asks_by_a_tool(run)
        assert await waits.get() is True
        await run.space.owner.post(f"/questions/{question['id']}/answer", {"text": "Blue."})
        assert await waits.get() is False
        await run.asker.check()
        following.cancel()

    assert run.said == [("asked", "Asks: Which colour?")]


async def test_what_nobody_answers_ends_the_run_and_stays_open(shared_api: Api):
    async with asking(shared_api, wait_seconds=0.0) as run:
        question = await asks_by_a_tool(run)
        async with asyncio.timeout(60):
            with pytest.raises(AnswerDeferred, match="Which colour"):
                await run.asker.follow(lambda _: None)
        with pytest.raises(AnswerDeferred, match="Which colour"):
            await run.asker.check()
        assert run.asker.ended_for is not None
        [kept] = await run.questions()

    assert (kept["id"], kept["state"]) == (question["id"], "open")
