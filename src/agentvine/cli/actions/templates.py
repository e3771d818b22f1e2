"""What ``agentvine template`` does."""

import asyncio
import base64
from collections.abc import Sequence
from pathlib import Path

from agentvine.cli import resolve
from agentvine.cli.actions.projects import register_repository
from agentvine.cli.output import Column, dump
from agentvine.cli.session import Session
from agentvine.cli.template_files import files_of, read_template_file, write_template
from agentvine.config.settings import environment_for_child
from agentvine.git.contents import CommittedFile, read_contents
from agentvine.git.creation import check_target, create_repository
from agentvine.git.inspection import inspect_repository
from agentvine.git.runner import Git
from agentvine.kit.errors import Invalid
from agentvine.protocol.plans import PlanCreateIn
from agentvine.protocol.projects import RepositoryOut
from agentvine.protocol.template_enums import TemplateCategory, TemplateComplexity
from agentvine.protocol.templates import (
    MAX_CHARACTERS,
    MAX_FILES,
    RenderedFileOut,
    RenderedOut,
    TemplateCreateIn,
    TemplateDefinition,
    TemplateEncoding,
    TemplateOut,
    TemplateSource,
    TemplateSummaryOut,
    TemplateVariable,
)


class RepositoryWithoutCommit(Invalid):
    """Nothing is committed there."""

    code = "repository_without_commit"


class TextNowhere(Invalid):
    """A text that is to become a variable is in no file."""

    code = "text_nowhere"


class VariableTwice(Invalid):
    """A variable has two values."""

    code = "variable_twice"


_SOURCES = {TemplateSource.BUILT_IN: "built in", TemplateSource.OWN: "own"}
_COLUMNS = [
    Column[TemplateSummaryOut]("name", lambda row: row.name),
    Column[TemplateSummaryOut]("category", lambda row: row.category.value),
    Column[TemplateSummaryOut]("stack", lambda row: row.tech_stack),
    Column[TemplateSummaryOut]("tags", lambda row: row.tags),
    Column[TemplateSummaryOut]("to fill in", lambda row: row.required_vars),
    Column[TemplateSummaryOut]("source", lambda row: _SOURCES[row.source]),
]


async def list_templates(
    session: Session,
    *,
    project: str | None,
    stack: Sequence[str],
    tags: Sequence[str],
    category: TemplateCategory | None,
    complexity: TemplateComplexity | None,
    limit: int | None,
    words: Sequence[str] = (),
) -> None:
    """All that one may see, or those that fit."""
    listed = session.client.templates.list(
        project_id=await resolve.project_id(session, project) if project else None,
        category=category,
        complexity=complexity,
        stack=stack,
        tags=tags,
        words=words,
    )
    rows = await resolve.collect(listed, limit)
    session.out.table(rows, _COLUMNS, nothing="No template fits.")


async def show(session: Session, *, name: str, project: str | None) -> None:
    """One template."""
    row = await _get(session, name, project)
    session.out.record(
        row,
        [
            ("template", row.name),
            ("about", row.description),
            ("id", row.id),
            ("source", f"{_SOURCES[row.source]}, version {row.version}"),
            ("project", row.project_id),
            ("category", row.category.value),
            ("complexity", row.complexity.value),
            ("stack", row.tech_stack),
            ("tags", row.tags),
            ("minutes", row.estimated_setup_time),
            ("tests", row.test_command),
            (
                "variables",
                "\n".join(_told(TemplateVariable(**dump(each))) for each in row.variables),
            ),
            ("files", "\n".join(row.files)),
        ],
    )


async def render(
    session: Session,
    *,
    name: str,
    target: Path,
    values: Sequence[tuple[str, str]],
    project: str | None,
    register: bool,
    plan: str | None,
) -> None:
    """A new repository, perhaps registered and with a plan."""
    given = _once(values)
    folder = _absolute(target)
    check_target(folder)
    template = await resolve.find_template(session, name, project)
    made = await session.client.templates.render(template.id, given)
    files = [CommittedFile(file.path, _bytes(file), file.executable) for file in made.files]
    message = f"Begin with the template {made.template}"
    commit = await create_repository(_git(), folder, files, message)
    session.out.note(f"{folder} has {len(files)} files, committed on main ({commit[:12]})")
    repository = await _register(session, folder, made, project) if register or plan else None
    if repository is not None and plan:
        await _begin_plan(session, repository, made, plan)
    result = {
        "path": str(folder),
        "commit": commit,
        "files": [file.path for file in files],
        "values": made.values,
        "repository": dump(repository) if repository else None,
        "plan": plan,
    }
    session.out.done(_what_next(made, folder, repository, plan), result)


