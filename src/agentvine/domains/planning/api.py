"""Routes between plans and work: tasks, code changes as a commit, and the chat about a plan."""

import re
import uuid
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi import Path as PathParameter
from fastapi.sse import EventSourceResponse, ServerSentEvent

from agentvine.db.hints import heard_of
from agentvine.domains.agents.errors import AgentNotFound, AgentUnusable
from agentvine.domains.knowledge.errors import DocumentMisplaced, DocumentNotFound
from agentvine.domains.planning import chats, queries, service
from agentvine.domains.planning.answering import ChatDesk
from agentvine.domains.planning.changes import ChangeWriter
from agentvine.domains.planning.chat_log import chat_out, entry_out, read_entries
from agentvine.domains.planning.errors import (
    ChangesMissing,
    ChangesNotApplied,
    ChatBusy,
    ChatNotFound,
    ChatOver,
    ModelUnnamed,
    NothingToAsk,
    PlanNotActive,
    ProposalNotFound,
    ProposalUnusable,
    StepsMissing,
)
from agentvine.domains.planning.queries import Outline
from agentvine.domains.plans import queries as plans
from agentvine.domains.plans.enums import PlanStatus
from agentvine.domains.plans.errors import (
    ArtifactUnreadable,
    PlanFixed,
    PlanNotFound,
    PlanTransitionInvalid,
)
from agentvine.domains.plans.models import ChatSession
from agentvine.domains.projects.errors import ProjectArchived, ProjectReadOnly
from agentvine.domains.tasks.errors import ProjectMissing, TaskNotRunnable
from agentvine.http.deps import (
    ExpectedVersion,
    Paging,
    Read,
    StaleVersion,
    State,
    Tx,
    check_version,
    require,
)
from agentvine.http.disconnects import until_over
from agentvine.http.problems import responses
from agentvine.kit.actor import UserActor
from agentvine.protocol.base import PageOut
from agentvine.protocol.planning import (
    ChangesAppliedOut,
    ChangesApplyIn,
    PlanAcceptedOut,
    PlanAcceptIn,
    PlanAcceptNowIn,
    PlanPreviewOut,
)
from agentvine.protocol.planning_chat import ChatDeltaOut, ChatSayIn, ChatState, PlanChatOut
from agentvine.protocol.plans import ArtifactOut, PlanOut

router = APIRouter(tags=["plans"])

PlanReader = Annotated[UserActor, Depends(require("plans:read"))]
PlanWriter = Annotated[UserActor, Depends(require("plans:write"))]
TaskWriter = Annotated[UserActor, Depends(require("tasks:write"))]
ChangeMaker = Annotated[UserActor, Depends(require("modifications:write"))]

_READ = (PlanNotFound, StepsMissing, ArtifactUnreadable)
_MAKE = (
    *_READ,
    ProjectReadOnly,
    ProjectArchived,
    ProjectMissing,
    TaskNotRunnable,
    AgentNotFound,
    AgentUnusable,
)

_PATH = "/plans/{plan_id}/chat/{chat_id}"
_SEEN = (PlanNotFound, ChatNotFound)
_WRITE = (*_SEEN, ProjectReadOnly, ProjectArchived, ChatBusy, ChatOver)
_CHOICE = (DocumentNotFound, DocumentMisplaced)
_EVENT_ID = re.compile(r"(\d{1,6})\.(\d{1,9})")
_MAX_STREAM_SECONDS = 600.0
"""A stream ends then, and the client goes on from its last event."""


@router.get("/plans/{plan_id}/preview", responses=responses(*_READ))
async def preview_plan(plan_id: uuid.UUID, actor: PlanReader, read: Read) -> PlanPreviewOut:
    """What accepting a version does: its steps, overlaps of files, and what becomes of tasks."""
    return await queries.get_preview(read, await plans.get_plan(read, actor, plan_id))


@router.post(
    "/plans/{plan_id}/accept", responses=responses(*_MAKE, PlanTransitionInvalid, StaleVersion)
)
async def accept_plan(
    plan_id: uuid.UUID,
    body: PlanAcceptNowIn,
    actor: TaskWriter,
    tx: Tx,
    expected: ExpectedVersion,
) -> PlanAcceptedOut:
    """Let a version count, and make each of its steps a task, once.

    Where tasks of an earlier version would be cancelled for it, none is made: the answer says
    what is to be done, and `reconcile` does it.
    """
    plan, repository = await plans.get_plan_for_change(tx, actor, plan_id)
    if plan.status is PlanStatus.DRAFT:  # a repeated acceptance finds the version moved on
        check_version(plan.row_version, expected)
    outline = await service.accept_plan(
        tx, actor, plan, repository, body, may_cancel=body.reconcile
    )
    return _accepted_out(outline)


