"""Commands of the questions slice: a run asks, somebody answers, time passes."""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select

from agentvine.config.settings import QuestionSettings
from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.conversations import chat, chat_files
from agentvine.domains.conversations import questions as rows
from agentvine.domains.conversations.chat import CONTROLLER, SYSTEM_SENDER, Place
from agentvine.domains.conversations.enums import QuestionState
from agentvine.domains.conversations.models import ChatAttachment, ChatMessage
from agentvine.domains.conversations.questions import Facts, StoredAnswer, facts_of
from agentvine.domains.conversations.storage import KeptFile
from agentvine.domains.projects import queries as projects
from agentvine.domains.questions import policy, queries, rules
from agentvine.domains.questions.enums import RuleEffect
from agentvine.domains.questions.errors import (
    AnswerInvalid,
    QuestionNotFound,
    QuestionSettledAlready,
    TooManyQuestions,
)
from agentvine.domains.questions.policy import Asked, Verdict
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.tasks import service as task_service
from agentvine.domains.tasks.models import Task
from agentvine.domains.work import answers as work
from agentvine.domains.work import controls, settling
from agentvine.domains.work import queries as work_queries
from agentvine.domains.work.enums import OrderStatus
from agentvine.kit.actor import UserActor, WorkerActor
from agentvine.kit.redaction import clean_value, mask_shapes
from agentvine.protocol.enums import FailureClass
from agentvine.protocol.questions import (
    AnswerDecision,
    AnswerIn,
    ExpiryPolicy,
    QuestionIn,
    QuestionKind,
)
from agentvine.protocol.tools import TOOL_QUESTION

MAX_OPEN = 100
"""Questions of one run that nobody has answered."""
_REFUSED_BY_RULE = "A rule of this project does not allow it; find another way, or ask why."


@dataclass(frozen=True, slots=True)
class Claim:
    """The claim in whose name a worker speaks."""

    execution_id: uuid.UUID
    order_id: uuid.UUID
    fence: int


async def ask(
    tx: Transaction,
    actor: WorkerActor,
    claim: Claim,
    wanted: QuestionIn,
    settings: QuestionSettings,
) -> tuple[ChatMessage, Task]:
    """Store what a run asks, and answer it where a rule does.

    Asking again gives the same question. What an earlier attempt at the task asked is taken over,
    with its answer, unless a rule forbids it now.

    Raises:
        LeaseLost: The claim is not the caller's any more.
        TooManyQuestions: So many are open that no more are taken.
    """
    task = await _lock_claimed(tx, actor, claim)
    place = Place(
        conversation_id=await task_service.ensure_conversation(tx, task),
        project_id=task.project_id,
        execution_id=claim.execution_id,
    )
    text, facts = mask_shapes(wanted.text), _facts(wanted)
    if (known := await rows.find_asked(tx, place, wanted.key)) is not None:
        return known, task
    verdict = await _judge(tx, task, claim, facts, wanted)
    question = await rows.take_over(
        tx,
        place,
        key=wanted.key,
        fingerprint=facts.fingerprint(text),
        with_answer=verdict.effect is not RuleEffect.DENY,
    )
    if question is None:
        await _check_not_too_many(tx, claim)
        facts.why = _why(verdict)
        facts.on_expiry = wanted.on_expiry or ExpiryPolicy(settings.on_expiry)
        facts.adviser_until = tx.now if verdict.effect is RuleEffect.MODEL else None
        seconds = wanted.expires_in_seconds or settings.expire_seconds
        question = await rows.ask(
            tx,
            place,
            chat.sender_of(actor),
            key=wanted.key,
            text=text,
            facts=facts,
            expires_at=tx.now + timedelta(seconds=seconds) if seconds else None,
        )
    if verdict.effect in {RuleEffect.ALLOW, RuleEffect.DENY}:
        await rows.settle(tx, question, task.project_id, _by_rule(verdict), sender=CONTROLLER)
    return question, task


