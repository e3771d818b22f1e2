"""The inbox: what agents ask and nobody has answered yet."""

import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response, StreamingResponse

from agentvine.db.session import ReadSession
from agentvine.domains.conversations.enums import QuestionState
from agentvine.domains.projects import queries as projects
from agentvine.domains.questions import queries
from agentvine.domains.questions.waiting import AnswerRoom
from agentvine.http.deps import check_permission
from agentvine.http.disconnects import until_over
from agentvine.kit.actor import UserActor
from agentvine.kit.pagination import PageRequest, decode_cursor
from agentvine.protocol.questions import QuestionKind, QuestionOut
from agentvine.web.app import Visit
from agentvine.web.formats import age, shortened, tool_words
from agentvine.web.rendering import html

_STREAM_SECONDS = 600.0
"""A stream ends then, and the browser opens another."""
_ROWS = 50
_FIRST_WORDS = 240
_KINDS = {
    QuestionKind.QUESTION: "Question",
    QuestionKind.PERMISSION: "Permission",
    QuestionKind.PLAN: "Plan",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A question in the list."""

    path: str
    kind: str
    asked_by: str
    title: str
    project: str
    words: str
    asked: str
    expires: str
    why: str


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of the list."""

    rows: Sequence[Row]
    next: str
    """Where the list goes on; empty at its end."""


async def show(visit: Visit) -> Response:
    """The page."""
    actor = check_permission(visit.actor, "questions:read")
    listing = await _load(visit, actor)
    told = await _told(visit, actor)
    outcome = shortened(outcome_of(told), _FIRST_WORDS) if told else ""
    return html("inbox.html", listing=listing, told=told, outcome=outcome, visitor=actor.username)


async def show_list(visit: Visit) -> Response:
    """The list alone, for a page that is looked at while something changes."""
    actor = check_permission(visit.actor, "questions:read")
    return html("_list.html", listing=await _load(visit, actor))


async def follow(visit: Visit) -> Response:
    """That something was asked or settled: the event ``changed``, which says no more."""
    actor = check_permission(visit.actor, "questions:read")

    async def events() -> AsyncIterator[bytes]:
        async with until_over(visit.request, visit.state.stopping) as over:
            room = visit.state.effect(AnswerRoom)
            async for _ in room.follow(actor, _STREAM_SECONDS, over):
                yield b"event: changed\ndata: \n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


def kind_of(question: QuestionOut) -> str:
    """The question's kind, in people's words."""
    return _KINDS[question.kind]


def outcome_of(question: QuestionOut) -> str:
    """What became of it, and by whom; empty while it waits."""
    answer = question.answer
    if answer is None:
        return "" if question.state is QuestionState.OPEN else "Nobody waits for it any more"
    words = ", ".join(answer.choices) or answer.text or answer.decision.value
    return f"{answer.author}: {words}"


async def project_names(
    read: ReadSession, actor: UserActor, ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, str]:
    """What the projects of these ids are called."""
    return {
        project_id: (await projects.get_project(read, actor, project_id)).name
        for project_id in dict.fromkeys(ids)
    }


async def _load(visit: Visit, actor: UserActor) -> Listing:
    asked = visit.request.query_params
    after = decode_cursor(asked["cursor"]) if asked.get("cursor") else None
    async with visit.state.database.read() as read:
        found = await queries.list_questions(
            read, actor, PageRequest(limit=_ROWS, after=after), states=[QuestionState.OPEN]
        )
        names = await project_names(read, actor, [each.project_id for each in found.items])
    now = visit.state.clock.now()
    cursor = found.next_cursor
    return Listing(
        rows=[_row(each, names[each.project_id], now) for each in found.items],
        next=f"/inbox?cursor={cursor}" if cursor else "",
    )


async def _told(visit: Visit, actor: UserActor) -> QuestionOut | None:
    """The question just answered here; what was said is read from its row, not the address."""
    try:
        question_id = uuid.UUID(visit.request.query_params.get("told", ""))
    except ValueError:
        return None
    async with visit.state.database.read() as read:
        found = await queries.find_question(read, actor, question_id)
    return queries.question_out(*found) if found is not None else None


def _row(question: QuestionOut, project: str, now: datetime) -> Row:
    words = question.text or f"{question.tool_name}: {tool_words(question.tool_input)}"
    return Row(
        path=f"/questions/{question.id}",
        kind=kind_of(question),
        asked_by=question.asked_by,
        title=shortened(question.title, _FIRST_WORDS),
        project=project,
        words=shortened(words, _FIRST_WORDS),
        asked=age(question.asked_at, now),
        expires=age(question.expires_at, now),
        why=question.why,
    )
