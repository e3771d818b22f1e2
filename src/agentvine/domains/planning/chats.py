"""Commands and reads of the dialogue in which a plan is made."""

import uuid

from sqlalchemy import select

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.gateway.queries import find_rules
from agentvine.domains.identity import history
from agentvine.domains.knowledge.choosing import check_choice
from agentvine.domains.planning.chat_log import ChatEntry, Proposal, read_entries, write_entries
from agentvine.domains.planning.errors import (
    ChatBusy,
    ChatNotFound,
    ChatOver,
    ModelUnnamed,
    NothingToAsk,
    ProposalNotFound,
    ProposalUnusable,
)
from agentvine.domains.plans import service as plan_service
from agentvine.domains.plans.enums import ChatSessionId, ChatSessionStatus
from agentvine.domains.plans.models import ChatSession, Plan, PlanArtifact
from agentvine.domains.projects.models import Repository
from agentvine.kit.actor import UserActor
from agentvine.kit.ids import new_id
from agentvine.kit.pagination import Page, PageRequest
from agentvine.protocol.planning_chat import ChatSayIn, ChatState
from agentvine.protocol.plans import ARTIFACT

CHANNEL = "plan chats"


async def open_chat(tx: Transaction, plan: Plan, repository: Repository) -> ChatSession:
    """Begin a dialogue beside a version."""
    session = ChatSession(
        id=ChatSessionId(new_id()),
        plan_id=plan.id,
        messages=[],
        status=ChatSessionStatus.ACTIVE,
    )
    tx.add(session)
    history.record(
        tx,
        "plan_chat.opened",
        entity=("chat_session", session.id),
        project_id=repository.project_id,
        after={"plan_id": str(plan.id)},
    )
    await tx.flush()
    await tx.refresh(session)
    return session


async def list_chats(read: ReadSession, plan: Plan, page: PageRequest) -> Page[ChatSession]:
    """The dialogues beside a version, newest first."""
    query = select(ChatSession).where(ChatSession.plan_id == plan.id)
    return await fetch_page(read, query, ChatSession.id, page, newest_first=True)


async def get_chat(read: ReadSession, plan: Plan, chat_id: uuid.UUID) -> ChatSession:
    """A dialogue of a version.

    Raises:
        ChatNotFound: It has none with this id.
    """
    session = await read.scalar(
        select(ChatSession).where(ChatSession.id == chat_id, ChatSession.plan_id == plan.id)
    )
    if session is None:
        raise ChatNotFound(f"The plan has no chat with the id {chat_id}.")
    return session


async def lock_chat(tx: Transaction, chat_id: uuid.UUID) -> ChatSession | None:
    """A dialogue as it is now, locked; None when it is gone."""
    query = select(ChatSession).where(ChatSession.id == chat_id).with_for_update()
    return await tx.scalar(query.execution_options(populate_existing=True))


async def say(
    tx: Transaction,
    actor: UserActor,
    session: ChatSession,
    repository: Repository,
    wanted: ChatSayIn,
) -> ChatEntry:
    """Say something, and let the answer begin: its entry, still empty.

    Raises:
        DocumentNotFound: A document is not theirs to see.
        DocumentMisplaced: A document is another project's.
        ChatOver: The dialogue is completed.
        ChatBusy: The model still answers.
        ModelUnnamed: There is no model to ask.
    """
    entries = await _ready(tx, session)
    for document_id in wanted.documents:
        await check_choice(tx, actor, repository.project_id, document_id)
    model = wanted.model or next((e.model for e in reversed(entries) if e.model), None)
    if model is None:
        model = (await find_rules(tx, repository.project_id)).default_model
    if model is None:
        raise ModelUnnamed("Name a model, or set the project's default: `agentvine model default`.")
    said = ChatEntry(
        id=new_id(),
        role="user",
        text=wanted.text,
        author=tx.actor.label,
        model=model,
        files=list(wanted.files),
        documents=list(wanted.documents),
        tags=list(wanted.tags),
        created_at=tx.now,
    )
    return _begin(tx, session, [*entries, said], model)


async def ask_again(tx: Transaction, session: ChatSession) -> ChatEntry:
    """Ask once more what was not answered to its end.

    Raises:
        ChatOver: The dialogue is completed.
        ChatBusy: The model still answers.
        NothingToAsk: The last message is answered.
    """
    entries = await _ready(tx, session)
    if not entries or entries[-1].state not in {ChatState.INTERRUPTED, ChatState.FAILED}:
        raise NothingToAsk("The last message was answered; say something new.")
    return _begin(tx, session, entries, entries[-1].model or "")


async def _ready(tx: Transaction, session: ChatSession) -> list[ChatEntry]:
    if session.status is ChatSessionStatus.COMPLETED:
        raise ChatOver("The chat is completed; open another one.")
    entries = read_entries(session, tx.now)
    if entries and entries[-1].state is ChatState.ANSWERING:
        raise ChatBusy("The model still answers; wait for its end.")
    return entries


def _begin(
    tx: Transaction, session: ChatSession, entries: list[ChatEntry], model: str
) -> ChatEntry:
    answer = ChatEntry(
        id=new_id(),
        role="assistant",
        state=ChatState.ANSWERING,
        model=model,
        created_at=tx.now,
        renewed_at=tx.now,
    )
    write_entries(session, [*entries, answer])
    tx.hint(CHANNEL, str(session.id))
    return answer


async def accept_proposal(
    tx: Transaction,
    plan: Plan,
    repository: Repository,
    session: ChatSession,
    proposal_id: uuid.UUID,
) -> PlanArtifact:
    """Write a proposed artifact into the draft; again gives the same.

    Raises:
        ProposalNotFound: Nothing like it was proposed.
        ProposalUnusable: It is not valid.
        PlanFixed: The version is no draft any more.
    """
    entries = read_entries(session, tx.now)
    proposal = _find(entries, proposal_id)
    if proposal.artifact_id is not None:
        return await tx.get_one(PlanArtifact, proposal.artifact_id)
    if proposal.problem is not None:
        raise ProposalUnusable(f"Ask for a better one: {proposal.problem}")
    part = ARTIFACT.validate_python(
        {"artifact_type": proposal.artifact_type, "content": proposal.content}
    )
    artifact = await plan_service.write_artifact(tx, plan, repository, part)
    proposal.artifact_id = artifact.id
    write_entries(session, entries)
    return artifact


def _find(entries: list[ChatEntry], proposal_id: uuid.UUID) -> Proposal:
    for entry in entries:
        for proposal in entry.proposals:
            if proposal.id == proposal_id:
                return proposal
    raise ProposalNotFound(f"Nothing was proposed with the id {proposal_id}.")


async def complete_chat(tx: Transaction, session: ChatSession, repository: Repository) -> None:
    """End a dialogue; what was said stays readable. Again changes nothing.

    Raises:
        ChatBusy: The model still answers.
    """
    if session.status is ChatSessionStatus.COMPLETED:
        return
    entries = await _ready(tx, session)
    write_entries(session, entries)
    session.status = ChatSessionStatus.COMPLETED
    history.record(
        tx,
        "plan_chat.completed",
        entity=("chat_session", session.id),
        project_id=repository.project_id,
        after={"messages": len(entries)},
    )
    await tx.flush()