async def answer(
    tx: Transaction, actor: UserActor, question_id: uuid.UUID, given: AnswerIn
) -> tuple[ChatMessage, Task | None]:
    """Answer as a person. The first answer counts; a repeat of it is no error.

    Raises:
        QuestionNotFound: There is none, or it is not theirs to see.
        ProjectReadOnly: They may only look.
        QuestionSettledAlready: Somebody was first, or nobody waits for it.
        AnswerInvalid: It does not fit the question.
        AttachmentNotFound: They have put no such file on the question.
        FilesUnsupported: The worker that asks it could not hand them to its run.
    """
    project_id = queries.project_of(*(found := await queries.get_question(tx, actor, question_id)))
    await projects.get_project_for_change(tx, actor, project_id)
    task = await tasks.lock_task(tx, found[1].id) if found[1] is not None else None
    question = await rows.lock_question(tx, question_id)
    facts = facts_of(question)
    files = await chat_files.find_own_files(tx, actor, question, given.attachments)
    if files:
        await _check_takes_files(tx, question, task)
    shown = [chat_files.file_out(file) for file in files]
    stored = _answer(facts, given, actor.username).model_copy(update={"attachments": shown})
    is_first = await rows.settle(
        tx, question, project_id, stored, sender=chat.sender_of(actor), files=files
    )
    if not is_first:
        if question.answered_by_id == actor.user_id and facts_of(question).answer == stored:
            return question, task
        raise _too_late(question)
    if task is None:
        return question, task
    if given.remember is not None:
        is_allowed = stored.decision is AnswerDecision.ALLOW
        await rules.remember(
            tx,
            question,
            facts,
            task,
            scope=given.remember,
            is_allowed=is_allowed,
            pattern=given.pattern,
            by=actor.user_id,
        )
    await work.release_waiting(tx, task)
    return question, task


async def attach(
    tx: Transaction, actor: UserActor, question_id: uuid.UUID, kept: KeptFile
) -> ChatAttachment:
    """Put a kept file on an open question, for one's answer to take along.

    Raises:
        QuestionNotFound: There is none, or it is not theirs to see.
        ProjectReadOnly: They may only look.
        QuestionSettledAlready: Nobody waits for an answer any more.
        TooManyAttachments: It has as many as it may.
        FilesUnsupported: The worker that asks it could not hand them to its run.
    """
    project_id = queries.project_of(*(found := await queries.get_question(tx, actor, question_id)))
    await projects.get_project_for_change(tx, actor, project_id)
    task = await tasks.lock_task(tx, found[1].id) if found[1] is not None else None
    question = await rows.lock_question(tx, question_id)
    if question.question_state is not QuestionState.OPEN:
        raise _too_late(question)
    await _check_takes_files(tx, question, task)
    return await chat_files.add_file(tx, question, kept)


async def _check_takes_files(tx: Transaction, question: ChatMessage, task: Task | None) -> None:
    # An agent that asked by a tool of the server's fetches them by another, past its worker.
    is_by_tool = (question.question_key or "").startswith(TOOL_QUESTION)
    if task is not None and question.execution_id is not None and not is_by_tool:
        await controls.check_attempt_takes_files(tx, task.id, question.execution_id)


async def attach_of_run(
    tx: Transaction, actor: WorkerActor, claim: Claim, question_id: uuid.UUID, kept: KeptFile
) -> None:
    """Send a kept file with a question of a run. The same again, or too late, changes nothing.

    Raises:
        LeaseLost: The claim is not the caller's any more.
        QuestionNotFound: This attempt asked no such question.
        TooManyAttachments: It has as many as it may.
    """
    await _lock_claimed(tx, actor, claim)
    await _of_claim(tx, claim, question_id)
    question = await rows.lock_question(tx, question_id)
    facts = facts_of(question)
    sent = {(file.file_name, file.sha256) for file in facts.attachments}
    is_open = question.question_state is QuestionState.OPEN
    if not is_open or (kept.file_name, kept.sha256) in sent:
        return
    row = await chat_files.add_file(tx, question, kept)
    facts.attachments.append(chat_files.file_out(row))
    question.metadata_ = facts.stored()


async def get_file_of_claim(
    read: ReadSession, actor: WorkerActor, claim: Claim, attachment_id: uuid.UUID
) -> ChatAttachment:
    """A file of what was said about the task of a claim that is still held.

    Raises:
        LeaseLost: The claim is not the caller's any more.
        AttachmentNotFound: There is none with this id.
    """
    task_id = await work_queries.task_of_claim(read, actor, claim.order_id, claim.fence)
    await work_queries.check_is_held(read, claim.order_id, claim.fence, claim.execution_id)
    task = await read.get_one(Task, task_id)
    return await chat_files.get_file(read, task.conversation_id, attachment_id)


async def withdraw(
    tx: Transaction, actor: WorkerActor, claim: Claim, question_id: uuid.UUID
) -> None:
    """Close a question whose run does not wait for it any more. A repeat changes nothing.

    Raises:
        LeaseLost: The claim is not the caller's any more.
        QuestionNotFound: This attempt asked no such question.
    """
    task = await _lock_claimed(tx, actor, claim)
    question = await _of_claim(tx, claim, question_id)
    await rows.withdraw(tx, question, task.project_id, reason="its run did not wait for it")


