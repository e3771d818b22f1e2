"""Reads of the questions slice."""

import uuid
from collections.abc import Sequence

from sqlalchemy import Select, or_, select

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession
from agentvine.domains.conversations.enums import QuestionState
from agentvine.domains.conversations.models import ChatMessage, Conversation
from agentvine.domains.conversations.questions import answer_out, facts_of
from agentvine.domains.projects import queries as projects
from agentvine.domains.questions.errors import QuestionNotFound
from agentvine.domains.tasks.models import Task
from agentvine.kit.actor import Actor
from agentvine.kit.pagination import Page, PageRequest
from agentvine.protocol.questions import QuestionOut

Found = tuple[ChatMessage, Task | None]


def visible_questions(actor: Actor) -> Select[ChatMessage, Task]:
    """Questions in projects the actor may see, each with the task that asks; None, if none does."""
    visible = projects.visible_projects(actor)
    is_of_task = Task.id.is_not(None) & Task.deleted_at.is_(None)
    return (
        select(ChatMessage, Task)
        .join(Conversation, Conversation.id == ChatMessage.conversation_id)
        .outerjoin(Task, Task.conversation_id == ChatMessage.conversation_id)
        .where(
            ChatMessage.question_state.is_not(None),
            # A task's conversation is its project's, as any other.
            Conversation.project_id.in_(visible),
            or_(is_of_task, Task.id.is_(None) & ChatMessage.execution_id.is_(None)),
        )
    )


def project_of(question: ChatMessage, task: Task | None) -> uuid.UUID:
    """The project that a question belongs to."""
    about = facts_of(question).about
    if task is not None:
        return task.project_id
    assert about is not None, "what no task asks is about something else"
    return about.project_id


async def find_question(read: ReadSession, actor: Actor, question_id: uuid.UUID) -> Found | None:
    """A question and the task that asks it, if one does; None where they may see no such one."""
    query = visible_questions(actor).where(ChatMessage.id == question_id)
    row = (await read.execute(query)).one_or_none()
    return None if row is None else (row[0], row[1])


async def get_question(read: ReadSession, actor: Actor, question_id: uuid.UUID) -> Found:
    """A question and the task that asks it, if one does.

    Raises:
        QuestionNotFound: There is none, or it is not theirs to see.
    """
    found = await find_question(read, actor, question_id)
    if found is None:
        raise QuestionNotFound(f"You can see no question with the id {question_id}.")
    return found


async def list_questions(
    read: ReadSession,
    actor: Actor,
    page: PageRequest,
    *,
    states: Sequence[QuestionState] = (),
    project_id: uuid.UUID | None = None,
    task_id: uuid.UUID | None = None,
    execution_id: uuid.UUID | None = None,
) -> Page[QuestionOut]:
    """The questions the actor may see, oldest first."""
    query = visible_questions(actor)
    if list(states) == [QuestionState.OPEN]:
        query = query.where(ChatMessage.question_state == QuestionState.OPEN)  # by its own index
    elif states:
        query = query.where(ChatMessage.question_state.in_(states))
    if project_id is not None:
        query = query.where(Conversation.project_id == project_id)
    if task_id is not None:
        query = query.where(Task.id == task_id)
    if execution_id is not None:
        query = query.where(ChatMessage.execution_id == execution_id)
    ids = query.with_only_columns(ChatMessage.id, maintain_column_froms=True)
    wanted = select(ChatMessage).where(ChatMessage.id.in_(ids.scalar_subquery()))
    found = await fetch_page(read, wanted, ChatMessage.id, page)
    tasks = await _tasks_of(read, [row.conversation_id for row in found.items])
    items = [question_out(row, tasks.get(row.conversation_id)) for row in found.items]
    return Page(items=items, next_cursor=found.next_cursor)


def question_out(question: ChatMessage, task: Task | None) -> QuestionOut:
    """A question as clients see it."""
    facts = facts_of(question)
    about = facts.about
    assert question.question_state is not None, "it is a question"
    return QuestionOut(
        id=question.id,
        project_id=project_of(question, task),
        task_id=task.id if task else None,
        task_ref=f"T-{task.number}" if task else None,
        task_title=task.title if task else None,
        team_run_id=about.team_run_id if about else None,
        team_run_title=about.title if about else None,
        execution_id=question.execution_id,
        key=question.question_key or "",
        kind=facts.kind,
        state=question.question_state,
        text=question.message,
        options=facts.options,
        allows_text=facts.allows_text,
        allows_several=facts.allows_several,
        default_option=facts.default_option,
        tool_name=facts.tool_name,
        tool_input=facts.tool_input,
        diff=facts.diff,
        asked_at=question.created_at,
        expires_at=question.expires_at,
        on_expiry=facts.on_expiry,
        why=facts.why,
        answer=answer_out(question),
        attachments=facts.attachments,
    )


async def _tasks_of(read: ReadSession, conversations: Sequence[uuid.UUID]) -> dict[uuid.UUID, Task]:
    query = select(Task).where(Task.conversation_id.in_(conversations))
    return {
        task.conversation_id: task
        for task in await read.scalars(query)
        if task.conversation_id is not None
    }
