"""Questions as rows: asked once per key, open until one answer has settled them.

Who asks, who may answer and what follows is decided above; here is what must hold for every one:
it is stored before anybody waits, the first answer counts, and what one attempt was told, the next
one that asks the same is told, too. Callers hold the lock of what the conversation
is about, so that two who ask, or answer, come one after the other.
"""

import hashlib
import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select, update

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.conversations import chat
from agentvine.domains.conversations.chat import Place, Sender
from agentvine.domains.conversations.enums import (
    ChatMessageType,
    ConversationId,
    QuestionState,
)
from agentvine.domains.conversations.events import QuestionAsked, QuestionSettled
from agentvine.domains.conversations.models import ChatAttachment, ChatMessage
from agentvine.domains.identity import history
from agentvine.domains.identity.enums import UserId
from agentvine.protocol.conversations import AttachmentOut
from agentvine.protocol.questions import (
    AnswerDecision,
    AnswerOut,
    ExpiryPolicy,
    QuestionKind,
    QuestionOption,
    RememberScope,
)

CHANNEL = "questions"
"""Hints with a question's id, when it is asked or settled."""
_MAX_LOOKED_AT = 20
"""Earlier questions of the same words, of which one may be gone on with."""
_MAY_STAND = (ChatMessage.question_state == QuestionState.ANSWERED) & (
    # Rules and models are asked again; of what time has answered, the row tells more.
    ChatMessage.answered_by_id.is_not(None) | (ChatMessage.answered_at >= ChatMessage.expires_at)
)


class StoredAnswer(BaseModel):
    """The answer that counts, as the question keeps it."""

    model_config = ConfigDict(frozen=True)

    decision: AnswerDecision
    text: str = ""
    choices: list[str] = Field(default_factory=list[str])
    updated_input: dict[str, Any] | None = None
    remember: RememberScope | None = None
    author: str
    rule: str | None = None
    """What answered by itself; None: a person did."""
    is_unheard: bool = False
    """Whether it came by itself when the run had ended to wait for it: the next one hears it."""
    attachments: list[AttachmentOut] = Field(default_factory=list[AttachmentOut])


class About(BaseModel):
    """What a question is about that no task asks."""

    model_config = ConfigDict(frozen=True)

    project_id: uuid.UUID
    team_run_id: uuid.UUID
    title: str


class Facts(BaseModel):
    """What a question's ``metadata`` holds."""

    model_config = ConfigDict(extra="ignore")

    kind: QuestionKind
    options: list[QuestionOption] = Field(default_factory=list[QuestionOption])
    allows_text: bool = True
    allows_several: bool = False
    default_option: str | None = None
    tool_name: str | None = None
    tool_input: dict[str, Any] | None = None
    diff: str | None = None
    on_expiry: ExpiryPolicy = ExpiryPolicy.WAIT
    why: str = ""
    adviser_until: datetime | None = None
    """Until when somebody is asking a language model; the past: somebody should."""
    about: About | None = None
    """None: a task asks it."""
    asked_before: list[str] = Field(default_factory=list[str])
    """The earlier attempts that asked it, oldest first."""
    attachments: list[AttachmentOut] = Field(default_factory=list[AttachmentOut])
    """What its run has sent with it."""
    answer: StoredAnswer | None = None

    def stored(self) -> dict[str, Any]:
        """As a JSON document."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def fingerprint(self, text: str) -> str:
        """The same for two questions that ask the same."""
        asked: list[object] = [self.kind.value, text, self.tool_name, self.tool_input]
        asked.append([option.label for option in self.options])
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def facts_of(question: ChatMessage) -> Facts:
    """What is known of a question."""
    return Facts.model_validate(question.metadata_)


def answer_out(question: ChatMessage) -> AnswerOut | None:
    """The answer as it is told, once there is one."""
    answer = facts_of(question).answer
    if answer is None or question.answered_at is None:
        return None
    told = answer.model_dump(exclude={"rule", "is_unheard"})
    return AnswerOut(**told, is_automatic=answer.rule is not None, answered_at=question.answered_at)


async def find_asked(read: ReadSession, place: Place, key: str) -> ChatMessage | None:
    """What an attempt has asked by this key."""
    return await read.scalar(
        select(ChatMessage).where(
            ChatMessage.execution_id == place.execution_id, ChatMessage.question_key == key
        )
    )


async def find_without_task(
    read: ReadSession, conversation_id: ConversationId | None, key: str
) -> ChatMessage | None:
    """What was asked by this key in a conversation that is no task's."""
    return await read.scalar(
        select(ChatMessage)
        .where(
            ChatMessage.conversation_id == conversation_id,
            ChatMessage.execution_id.is_(None),
            ChatMessage.question_key == key,
        )
        .execution_options(populate_existing=True)
    )