async def find_of_claim(
    read: ReadSession, actor: WorkerActor, claim: Claim, question_id: uuid.UUID
) -> tuple[ChatMessage, Task]:
    """A question of a claim that is still held, and its task; takes no lock.

    Raises:
        LeaseLost: The claim is not the caller's any more.
        QuestionNotFound: This attempt asked no such question.
    """
    task_id = await work_queries.task_of_claim(read, actor, claim.order_id, claim.fence)
    await work_queries.check_is_held(read, claim.order_id, claim.fence, claim.execution_id)
    return await _of_claim(read, claim, question_id), await read.get_one(Task, task_id)


async def list_open_of_claim(
    read: ReadSession, actor: WorkerActor, claim: Claim
) -> list[tuple[ChatMessage, Task]]:
    """What the attempt of a claim has asked and nobody has answered, oldest first; takes no lock.

    Raises:
        LeaseLost: The claim is not the caller's any more.
    """
    task_id = await work_queries.task_of_claim(read, actor, claim.order_id, claim.fence)
    await work_queries.check_is_held(read, claim.order_id, claim.fence, claim.execution_id)
    task = await read.get_one(Task, task_id)
    query = select(ChatMessage).where(
        ChatMessage.execution_id == claim.execution_id,
        ChatMessage.question_state == QuestionState.OPEN,
    )
    return [(row, task) for row in await read.scalars(query.order_by(ChatMessage.id))]


async def expire(tx: Transaction, question_id: uuid.UUID, task_id: uuid.UUID) -> bool:
    """Do what a question says is to be done when nobody has answered; whether it was open."""
    task = await tasks.lock_task(tx, task_id)
    question = await rows.lock_question(tx, question_id)
    facts = facts_of(question)
    if question.expires_at is None or question.expires_at > tx.now:
        return False
    if facts.on_expiry is ExpiryPolicy.WAIT:
        question.expires_at = None
        return True
    is_failing = facts.on_expiry is ExpiryPolicy.FAIL
    is_waited_for = await work.find_waiting(tx, task) is None
    is_first = await rows.settle(
        tx,
        question,
        task.project_id,
        _at_expiry(facts).model_copy(update={"is_unheard": not is_waited_for}),
        state=QuestionState.EXPIRED if is_failing else QuestionState.ANSWERED,
        sender=SYSTEM_SENDER,
    )
    if is_first and is_failing:
        await _fail_waiting(tx, task, reason=f"nobody answered in time: {question.message}")
    elif is_first:
        await work.release_waiting(tx, task)
    return is_first


async def _fail_waiting(tx: Transaction, task: Task, *, reason: str) -> None:
    order = await work.find_waiting(tx, task)
    if order is not None:
        await settling.end_waiting_order(
            tx,
            order,
            status=OrderStatus.FAILED,
            failure_class=FailureClass.QUESTION_EXPIRED,
            reason=reason,
        )


async def close_left_over(tx: Transaction, question_id: uuid.UUID, task_id: uuid.UUID) -> bool:
    """Withdraw a question of a task that is over; whether it was open."""
    task = await tasks.lock_task(tx, task_id)
    question = await rows.lock_question(tx, question_id)
    reason = f"T-{task.number} is {task.status.value}"
    return await rows.withdraw(tx, question, task.project_id, reason=reason)


async def _lock_claimed(tx: Transaction, actor: WorkerActor, claim: Claim) -> Task:
    """The task of a claim that is still held, locked."""
    task_id = await work_queries.task_of_claim(tx, actor, claim.order_id, claim.fence)
    task = await tasks.lock_task(tx, task_id)
    await work_queries.check_is_held(tx, claim.order_id, claim.fence, claim.execution_id)
    return task


async def _of_claim(read: ReadSession, claim: Claim, question_id: uuid.UUID) -> ChatMessage:
    found = await read.scalar(
        select(ChatMessage).where(
            ChatMessage.id == question_id,
            ChatMessage.execution_id == claim.execution_id,
            ChatMessage.question_state.is_not(None),
        )
    )
    if found is None:
        raise QuestionNotFound("This attempt has asked no such question.")
    return found


async def _check_not_too_many(tx: Transaction, claim: Claim) -> None:
    query = select(func.count()).where(
        ChatMessage.execution_id == claim.execution_id,
        ChatMessage.question_state == QuestionState.OPEN,
    )
    if (await tx.scalar(query) or 0) >= MAX_OPEN:
        raise TooManyQuestions(f"{MAX_OPEN} questions of this run wait for an answer already.")


