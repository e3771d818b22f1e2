"""What rows look like in a tool's answer: short lines with the names that other tools take."""

import uuid
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from agentvine.db.session import ReadSession
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.tasks.errors import TaskNotFound
from agentvine.domains.tasks.models import Task
from agentvine.kit.actor import UserActor
from agentvine.kit.errors import Invalid
from agentvine.kit.pagination import PageRequest, decode_cursor
from agentvine.protocol.conversations import AttachmentOut
from agentvine.protocol.questions import AnswerOut, QuestionKind, QuestionOut


class ToolInput(BaseModel):
    """What a tool takes. A field that it does not know is an error, so that nothing is lost."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class Paged(ToolInput):
    """A list, part by part."""

    limit: int = Field(default=20, ge=1, le=50)
    cursor: str = Field(
        default="", max_length=500, description="Of an earlier answer, to go on where it ended."
    )

    @property
    def page(self) -> PageRequest:
        """Which part."""
        return PageRequest(
            limit=self.limit, after=decode_cursor(self.cursor) if self.cursor else None
        )


class NoSuchId(Invalid):
    """This names nothing."""

    code = "tool_id_invalid"


class RefAmbiguous(Invalid):
    """Several projects have a task of this number."""

    code = "task_ref_ambiguous"


def listed(lines: Sequence[str], next_cursor: str | None, nothing: str) -> str:
    """Lines, and how to get the next."""
    if not lines:
        return nothing
    more = f"\nMore: call again with cursor {next_cursor!r}." if next_cursor else ""
    return "\n".join(lines) + more


def titled(title: str, items: Sequence[str], limit: int = 100, *, besides: int = 0) -> list[str]:
    """Lines under a title, if there are any; of many the first, and how many more there are."""
    if not items:
        return []
    left = max(0, len(items) - limit) + besides
    more = [f"- and {left} more"] if left else []
    return [f"{title}:", *(f"- {item}" for item in items[:limit]), *more]


def task_line(task: Task) -> str:
    """A task in one line."""
    why = f" ({task.status_reason})" if task.status_reason else ""
    return f"T-{task.number} [{task.status.value}{why}] {task.title} (id {task.id})"


def task_words(task: Task) -> str:
    """A task in full."""
    kind, level = task.task_type.value, task.permission_level.value
    lines = [
        task_line(task),
        f"type: {kind}, permission: {level}, priority: {task.priority.value}",
        f"target branch: {task.branch_name}" if task.branch_name else "",
        f"description:\n{task.description}" if task.description else "",
        f"definition of done:\n{task.definition_of_done}" if task.definition_of_done else "",
        f"tokens used: {task.total_tokens_used}, cost: ${task.total_cost_usd}",
    ]
    return "\n".join(line for line in lines if line)


def question_words(question: QuestionOut) -> str:
    """A question, with what can be answered."""
    about = f"{question.kind.value} of {question.asked_by} {question.title!r}"
    lines = [f"{about} [{question.state.value}] (id {question.id})", question.text]
    if question.tool_name:
        lines.append(f"tool: {question.tool_name} {question.tool_input or {}}")
    for option in question.options:
        told = f": {option.description}" if option.description else ""
        lines.append(f"- option {option.label!r}{told}")
    if question.diff:
        lines.append(f"diff:\n{question.diff}")
    lines += map(file_line, question.attachments)
    if question.answer is not None:
        lines.append(answer_words(question.answer, question.kind))
    return "\n".join(lines)


def answer_words(answer: AnswerOut, kind: QuestionKind) -> str:
    """Who said what."""
    text = "\n".join([answer.text, *map(file_line, answer.attachments)]).strip()
    said = "\n".join(part for part in (", ".join(answer.choices), text) if part)
    if kind is QuestionKind.QUESTION and answer.choices and not text:
        return f"{answer.author} chose: {said}"
    if answer.decision.value == "answer":
        return f"{answer.author} answered: {said}"
    return f"{answer.author}: {answer.decision.value}. {said}".strip()


def file_line(file: AttachmentOut) -> str:
    """A file that came with something that was said."""
    return f"[file {file.file_name}, {file.file_type}, {file.size} bytes (id {file.id})]"


def read_id(text: str, what: str) -> uuid.UUID:
    """An id in a model's words.

    Raises:
        NoSuchId: It is none.
    """
    try:
        return uuid.UUID(text)
    except ValueError:
        raise NoSuchId(f"{text!r} is not the id of a {what}; lists show ids.") from None


async def find_task(
    read: ReadSession, actor: UserActor, named: str, project_id: uuid.UUID | None = None
) -> Task:
    """A task by id or by T-number, among those that the actor may see.

    Raises:
        TaskNotFound: There is none.
        RefAmbiguous: There are several of that number.
        NoSuchId: It is neither an id nor a number.
    """
    number = named.upper().removeprefix("T-")
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        return await tasks.get_task(read, actor, read_id(named, "task"))
    found = await tasks.list_numbered(read, actor, int(number), project_id)
    if len(found) > 1:
        ids = ", ".join(f"{task.title!r} is {task.id}" for task in found)
        raise RefAmbiguous(f"Several projects have a T-{number}; give the id: {ids}.")
    if not found:
        raise TaskNotFound(f"You can see no task T-{number}.")
    return found[0]
