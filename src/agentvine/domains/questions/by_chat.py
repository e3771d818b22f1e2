"""Answers that people write in a chat: which question is meant, and what is said to it.

    T-12 keep the old names      what T-12 asks, where that is one thing
    3f2a9c1b allow task          a question by its short name, as its notice says it
    deny use the staging one     in reply to the notice itself

The name of a question is read from what the person wrote, or from our own line in the message that
they reply to. An agent's words stand there, too, and may imitate it: where two such lines name
different questions, the person is asked which is meant.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agentvine.db.session import Database
from agentvine.domains.conversations.enums import QuestionState
from agentvine.domains.notifications.channels.port import plain
from agentvine.domains.questions import queries, service
from agentvine.kit.actor import UserActor
from agentvine.kit.errors import AppError, Invalid
from agentvine.kit.ids import short_id
from agentvine.kit.pagination import MAX_LIMIT, PageRequest
from agentvine.protocol.questions import (
    MAX_ANSWER_CHARACTERS,
    AnswerDecision,
    AnswerIn,
    QuestionKind,
    QuestionOut,
    RememberScope,
)

HELP = (
    "Answer an agent by replying to its message, or begin with what asks: T-12 keep the old names. "
    "A permission or a plan: allow, or deny and why; allow run, allow task or allow project is "
    "remembered that far."
)
_NAMED = re.compile(r"\s*(T-\d{1,9}|[0-9a-f]{8})(?:[\s:,]+|$)(.*)", re.IGNORECASE | re.DOTALL)
_OUR_LINE = re.compile(r"^Answer: agentvine answer ([0-9a-f]{8}) ", re.MULTILINE)
_ALLOW = re.compile(
    r"(?:allow|yes)(?:\s+(run|task|project))?(?:[\s:,.]+(.*))?", re.IGNORECASE | re.DOTALL
)
_DENY = re.compile(r"(?:deny|no)(?:[\s:,.]+(.*))?", re.IGNORECASE | re.DOTALL)
_LISTED = 5
_SHOWN = 80


class ChatAnswerUnclear(Invalid):
    """It is not clear what this answers."""

    code = "chat_answer_unclear"


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody has written, and what it is a reply to."""

    text: str
    replied_to: str = ""


async def answer_by_chat(database: Database, actor: UserActor, said: Said) -> str:
    """Answer what is meant; what to tell the person, whether it counted or not."""
    try:
        name, words = _named(said)
        async with database.read() as read:
            page = PageRequest(limit=MAX_LIMIT)
            found = await queries.list_questions(read, actor, page, states=[QuestionState.OPEN])
        question = _meant(name, found.items)
        given = understand(question, words)
        async with database.transaction(actor) as tx:
            await service.answer(tx, actor, question.id, given)
    except AppError as error:
        return f"{error.title}. {error.detail}"
    return f"{question.asked_by} is told: {_summary(given)}"


def understand(question: QuestionOut, words: str) -> AnswerIn:
    """What the words say to this question.

    Raises:
        ChatAnswerUnclear: They say nothing, or a permission neither allowed nor denied.
    """
    words = words.strip()
    if not words:
        raise ChatAnswerUnclear("Say something to it.")
    if len(words) > MAX_ANSWER_CHARACTERS:
        raise ChatAnswerUnclear("It is too long.")
    if question.kind is not QuestionKind.QUESTION:
        return _verdict(question, words)
    choices = _choices(question, words)
    return AnswerIn(choices=choices) if choices else AnswerIn(text=words)


def _verdict(question: QuestionOut, words: str) -> AnswerIn:
    if (denied := _DENY.fullmatch(words)) is not None:
        return AnswerIn(decision=AnswerDecision.DENY, text=denied[1] or "")
    if (allowed := _ALLOW.fullmatch(words)) is None:
        raise ChatAnswerUnclear(f"{question.asked_by} waits for a word: allow, or deny and why.")
    remember = RememberScope(allowed[1].lower()) if allowed[1] else None
    return AnswerIn(decision=AnswerDecision.ALLOW, text=allowed[2] or "", remember=remember)


def _choices(question: QuestionOut, words: str) -> list[str]:
    """The options that are named, by their words or their numbers; none where they are not all."""
    labels = [option.label for option in question.options]
    by_word = {label.casefold(): label for label in labels}
    by_word |= {str(number): label for number, label in enumerate(labels, 1)} | by_word
    if (whole := by_word.get(words.casefold())) is not None:
        return [whole]
    parts = [by_word.get(part.strip().casefold()) for part in words.split(",")]
    is_all = question.allows_several and all(part is not None for part in parts)
    return [part for part in parts if part is not None] if is_all else []


def _named(said: Said) -> tuple[str, str]:
    """What the question is called, and what is said to it.

    Raises:
        ChatAnswerUnclear: Neither the words nor what they reply to name one.
    """
    if (found := _NAMED.fullmatch(said.text)) is not None:
        return found[1], found[2]
    ours = set(_OUR_LINE.findall(said.replied_to))
    if len(ours) == 1:
        return ours.pop(), said.text
    if ours:
        raise ChatAnswerUnclear(f"That message is about several: begin with one of {_any(ours)}.")
    raise ChatAnswerUnclear(HELP)


def _meant(name: str, questions: Sequence[QuestionOut]) -> QuestionOut:
    wanted = name.lower()
    found = [
        each for each in questions if wanted in {short_id(each.id), (each.task_ref or "").lower()}
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise ChatAnswerUnclear(f"Nothing called {name} waits for your answer (any more).")
    listed = "\n".join(
        f"{short_id(each.id)} {plain(each.text or each.tool_name or '', _SHOWN)}"
        for each in found[:_LISTED]
    )
    raise ChatAnswerUnclear(f"{name} asks several things; begin with the name of one:\n{listed}")


def _any(names: set[str]) -> str:
    return ", ".join(sorted(names)[:_LISTED])


def _summary(given: AnswerIn) -> str:
    decision = given.decision.value if given.decision else ""
    remembered = f"for the {given.remember.value}" if given.remember else ""
    words = ", ".join(given.choices) or given.text
    return " ".join(part for part in (decision, remembered, words) if part)[:200]
