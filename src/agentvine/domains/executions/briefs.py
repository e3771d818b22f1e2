"""What an agent is told before it begins, and the session it can be resumed by."""

import uuid
from collections.abc import Sequence
from itertools import takewhile

from sqlalchemy import select, update

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.agents.models import Agent
from agentvine.domains.agents.recall import Asked, memory_text, recall_for_run
from agentvine.domains.conversations import questions
from agentvine.domains.executions.enums import ExecutionStatus
from agentvine.domains.executions.errors import BundleNotFound
from agentvine.domains.executions.models import ChangeBundle, Execution
from agentvine.domains.executions.queries import get_bundle
from agentvine.domains.knowledge.rules import ForTask, documents_for
from agentvine.domains.tasks.context import read_context
from agentvine.domains.tasks.models import Task
from agentvine.domains.work import queries as work
from agentvine.domains.work.enums import OrderStatus
from agentvine.domains.work.errors import LeaseLost
from agentvine.domains.work.models import RunMessage, WorkOrder
from agentvine.kit.actor import WorkerActor
from agentvine.protocol.briefs import (
    BriefAnswer,
    BriefDocument,
    BriefIn,
    BriefMemory,
    BriefMessage,
    NativeSession,
    RunBriefOut,
    SessionIn,
)
from agentvine.protocol.enums import FailureClass
from agentvine.protocol.questions import AnswerDecision
from agentvine.protocol.queue import ANSWER_FILE, OrderPayload

_MAX_ANSWERS = 50
_MAX_EARLIER = 20
_MAX_MESSAGES = 50
_MAX_SUMMARISED = 3
_OF_NO_USE = {
    FailureClass.CONTEXT_OVERFLOW.value,
    FailureClass.RESUME_REFUSED.value,
    FailureClass.MODEL_INVALID.value,
}
"""Where the last attempt ended so, its session would only lead there again."""
_PLACE = (
    "You work in a git work tree that was made for this task, on a branch of its own. Change files "
    "in this folder only. When you are done, everything that you changed is committed for you and "
    "reviewed: do not push, and do not switch branches. Run whatever you need in the foreground; "
    "what still runs in the background when you end is ended with you."
)

_ANSWER = (
    f"Nothing that you change is kept. What counts is the JSON that you write into the file "
    f"{ANSWER_FILE} in this folder, and nothing else: write it last, and read it once more."
)


async def get_brief(
    read: ReadSession, actor: WorkerActor, execution_id: uuid.UUID, claim: BriefIn
) -> RunBriefOut:
    """The brief of an attempt, for the worker that holds its claim.

    Raises:
        LeaseLost: The caller does not hold it.
    """
    order = await _claimed_order(read, actor, execution_id, claim)
    task = (await read.scalars(select(Task).where(Task.id == order.task_id))).one()
    payload = OrderPayload.model_validate(order.payload)
    context = read_context(task)
    run = context.run
    agent = await _agent_of(read, task)
    earlier = await _earlier_attempts(read, task, execution_id)
    session = _session_of(earlier, payload.runtime)
    return RunBriefOut(
        instruction=instruction_of(task, payload),
        system_prompt=agent.system_prompt if agent else None,
        rules_file_path=agent.rules_file_path if agent else None,
        model=run.model or (_model_of(agent) if agent else None),
        permission_level=task.permission_level,
        session=session,
        earlier_work=await _work_of(read, earlier) if session else None,
        summary=_summary(earlier, context.why_rejected),
        last_failure=_failure_of(earlier[0]) if earlier else None,
        answers=await _answers(read, task),
        messages=await _missed_messages(read, order),
        memories=await _memories(read, actor, agent, task) if agent else [],
        documents=await _documents(read, actor, task),
    )