async def take_over(
    tx: Transaction, place: Place, *, key: str, fingerprint: str, with_answer: bool
) -> ChatMessage | None:
    """Make this attempt's what an earlier one asked: open still, or with an answer that stands.

    A person's stands; what answered by itself is asked again, unless no run has heard it: a run
    that ended to wait would ask anew, and wait again, for ever.

    Args:
        tx: The transaction of the attempt that asks.
        place: Where it asks.
        key: Its own name for the question.
        fingerprint: What it asks.
        with_answer: Whether an answer may be taken over.
    """
    is_left = ChatMessage.question_state == QuestionState.OPEN
    if with_answer:
        is_left |= _MAY_STAND
    asked = await tx.scalars(
        select(ChatMessage)
        .where(
            ChatMessage.conversation_id == place.conversation_id,
            ChatMessage.question_hash == fingerprint,
            ChatMessage.execution_id != place.execution_id,
            is_left,
        )
        .order_by(ChatMessage.id.desc())
        .limit(_MAX_LOOKED_AT)
        .with_for_update(key_share=True)
    )
    left = next((each for each in asked if _is_open_or_stands(each)), None)
    if left is not None:
        facts = facts_of(left)
        if facts.answer is not None:
            facts.answer = facts.answer.model_copy(update={"is_unheard": False})
        facts.asked_before.append(str(left.execution_id))
        left.metadata_ = facts.stored()
        left.execution_id, left.question_key = place.execution_id, key
        await tx.flush()
    return left


async def ask(
    tx: Transaction,
    place: Place,
    sender: Sender,
    *,
    key: str,
    text: str,
    facts: Facts,
    expires_at: datetime | None,
) -> ChatMessage:
    """Store a question that is not there yet."""
    question = chat.say(tx, place, sender, ChatMessageType.QUESTION, text, metadata=facts.stored())
    question.question_key = key
    question.question_state = QuestionState.OPEN
    question.question_hash = facts.fingerprint(text)
    question.expires_at = expires_at
    history.record(
        tx,
        "question.asked",
        entity=("question", question.id),
        project_id=place.project_id,
        after={"kind": facts.kind.value, "tool": facts.tool_name, "text": text[:500]},
    )
    await tx.flush()
    tx.emit(QuestionAsked(question, place.project_id))
    tx.hint(CHANNEL, str(question.id))
    return question


