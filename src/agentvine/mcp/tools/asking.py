"""A run's agent asks a person, and waits for the answer."""

import hashlib
import json

from pydantic import Field

from agentvine.domains.conversations.enums import QuestionState
from agentvine.domains.questions import service
from agentvine.domains.questions.waiting import AnswerRoom
from agentvine.mcp.calls import RunCall
from agentvine.mcp.table import RunTool
from agentvine.mcp.words import ToolInput, answer_words
from agentvine.protocol.questions import (
    MAX_OPTIONS,
    MAX_QUESTION_CHARACTERS,
    AnswerDecision,
    QuestionIn,
    QuestionKind,
    QuestionOption,
    QuestionOut,
)
from agentvine.protocol.tools import ASK_HUMAN, TOOL_QUESTION

_MAX_LABEL = 500
_OPEN = (
    "Nobody has answered yet. The question is in the inbox and stays there. If there is work that "
    "does not depend on the answer, do that first. Then call ask_human again with exactly the same "
    "question and options: that goes on waiting, and asks nothing new. Do not guess the answer."
)
_GONE = "The question was withdrawn; decide it yourself, and say what you decided."
_DENIED = "Decide it yourself, and say what you decided."


class AskHuman(ToolInput):
    """Ask the person whom you work for, and wait for the answer.

    Use it when the task can be understood in ways that lead to different results, or when you would
    do something that cannot be undone. Do not use it for what you can find out by looking. Ask one
    thing at a time, in a way that can be answered without seeing what you see; offer options where
    you can. The answer may take minutes; the same question asked again is not asked twice.
    """

    question: str = Field(min_length=1, max_length=MAX_QUESTION_CHARACTERS)
    options: list[str] = Field(
        default_factory=list[str],
        max_length=MAX_OPTIONS,
        description="Answers to choose from, each in a few words; another answer may be given.",
    )


async def _ask(call: RunCall, given: AskHuman) -> str:
    options = [each[:_MAX_LABEL] for each in given.options if each.strip()]
    wanted = QuestionIn(
        order_id=call.run.order_id,
        fence=call.run.fence,
        key=_key(given),
        kind=QuestionKind.QUESTION,
        text=given.question,
        options=[QuestionOption(label=label) for label in dict.fromkeys(options)],
    )
    settings = call.state.settings.questions
    async with call.state.database.transaction(call.run.worker) as tx:
        asked, _ = await service.ask(tx, call.run.worker, call.claim, wanted, settings)
        question_id = asked.id
    room = call.state.effect(AnswerRoom)
    question = await room.wait(
        call.run.worker, call.claim, question_id, call.wait_seconds, call.state.stopping
    )
    return _told(question)


def _key(given: AskHuman) -> str:
    """The same for the same words, so that a question that is asked again goes on waiting."""
    asked = json.dumps([given.question, given.options])
    return f"{TOOL_QUESTION}{hashlib.sha256(asked.encode()).hexdigest()}"


def _told(question: QuestionOut) -> str:
    if question.state is QuestionState.OPEN:
        return _OPEN
    if question.answer is None:
        return _GONE
    if question.answer.decision is AnswerDecision.DENY:
        return f"{answer_words(question.answer, question.kind)} {_DENIED}"
    return answer_words(question.answer, question.kind)


TOOLS = (RunTool(name=ASK_HUMAN, takes=AskHuman, do=_ask),)
