"""What ``agentvine plan`` does."""

import json
from pathlib import Path
from typing import Any, cast

from agentvine.cli import resolve
from agentvine.cli.actions.tasks import NothingToChange, read_text
from agentvine.cli.output import Column
from agentvine.cli.plan_files import PlanFile, read_plan_file
from agentvine.cli.session import Session
from agentvine.kit.errors import Invalid
from agentvine.protocol.enums import ArtifactType, PlanStatus
from agentvine.protocol.plans import (
    ArtifactOut,
    PlanCreateIn,
    PlanDiffOut,
    PlanEditIn,
    PlanHitOut,
    PlanOut,
    PlanSearchIn,
)

_COLUMNS = [
    Column[PlanOut]("plan", lambda row: row.name),
    Column[PlanOut]("version", lambda row: row.version),
    Column[PlanOut]("status", lambda row: row.status.value),
    Column[PlanOut]("into", lambda row: row.target_branch),
    Column[PlanOut]("changed", lambda row: row.updated_at),
    Column[PlanOut]("id", lambda row: row.id),
]

_PARTS = [
    Column[ArtifactOut]("part", lambda row: row.artifact_type.value),
    Column[ArtifactOut]("written", lambda row: row.created_at),
    Column[ArtifactOut]("by", lambda row: row.created_by),
    Column[ArtifactOut]("id", lambda row: row.id),
]

_HITS = [
    Column[PlanHitOut]("plan", lambda row: row.plan.name),
    Column[PlanHitOut]("version", lambda row: row.plan.version),
    Column[PlanHitOut]("status", lambda row: row.plan.status.value),
    Column[PlanHitOut]("part", lambda row: row.artifact.artifact_type.value),
    Column[PlanHitOut]("written", lambda row: row.artifact.created_at),
    Column[PlanHitOut]("id", lambda row: row.plan.id),
]


class PlanNameMissing(Invalid):
    """A plan needs a name."""

    code = "plan_name_missing"


class SearchInvalid(Invalid):
    """This is no JSON object."""

    code = "search_invalid"


async def list_plans(
    session: Session,
    *,
    repo: str | None,
    project: str | None,
    name: str | None,
    status: PlanStatus | None,
    limit: int | None,
) -> None:
    """Versions one may see."""
    listed = session.client.plans.list(
        project_id=await resolve.project_id(session, project) if project else None,
        repository_id=(await resolve.find_repository(session, repo)).id if repo else None,
        name=name,
        status=status,
    )
    rows = await resolve.collect(listed, limit)
    nothing = "There are no plans; `agentvine plan create` makes one."
    session.out.table(rows, _COLUMNS, nothing=nothing)


async def show_plan(session: Session, *, name: str, repo: str | None) -> None:
    """One version."""
    row = await session.client.plans.get((await resolve.find_plan(session, name, repo)).id)
    if session.out.as_json:
        session.out.data(row)
        return
    session.out.note(f"version {row.version}, {row.status.value}, {row.id}")
    session.out.line(row.text.rstrip())
    for part in row.artifacts:
        if part.artifact_type is ArtifactType.CODE_CHANGES:
            for change in part.content.get("changes", []):
                session.out.note(f"{change['operation']} {change['path']}")


async def create_plan(
    session: Session,
    *,
    name: str | None,
    repo: str,
    file: Path | None,
    description: str | None,
    target: str | None,
) -> None:
    """A new plan.

    Raises:
        PlanNameMissing: Neither the command nor the file gives it one.
    """
    said = read_plan_file(file) if file else PlanFile()
    wanted = name or said.name
    if wanted is None:
        raise PlanNameMissing("Write `agentvine plan create NAME ...`, or `name:` in the file.")
    body = PlanCreateIn(
        repository_id=(await resolve.find_repository(session, repo)).id,
        name=wanted,
        description=read_text(description) or said.description,
        target_branch=target or said.target_branch,
        artifacts=said.artifacts,
    )
    row = await session.client.plans.create(body)
    session.out.done(f"{row.name} is a plan; version 1 is a draft", row)


async def edit_plan(
    session: Session,
    *,
    name: str,
    repo: str | None,
    file: Path | None,
    description: str | None,
    target: str | None,
) -> None:
    """A draft, on the version just read.

    Raises:
        NothingToChange: Nothing was named.
    """
    said = read_plan_file(file) if file else PlanFile()
    row = await resolve.find_plan(session, name, repo)
    fields = {
        "description": read_text(description) or said.description,
        "target_branch": target or said.target_branch,
    }
    changed = await _write(session, row, fields, said)
    if changed is None:
        raise NothingToChange(f"Name what is to change of {row.name}; see `plan edit --help`.")
    session.out.done(f"version {changed.version} of {changed.name} is changed", changed)


async def list_versions(session: Session, *, name: str, repo: str | None) -> None:
    """All of a plan."""
    row = await resolve.find_plan(session, name, repo)
    rows = await resolve.collect(session.client.plans.versions(row.id))
    session.out.table(rows, _COLUMNS, nothing="There is none.")


