"""A hundred questions are open, the server dies, and every run goes on with its own answer."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from agentvine.client import Client
from agentvine.config.settings import DatabaseSettings
from agentvine.kit.ids import new_id, random_token
from agentvine.kit.redaction import Redactor
from agentvine.protocol.enums import FailureClass, TaskStatus
from agentvine.protocol.projects import RepositoryCreateIn
from agentvine.protocol.questions import AnswerIn, QuestionKind, QuestionOut, QuestionState
from agentvine.protocol.queue import (
    ClaimedOrder,
    ClaimIn,
    CompleteIn,
    ExecutionReport,
    FailIn,
)
from agentvine.protocol.tasks import TaskCreateIn, TaskRun
from agentvine.protocol.workers import WorkerRegisterIn
from agentvine.runtimes.asking import RunQuestion
from agentvine.worker.asking import ServerAsker
from tests.support.fleet import Fleet
from tests.support.repositories import make_repo

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

RUNS, QUESTIONS = 10, 10


@pytest.fixture
async def fleet(database_settings: DatabaseSettings, tmp_path: Path) -> AsyncIterator[Fleet]:
    # Nobody beats here, and no lease is to end by itself.
    fleet = Fleet(tmp_path, database_settings, lease_seconds=600)
    await fleet.prepare()
    await fleet.start_server()
    yield fleet
    fleet.stop()


class Runs:
    """A worker's runs, without programs: each asks its questions at the same time."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name
        self._session = new_id()
        self.stop = asyncio.Event()

    async def claim(self, count: int) -> list[ClaimedOrder]:
        """Register, and take so many orders."""
        registration = WorkerRegisterIn(
            name=self._name, session_id=self._session, runtimes=["command"],
            max_concurrent_tasks=count,
        )  # fmt: skip
        me = await self._client.workers.register(registration)
        claimed = await self._client.queue.claim(
            ClaimIn(
                worker_id=me.worker_id,
                session_id=self._session,
                claim_token=random_token(24),
                slots=count,
                wait_seconds=50,
            )
        )
        return claimed.orders

    async def ask_all(self, order: ClaimedOrder) -> list[str]:
        """The answers to a run's questions, in the order of the questions."""
        asker = ServerAsker(
            client=self._client,
            execution_id=order.execution_id,
            order_id=order.order_id,
            fence=order.fence,
            worktree="/tree",
            inbox=Path("/inbox"),
            stop=self.stop,
            wait_seconds=3600,
            redactor=Redactor([]),
            say=_silent,
        )
        answers = await asyncio.gather(
            *(asker.ask(question) for question in _questions(order)), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [answer.text for answer in answers if not isinstance(answer, BaseException)]


def _questions(order: ClaimedOrder) -> list[RunQuestion]:
    # The same key in every attempt, and in every run.
    return [
        RunQuestion(
            key=str(number), kind=QuestionKind.QUESTION, text=f"{order.payload.title}, {number}?"
        )
        for number in range(QUESTIONS)
    ]


async def _silent(_text: str, _step: str) -> None:
    """Nobody reads this run's log."""


async def _open(client: Client) -> list[QuestionOut]:
    """What is open once all have asked."""
    async with asyncio.timeout(120):
        while True:
            page = await client.questions.list(state=[QuestionState.OPEN]).page(limit=500)
            if len(page.items) == RUNS * QUESTIONS:
                return page.items
            await asyncio.sleep(0.05)


async def _answer(client: Client, questions: list[QuestionOut]) -> None:
    """Answer each with its own text."""
    for question in questions:
        body = AnswerIn(text=f"To {question.text}")
        await client.questions.answer(question.id, body)


async def _make_tasks(owner: Client, folder: Path) -> None:
    repository = await owner.repositories.create(
        RepositoryCreateIn(location=str(make_repo(folder / "repository").path))
    )
    for number in range(RUNS):
        await owner.tasks.create(
            TaskCreateIn(
                title=f"Run {number}", repository_id=repository.id, run=TaskRun(command="true")
            )
        )


async def test_a_hundred_open_questions_outlive_the_server_and_half_of_their_runs(
    fleet: Fleet, tmp_path: Path
):
    draw = random.Random(20261126)
    async with (
        fleet.client() as owner,
        Client(fleet.url, SecretStr(fleet.worker_token), max_connections=200) as worker,
    ):
        await _make_tasks(owner, tmp_path)
        runs = Runs(worker, "w1")
        orders = await runs.claim(RUNS)
        assert len(orders) == RUNS
        waiting = {order.order_id: asyncio.create_task(runs.ask_all(order)) for order in orders}
        questions = await _open(owner)

        fleet.kill(fleet.server)
        await fleet.start_server()
        questions = [*await _open(owner)]
        draw.shuffle(questions)
        await _answer(owner, questions[: len(questions) // 2])

        # Some runs end to wait, some go on; whoever runs an order next gets the rest.
        gone = orders[: RUNS // 2]
        for order in gone:
            waiting[order.order_id].cancel()
            await worker.queue.fail(
                FailIn(
                    order_id=order.order_id,
                    fence=order.fence,
                    failure_class=FailureClass.WAITING_FOR_ANSWER,
                    message="waits",
                )
            )
        await _answer(owner, questions[len(questions) // 2 :])
        again = await Runs(worker, "w2").claim(RUNS)
        assert {order.order_id for order in again} == {order.order_id for order in gone}
        for order in again:
            waiting[order.order_id] = asyncio.create_task(runs.ask_all(order))

        current = {order.order_id: order for order in [*orders, *again]}
        for order_id, order in current.items():
            expected = [f"To {question.text}" for question in _questions(order)]
            assert await waiting[order_id] == expected
            report = ExecutionReport(exit_code=0)
            await worker.queue.complete(
                CompleteIn(order_id=order_id, fence=order.fence, report=report)
            )
        tasks = (await owner.tasks.list().page(limit=RUNS)).items
        assert {task.status for task in tasks} == {TaskStatus.COMPLETED}
        page = await owner.questions.list().page(limit=500)
        assert [question.state for question in page.items] == [QuestionState.ANSWERED] * (
            RUNS * QUESTIONS
        )
