"""People's assistants show what runs ask, and pass on the answers."""

from typing import Literal

from pydantic import Field

from agentvine.domains.questions import queries, service
from agentvine.mcp.calls import PersonCall
from agentvine.mcp.table import PersonTool
from agentvine.mcp.words import Paged, ToolInput, listed, question_words, read_id
from agentvine.protocol.questions import (
    MAX_ANSWER_CHARACTERS,
    MAX_OPTIONS,
    AnswerDecision,
    AnswerIn,
    QuestionState,
    RememberScope,
)


class ListQuestions(Paged):
    """Show what running agents ask and what they want to be allowed, oldest first.

    Use it to tell a person what waits for them. Questions and permissions are the person's to
    decide: show them, and do not answer by yourself.
    """

    state: Literal["open", "answered"] = "open"


class AnswerQuestion(ToolInput):
    """Give an agent the answer that the person has decided on; it goes on at once.

    A question gets a text, or one of its options as a choice; a permission or a plan gets decision
    allow or deny, with a reason if there is one. The first answer counts.
    """

    question_id: str = Field(min_length=1, max_length=40, description="See list_questions.")
    decision: Literal["", "allow", "deny"] = Field(
        default="", description="For permissions and plans; deny also tells that nobody answers."
    )
    text: str = Field(default="", max_length=MAX_ANSWER_CHARACTERS)
    choices: list[str] = Field(default_factory=list[str], max_length=MAX_OPTIONS)
    remember: Literal["", "run", "task", "project"] = Field(
        default="",
        description="Decide the same input alike in future, as far as this reaches; only when the "
        "person says so.",
    )


async def _list(call: PersonCall, given: ListQuestions) -> str:
    async with call.state.database.read() as read:
        states = [QuestionState(given.state)]
        found = await queries.list_questions(read, call.actor, given.page, states=states)
    blocks = [f"{question_words(question)}\n" for question in found.items]
    return listed(blocks, found.next_cursor, f"Nothing is {given.state}.")


async def _answer(call: PersonCall, given: AnswerQuestion) -> str:
    question_id = read_id(given.question_id, "question")
    answer = AnswerIn(
        decision=AnswerDecision(given.decision) if given.decision else None,
        text=given.text,
        choices=given.choices,
        remember=RememberScope(given.remember) if given.remember else None,
    )
    async with call.state.database.transaction(call.actor) as tx:
        question, task = await service.answer(tx, call.actor, question_id, answer)
        return question_words(queries.question_out(question, task))


TOOLS = (
    PersonTool(
        name="list_questions",
        takes=ListQuestions,
        scope="questions:read",
        do=_list,
        is_read_only=True,
        how_to_get_more="List fewer at a time, with limit.",
    ),
    PersonTool(name="answer_question", takes=AnswerQuestion, scope="questions:write", do=_answer),
)
