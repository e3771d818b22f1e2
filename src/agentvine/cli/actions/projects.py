"""What ``agentvine repo`` and ``agentvine project`` do."""

import uuid
from collections.abc import Sequence
from typing import Any, cast

from pydantic import ValidationError

from agentvine.cli import resolve
from agentvine.cli.output import Column, dump
from agentvine.cli.session import Session
from agentvine.kit.errors import Invalid
from agentvine.protocol.projects import (
    MemberIn,
    MemberOut,
    ProjectCreateIn,
    ProjectEditIn,
    ProjectOut,
    RepositoryCreateIn,
    RepositoryEditIn,
    RepositoryOut,
)
from agentvine.protocol.runs import RunLimits, SandboxNetwork, SandboxPolicy, WorkspacePolicy


class LimitInvalid(Invalid):
    """There is no such limit."""

    code = "limit_invalid"


class WorkspaceInvalid(Invalid):
    """A run's work tree cannot be like this."""

    code = "workspace_invalid"


class NothingToChange(Invalid):
    """Nothing is to be changed."""

    code = "nothing_to_change"


_REPOSITORY_COLUMNS = [
    Column[RepositoryOut]("name", lambda row: row.name),
    Column[RepositoryOut]("branch", lambda row: row.default_branch),
    Column[RepositoryOut]("tests", lambda row: row.test_command),
    Column[RepositoryOut]("place", lambda row: row.path),
    Column[RepositoryOut]("id", lambda row: row.id),
]


async def list_repositories(session: Session, *, project: str | None, limit: int | None) -> None:
    """All repositories one may see."""
    within = await resolve.project_id(session, project) if project else None
    rows = await resolve.collect(session.client.repositories.list(project_id=within), limit)
    session.out.table(rows, _REPOSITORY_COLUMNS, nothing="No repository is registered.")


async def show_repository(session: Session, *, name: str, project: str | None) -> None:
    """One repository."""
    row = await resolve.find_repository(session, name, project)
    session.out.record(
        row,
        [
            ("repository", row.name),
            ("id", row.id),
            ("project", row.project_id),
            ("place", row.path),
            ("address", row.git_url),
            ("branch", row.default_branch),
            ("tests", row.test_command),
            ("sandbox", _told(row.sandbox)),
            ("run limits", row.limits.model_dump(exclude_none=True) or None),
            ("in its runs", row.workspace.model_dump(mode="json", exclude_defaults=True) or None),
            ("tasks wait for files", row.overlap_waits),
            ("trial merges", row.trial_merges),
            ("registered", row.created_at),
        ],
    )


async def register(
    session: Session,
    *,
    location: str,
    name: str | None,
    project: str | None,
    branch: str | None,
    test: str | None,
    **workspace: Any,
) -> None:
    """A new repository."""
    said = _said(workspace)
    given = {
        "name": name,
        "project_id": await resolve.project_id(session, project) if project else None,
        "default_branch": branch,
        "test_command": test,
        "workspace": _workspace(said) if said else None,
    }
    row = await register_repository(session, location, **given)
    session.out.done(f"{row.name} is registered: {row.path}, branch {row.default_branch}", row)


async def register_repository(session: Session, location: str, **given: Any) -> RepositoryOut:
    """Register what is at a path here, as the server sees it, or at a URL."""
    body = RepositoryCreateIn(
        location=resolve.absolute_path(location) or location,
        **{field: value for field, value in given.items() if value is not None},
    )
    row = await session.client.repositories.create(body)
    for note in row.notes:
        session.out.note(note)
    return row


async def edit_repository(
    session: Session,
    *,
    name: str,
    project: str | None,
    new_name: str | None,
    branch: str | None,
    test: str | None,
    sandbox: bool | None,
    hosts: Sequence[str],
    limits: Sequence[str],
    overlap: str | None,
    trial_merges: str | None,
    **workspace: Any,
) -> None:
    """Some fields of a repository."""
    row = await resolve.find_repository(session, name, project)
    given: dict[str, Any] = {"name": new_name, "default_branch": branch, "test_command": test}
    given["overlap_waits"] = overlap == "on" if overlap else None
    given["trial_merges"] = trial_merges == "on" if trial_merges else None
    if limits:
        given["limits"] = RunLimits(**row.limits.model_dump() | dict(map(_limit, limits)))
    if sandbox or hosts:
        given["sandbox"] = _sandbox(row, hosts)
    if said := _said(workspace):
        given["workspace"] = _workspace(row.workspace.model_dump() | said)
    # Null turns it off, where elsewhere it means that nothing was said.
    off = {"sandbox": None} if sandbox is False else {}
    body = RepositoryEditIn(**off, **(_optional(given) if off else _given(given)))
    changed = await session.client.repositories.edit(row.id, body, row_version=row.row_version)
    session.out.done(f"{changed.name} is changed", changed)


async def delete_repository(session: Session, *, name: str, project: str | None, yes: bool) -> None:
    """Forget a repository."""
    row = await resolve.find_repository(session, name, project)
    session.confirm(f"Forget {row.name} ({row.path})?", yes=yes)
    await session.client.repositories.delete(row.id)
    session.out.done(f"{row.name} is forgotten; its files stay", {"deleted": row.id})


