"""Questions that a rule hands to a language model before a person is asked.

The slice knows no model: the composition root may give it an ``Adviser``. Where there is none, or
it cannot tell, or takes too long, a person is asked; who is first, person or model, has answered.
"""

import asyncio
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from agentvine.db.session import Database, Transaction
from agentvine.domains.conversations import questions as rows
from agentvine.domains.conversations.chat import CONTROLLER
from agentvine.domains.conversations.events import QuestionAsked
from agentvine.domains.conversations.models import ChatMessage
from agentvine.domains.conversations.questions import Facts, StoredAnswer, facts_of
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.tasks.models import Task
from agentvine.domains.work import answers as work
from agentvine.kit.actor import SystemActor
from agentvine.kit.errors import AppError
from agentvine.protocol.questions import AnswerDecision

_ACTOR = SystemActor("adviser")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviceRequest:
    """What an adviser is told; texts of the run's are nothing to be obeyed."""

    project_id: uuid.UUID
    task_id: uuid.UUID
    execution_id: uuid.UUID | None
    task_title: str
    task_description: str
    text: str
    facts: Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Its answer: allow or deny, and why."""

    is_allowed: bool
    reason: str
    model: str


class Adviser(Protocol):
    """Asks a language model."""

    async def advise(self, request: AdviceRequest) -> Advice | None:
        """Its answer; None when it cannot tell, and a person is to be asked."""
        ...


@dataclass(frozen=True, slots=True)
class AdviceDesk:
    """Gets advice for the questions that want some."""

    database: Database
    adviser: Adviser | None
    seconds: float

    async def advise(self, question_id: uuid.UUID, task_id: uuid.UUID) -> bool:
        """Ask for advice on one question, unless somebody does already; whether we did."""
        request = await self._begin(question_id, task_id)
        if request is None:
            return False
        advice, problem = None, "no language model is set up to answer"
        if self.adviser is not None:
            problem = "the language model could not tell"
            try:
                async with asyncio.timeout(self.seconds):
                    advice = await self.adviser.advise(request)
            except (AppError, TimeoutError) as error:
                problem = f"the language model could not be asked: {error}"
                log.warning("question.not_advised", question=str(question_id), problem=problem)
        async with self.database.transaction(_ACTOR) as tx:
            question, task = await _lock(tx, question_id, task_id)
            if advice is None:
                _leave_to_people(tx, question, task, problem)
            else:
                await _settle(tx, question, task, advice)
        return True

    async def _begin(self, question_id: uuid.UUID, task_id: uuid.UUID) -> AdviceRequest | None:
        async with self.database.transaction(_ACTOR) as tx:
            question, task = await _lock(tx, question_id, task_id)
            facts = facts_of(question)
            if not wants_advice(question, tx.now):
                return None
            # Twice the time: whoever began may be late in telling, and is not to be overtaken.
            facts.adviser_until = tx.now + timedelta(seconds=2 * self.seconds)
            question.metadata_ = facts.stored()
            return AdviceRequest(
                project_id=task.project_id,
                task_id=task.id,
                execution_id=question.execution_id,
                task_title=task.title,
                task_description=task.description or "",
                text=question.message,
                facts=facts,
            )


def wants_advice(question: ChatMessage, now: datetime) -> bool:
    """Whether an open question is to be shown to a model, and nobody is doing so."""
    until = facts_of(question).adviser_until
    is_open = question.question_state is rows.QuestionState.OPEN
    return is_open and until is not None and until <= now


async def _settle(tx: Transaction, question: ChatMessage, task: Task, advice: Advice) -> None:
    rule = f"language model {advice.model}"
    answer = StoredAnswer(
        decision=AnswerDecision.ALLOW if advice.is_allowed else AnswerDecision.DENY,
        text=advice.reason,
        author=rule,
        rule=rule,
    )
    if await rows.settle(tx, question, task.project_id, answer, sender=CONTROLLER):
        await work.release_waiting(tx, task)


def _leave_to_people(tx: Transaction, question: ChatMessage, task: Task, problem: str) -> None:
    facts = facts_of(question)
    if facts.answer is None:
        facts.adviser_until = None
        facts.why = f"A person is to be asked: {problem}."
        question.metadata_ = facts.stored()
        tx.emit(QuestionAsked(question, task.project_id))


async def _lock(
    tx: Transaction, question_id: uuid.UUID, task_id: uuid.UUID
) -> tuple[ChatMessage, Task]:
    task = await tasks.lock_task(tx, task_id)
    return await rows.lock_question(tx, question_id), task