async def get_earlier_bundle(
    read: ReadSession, actor: WorkerActor, execution_id: uuid.UUID, claim: BriefIn
) -> bytes:
    """The git bundle with what an earlier attempt left unfinished, as the brief names it.

    Raises:
        LeaseLost: The caller does not hold the claim.
        BundleNotFound: There is none, or the brief does not offer it.
    """
    order = await _claimed_order(read, actor, execution_id, claim)
    task = (await read.scalars(select(Task).where(Task.id == order.task_id))).one()
    earlier = await _earlier_attempts(read, task, execution_id)
    payload = OrderPayload.model_validate(order.payload)
    found = await _work_of(read, earlier) if _session_of(earlier, payload.runtime) else None
    if found is None:
        raise BundleNotFound("No earlier attempt has left work that this one goes on with.")
    return (await get_bundle(read, found)).content


async def _claimed_order(
    read: ReadSession, actor: WorkerActor, execution_id: uuid.UUID, claim: BriefIn
) -> WorkOrder:
    await work.task_of_claim(read, actor, claim.order_id, claim.fence)
    order = await read.scalar(
        select(WorkOrder).where(
            WorkOrder.id == claim.order_id,
            WorkOrder.fence == claim.fence,
            WorkOrder.execution_id == execution_id,
            WorkOrder.status == OrderStatus.CLAIMED,
        )
    )
    if order is None:
        raise LeaseLost("The order was taken back, or has ended; its run needs no brief.")
    return order


async def _work_of(read: ReadSession, earlier: Sequence[Execution]) -> uuid.UUID | None:
    """The newest of the unfinished attempts that left commits with the server."""
    unfinished = takewhile(lambda each: each.status is not ExecutionStatus.COMPLETED, earlier)
    ids = [each.id for each in unfinished]
    query = select(ChangeBundle.execution_id).where(ChangeBundle.execution_id.in_(ids))
    kept = set((await read.scalars(query)).all())
    return next((each for each in ids if each in kept), None)


def instruction_of(task: Task, payload: OrderPayload) -> str:
    """What the agent is asked to do, in the words it is given."""
    parts = [f"# {payload.task_ref}: {payload.title}"]
    if payload.description:
        parts.append(payload.description.strip())
    if payload.command:
        parts.append(payload.command.strip())
    if task.definition_of_done:
        parts.append(f"## Done when\n\n{task.definition_of_done.strip()}")
    if payload.wants_answer:
        parts.append(f"## Your answer\n\n{_ANSWER}")
    elif payload.test_command:
        parts.append(
            "## Tests\n\nWhat you change is tested by this command, in this folder; run it "
            f"yourself before you say that you are done:\n\n    {payload.test_command.strip()}"
        )
    parts.append(f"## Where you are\n\n{_PLACE}")
    return "\n\n".join(parts)


async def _answers(read: ReadSession, task: Task) -> list[BriefAnswer]:
    """What people have told earlier attempts: an agent that begins anew need not ask again."""
    answered = await questions.list_answered(read, task.conversation_id, limit=_MAX_ANSWERS)
    return [
        BriefAnswer(
            key=question.question_key or "",
            question=question.message,
            answer=_answer_in_words(questions.facts_of(question)),
        )
        for question in answered
    ]


def _answer_in_words(facts: questions.Facts) -> str:
    answer = facts.answer
    assert answer is not None, "it is answered"
    files = ", ".join(f"{file.file_name} (id {file.id})" for file in answer.attachments)
    came = f"Files that came with it, for the tool read_attachment: {files}" if files else ""
    said = "\n".join(part for part in (", ".join(answer.choices), answer.text, came) if part)
    if answer.decision is AnswerDecision.ANSWER:
        return said
    decided = "Yes." if answer.decision is AnswerDecision.ALLOW else "No."
    return f"{decided} {said}".strip()


async def _documents(read: ReadSession, actor: WorkerActor, task: Task) -> list[BriefDocument]:
    about = ForTask(
        project_id=task.project_id,
        repository_id=task.repository_id,
        task_type=task.task_type,
        text=_about(task),
    )
    return [
        BriefDocument(
            id=each.document.id,
            title=each.document.title,
            version=each.document.version,
            text=each.text,
            is_whole=each.is_whole,
        )
        for each in await documents_for(read, actor, about)
    ]


