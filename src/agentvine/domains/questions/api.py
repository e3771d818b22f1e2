"""Routes of the questions slice: what runs ask, the inbox of people, and rules."""

import uuid
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from agentvine.domains.conversations import chat_files
from agentvine.domains.conversations.attaching import AttachmentDesk
from agentvine.domains.conversations.enums import QuestionState
from agentvine.domains.conversations.errors import (
    AttachmentNotFound,
    AttachmentRefused,
    TooManyAttachments,
)
from agentvine.domains.conversations.storage import KeptFile
from agentvine.domains.identity.idempotency import CreateOnce
from agentvine.domains.projects.errors import ProjectNotFound, ProjectReadOnly
from agentvine.domains.questions import queries, rules, service
from agentvine.domains.questions.errors import (
    AnswerInvalid,
    QuestionNotFound,
    QuestionSettledAlready,
    RuleNotFound,
    TooManyQuestions,
    TooManyRules,
)
from agentvine.domains.questions.service import Claim
from agentvine.domains.questions.waiting import AnswerRoom
from agentvine.domains.work.errors import FilesUnsupported, LeaseLost
from agentvine.http.deps import Paging, Read, State, Tx, Worker, require
from agentvine.http.disconnects import until_over
from agentvine.http.files import AttachmentTooLarge, file_response, read_file
from agentvine.http.problems import responses
from agentvine.kit.actor import UserActor
from agentvine.protocol.base import PageOut
from agentvine.protocol.conversations import AttachmentOut
from agentvine.protocol.questions import (
    MAX_WAIT_SECONDS,
    AnswerIn,
    QuestionIn,
    QuestionOut,
    RuleIn,
    RuleOut,
    WithdrawIn,
)

router = APIRouter()

QuestionReader = Annotated[UserActor, Depends(require("questions:read"))]
QuestionWriter = Annotated[UserActor, Depends(require("questions:write"))]

_OF_PROJECT = (ProjectNotFound, ProjectReadOnly)
_MAX_STREAM_SECONDS = 600.0
"""A stream ends then, and the client opens another: no connection lives for ever."""


@router.get("/questions", tags=["questions"])
async def list_questions(
    actor: QuestionReader,
    read: Read,
    page: Paging,
    *,
    state: Annotated[list[QuestionState] | None, Query()] = None,
    project_id: uuid.UUID | None = None,
    task_id: uuid.UUID | None = None,
    execution_id: uuid.UUID | None = None,
) -> PageOut[QuestionOut]:
    """What runs have asked in projects you may see, oldest first."""
    found = await queries.list_questions(
        read,
        actor,
        page,
        states=state or (),
        project_id=project_id,
        task_id=task_id,
        execution_id=execution_id,
    )
    return PageOut(items=list(found.items), next_cursor=found.next_cursor)


@router.get("/questions/stream", tags=["questions"], response_class=EventSourceResponse)
async def follow_questions(
    actor: QuestionReader,
    state: State,
    request: Request,
    seconds: Annotated[float, Query(ge=0, le=_MAX_STREAM_SECONDS)] = _MAX_STREAM_SECONDS,
) -> AsyncIterator[ServerSentEvent]:
    """What is open, and then what is asked and settled, as it happens (event ``question``).

    A stream ends by itself after so many seconds; reconnect, and what is open comes again.
    """
    async with until_over(request, state.stopping) as over:
        room = state.effect(AnswerRoom)
        async for question in room.follow(actor, seconds, over):
            yield ServerSentEvent(event="question", data=question)


@router.get("/questions/{question_id}", tags=["questions"], responses=responses(QuestionNotFound))
async def get_question(question_id: uuid.UUID, actor: QuestionReader, read: Read) -> QuestionOut:
    """One question and, once there is one, its answer."""
    question, task = await queries.get_question(read, actor, question_id)
    return queries.question_out(question, task)


@router.post(
    "/questions/{question_id}/answer",
    tags=["questions"],
    responses=responses(
        QuestionNotFound,
        ProjectReadOnly,
        QuestionSettledAlready,
        AnswerInvalid,
        AttachmentNotFound,
        FilesUnsupported,
        TooManyRules,
    ),
)
async def answer_question(
    question_id: uuid.UUID, body: AnswerIn, actor: QuestionWriter, tx: Tx
) -> QuestionOut:
    """Answer a question; the first answer counts, and others are told whose that was."""
    question, task = await service.answer(tx, actor, question_id, body)
    return queries.question_out(question, task)


@router.post(
    "/questions/{question_id}/attachments",
    tags=["questions"],
    status_code=201,
    responses=responses(
        QuestionNotFound,
        ProjectReadOnly,
        QuestionSettledAlready,
        FilesUnsupported,
        AttachmentTooLarge,
        AttachmentRefused,
        TooManyAttachments,
    ),
)
async def attach_to_question(
    question_id: uuid.UUID,
    request: Request,
    actor: QuestionWriter,
    state: State,
    name: Annotated[str, Query(min_length=1, max_length=1000)],
) -> AttachmentOut:
    """Put a file on an open question, for your answer to take along: its bytes are the body."""
    async with state.database.read() as read:
        await queries.get_question(read, actor, question_id)

    async def name_it(kept: KeptFile) -> AttachmentOut:
        async with state.database.transaction(actor) as tx:
            return chat_files.file_out(await service.attach(tx, actor, question_id, kept))

    return await state.effect(AttachmentDesk).take_in(
        name_it,
        name=name,
        type_=request.headers.get("content-type", ""),
        content=await read_file(request),
    )


