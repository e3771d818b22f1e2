"""What ``agentvine inbox``, ``answer``, ``question`` and ``rule`` do."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import Sequence
from pathlib import Path

import click

from agentvine.cli import resolve
from agentvine.cli.attached import read_files, type_of_file, write_new_file
from agentvine.cli.formats import fmt_diff_stat
from agentvine.cli.output import Column, dump, in_short, printable
from agentvine.cli.session import Session
from agentvine.kit.errors import Invalid, NotFound
from agentvine.kit.ids import short_id
from agentvine.protocol.conversations import AttachmentOut
from agentvine.protocol.enums import ModificationStatus
from agentvine.protocol.modifications import ModificationOut
from agentvine.protocol.questions import (
    AnswerDecision,
    AnswerIn,
    QuestionKind,
    QuestionOut,
    QuestionState,
    RememberScope,
    RuleEffect,
    RuleIn,
    RuleOut,
)

_LOOK_SECONDS = 5.0


class QuestionUnknown(NotFound):
    """No question is called so."""

    code = "question_unknown"


async def inbox(session: Session, *, project: str | None, watch: bool) -> None:
    """What waits for a person."""
    within = await resolve.project_id(session, project) if project else None
    if watch:
        await _Watch(session, within).run()
        return
    listing = session.client.questions.list(state=[QuestionState.OPEN], project_id=within)
    questions = await resolve.collect(listing)
    changes = await _pending(session, within)
    if session.out.as_json:
        session.out.data({"questions": questions, "modifications": changes})
        return
    session.out.table(questions, _COLUMNS, nothing="Nobody asks you anything.")
    if changes:
        session.out.line()
        session.out.table(changes, _CHANGES, nothing="")
    if questions:
        session.out.note("`agentvine question show` tells more, `agentvine answer` answers.")


async def answer(
    session: Session,
    *,
    name: str,
    text: str,
    choices: Sequence[str],
    decision: str | None,
    remember: RememberScope | None,
    pattern: str | None,
    project: str | None,
    files: Sequence[Path],
) -> None:
    """Answer a question, with files."""
    if not (decision or text or choices or files):
        raise Invalid("Say TEXT, --option, --allow or --deny, or --attach a file.")
    contents = await read_files(files)
    found = await _find(session, name, project, states=[QuestionState.OPEN])
    given = AnswerIn(
        decision=AnswerDecision(decision) if decision else None,
        text=text,
        choices=list(choices),
        remember=remember,
        pattern=pattern,
        attachments=[
            (
                await session.client.questions.attach(
                    found.id, file.name, content, type_=type_of_file(file)
                )
            ).id
            for file, content in contents.items()
        ],
    )
    row = await session.client.questions.answer(found.id, given)
    session.out.done(f"{row.asked_by} is told: {_told(row)}", row)


async def list_questions(
    session: Session,
    *,
    task: str | None,
    state: QuestionState | None,
    project: str | None,
    limit: int | None,
) -> None:
    """Questions."""
    of_task = await resolve.task_id(session, task, project) if task else None
    within = await resolve.project_id(session, project) if project else None
    listing = session.client.questions.list(
        state=[state] if state else (), project_id=within, task_id=of_task
    )
    rows = await resolve.collect(listing, limit)
    columns = [*_COLUMNS, Column[QuestionOut]("answer", lambda row: in_short(_told(row)))]
    session.out.table(rows, columns, nothing="Nothing was asked.")


async def show(session: Session, *, name: str, project: str | None) -> None:
    """One question."""
    row = await _find(session, name, project)
    told = row.answer
    session.out.record(
        row,
        [
            ("question", row.id),
            ("asked by", f"{row.asked_by}  {printable(row.title)}"),
            ("kind", row.kind.value),
            ("state", row.state.value),
            ("asks", _lines(row.text)),
            ("tool", row.tool_name and printable(row.tool_name)),
            ("input", _lines(_input(row))),
            ("options", _lines("\n".join(_option(row)))),
            ("diff", _lines(row.diff or "")),
            ("files", _files(row.attachments)),
            ("why you", row.why if row.state is QuestionState.OPEN else None),
            ("asked", row.asked_at),
            ("expires", row.expires_at and f"{session.out.age(row.expires_at)}, {row.on_expiry}"),
            ("answer", told and _lines(_told(row))),
            ("with files", told and _files(told.attachments)),
            ("answered by", told and told.author),
            ("answered", told and told.answered_at),
            ("remembered", told and told.remember and f"for the {told.remember.value}"),
        ],
    )


async def save(
    session: Session, *, name: str, attachment: uuid.UUID, file: Path, project: str | None
) -> None:
    """A file of a question or of its answer, written where there is none yet."""
    row = await _find(session, name, project)
    content = await session.client.questions.attachment(row.id, attachment)
    await write_new_file(file, content)
    session.out.done(f"{file} is written", {"id": attachment, "path": str(file)})


async def list_rules(session: Session, *, project: str) -> None:
    """Rules."""
    rows = await session.client.questions.rules(await resolve.project_id(session, project))
    columns = [
        Column[RuleOut]("effect", lambda row: row.effect.value),
        Column[RuleOut]("tool", lambda row: printable(row.tool)),
        Column[RuleOut]("input", lambda row: printable(row.pattern or "as it was answered")),
        Column[RuleOut]("for", _reach),
        Column[RuleOut]("made", lambda row: row.created_at),
        Column[RuleOut]("id", lambda row: row.id),
    ]
    session.out.table(rows, columns, nothing="There are no rules.")


async def add_rule(
    session: Session, *, project: str, effect: RuleEffect, tool: str, pattern: str, reason: str
) -> None:
    """A new rule."""
    wanted = RuleIn(effect=effect, tool=tool, pattern=pattern, reason=reason)
    row = await session.client.questions.add_rule(
        await resolve.project_id(session, project), wanted
    )
    session.out.done(f"from now on: {effect.value} {tool} {pattern}", row)


async def remove_rule(session: Session, *, name: uuid.UUID) -> None:
    """Forget a rule."""
    await session.client.questions.remove_rule(name)
    session.out.done("the rule is removed", {"id": name})


class _Watch:
    """Tells of each question and each change as it comes, once."""

    def __init__(self, session: Session, project_id: uuid.UUID | None) -> None:
        self._session = session
        self._project_id = project_id
        self._told: set[tuple[uuid.UUID, str]] = set()

    async def run(self) -> None:
        """Go on until interrupted."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_questions())
            group.create_task(self._follow_changes())

    async def _follow_questions(self) -> None:
        async for question in self._session.client.questions.follow():
            if self._project_id in {None, question.project_id}:
                self._tell(question, question.state.value)

    async def _follow_changes(self) -> None:
        while True:
            for change in await _pending(self._session, self._project_id):
                self._tell(change, change.status.value)
            await asyncio.sleep(_LOOK_SECONDS)

    def _tell(self, item: QuestionOut | ModificationOut, state: str) -> None:
        if (item.id, state) in self._told:
            return
        self._told.add((item.id, state))
        if self._session.out.as_json:
            kind = "question" if isinstance(item, QuestionOut) else "modification"
            click.echo(json.dumps(dump(item, type=kind)))
        else:
            self._session.out.line(_event(item))