async def _judge(
    tx: Transaction, task: Task, claim: Claim, facts: Facts, wanted: QuestionIn
) -> Verdict:
    known = await rules.rules_for(tx, task, claim.execution_id)
    asked = Asked(
        kind=facts.kind,
        level=task.permission_level,
        tool=facts.tool_name,
        # The words themselves, not as they are shown: a mask must not hide a part from a rule.
        tool_input=wanted.tool_input,
        worktree=wanted.worktree,
    )
    return policy.judge(asked, known)


def _facts(wanted: QuestionIn) -> Facts:
    return Facts(
        kind=wanted.kind,
        options=wanted.options,
        allows_text=wanted.allows_text,
        allows_several=wanted.allows_several,
        default_option=wanted.default_option,
        tool_name=wanted.tool_name,
        tool_input=clean_value(wanted.tool_input) if wanted.tool_input is not None else None,
        diff=mask_shapes(wanted.diff) if wanted.diff is not None else None,
    )


def _why(verdict: Verdict) -> str:
    match verdict.effect:
        case RuleEffect.ASK:
            return verdict.reason or f"A person is to be asked: {verdict.rule}."
        case RuleEffect.MODEL:
            return f"A language model is asked first: {verdict.rule}."
        case _:
            return ""


def _by_rule(verdict: Verdict) -> StoredAnswer:
    is_allowed = verdict.effect is RuleEffect.ALLOW
    return StoredAnswer(
        decision=AnswerDecision.ALLOW if is_allowed else AnswerDecision.DENY,
        text=verdict.reason or ("" if is_allowed else _REFUSED_BY_RULE),
        author=verdict.rule,
        rule=verdict.rule,
    )


def _at_expiry(facts: Facts) -> StoredAnswer:
    told = "Nobody answered in time."
    decision, choices = AnswerDecision.DENY, list[str]()
    if facts.on_expiry is ExpiryPolicy.FAIL:
        decision = AnswerDecision.EXPIRED
    elif facts.on_expiry is ExpiryPolicy.DEFAULT and facts.default_option is not None:
        decision, choices = AnswerDecision.ANSWER, [facts.default_option]
    rule = f"expired: {facts.on_expiry.value}"
    return StoredAnswer(decision=decision, text=told, choices=choices, author=rule, rule=rule)


def _answer(facts: Facts, given: AnswerIn, author: str) -> StoredAnswer:
    """An answer that fits its question.

    Raises:
        AnswerInvalid: It does not.
    """
    is_open_question = facts.kind is QuestionKind.QUESTION
    decision = given.decision
    if decision is None:
        if not is_open_question:
            raise AnswerInvalid("Say whether to allow or to deny it.")
        decision = AnswerDecision.ANSWER
    unfit = AnswerDecision.ALLOW if is_open_question else AnswerDecision.ANSWER
    if decision is unfit:
        asked = "answered, or denied" if is_open_question else "allowed or denied"
        raise AnswerInvalid(f"A {facts.kind.value} is {asked}.")
    labels = [option.label for option in facts.options]
    if unknown := [choice for choice in given.choices if choice not in labels]:
        raise AnswerInvalid(
            f"{', '.join(unknown)}: choose from {', '.join(labels) or 'no options'}."
        )
    if len(given.choices) > 1 and not facts.allows_several:
        raise AnswerInvalid("Choose one option.")
    has_text = bool(given.text.strip())
    if decision is AnswerDecision.ANSWER and has_text and not (facts.allows_text or given.choices):
        raise AnswerInvalid(f"Choose from {', '.join(labels)}.")
    if given.remember is not None and facts.kind is not QuestionKind.PERMISSION:
        raise AnswerInvalid("Only an answer to a permission can be remembered.")
    if given.updated_input is not None and decision is not AnswerDecision.ALLOW:
        raise AnswerInvalid("Another input goes with what is allowed.")
    return StoredAnswer(
        decision=decision,
        text=given.text,
        choices=given.choices,
        updated_input=given.updated_input,
        remember=given.remember,
        author=author,
    )


def _too_late(question: ChatMessage) -> QuestionSettledAlready:
    found = facts_of(question).answer
    state = question.question_state
    if found is None:
        return QuestionSettledAlready(
            "Nobody waits for an answer any more: the run went on, or its task is over.",
            state=state,
        )
    what = found.text or ", ".join(found.choices)
    said = f"{found.decision.value}: {what}" if what else found.decision.value
    return QuestionSettledAlready(
        f"{found.author} was first ({said[:200]}).", state=state, answered_by=found.author
    )