@router.post("/plans/{plan_id}/reconcile", responses=responses(*_MAKE, PlanNotActive))
async def reconcile_plan(
    plan_id: uuid.UUID, body: PlanAcceptIn, actor: TaskWriter, tx: Tx
) -> PlanAcceptedOut:
    """Bring the tasks into line with an active version: cancel, keep and add what the preview says.

    Doing it again changes nothing.
    """
    plan, repository = await plans.get_plan_for_change(tx, actor, plan_id)
    return _accepted_out(await service.reconcile_plan(tx, actor, plan, repository, body))


@router.post(
    "/plans/{plan_id}/apply",
    responses=responses(
        PlanNotFound,
        ProjectReadOnly,
        ProjectArchived,
        PlanNotActive,
        ChangesMissing,
        ChangesNotApplied,
        ArtifactUnreadable,
    ),
)
async def apply_changes(
    plan_id: uuid.UUID, body: ChangesApplyIn, actor: ChangeMaker, state: State
) -> ChangesAppliedOut:
    """Make the code changes of an active version one commit, on a new branch.

    All of them or none. Doing it again gives the commit that was made.
    """
    return await state.effect(ChangeWriter).apply(actor, plan_id, body.branch)


async def visible_chat(
    plan_id: Annotated[uuid.UUID, PathParameter()],
    chat_id: Annotated[uuid.UUID, PathParameter()],
    actor: PlanReader,
    state: State,
) -> uuid.UUID:
    """The id of a dialogue the caller may see; a stream's own code runs too late to refuse."""
    async with state.database.read() as read:
        plan = await plans.get_plan(read, actor, plan_id)
        return (await chats.get_chat(read, plan, chat_id)).id


@router.get("/plans/{plan_id}/chat", responses=responses(PlanNotFound))
async def list_chats(
    plan_id: uuid.UUID, actor: PlanReader, read: Read, page: Paging, state: State
) -> PageOut[PlanChatOut]:
    """The dialogues beside a version, newest first."""
    plan = await plans.get_plan(read, actor, plan_id)
    found = await chats.list_chats(read, plan, page)
    now = state.clock.now()
    items = [chat_out(session, now) for session in found.items]
    return PageOut(items=items, next_cursor=found.next_cursor)


@router.post(
    "/plans/{plan_id}/chat",
    status_code=201,
    responses=responses(PlanNotFound, ProjectReadOnly, ProjectArchived),
)
async def open_chat(plan_id: uuid.UUID, actor: PlanWriter, tx: Tx) -> PlanChatOut:
    """Begin a dialogue beside a version of a plan."""
    plan, repository = await plans.get_plan_for_change(tx, actor, plan_id)
    return chat_out(await chats.open_chat(tx, plan, repository), tx.now)


@router.get(_PATH, responses=responses(*_SEEN))
async def get_chat(
    plan_id: uuid.UUID, chat_id: uuid.UUID, actor: PlanReader, read: Read, state: State
) -> PlanChatOut:
    """All that was said, with tokens and cost."""
    plan = await plans.get_plan(read, actor, plan_id)
    return chat_out(await chats.get_chat(read, plan, chat_id), state.clock.now())


@router.post(
    f"{_PATH}/messages", status_code=201, responses=responses(*_WRITE, ModelUnnamed, *_CHOICE)
)
async def say(
    plan_id: uuid.UUID, chat_id: uuid.UUID, body: ChatSayIn, actor: PlanWriter, state: State
) -> PlanChatOut:
    """Say something; the answer comes on the stream, and is kept as far as it has come."""
    async with state.database.transaction(actor) as tx:
        plan, repository = await plans.get_plan_for_change(tx, actor, plan_id)
        await chats.get_chat(tx, plan, chat_id)
        session = await chats.lock_chat(tx, chat_id)
        assert session is not None, "it was just read, and its plan is locked"
        answer = await chats.say(tx, actor, session, repository, body)
        shown = chat_out(session, tx.now)
    state.effect(ChatDesk).begin(actor, chat_id, answer.id)
    return shown


