"""A run's agent asks a person, and waits for the answer."""

import hashlib
import json
import uuid

from pydantic import Field, field_validator

from agentvine.domains.conversations import queries as conversations
from agentvine.domains.conversations.attaching import AttachmentDesk
from agentvine.domains.conversations.enums import QuestionState
from agentvine.domains.conversations.errors import AttachmentNotFound
from agentvine.domains.conversations.storage import KeptFile
from agentvine.domains.questions import service
from agentvine.domains.questions.waiting import AnswerRoom
from agentvine.kit.redaction import mask_shapes
from agentvine.mcp.calls import RunCall
from agentvine.mcp.files import file_shown
from agentvine.mcp.table import Picture, RunTool
from agentvine.mcp.talks import find_talk
from agentvine.mcp.words import ToolInput, answer_words, read_id
from agentvine.protocol.conversations import MAX_ATTACHMENTS
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
    files: list[dict[str, str]] = Field(
        default_factory=list[dict[str, str]],
        max_length=MAX_ATTACHMENTS,
        description="Texts that the person is to have with it, such as a log: objects with name "
        "and text.",
    )

    @field_validator("files")
    @classmethod
    def _have_names_and_texts(cls, files: list[dict[str, str]]) -> list[dict[str, str]]:
        if any(set(file) != {"name", "text"} or not file["name"].strip() for file in files):
            raise ValueError("each is an object with name and text")
        return files


class ReadAttachment(ToolInput):
    """Read a text that came with an answer or a message to you, or look at a picture.

    Answers and conversations name the ids of their files. A long text comes part by part. What is
    neither text nor picture cannot be read so: say what you need of it.
    """

    attachment: str = Field(min_length=1, max_length=40, description="Its id.")
    start: int = Field(default=0, ge=0, description="From which character on.")


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
    await _send(call, question_id, given.files)
    room = call.state.effect(AnswerRoom)
    question = await room.wait(
        call.run.worker, call.claim, question_id, call.wait_seconds, call.state.stopping
    )
    return _told(question)


async def _send(call: RunCall, question_id: uuid.UUID, files: list[dict[str, str]]) -> None:
    async def name_it(kept: KeptFile) -> None:
        async with call.state.database.transaction(call.run.worker) as tx:
            await service.attach_of_run(tx, call.run.worker, call.claim, question_id, kept)

    for file in files:
        await call.state.effect(AttachmentDesk).take_in(
            name_it,
            name=mask_shapes(file["name"]),
            type_="text/plain",
            content=mask_shapes(file["text"]).encode(),
        )


async def _read(call: RunCall, given: ReadAttachment) -> str | Picture:
    attachment_id = read_id(given.attachment, "file")
    async with call.state.database.read() as read:
        try:
            file = await service.get_file_of_claim(read, call.run.worker, call.claim, attachment_id)
            name, path = file.file_name, file.file_path
        except AttachmentNotFound:
            # It may be one of the conversation that its task came of.
            said = await find_talk(read, call)
            if said is None:
                raise
            of_talk = await conversations.get_attachment_of(read, said, attachment_id)
            name, path = of_talk.file_name, of_talk.sha256
    content = await call.state.effect(AttachmentDesk).read(path)
    return file_shown(name, content, given.start)


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


TOOLS = (
    RunTool(name=ASK_HUMAN, takes=AskHuman, do=_ask),
    RunTool(name="read_attachment", takes=ReadAttachment, do=_read, is_read_only=True),
)
