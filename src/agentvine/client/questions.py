"""Questions: what runs ask, and the answers to it; rules that answer without a person."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence

import httpx2
from pydantic import TypeAdapter, ValidationError

from agentvine.client.errors import NotAnAgentVineServer
from agentvine.client.pages import Listing
from agentvine.client.transport import Call, RetryPolicy, Transport, get, post, send_file
from agentvine.kit.errors import LimitReached, Unavailable
from agentvine.protocol.base import PageOut
from agentvine.protocol.conversations import AttachmentOut
from agentvine.protocol.questions import (
    AnswerIn,
    QuestionIn,
    QuestionOut,
    QuestionState,
    RuleIn,
    RuleOut,
    WithdrawIn,
)

_RECONNECT = RetryPolicy(base_seconds=0.5, cap_seconds=10.0)
_RULES = TypeAdapter(list[RuleOut])
_QUESTIONS = TypeAdapter(list[QuestionOut])
_ANSWER_SECONDS = 20.0
"""For the answer itself, on top of the time that a long poll waits."""
_SILENCE_SECONDS = 60.0


class QuestionsApi:
    """``questions/``, and ``answer-rules``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    def list(
        self,
        *,
        state: Sequence[QuestionState] = (),
        project_id: uuid.UUID | None = None,
        task_id: uuid.UUID | None = None,
        execution_id: uuid.UUID | None = None,
    ) -> Listing[QuestionOut]:
        """Questions, oldest first."""
        params = {
            "state": [each.value for each in state],
            "project_id": project_id,
            "task_id": task_id,
            "execution_id": execution_id,
        }
        return Listing(self._transport, "questions", params, PageOut[QuestionOut])

    async def get(self, question_id: uuid.UUID) -> QuestionOut:
        """One question and, once there is one, its answer."""
        return await self._transport.fetch(get(f"questions/{question_id}"), QuestionOut)

    async def answer(self, question_id: uuid.UUID, body: AnswerIn) -> QuestionOut:
        """Answer a question; the first answer counts."""
        call = post(f"questions/{question_id}/answer", body, is_repeatable=True)
        return await self._transport.fetch(call, QuestionOut)

    async def attach(
        self,
        question_id: uuid.UUID,
        name: str,
        content: bytes,
        *,
        type_: str = "application/octet-stream",
    ) -> AttachmentOut:
        """Put a file on an open question; ``AnswerIn.attachments`` takes it along."""
        call = send_file(f"questions/{question_id}/attachments", name, content, type_)
        return await self._transport.fetch(call, AttachmentOut)

    async def attachment(self, question_id: uuid.UUID, attachment_id: uuid.UUID) -> bytes:
        """The content of a file of a question, or of its answer."""
        path = f"questions/{question_id}/attachments/{attachment_id}"
        return (await self._transport.send(get(path))).content

    async def attachment_of_run(
        self, execution_id: uuid.UUID, attachment_id: uuid.UUID, *, order_id: uuid.UUID, fence: int
    ) -> bytes:
        """The content of a file that came with what a run was told."""
        path = f"executions/{execution_id}/attachments/{attachment_id}"
        params = {"order_id": order_id, "fence": fence}
        call = Call("GET", path, params=params, is_repeatable=True)
        return (await self._transport.send(call)).content

    async def follow(self) -> AsyncIterator[QuestionOut]:
        """What is open, then each question as it is asked and as it is settled, for ever.

        After a connection was lost, what is open comes again.
        """
        failures = 0
        while True:
            try:
                async for question in self._follow():
                    failures = 0
                    yield question
                pause = _RECONNECT.base_seconds
            except NotAnAgentVineServer:
                raise
            except (Unavailable, LimitReached) as error:
                pause = _RECONNECT.pause(failures, error.retry_after)
                failures += 1
            await asyncio.sleep(pause)

    async def rules(self, project_id: uuid.UUID) -> Sequence[RuleOut]:
        """What is answered in a project without asking a person, oldest first."""
        call = get(f"projects/{project_id}/answer-rules")
        return await self._transport.fetch_as(call, _RULES)

    async def add_rule(
        self, project_id: uuid.UUID, body: RuleIn, *, key: str | None = None
    ) -> RuleOut:
        """Add a rule to a project."""
        call = post(f"projects/{project_id}/answer-rules", body).with_key(key)
        return await self._transport.fetch(call, RuleOut)

    async def remove_rule(self, rule_id: uuid.UUID) -> None:
        """Remove a rule, or an answer that was remembered."""
        await self._transport.send(Call("DELETE", f"answer-rules/{rule_id}"))

    async def ask(self, execution_id: uuid.UUID, body: QuestionIn) -> QuestionOut:
        """Ask on behalf of a run; the same key is the same question."""
        call = post(f"executions/{execution_id}/questions", body, is_repeatable=True)
        return await self._transport.fetch(call, QuestionOut)

    async def open_of_run(
        self,
        execution_id: uuid.UUID,
        *,
        order_id: uuid.UUID,
        fence: int,
        wait_seconds: float = 0.0,
    ) -> Sequence[QuestionOut]:
        """What a run has asked and nobody has answered; a change of that is waited for."""
        params = {"order_id": order_id, "fence": fence, "wait_seconds": wait_seconds}
        call = Call(
            "GET",
            f"executions/{execution_id}/questions",
            params=params,
            is_repeatable=True,
            read_timeout=wait_seconds + _ANSWER_SECONDS,
        )
        return await self._transport.fetch_as(call, _QUESTIONS)

    async def wait(
        self,
        execution_id: uuid.UUID,
        question_id: uuid.UUID,
        *,
        order_id: uuid.UUID,
        fence: int,
        wait_seconds: float = 0.0,
    ) -> QuestionOut:
        """A run's question as soon as it is settled; as it is when the time is over."""
        params = {"order_id": order_id, "fence": fence, "wait_seconds": wait_seconds}
        call = Call(
            "GET",
            f"executions/{execution_id}/questions/{question_id}",
            params=params,
            is_repeatable=True,
            read_timeout=wait_seconds + _ANSWER_SECONDS,
        )
        return await self._transport.fetch(call, QuestionOut)

    async def withdraw(
        self, execution_id: uuid.UUID, question_id: uuid.UUID, body: WithdrawIn
    ) -> None:
        """Say that a run does not wait for an answer any more."""
        path = f"executions/{execution_id}/questions/{question_id}/withdraw"
        await self._transport.send(post(path, body, is_repeatable=True))

    async def _follow(self) -> AsyncIterator[QuestionOut]:
        call = Call(
            "GET",
            "questions/stream",
            headers={"Accept": "text/event-stream"},
            read_timeout=_SILENCE_SECONDS,
        )
        async with self._transport.stream(call) as response:
            async for event in httpx2.EventSource(response):
                if event.event == "question":
                    yield _read(event.data)


def _read(data: str) -> QuestionOut:
    try:
        return QuestionOut.model_validate_json(data)
    except ValidationError as error:
        raise NotAnAgentVineServer(
            f"The stream of questions holds something this client does not understand: {error}"
        ) from error
