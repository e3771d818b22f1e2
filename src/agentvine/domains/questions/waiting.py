"""Waiting for answers: a worker's run for its own, and people for what is asked.

The rows are the truth: they are looked at when a wait begins, when a hint comes, and at every poll
interval. So an answer reaches its run at once, whichever server was told it, and a restart of
either side costs one look.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

from agentvine.db.hints import heard_of
from agentvine.db.session import Database
from agentvine.domains.conversations.enums import QuestionState
from agentvine.domains.conversations.questions import CHANNEL
from agentvine.domains.questions import queries, service
from agentvine.domains.questions.service import Claim
from agentvine.kit.actor import UserActor, WorkerActor
from agentvine.kit.pagination import PageRequest
from agentvine.protocol.questions import QuestionOut

_SHOWN = 500
"""Open questions that a stream follows; an inbox of more is read page by page."""


@dataclass(frozen=True, slots=True)
class AnswerRoom:
    """Those who wait at one server process."""

    database: Database
    poll_seconds: float

    async def wait(
        self,
        actor: WorkerActor,
        claim: Claim,
        question_id: uuid.UUID,
        seconds: float,
        over: asyncio.Event,
    ) -> QuestionOut:
        """A question of a claim, settled or as it is when the time is over.

        Raises:
            LeaseLost: The claim is not the caller's any more.
            QuestionNotFound: This attempt asked no such question.
        """
        clock = self.database.clock
        deadline = clock.monotonic() + seconds
        async with self.database.hints.subscribe(CHANNEL) as hints:
            while True:
                async with self.database.read() as read:
                    found = await service.find_of_claim(read, actor, claim, question_id)
                left = deadline - clock.monotonic()
                if found[0].question_state is not QuestionState.OPEN or left <= 0 or over.is_set():
                    return queries.question_out(*found)
                await heard_of(hints, str(question_id), over, min(left, self.poll_seconds))

    async def wait_for_fewer(
        self, actor: WorkerActor, claim: Claim, seconds: float, over: asyncio.Event
    ) -> list[QuestionOut]:
        """What is open of a claim, once it is less than it was, or the time is over.

        Raises:
            LeaseLost: The claim is not the caller's any more.
        """
        clock = self.database.clock
        deadline = clock.monotonic() + seconds
        before: set[uuid.UUID] | None = None
        async with self.database.hints.subscribe(CHANNEL) as hints:
            while True:
                async with self.database.read() as read:
                    found = await service.list_open_of_claim(read, actor, claim)
                ids: set[uuid.UUID] = {question.id for question, _ in found}
                left = deadline - clock.monotonic()
                is_less = before is not None and not before <= ids
                if not ids or is_less or left <= 0 or over.is_set():
                    return [queries.question_out(*each) for each in found]
                before = ids
                await heard_of(hints, None, over, min(left, self.poll_seconds))

    async def follow(
        self, actor: UserActor, seconds: float, over: asyncio.Event
    ) -> AsyncIterator[QuestionOut]:
        """What is open for somebody, then each change: what is asked, and what is settled."""
        clock = self.database.clock
        deadline = clock.monotonic() + seconds
        known: set[uuid.UUID] = set()
        async with self.database.hints.subscribe(CHANNEL) as hints:
            while True:
                now = await self._open(actor)
                for question in now.values():
                    if question.id not in known:
                        yield question
                for question_id in known - now.keys():
                    if (settled := await self._find(actor, question_id)) is not None:
                        yield settled
                known = set(now)
                if clock.monotonic() >= deadline or over.is_set():
                    return
                await heard_of(hints, None, over, self.poll_seconds)

    async def _open(self, actor: UserActor) -> dict[uuid.UUID, QuestionOut]:
        async with self.database.read() as read:
            page = await queries.list_questions(
                read, actor, PageRequest(limit=_SHOWN), states=[QuestionState.OPEN]
            )
        return {question.id: question for question in page.items}

    async def _find(self, actor: UserActor, question_id: uuid.UUID) -> QuestionOut | None:
        async with self.database.read() as read:
            found = await queries.find_question(read, actor, question_id)
        return None if found is None else queries.question_out(*found)