def _about(task: Task) -> str:
    return f"{task.title} {task.description or ''}"


async def _memories(
    read: ReadSession, actor: WorkerActor, agent: Agent, task: Task
) -> list[BriefMemory]:
    asked = Asked(text=_about(task), project_id=task.project_id)
    return [
        BriefMemory(
            category=each.memory.category, key=each.memory.key, text=memory_text(each.memory)
        )
        for each in await recall_for_run(read, actor, agent, asked)
    ]


async def note_session(
    tx: Transaction, actor: WorkerActor, execution_id: uuid.UUID, told: SessionIn
) -> None:
    """Keep an attempt's session; the same may be told again, a newer one replaces it.

    Raises:
        LeaseLost: The attempt is not the caller's.
    """
    await work.task_of_claim(tx, actor, told.order_id, told.fence)
    values: dict[str, str] = {"session_id": told.session_id}
    if told.model:
        values["model"] = told.model
    found = await tx.scalar(
        update(Execution)
        .where(
            Execution.id == execution_id,
            Execution.work_order_id == told.order_id,
            Execution.fence == told.fence,
        )
        .values(values)
        .returning(Execution.id)
        .execution_options(synchronize_session=False)
    )
    if found is None:
        raise LeaseLost("This attempt is not of that claim.")


async def _agent_of(read: ReadSession, task: Task) -> Agent | None:
    if task.assigned_to_agent_id is None:
        return None
    return await read.scalar(select(Agent).where(Agent.id == task.assigned_to_agent_id))


def _model_of(agent: Agent) -> str | None:
    model = agent.model_config.get("model")
    return model if isinstance(model, str) and model else None


async def _earlier_attempts(
    read: ReadSession, task: Task, execution_id: uuid.UUID
) -> Sequence[Execution]:
    """The newest first."""
    query = (
        select(Execution)
        .where(Execution.task_id == task.id, Execution.id != execution_id)
        .order_by(Execution.started_at.desc(), Execution.id.desc())
        .limit(_MAX_EARLIER)
    )
    return (await read.scalars(query)).all()


def _session_of(earlier: Sequence[Execution], runtime: str) -> NativeSession | None:
    for attempt in earlier:
        is_of_no_use = attempt.failure_class in _OF_NO_USE or attempt.runtime != runtime
        if is_of_no_use or attempt.status is ExecutionStatus.COMPLETED:
            return None
        if attempt.session_id is not None:
            return NativeSession(
                session_id=attempt.session_id,
                runtime=runtime,
                worker_id=attempt.worker_id,
                execution_id=attempt.id,
                model=attempt.model,
            )
    return None


def _summary(earlier: Sequence[Execution], why_rejected: str | None) -> str | None:
    told = [
        f"Attempt {each.attempt} ended as {each.failure_class}: {each.failure_message}"
        for each in reversed(earlier[:_MAX_SUMMARISED])
        if each.failure_class
    ]
    if why_rejected:
        told.append(f"A change of this task was rejected: {why_rejected}")
    return "\n".join(told) or None


def _failure_of(attempt: Execution) -> FailureClass | None:
    return FailureClass(attempt.failure_class) if attempt.failure_class else None


async def _missed_messages(read: ReadSession, order: WorkOrder) -> list[BriefMessage]:
    query = (
        select(RunMessage)
        .where(
            RunMessage.work_order_id == order.id,
            RunMessage.fence < order.fence,
            RunMessage.delivered_at.is_(None),
        )
        .order_by(RunMessage.fence, RunMessage.number)
        .limit(_MAX_MESSAGES)
    )
    rows = (await read.scalars(query)).all()
    return [BriefMessage(author=row.author, text=row.text) for row in rows]
