"""Chores of the questions slice: what has expired, what nobody waits for, what wants advice."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select

from agentvine.db.session import Database
from agentvine.domains.conversations.enums import QuestionState
from agentvine.domains.conversations.models import ChatMessage
from agentvine.domains.questions import service
from agentvine.domains.questions.advice import AdviceDesk, wants_advice
from agentvine.domains.tasks.models import Task
from agentvine.domains.tasks.states import FINAL
from agentvine.kit.actor import SystemActor

_ACTOR = SystemActor("questions")
_BATCH = 100
_OPEN = ChatMessage.question_state == QuestionState.OPEN


@dataclass(slots=True)
class QuestionChores:
    """Level-triggered upkeep of open questions; each call is one bounded step."""

    database: Database
    desk: AdviceDesk

    async def expire(self) -> int:
        """Do what is to be done about those that nobody has answered in time. Returns how many."""
        due = await self._open_where(ChatMessage.expires_at <= self.database.clock.now())
        done = 0
        for question_id, task_id in due:
            async with self.database.transaction(_ACTOR) as tx:
                done += await service.expire(tx, question_id, task_id)
        return done

    async def close(self) -> int:
        """Withdraw those of tasks that are over. Returns how many."""
        done = 0
        for question_id, task_id in await self._open_where(Task.status.in_(FINAL)):
            async with self.database.transaction(_ACTOR) as tx:
                done += await service.close_left_over(tx, question_id, task_id)
        return done

    async def advise(self) -> int:
        """Get advice for those that want some. Returns how many."""
        async with self.database.read() as read:
            query = select(ChatMessage, Task.id).join(
                Task, Task.conversation_id == ChatMessage.conversation_id
            )
            now = self.database.clock.now()
            wanting = [
                (question.id, task_id)
                for question, task_id in await read.execute(query.where(_OPEN))
                if wants_advice(question, now)
            ]
        return sum([await self.desk.advise(*each) for each in wanting[:_BATCH]])

    async def _open_where(
        self, condition: ColumnElement[bool]
    ) -> Sequence[tuple[uuid.UUID, uuid.UUID]]:
        query = (
            select(ChatMessage.id, Task.id)
            .join(Task, Task.conversation_id == ChatMessage.conversation_id)
            .where(_OPEN, condition)
            .order_by(ChatMessage.id)
            .limit(_BATCH)
        )
        async with self.database.read() as read:
            return [(row[0], row[1]) for row in await read.execute(query)]