async def create(
    session: Session,
    *,
    name: str,
    repo: Path,
    replacements: Sequence[tuple[str, str]],
    description: str,
    test: str | None,
    project: str | None,
    stack: Sequence[str],
    tags: Sequence[str],
    category: TemplateCategory | None,
    complexity: TemplateComplexity | None,
) -> None:
    """A template of a repository's committed files.

    Raises:
        RepositoryWithoutCommit: There is nothing to take.
        TextNowhere: A text that is to be replaced is in no file.
    """
    texts = _once(replacements)
    info = await inspect_repository(_git(), _absolute(repo))
    if info.head_commit is None:
        raise RepositoryWithoutCommit(f"Commit something in {repo} first.")
    limits = {"max_files": MAX_FILES, "max_bytes": MAX_CHARACTERS}
    contents = await read_contents(_git(), Path(info.path), info.head_commit, **limits)
    taken = files_of(contents.files, texts)
    if nowhere := [text for text in texts if not taken.found[text]]:
        raise TextNowhere(
            f"{', '.join(nowhere)} stands nowhere alone, in no file and no path of {repo}."
        )
    names = dict.fromkeys(texts.values())
    about = {variable: [t for t, name in texts.items() if name == variable] for variable in names}
    body = TemplateCreateIn.model_validate(
        {
            "name": name,
            "description": description,
            "category": category or TemplateCategory.API,
            "complexity": complexity or TemplateComplexity.MEDIUM,
            "tech_stack": list(stack),
            "tags": list(tags),
            "test_command": test,
            "variables": [
                {"name": each, "description": f"instead of {', '.join(about[each])}"}
                for each in names
            ],
            "files": taken.files,
            "project_id": await resolve.project_id(session, project) if project else None,
        }
    )
    row = await session.client.templates.create(body)
    for path in contents.left_out:
        session.out.note(f"{path} is left out: no plain file.")
    for text, count in taken.found.items():
        session.out.note(f"{text} became {texts[text]}, {count} times")
    session.out.done(f"{row.name} is a template of {len(row.files)} files", row)


async def export(session: Session, *, name: str, file: Path, project: str | None) -> None:
    """A template as a file."""
    row = await _get(session, name, project)
    text = write_template(row)
    if str(file) == "-":
        if session.out.as_json:
            session.out.data(row)
        session.out.line(text.rstrip("\n"))
        return
    await asyncio.to_thread(file.write_text, text, "utf-8")
    session.out.done(f"{row.name} is written to {file}", row)


async def import_template(
    session: Session, *, file: Path, project: str | None, replace: bool
) -> None:
    """A template from a file."""
    document = await asyncio.to_thread(read_template_file, file)
    project_id = await resolve.project_id(session, project) if project else None
    body = TemplateCreateIn(
        **document.model_dump(exclude={"format", "version"}), project_id=project_id
    )
    known = await _find_own(session, body) if replace else None
    if known is None:
        row = await session.client.templates.create(body)
    else:
        definition = TemplateDefinition(**body.model_dump(exclude={"project_id"}))
        row = await session.client.templates.replace(known.id, definition, version=known.version)
    session.out.done(f"{row.name} is at version {row.version}", row)


async def delete(session: Session, *, name: str, project: str | None, yes: bool) -> None:
    """Gone."""
    row = await resolve.find_template(session, name, project)
    session.confirm(f"Remove the template {row.name}?", yes=yes)
    await session.client.templates.delete(row.id)
    session.out.done(f"{row.name} is removed", {"deleted": row.id})


async def _get(session: Session, name: str, project: str | None) -> TemplateOut:
    found = await resolve.find_template(session, name, project)
    return await session.client.templates.get(found.id)


async def _find_own(session: Session, wanted: TemplateCreateIn) -> TemplateSummaryOut | None:
    listed = session.client.templates.list(project_id=wanted.project_id, words=[wanted.name])
    async for row in resolve.every(listed):
        is_same = row.name == wanted.name and row.project_id == wanted.project_id
        if is_same and row.source is TemplateSource.OWN:
            return row
    return None


async def _register(
    session: Session, folder: Path, made: RenderedOut, project: str | None
) -> RepositoryOut:
    project_id = await resolve.project_id(session, project) if project else None
    return await register_repository(
        session, str(folder), project_id=project_id, test_command=made.test_command
    )


async def _begin_plan(
    session: Session, repository: RepositoryOut, made: RenderedOut, name: str
) -> None:
    body = PlanCreateIn(
        repository_id=repository.id,
        name=name,
        description=f"Goes on from the template {made.template}.",
    )
    await session.client.plans.create(body)


def _what_next(
    made: RenderedOut, folder: Path, repository: RepositoryOut | None, plan: str | None
) -> str:
    lines = [f"made {folder} of {made.template}"]
    if made.test_command:
        lines.append(f"test it: cd {folder} && {made.test_command}")
    if repository is not None:
        lines.append(f"registered as {repository.name}")
    if plan:
        lines.append(f"the plan {plan} is a draft: agentvine plan chat {plan}")
    return "\n".join(lines)


def _once(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    given = dict(pairs)
    if len(given) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise VariableTwice(f"{', '.join(twice)}: say it once.")
    return given


def _bytes(file: RenderedFileOut) -> bytes:
    if file.encoding is TemplateEncoding.BASE64:
        return base64.b64decode(file.content)
    return file.content.encode()


def _told(variable: TemplateVariable) -> str:
    need = "needed" if variable.default is None else f"otherwise {variable.default!r}"
    about = f": {variable.description}" if variable.description else ""
    pattern = f", like {variable.pattern}" if variable.pattern else ""
    return f"{variable.name}{about} ({need}{pattern})"


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _git() -> Git:
    return Git(environment=environment_for_child())
