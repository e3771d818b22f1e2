"""What ``agentvine context`` does."""

import asyncio
import sys
import uuid
from pathlib import Path
from typing import TextIO

from pydantic import SecretStr

from agentvine.cli import asking, resolve
from agentvine.cli.output import Column, printable
from agentvine.cli.session import Session
from agentvine.kit.errors import Invalid, NotFound
from agentvine.protocol.contexts import (
    MAX_REPORT_CHARACTERS,
    MAX_VALUE,
    ContextComparisonOut,
    ContextCreateIn,
    ContextFileOut,
    ContextOut,
    ContextSummaryOut,
    ReportsIn,
    VariableIn,
)
from agentvine.protocol.enums import ContextStatus


class ContextUnknown(NotFound):
    """There is no such snapshot."""

    code = "context_unknown"


class ReportUnreadable(Invalid):
    """The report cannot be read."""

    code = "report_unreadable"


class ValueMissing(Invalid):
    """The variable's value is missing."""

    code = "variable_value_missing"


async def list_contexts(
    session: Session,
    *,
    repo: str | None,
    project: str | None,
    status: ContextStatus | None,
    variable: str | None,
    path: str | None,
    limit: int | None,
) -> None:
    """All that one may see."""
    repository = await resolve.find_repository(session, repo, project) if repo else None
    listed = session.client.contexts.list(
        project_id=await resolve.project_id(session, project) if project else None,
        repository_id=repository.id if repository else None,
        status=status,
        variable=variable,
        path=path,
    )
    nothing = "There are no snapshots; `agentvine context create REPO` takes one."
    session.out.table(await resolve.collect(listed, limit), _COLUMNS, nothing=nothing)


async def create(
    session: Session,
    *,
    repo: str,
    project: str | None,
    name: str | None,
    branch: str | None,
    coverage: Path | None,
    bandit: Path | None,
    pip_audit: Path | None,
    benchmark: Path | None,
) -> None:
    """A snapshot of what is committed."""
    repository = await resolve.find_repository(session, repo, project)
    files = {
        "coverage": coverage,
        "bandit": bandit,
        "pip_audit": pip_audit,
        "benchmark": benchmark,
    }
    reports = {kind: await _report(file) for kind, file in files.items() if file is not None}
    body = ContextCreateIn(
        repository_id=repository.id, name=name, branch=branch, reports=ReportsIn(**reports)
    )
    made = await session.client.contexts.create(body)
    session.out.done(
        f"{made.name} is taken at {(made.commit_id or '')[:10]}: {made.file_count} files, "
        f"{len(made.dependencies)} dependencies ({made.id})",
        made,
    )
    for note in made.notes:
        session.out.note(printable(note))


async def show(session: Session, *, context: str, project: str | None) -> None:
    """All of it but its files."""
    row = await session.client.contexts.get(await _find(session, context, project))
    session.out.record(row, _fields(row))


async def files(
    session: Session, *, context: str, path: str | None, project: str | None, limit: int | None
) -> None:
    """Its files, or the text of one."""
    context_id = await _find(session, context, project)
    if path and not path.endswith("/"):
        content = await session.client.contexts.content(context_id, path)
        if session.out.as_json:
            session.out.data(content)
            return
        for line in content.content.splitlines():
            session.out.line(printable(line))
        return
    listed = session.client.contexts.files(context_id, under=path or "")
    rows = await resolve.collect(listed, limit)
    session.out.table(rows, _FILES, nothing="It has no such files.")


async def compare(session: Session, *, before: str, after: str | None, project: str | None) -> None:
    """What differs."""
    first, second = await _two(session, before, after, project)
    found = await session.client.contexts.compare(first, second)
    if session.out.as_json:
        session.out.data(found)
        return
    lines = _compared(found)
    for line in lines or ["nothing differs"]:
        session.out.line(printable(line))


async def archive(session: Session, *, context: str, project: str | None) -> None:
    """Aside with it."""
    row = await session.client.contexts.archive(await _find(session, context, project))
    session.out.done(f"{row.name} is archived", row)


async def activate(session: Session, *, context: str, project: str | None) -> None:
    """Out again."""
    row = await session.client.contexts.activate(await _find(session, context, project))
    session.out.done(f"{row.name} is active", row)


async def delete(session: Session, *, context: str, project: str | None, yes: bool) -> None:
    """Gone with it."""
    row = await session.client.contexts.get(await _find(session, context, project))
    session.confirm(f"Delete the snapshot {row.name} of {row.created_at:%Y-%m-%d}?", yes=yes)
    await session.client.contexts.delete(row.id)
    session.out.done(f"{row.name} is deleted", row)


async def set_variable(
    session: Session, *, context: str, name: str, project: str | None, value_file: TextIO | None
) -> None:
    """A variable, whose value is never on the command line: that is shown to everybody."""
    context_id = await _find(session, context, project)
    body = VariableIn(value=_read_value(name, value_file))
    await session.client.contexts.set_variable(context_id, name, body)
    session.out.done(f"{name} is set", {"id": str(context_id), "name": name})