def _event(item: QuestionOut | ModificationOut) -> str:
    if isinstance(item, ModificationOut):
        return f"change {item.id} waits for approval: {printable(item.request)}"
    head = f"{short_id(item.id)}  {item.asked_by}"
    if item.state is QuestionState.OPEN:
        return f"{head}  asks: {in_short(item.text)}"
    return f"{head}  {item.state.value}: {in_short(_told(item) or item.text)}"


async def _pending(session: Session, project_id: uuid.UUID | None) -> list[ModificationOut]:
    listing = session.client.modifications.list(status=[ModificationStatus.PENDING])
    rows = await resolve.collect(listing)
    if project_id is None or not rows:
        return rows
    tasks = {
        task.id async for task in resolve.every(session.client.tasks.list(project_id=project_id))
    }
    return [row for row in rows if row.task_id in tasks]


async def _find(
    session: Session,
    name: str,
    project: str | None,
    *,
    states: Sequence[QuestionState] = (),
) -> QuestionOut:
    """A question by its id, its short name, or its task."""
    api = session.client.questions
    given = resolve.as_uuid(name)
    if given is not None:
        # It may be a task's id; if it is neither, the task's error says so.
        with contextlib.suppress(NotFound):
            return await api.get(given)
    wanted = name.casefold()
    if len(wanted) == 8 and set(wanted) <= set("0123456789abcdef"):
        found = [row async for row in resolve.every(api.list()) if short_id(row.id) == wanted]
    else:
        of_task = (await resolve.find_task(session, name, project)).id
        rows = await resolve.collect(api.list(state=states, task_id=of_task))
        # Without an open one, the last that was asked.
        found = rows if states else rows[-1:]
    if len(found) == 1:
        return found[0]
    if not found:
        raise QuestionUnknown(f"{name} asks nothing; `agentvine inbox` shows what is open.")
    several = ", ".join(short_id(row.id) for row in found)
    raise Invalid(f"{name} asks several questions: {several}. Name one of them.")


def _told(row: QuestionOut) -> str:
    told = row.answer
    if told is None:
        return ""
    files = [file.file_name for file in told.attachments]
    said = ", ".join(part for part in (*told.choices, told.text, *files) if part)
    if told.decision is AnswerDecision.ANSWER:
        return said
    return f"{told.decision.value}: {said}" if said else told.decision.value


def _input(row: QuestionOut) -> str:
    if row.tool_input is None:
        return ""
    command = row.tool_input.get("command")
    if isinstance(command, str) and len(row.tool_input) == 1:
        return command
    return json.dumps(row.tool_input, indent=2, ensure_ascii=False)


def _what(row: QuestionOut) -> str:
    if row.kind is QuestionKind.PERMISSION and row.tool_name:
        return f"{row.tool_name}: {_input(row) or row.text}"
    return row.text


def _option(row: QuestionOut) -> list[str]:
    return [
        f"{option.label}: {option.description}" if option.description else option.label
        for option in row.options
    ]


def _files(files: Sequence[AttachmentOut]) -> str:
    return "\n".join(
        printable(f"{each.file_name}, {each.size} bytes ({each.id})") for each in files
    )


def _lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.splitlines())


def _reach(row: RuleOut) -> str:
    if row.task_id is None:
        return "project"
    return "task" if row.execution_id is None else "run"


_COLUMNS = [
    Column[QuestionOut]("question", lambda row: short_id(row.id)),
    Column[QuestionOut]("asked by", lambda row: row.asked_by),
    Column[QuestionOut]("kind", lambda row: row.kind.value),
    Column[QuestionOut]("state", lambda row: row.state.value),
    Column[QuestionOut]("asked", lambda row: row.asked_at),
    Column[QuestionOut]("asks", lambda row: in_short(_what(row))),
]
_CHANGES = [
    Column[ModificationOut]("change", lambda row: row.id),
    Column[ModificationOut]("is", lambda row: fmt_diff_stat(row.diff_stat)),
    Column[ModificationOut]("made", lambda row: row.requested_at),
    Column[ModificationOut]("for", lambda row: printable(row.request)),
]