async def list_history(
    session: Session,
    *,
    name: str,
    repo: str | None,
    type_: ArtifactType | None,
    limit: int | None,
) -> None:
    """What was written."""
    row = await resolve.find_plan(session, name, repo)
    listed = session.client.plans.artifacts(row.id, type_=type_)
    rows = await resolve.collect(listed, limit)
    session.out.table(rows, _PARTS, nothing="Nothing was written into it yet.")


async def diff_plans(session: Session, *, name: str, other: str | None, repo: str | None) -> None:
    """From one version to another.

    Raises:
        NameUnknown: There is no version before.
    """
    named = await resolve.find_plan(session, name, repo)
    if other is not None:
        before, after = named, await resolve.find_plan(session, other, repo)
    else:
        before, after = await _version_before(session, named), named
    found = await session.client.plans.diff(before.id, after.id)
    if session.out.as_json:
        session.out.data(found)
    elif not found.text:
        session.out.note("Nothing differs.")
    else:
        session.out.line(found.text.rstrip())
        for line in _summary(found):
            session.out.note(line)


async def revise_plan(session: Session, *, name: str, repo: str | None, file: Path | None) -> None:
    """The next version."""
    said = read_plan_file(file) if file else PlanFile()
    row = await resolve.find_plan(session, name, repo)
    made = await session.client.plans.revise(row.id)
    fields = {"description": said.description, "target_branch": said.target_branch}
    made = await _write(session, made, fields, said) or made
    text = f"version {made.version} of {made.name} is a draft, made from version {row.version}"
    session.out.done(text, made)


async def activate_plan(session: Session, *, name: str, repo: str | None) -> None:
    """What counts."""
    row = await resolve.find_plan(session, name, repo)
    moved = await session.client.plans.activate(row.id)
    session.out.done(f"version {moved.version} of {moved.name} is active", moved)


async def complete_plan(session: Session, *, name: str, repo: str | None) -> None:
    """It is there."""
    row = await resolve.find_plan(session, name, repo)
    moved = await session.client.plans.complete(row.id)
    session.out.done(f"version {moved.version} of {moved.name} is completed", moved)


async def archive_plan(session: Session, *, name: str, repo: str | None) -> None:
    """Away with it."""
    row = await resolve.find_plan(session, name, repo)
    moved = await session.client.plans.archive(row.id)
    session.out.done(f"version {moved.version} of {moved.name} is archived", moved)


async def delete_plan(session: Session, *, name: str, repo: str | None, yes: bool) -> None:
    """Forget it."""
    row = await resolve.find_plan(session, name, repo)
    session.confirm(f"Delete version {row.version} of {row.name}?", yes=yes)
    await session.client.plans.delete(row.id)
    session.out.done(f"version {row.version} of {row.name} is deleted", row)


async def search_plans(
    session: Session,
    *,
    contains: str,
    repo: str | None,
    type_: ArtifactType | None,
    status: PlanStatus | None,
    limit: int | None,
) -> None:
    """Parts that hold a document.

    Raises:
        SearchInvalid: It is none.
    """
    try:
        document: Any = json.loads(contains)
    except ValueError as error:
        raise SearchInvalid(f'{error}: write it like \'{{"goal": "..."}}\'.') from error
    if not isinstance(document, dict):
        raise SearchInvalid('Write an object, like \'{"goal": "..."}\'.')
    body = PlanSearchIn(
        contains=cast("dict[str, Any]", document),
        artifact_type=type_,
        repository_id=(await resolve.find_repository(session, repo)).id if repo else None,
        status=status,
    )
    rows: list[PlanHitOut] = []
    cursor: str | None = None
    while limit is None or len(rows) < limit:
        page = await session.client.plans.search(body, cursor=cursor)
        rows += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    session.out.table(rows[:limit], _HITS, nothing="No plan holds that.")


async def _version_before(session: Session, row: PlanOut) -> PlanOut:
    versions = await resolve.collect(session.client.plans.versions(row.id))
    earlier = [other for other in versions if other.version < row.version]
    if not earlier:
        raise resolve.NameUnknown(f"{row.name} has no version before {row.version}.")
    return earlier[-1]


async def _write(
    session: Session, row: PlanOut, fields: dict[str, str | None], said: PlanFile
) -> PlanOut | None:
    """Write what is given into a draft; None when nothing is."""
    given = {field: value for field, value in fields.items() if value is not None}
    changed: PlanOut | None = None
    if given:
        body = PlanEditIn(**given)
        changed = await session.client.plans.edit(row.id, body, row_version=row.row_version)
    for part in said.artifacts:
        await session.client.plans.write(row.id, part)
    return await session.client.plans.get(row.id) if said.artifacts else changed


def _summary(found: PlanDiffOut) -> list[str]:
    told = {
        "new steps": found.steps_added,
        "steps that are gone": found.steps_removed,
        "changed steps": [
            f"{step.key} ({', '.join(field.field for field in step.fields)})"
            for step in found.steps_changed
        ],
        "moved steps": found.steps_moved,
        "changed files": found.files_changed,
    }
    return [f"{what}: {', '.join(names)}" for what, names in told.items() if names]