async def unset_variable(session: Session, *, context: str, name: str, project: str | None) -> None:
    """One less."""
    context_id = await _find(session, context, project)
    await session.client.contexts.unset_variable(context_id, name)
    session.out.done(f"{name} is unset", {"id": str(context_id), "name": name})


async def _find(session: Session, name: str, project: str | None) -> uuid.UUID:
    if (given := resolve.as_uuid(name)) is not None:
        return given
    return (await _newest(session, name, project, 1))[0].id


async def _two(
    session: Session, before: str, after: str | None, project: str | None
) -> tuple[uuid.UUID, uuid.UUID]:
    given = resolve.as_uuid(before)
    if given is None and after is None:
        newest = await _newest(session, before, project, 2)
        if len(newest) < 2:
            raise ContextUnknown(f"{before} has one snapshot; there is nothing to compare it with.")
        return newest[1].id, newest[0].id
    first = given or await _find(session, before, project)
    if after is not None:
        return first, await _find(session, after, project)
    of = await session.client.contexts.get(first)
    return first, (await _newest(session, str(of.repository_id), project, 1))[0].id


async def _newest(
    session: Session, repo: str, project: str | None, count: int
) -> list[ContextSummaryOut]:
    repository = await resolve.find_repository(session, repo, project)
    listed = session.client.contexts.list(repository_id=repository.id)
    found = await resolve.collect(listed, count)
    if not found:
        raise ContextUnknown(f"{repo} has no snapshot; `agentvine context create` takes one.")
    return found


async def _report(file: Path) -> str:
    try:
        content = await asyncio.to_thread(file.read_text, "utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReportUnreadable(f"{file} cannot be read: {error}") from error
    if len(content) > MAX_REPORT_CHARACTERS:
        raise ReportUnreadable(f"{file} is larger than {MAX_REPORT_CHARACTERS} characters.")
    return content


def _read_value(name: str, file: TextIO | None) -> SecretStr:
    if file is not None:
        text = asking.read_input(MAX_VALUE + 2, file=file).removesuffix("\n")
    elif sys.stdin.isatty():
        text = asking.prompt(f"Value of {name}", is_secret=True)
    else:
        raise ValueMissing("Say --value-file FILE, - for standard input.")
    return SecretStr(text)


def _fields(row: ContextOut) -> list[tuple[str, object]]:
    deployment = [str(each.get("path")) for parts in row.deployment.values() for each in parts]
    asked = [f"{each.name} {each.requirement}".rstrip() for each in row.dependencies]
    return [
        ("id", str(row.id)),
        ("name", row.name),
        ("status", row.status.value),
        ("branch", row.branch),
        ("commit", row.commit_id),
        ("taken", row.taken_at),
        ("files", row.file_count),
        ("bytes", row.total_bytes),
        ("dependencies", "\n".join(map(printable, asked))),
        ("variables", [variable.name for variable in row.environment]),
        ("deployment", [printable(path) for path in deployment]),
        ("coverage", _percent(row.test_coverage)),
        ("security", _percent(row.security_score)),
        ("performance", _percent(row.performance_score)),
        ("notes", "\n".join(map(printable, row.notes))),
    ]


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{value:g}"


def _compared(found: ContextComparisonOut) -> list[str]:
    lines = [f"{each.change:8} {each.path}" for each in found.files]
    if found.files_left_out:
        lines.append(f"and {found.files_left_out} more files")
    for each in found.dependencies:
        before, after = (_asked(side) for side in (each.before, each.after))
        lines.append(f"requires {each.ecosystem}:{each.name}: {before} -> {after}")
    signs = (
        ("variable", "+", found.variables_added),
        ("variable", "-", found.variables_removed),
        ("variable", "~", found.variables_changed),
        ("deployment", "+", found.deployment_added),
        ("deployment", "-", found.deployment_removed),
    )
    lines += [f"{what} {sign}{name}" for what, sign, names in signs for name in names]
    for metric in found.metrics:
        before, after = _percent(metric.before), _percent(metric.after)
        lines.append(f"{metric.metric} {before or '-'} -> {after or '-'}")
    return lines


def _asked(requirement: str | None) -> str:
    return "none" if requirement is None else requirement or "any"


_COLUMNS = [
    Column[ContextSummaryOut]("id", lambda row: row.id),
    Column[ContextSummaryOut]("name", lambda row: row.name),
    Column[ContextSummaryOut]("status", lambda row: row.status.value),
    Column[ContextSummaryOut]("commit", lambda row: (row.commit_id or "")[:10]),
    Column[ContextSummaryOut]("files", lambda row: row.file_count),
    Column[ContextSummaryOut]("coverage", lambda row: _percent(row.test_coverage)),
    Column[ContextSummaryOut]("security", lambda row: _percent(row.security_score)),
    Column[ContextSummaryOut]("taken", lambda row: row.taken_at),
]
_FILES = [
    Column[ContextFileOut]("path", lambda row: printable(row.path)),
    Column[ContextFileOut]("kind", lambda row: row.kind),
    Column[ContextFileOut]("bytes", lambda row: row.bytes),
    Column[ContextFileOut]("hash", lambda row: row.hash[:10]),
]