async def list_projects(session: Session, *, limit: int | None) -> None:
    """All projects one may see."""
    columns = [
        Column[ProjectOut]("name", lambda row: row.name),
        Column[ProjectOut]("active", lambda row: row.is_active),
        Column[ProjectOut]("github", lambda row: row.github_repo),
        Column[ProjectOut]("created", lambda row: row.created_at),
        Column[ProjectOut]("id", lambda row: row.id),
    ]
    rows = await resolve.collect(session.client.projects.list(), limit)
    session.out.table(rows, columns, nothing="There are no projects.")


async def show_project(session: Session, *, name: str) -> None:
    """One project."""
    row = await resolve.find_project(session, name)
    repositories = await resolve.collect(session.client.repositories.list(project_id=row.id))
    members = await resolve.collect(session.client.projects.members(row.id))
    if session.out.as_json:
        session.out.data(dump(row, repositories=repositories, members=members))
        return
    session.out.record(
        row,
        [
            ("project", row.name),
            ("id", row.id),
            ("about", row.description),
            ("github", row.github_repo),
            ("active", row.is_active),
            ("created", row.created_at),
            ("repositories", [repository.name for repository in repositories]),
            ("members", [f"{member.username} ({member.role})" for member in members]),
        ],
    )


async def create_project(
    session: Session,
    *,
    name: str,
    description: str | None,
    github: str | None,
    key: str | None,
) -> None:
    """A new project."""
    body = ProjectCreateIn(
        name=name, **_optional({"description": description, "github_repo": github})
    )
    row = await session.client.projects.create(body, key=key)
    session.out.done(f"{row.name} is created ({row.id})", row)


async def edit_project(
    session: Session,
    *,
    name: str,
    new_name: str | None,
    description: str | None,
    github: str | None,
    active: bool | None,
) -> None:
    """Some fields of a project."""
    row = await resolve.find_project(session, name)
    given = {
        "name": new_name,
        "description": description,
        "github_repo": github,
        "is_active": active,
    }
    changed = await session.client.projects.edit(
        row.id, ProjectEditIn(**_given(given)), row_version=row.row_version
    )
    session.out.done(f"{changed.name} is changed", changed)


async def delete_project(session: Session, *, name: str, yes: bool) -> None:
    """Delete a project with all that is in it."""
    row = await resolve.find_project(session, name)
    session.confirm(f"Delete the project {row.name} with its tasks and their history?", yes=yes)
    await session.client.projects.delete(row.id)
    session.out.done(f"{row.name} is deleted", {"deleted": row.id})


async def list_members(session: Session, *, name: str) -> None:
    """A project's members."""
    identity: uuid.UUID = await resolve.project_id(session, name)
    columns = [
        Column[MemberOut]("user", lambda row: row.username),
        Column[MemberOut]("role", lambda row: row.role),
        Column[MemberOut]("since", lambda row: row.created_at),
    ]
    rows = await resolve.collect(session.client.projects.members(identity))
    session.out.table(rows, columns, nothing="Only its owner and the admins.")


async def add_member(session: Session, *, name: str, username: str, role: str) -> None:
    """Let somebody in."""
    identity = await resolve.project_id(session, name)
    row = await session.client.projects.put_member(identity, MemberIn(username=username, role=role))
    session.out.done(f"{row.username} is a {row.role} of {name}", row)


async def remove_member(session: Session, *, name: str, username: str) -> None:
    """Let somebody in no longer."""
    identity = await resolve.project_id(session, name)
    await session.client.projects.remove_member(identity, username)
    session.out.done(f"{username} is no member of {name} any more", {"removed": username})


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    given = _optional(fields)
    if not given:
        raise NothingToChange("Name what is to change; --help lists what can.")
    return given


def _optional(fields: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in fields.items() if value is not None}


def _said(workspace: dict[str, Any]) -> dict[str, Any]:
    """What was said of a workspace; an empty text takes a command or a list away."""
    said: dict[str, Any] = {}
    for name, value in workspace.items():
        if isinstance(value, tuple) and value:
            said[name] = [each for each in cast("tuple[str, ...]", value) if each]
        elif value is not None and not isinstance(value, tuple):
            said[name] = value or None
    return said


def _workspace(fields: dict[str, Any]) -> WorkspacePolicy:
    try:
        return WorkspacePolicy(**fields)
    except ValidationError as error:
        wrong = [f"{each['input']!r}: {each['msg']}" for each in error.errors()]
        raise WorkspaceInvalid(f"{'; '.join(wrong)}.") from error


def _sandbox(row: RepositoryOut, hosts: Sequence[str]) -> SandboxPolicy:
    """The repository's sandbox, or a new one, with other hosts where some are named."""
    now = row.sandbox or SandboxPolicy()
    if not hosts:
        return SandboxPolicy(**now.model_dump())
    return SandboxPolicy(
        network=SandboxNetwork.ALLOW_LIST,
        allowed_hosts=list(hosts),
        readable=now.readable,
        writable=now.writable,
    )


def _told(sandbox: SandboxPolicy | None) -> str:
    if sandbox is None:
        return "none: tasks may do what their worker's user may"
    if sandbox.network is SandboxNetwork.OFF:
        return "on, without network"
    return "on; it may reach " + (", ".join(sandbox.allowed_hosts) or "no host yet")


def _limit(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    if name not in RunLimits.model_fields or not value.isdigit() or not int(value):
        names = ", ".join(RunLimits.model_fields)
        raise LimitInvalid(f"{text!r} is not NAME=NUMBER with a name of {names}.")
    return name, int(value)
