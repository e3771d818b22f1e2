"""One question: all that is to be known of it, and its answer."""

from collections.abc import Sequence
from uuid import UUID

from pydantic import ValidationError
from starlette.responses import Response

from agentvine.domains.conversations import chat_files
from agentvine.domains.conversations.attaching import AttachmentDesk
from agentvine.domains.conversations.enums import QuestionState
from agentvine.domains.questions import queries, service
from agentvine.domains.questions.errors import AnswerInvalid, QuestionSettledAlready, TooManyRules
from agentvine.http.deps import check_permission
from agentvine.http.files import file_response
from agentvine.http.problems import status_of
from agentvine.kit.errors import AppError
from agentvine.protocol.questions import (
    AnswerDecision,
    AnswerIn,
    QuestionKind,
    RememberScope,
)
from agentvine.web.app import Visit, see
from agentvine.web.formats import age, tool_words
from agentvine.web.pages.inbox import kind_of, outcome_of, project_names
from agentvine.web.rendering import html

Form = dict[str, list[str]]
_BUTTONS: dict[str, tuple[AnswerDecision | None, RememberScope | None]] = {
    "answer": (None, None),
    "allow": (AnswerDecision.ALLOW, None),
    "allow-run": (AnswerDecision.ALLOW, RememberScope.RUN),
    "allow-task": (AnswerDecision.ALLOW, RememberScope.TASK),
    "allow-project": (AnswerDecision.ALLOW, RememberScope.PROJECT),
    "deny": (AnswerDecision.DENY, None),
}
"""What each button of the form answers, and how far it is remembered."""
_LABELS: dict[QuestionKind, Sequence[tuple[str, str]]] = {
    QuestionKind.QUESTION: (("answer", "Answer"), ("deny", "Decline to answer")),
    QuestionKind.PLAN: (("allow", "Go ahead"), ("deny", "Not like this")),
    QuestionKind.PERMISSION: (
        ("allow", "Allow once"),
        ("allow-run", "Allow for this run"),
        ("allow-task", "Allow for this task"),
        ("allow-project", "Allow in this project"),
        ("deny", "Deny"),
    ),
}


async def show(visit: Visit) -> Response:
    """The page."""
    check_permission(visit.actor, "questions:read")
    return await _page(visit, {})


async def answer(visit: Visit) -> Response:
    """Answer it; where that does not fit, the form comes again with what was filled in."""
    actor = check_permission(visit.actor, "questions:write")
    question_id: UUID = visit.request.path_params["question_id"]
    form = await visit.form()
    try:
        given = _given(form)
        async with visit.state.database.transaction(actor) as tx:
            await service.answer(tx, actor, question_id, given)
    except (AnswerInvalid, TooManyRules, QuestionSettledAlready) as error:
        return await _page(visit, form, error=error)
    return see(f"/inbox?told={question_id}")


async def save_file(visit: Visit) -> Response:
    """A file that came with the question or its answer."""
    actor = check_permission(visit.actor, "questions:read")
    asked = visit.request.path_params
    async with visit.state.database.read() as read:
        question, _ = await queries.get_question(read, actor, asked["question_id"])
        file = await chat_files.get_file(read, question.conversation_id, asked["chat_file_id"])
    content = await visit.state.effect(AttachmentDesk).read(file.file_path)
    return file_response(file.file_name, content)


def _given(form: Form) -> AnswerIn:
    """What was filled in and pressed.

    Raises:
        AnswerInvalid: Nothing was, or what does not go together.
    """
    pressed = form.get("do", [""])[0]
    if pressed not in _BUTTONS:
        raise AnswerInvalid("Press one of the buttons.")
    decision, remember = _BUTTONS[pressed]
    try:
        return AnswerIn(
            decision=decision,
            text=form.get("text", [""])[0],
            choices=form.get("choice", []),
            remember=remember,
        )
    except ValidationError as error:
        if decision is None and not (form.get("choice") or form.get("text", [""])[0].strip()):
            raise AnswerInvalid("Choose, or write something.") from None
        raise AnswerInvalid(error.errors()[0]["msg"]) from None


async def _page(visit: Visit, filled: Form, *, error: AppError | None = None) -> Response:
    actor = visit.actor
    async with visit.state.database.read() as read:
        found = await queries.get_question(read, actor, visit.request.path_params["question_id"])
        question = queries.question_out(*found)
        names = await project_names(read, actor, [question.project_id])
    now = visit.state.clock.now()
    return html(
        "question.html",
        status=200 if error is None else status_of(type(error)),
        question=question,
        kind=kind_of(question),
        project=names[question.project_id],
        tool_words=tool_words(question.tool_input),
        asked=age(question.asked_at, now),
        expires=age(question.expires_at, now),
        is_open=question.state is QuestionState.OPEN,
        outcome=outcome_of(question),
        buttons=_LABELS[question.kind],
        chosen=filled.get("choice", []),
        text=filled.get("text", [""])[0],
        error=error,
        visitor=actor.username,
    )