@router.get(
    "/questions/{question_id}/attachments/{chat_file_id}",
    tags=["questions"],
    responses=responses(QuestionNotFound, AttachmentNotFound),
    response_class=Response,
)
async def get_question_attachment(
    question_id: uuid.UUID, chat_file_id: uuid.UUID, actor: QuestionReader, state: State
) -> Response:
    """A file of a question or of its answer, to be saved: no browser shows or runs it here."""
    async with state.database.read() as read:
        question, _ = await queries.get_question(read, actor, question_id)
        file = await chat_files.get_file(read, question.conversation_id, chat_file_id)
    content = await state.effect(AttachmentDesk).read(file.file_path)
    return file_response(file.file_name, content)


@router.get(
    "/projects/{project_id}/answer-rules", tags=["questions"], responses=responses(ProjectNotFound)
)
async def list_rules(project_id: uuid.UUID, actor: QuestionReader, read: Read) -> list[RuleOut]:
    """What is answered in a project without asking a person, oldest first."""
    found = await rules.list_rules(read, actor, project_id)
    return [RuleOut.model_validate(rule) for rule in found]


@router.post(
    "/projects/{project_id}/answer-rules",
    status_code=201,
    tags=["questions"],
    responses=responses(*_OF_PROJECT, TooManyRules),
)
async def add_rule(
    project_id: uuid.UUID, body: RuleIn, actor: QuestionWriter, tx: Tx, once: CreateOnce
) -> RuleOut:
    """Say what is answered without asking a person, from now on."""

    async def create() -> RuleOut:
        return RuleOut.model_validate(await rules.add_rule(tx, actor, project_id, body))

    return await once.run(tx, body, RuleOut, create)


@router.delete(
    "/answer-rules/{rule_id}",
    status_code=204,
    tags=["questions"],
    responses=responses(RuleNotFound, ProjectReadOnly),
)
async def remove_rule(rule_id: uuid.UUID, actor: QuestionWriter, tx: Tx) -> None:
    """Forget a rule, or an answer that was remembered."""
    await rules.remove_rule(tx, actor, rule_id)


@router.post(
    "/executions/{execution_id}/questions",
    tags=["protocol"],
    responses=responses(LeaseLost, TooManyQuestions),
)
async def ask(
    execution_id: uuid.UUID, body: QuestionIn, actor: Worker, tx: Tx, state: State
) -> QuestionOut:
    """Ask on behalf of a run. Asking again with the same key gives the same question."""
    claim = Claim(execution_id, body.order_id, body.fence)
    question, task = await service.ask(tx, actor, claim, body, state.settings.questions)
    return queries.question_out(question, task)


@router.get(
    "/executions/{execution_id}/questions", tags=["protocol"], responses=responses(LeaseLost)
)
async def list_open_of_run(
    execution_id: uuid.UUID,
    actor: Worker,
    state: State,
    request: Request,
    *,
    order_id: uuid.UUID,
    fence: int,
    wait_seconds: Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS)] = 0.0,
) -> list[QuestionOut]:
    """What a run has asked and nobody has answered, by whatever way; as soon as less of it is open.

    When nothing is open, that is told at once.
    """
    async with until_over(request, state.stopping) as over:
        claim = Claim(execution_id, order_id, fence)
        return await state.effect(AnswerRoom).wait_for_fewer(actor, claim, wait_seconds, over)


@router.get(
    "/executions/{execution_id}/questions/{question_id}",
    tags=["protocol"],
    responses=responses(LeaseLost, QuestionNotFound),
)
async def wait_for_answer(
    execution_id: uuid.UUID,
    question_id: uuid.UUID,
    actor: Worker,
    state: State,
    request: Request,
    *,
    order_id: uuid.UUID,
    fence: int,
    wait_seconds: Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS)] = 0.0,
) -> QuestionOut:
    """A question of a run, as soon as it is settled; as it is, when the time is over."""
    async with until_over(request, state.stopping) as over:
        room = state.effect(AnswerRoom)
        return await room.wait(
            actor, Claim(execution_id, order_id, fence), question_id, wait_seconds, over
        )


@router.post(
    "/executions/{execution_id}/questions/{question_id}/withdraw",
    status_code=204,
    tags=["protocol"],
    responses=responses(LeaseLost, QuestionNotFound),
)
async def withdraw(
    execution_id: uuid.UUID, question_id: uuid.UUID, body: WithdrawIn, actor: Worker, tx: Tx
) -> None:
    """Say that the run does not wait for an answer any more."""
    claim = Claim(execution_id, body.order_id, body.fence)
    await service.withdraw(tx, actor, claim, question_id)


@router.get(
    "/executions/{execution_id}/attachments/{chat_file_id}",
    tags=["protocol"],
    responses=responses(LeaseLost, AttachmentNotFound),
    response_class=Response,
)
async def get_attachment_of_run(
    execution_id: uuid.UUID,
    chat_file_id: uuid.UUID,
    actor: Worker,
    state: State,
    *,
    order_id: uuid.UUID,
    fence: int,
) -> Response:
    """A file that came with an answer, or with a message to the run."""
    claim = Claim(execution_id, order_id, fence)
    async with state.database.read() as read:
        file = await service.get_file_of_claim(read, actor, claim, chat_file_id)
    content = await state.effect(AttachmentDesk).read(file.file_path)
    return file_response(file.file_name, content)