async def settle(
    tx: Transaction,
    question: ChatMessage,
    project_id: uuid.UUID,
    answer: StoredAnswer,
    *,
    state: QuestionState = QuestionState.ANSWERED,
    sender: Sender,
    files: Sequence[ChatAttachment] = (),
) -> bool:
    """Give a question its answer, by one statement that only the first passes; whether it did."""
    facts = facts_of(question)
    facts.answer, facts.adviser_until = answer, None
    user_id = UserId(sender.id) if sender.id and sender.type.value == "user" else None
    changed = await tx.execute(
        update(ChatMessage)
        .where(ChatMessage.id == question.id, ChatMessage.question_state == QuestionState.OPEN)
        .values(
            question_state=state,
            metadata_=facts.stored(),
            answered_at=tx.now,
            answered_by_id=user_id,
        )
        .returning(ChatMessage.id)
        .execution_options(synchronize_session=False)
    )
    is_first = changed.one_or_none() is not None
    await tx.refresh(question)
    if not is_first:
        return False
    place = Place(
        conversation_id=question.conversation_id,
        project_id=project_id,
        execution_id=question.execution_id,
    )
    said = answer.model_dump(mode="json", exclude={"text"}, exclude_defaults=True)
    response = chat.say(
        tx, place, sender, ChatMessageType.RESPONSE, answer.text, metadata=said, parent=question
    )
    if files:
        await tx.flush()  # the files refer to it
        for file in files:
            file.message_id = response.id
    history.record(
        tx,
        f"question.{state.value}",
        entity=("question", question.id),
        project_id=project_id,
        after={
            "decision": answer.decision.value,
            "text": answer.text[:500],
            "choices": answer.choices,
            "by": answer.author,
            "rule": answer.rule,
            "files": [file.file_name for file in answer.attachments],
        },
    )
    tx.emit(QuestionSettled(question))
    tx.hint(CHANNEL, str(question.id))
    return True


async def withdraw(
    tx: Transaction, question: ChatMessage, project_id: uuid.UUID, *, reason: str
) -> bool:
    """Close an open question that nobody waits for any more; whether it was open."""
    changed = await tx.execute(
        update(ChatMessage)
        .where(ChatMessage.id == question.id, ChatMessage.question_state == QuestionState.OPEN)
        .values(question_state=QuestionState.WITHDRAWN, question_hash=None)
        .returning(ChatMessage.id)
        .execution_options(synchronize_session=False)
    )
    if changed.one_or_none() is None:
        return False
    await tx.refresh(question)
    history.record(
        tx,
        "question.withdrawn",
        entity=("question", question.id),
        project_id=project_id,
        after={"reason": reason},
    )
    tx.hint(CHANNEL, str(question.id))
    return True


async def lock_question(tx: Transaction, question_id: uuid.UUID) -> ChatMessage:
    """A question by id, locked and as it is now."""
    query = (
        select(ChatMessage)
        .where(ChatMessage.id == question_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return (await tx.execute(query)).scalar_one()


async def has_open(read: ReadSession, execution_id: uuid.UUID) -> bool:
    """Whether anything that an attempt asked is still open."""
    found = await read.scalar(
        select(ChatMessage.id)
        .where(
            ChatMessage.execution_id == execution_id,
            ChatMessage.question_state == QuestionState.OPEN,
        )
        .limit(1)
    )
    return found is not None


async def list_open(
    read: ReadSession, conversation_id: ConversationId | None
) -> Sequence[ChatMessage]:
    """What is open in a conversation, oldest first."""
    query = select(ChatMessage).where(
        ChatMessage.conversation_id == conversation_id,
        ChatMessage.question_state == QuestionState.OPEN,
    )
    return (await read.scalars(query.order_by(ChatMessage.id))).all()


async def list_answered(
    read: ReadSession, conversation_id: ConversationId | None, *, limit: int
) -> Sequence[ChatMessage]:
    """What people have answered in a conversation, and time where no run has heard it.

    Oldest first: the last so many.
    """
    query = (
        select(ChatMessage)
        .where(
            ChatMessage.conversation_id == conversation_id,
            _MAY_STAND,
        )
        .order_by(ChatMessage.answered_at.desc(), ChatMessage.id.desc())
        .limit(limit)
    )
    found = [each for each in await read.scalars(query) if _is_open_or_stands(each)]
    return found[::-1]


def _is_open_or_stands(question: ChatMessage) -> bool:
    """Whether it waits for its answer still, or the next attempt need not ask again."""
    if question.question_state is QuestionState.OPEN or question.answered_by_id is not None:
        return True
    answer = facts_of(question).answer
    return answer is not None and answer.is_unheard