@router.post(f"{_PATH}/again", status_code=201, responses=responses(*_WRITE, NothingToAsk))
async def ask_again(
    plan_id: uuid.UUID, chat_id: uuid.UUID, actor: PlanWriter, state: State
) -> PlanChatOut:
    """Ask once more what was interrupted or failed; the part that came stays, marked."""
    async with state.database.transaction(actor) as tx:
        plan, _ = await plans.get_plan_for_change(tx, actor, plan_id)
        await chats.get_chat(tx, plan, chat_id)
        session = await chats.lock_chat(tx, chat_id)
        assert session is not None, "it was just read, and its plan is locked"
        answer = await chats.ask_again(tx, session)
        shown = chat_out(session, tx.now)
    state.effect(ChatDesk).begin(actor, chat_id, answer.id)
    return shown


@router.get(f"{_PATH}/stream", responses=responses(*_SEEN), response_class=EventSourceResponse)
async def follow_chat(
    chat_id: Annotated[uuid.UUID, Depends(visible_chat)],
    state: State,
    request: Request,
    last_event_id: Annotated[str | None, Header()] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Answers as they come (event `delta`), whole messages (`message`), and `end` after the last.

    Resumed with `Last-Event-ID`; without, all of the dialogue comes.
    """
    seen = _EVENT_ID.fullmatch(last_event_id or "")
    number, length = (int(seen[1]), int(seen[2])) if seen else (0, 0)
    deadline = state.clock.monotonic() + _MAX_STREAM_SECONDS
    async with (
        until_over(request, state.stopping) as over,
        state.database.hints.subscribe(chats.CHANNEL) as hints,
    ):
        while state.clock.monotonic() < deadline and not over.is_set():
            async with state.database.read() as read:
                session = await read.get(ChatSession, chat_id)
            entries = read_entries(session, state.clock.now()) if session else []
            for entry in entries[number:]:
                if entry.role == "assistant" and len(entry.text) > length:
                    piece = ChatDeltaOut(message_id=entry.id, text=entry.text[length:])
                    length = len(entry.text)
                    yield ServerSentEvent(event="delta", id=f"{number}.{length}", data=piece)
                if entry.state is ChatState.ANSWERING:
                    break
                number, length = number + 1, 0
                yield ServerSentEvent(event="message", id=f"{number}.0", data=entry_out(entry))
            if number >= len(entries):
                yield ServerSentEvent(event="end", data={})
                return
            poll = state.settings.queue.poll_interval_seconds
            await heard_of(hints, str(chat_id), over, poll)


@router.post(
    f"{_PATH}/proposals/{{proposal_id}}/accept",
    status_code=201,
    responses=responses(*_WRITE, PlanFixed, ProposalNotFound, ProposalUnusable),
)
async def accept_proposal(
    plan_id: uuid.UUID, chat_id: uuid.UUID, proposal_id: uuid.UUID, actor: PlanWriter, tx: Tx
) -> ArtifactOut:
    """Write what the model proposes into the draft; again gives the same artifact."""
    plan, repository = await plans.get_plan_for_change(tx, actor, plan_id)
    await chats.get_chat(tx, plan, chat_id)
    session = await chats.lock_chat(tx, chat_id)
    assert session is not None, "it was just read, and its plan is locked"
    artifact = await chats.accept_proposal(tx, plan, repository, session, proposal_id)
    return ArtifactOut.model_validate(artifact)


@router.post(f"{_PATH}/complete", responses=responses(*_WRITE))
async def complete_chat(
    plan_id: uuid.UUID, chat_id: uuid.UUID, actor: PlanWriter, tx: Tx
) -> PlanChatOut:
    """End a dialogue; it stays readable."""
    plan, repository = await plans.get_plan_for_change(tx, actor, plan_id)
    await chats.get_chat(tx, plan, chat_id)
    session = await chats.lock_chat(tx, chat_id)
    assert session is not None, "it was just read, and its plan is locked"
    await chats.complete_chat(tx, session, repository)
    return chat_out(session, tx.now)


def _accepted_out(outline: Outline) -> PlanAcceptedOut:
    return PlanAcceptedOut(
        plan=PlanOut.model_validate(outline.plan),
        tasks=[queries.task_out(key, task) for key, task in outline.tasks.items()],
        drift=[queries.item_out(item) for item in outline.open_items],
    )
