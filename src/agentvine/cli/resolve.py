"""From what people call things to their ids.

Tasks are T-12 or an id, repositories a name, a path or an id; most other things a name or an id.
"""

import re
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from agentvine.cli.session import Session
from agentvine.client import Listing
from agentvine.kit.errors import Invalid, NotFound
from agentvine.protocol.agents import AgentOut
from agentvine.protocol.executions import ExecutionOut
from agentvine.protocol.identity import TokenOut, UserOut
from agentvine.protocol.modifications import ModificationOut
from agentvine.protocol.plans import PlanOut
from agentvine.protocol.projects import ProjectOut, RepositoryOut
from agentvine.protocol.providers import CredentialOut, ProviderOut
from agentvine.protocol.tasks import TaskOut
from agentvine.protocol.templates import TemplateSource, TemplateSummaryOut
from agentvine.protocol.usage import BudgetOut
from agentvine.protocol.workers import WorkerOut

M = TypeVar("M", bound=BaseModel)

_PAGE = 500
_TASK_REF = re.compile(r"[Tt]-?(\d{1,9})")


class NameUnknown(NotFound):
    """Nothing has this name, or you may not see it."""

    code = "name_unknown"


class NameAmbiguous(Invalid):
    """Several things have this name."""

    code = "name_ambiguous"


async def every(listing: Listing[M]) -> AsyncIterator[M]:
    """All items of a list, in large pages."""
    cursor: str | None = None
    while True:
        page = await listing.page(limit=_PAGE, cursor=cursor)
        for item in page.items:
            yield item
        cursor = page.next_cursor
        if cursor is None:
            return


async def collect(listing: Listing[M], limit: int | None = None) -> list[M]:
    """A list's items, all of them or the first ones."""
    found: list[M] = []
    cursor: str | None = None
    while limit is None or len(found) < limit:
        size = _PAGE if limit is None else min(_PAGE, limit - len(found))
        page = await listing.page(limit=size, cursor=cursor)
        found.extend(page.items)
        cursor = page.next_cursor
        if cursor is None:
            break
    return found


async def task_id(session: Session, name: str, project: str | None = None) -> uuid.UUID:
    """The task that is called so.

    Raises:
        NameUnknown: There is none.
        NameAmbiguous: Several projects have a task of that number.
    """
    if (given := as_uuid(name)) is not None:
        return given
    number = _TASK_REF.fullmatch(name) or re.fullmatch(r"(\d{1,9})", name)
    if number is None:
        raise NameUnknown(f"{name!r} is not a task: write T-12, or its id.")
    ref = f"T-{int(number.group(1))}"
    within = await project_id(session, project) if project else None
    found = [
        task
        async for task in every(session.client.tasks.list(project_id=within))
        if task.ref == ref
    ]
    if len(found) > 1:
        found = await _of_this_place(session, found)
    return _only(found, ref, "task", lambda task: f"{task.title!r} ({task.id})").id


async def _of_this_place(session: Session, tasks: list[TaskOut]) -> list[TaskOut]:
    """Those of the repository we stand in, when it is registered and has any; otherwise all."""
    nearest = await _repository_around(session, Path.cwd())
    if nearest is None:
        return tasks
    return [task for task in tasks if task.project_id == nearest.project_id] or tasks


async def _repository_around(session: Session, folder: Path) -> RepositoryOut | None:
    above = {str(path) for path in (folder, *folder.parents)}
    rows = await collect(session.client.repositories.list())
    return max(
        (row for row in rows if row.path in above), key=lambda row: len(row.path), default=None
    )


async def find_task(session: Session, name: str, project: str | None = None) -> TaskOut:
    """The task itself."""
    return await session.client.tasks.get(await task_id(session, name, project))


async def find_project(session: Session, name: str) -> ProjectOut:
    """A project by name or id."""
    if (given := as_uuid(name)) is not None:
        return await session.client.projects.get(given)
    found = [
        project
        async for project in every(session.client.projects.list())
        if project.name.casefold() == name.casefold()
    ]
    return _only(found, name, "project", lambda project: str(project.id))


async def project_id(session: Session, name: str) -> uuid.UUID:
    """A project's id by its name or id."""
    return as_uuid(name) or (await find_project(session, name)).id


async def find_repository(session: Session, name: str, project: str | None = None) -> RepositoryOut:
    """A repository by path, name or id."""
    if (given := as_uuid(name)) is not None:
        return await session.client.repositories.get(given)
    within = await project_id(session, project) if project else None
    rows = await collect(session.client.repositories.list(project_id=within))
    place = absolute_path(name)
    at_place = [row for row in rows if place is not None and row.path == place]
    found = at_place or [row for row in rows if name in (row.path, row.git_url) or row.name == name]
    return _only(found, name, "repository", lambda row: row.path)


async def repository_around(session: Session, folder: Path) -> RepositoryOut:
    """The registered repository that a folder of this machine, by its true path, lies in."""
    found = await _repository_around(session, folder)
    if found is None:
        raise NameUnknown(f"No registered repository is around {folder}; name one with --repo.")
    return found


async def find_worker(session: Session, name: str) -> WorkerOut:
    """A worker by name or id."""
    if (given := as_uuid(name)) is not None:
        return await session.client.workers.get(given)
    found = [row async for row in every(session.client.workers.list()) if row.name == name]
    return _only(found, name, "worker", lambda row: str(row.id))


async def find_user(session: Session, name: str) -> UserOut:
    """A user by name, address or id."""
    if (given := as_uuid(name)) is not None:
        return await session.client.users.get(given)
    wanted = name.casefold()
    found = [
        row
        async for row in every(session.client.users.list())
        if wanted in (row.username.casefold(), row.email.casefold())
    ]
    return _only(found, name, "user", lambda row: str(row.id))


async def find_budget(session: Session, name: str) -> BudgetOut:
    """A budget by name or id."""
    if (given := as_uuid(name)) is not None:
        return await session.client.budgets.get(given)
    found = [row async for row in every(session.client.budgets.list()) if row.name == name]
    return _only(found, name, "budget", lambda row: str(row.id))


async def find_agent(session: Session, name: str, project: str | None = None) -> AgentOut:
    """An agent by name or id; a project's own before one for all."""
    if (given := as_uuid(name)) is not None:
        return await session.client.agents.get(given)
    of = await project_id(session, project) if project is not None else None
    listed = session.client.agents.list(project_id=of)
    found = [row async for row in every(listed) if row.name.casefold() == name.casefold()]
    own = [row for row in found if row.project_id is not None]
    return _only(own or found, name, "agent", lambda row: str(row.id))


async def find_plan(session: Session, name: str, repository: str | None = None) -> PlanOut:
    """A version of a plan: NAME for the newest one, NAME@2 for the second, or an id."""
    if (given := as_uuid(name)) is not None:
        return await session.client.plans.get(given)
    number = re.fullmatch(r"(.+)@(\d{1,6})", name)
    wanted, version = (number[1], int(number[2])) if number else (name, None)
    of = (await find_repository(session, repository)).id if repository else None
    rows = await collect(session.client.plans.list(name=wanted, repository_id=of))
    fits = [row for row in rows if version is None or row.version == version]
    newest = {row.repository_id: row for row in sorted(fits, key=lambda row: row.version)}
    return _only(
        list(newest.values()),
        name,
        "plan",
        lambda row: f"{row.id} of the repository {row.repository_id}",
    )


async def find_team_run(session: Session, name: str) -> uuid.UUID:
    """The id of a team run, given it or its end."""
    if (given := as_uuid(name)) is not None:
        return given
    found = [row async for row in every(session.client.team.list()) if str(row.id).endswith(name)]
    return _only(found, name, "team run", lambda row: str(row.id)).id


async def find_provider(session: Session, name: str, project: str | None = None) -> ProviderOut:
    """A provider of models by name or id; one for all before those of projects."""
    if (given := as_uuid(name)) is not None:
        return await session.client.providers.get(given)
    found = [row async for row in every(session.client.providers.list()) if row.name == name]
    if project is not None:
        of = await project_id(session, project)
        found = [row for row in found if row.project_id == of]
    for_all = [row for row in found if row.project_id is None]
    return _only(for_all or found, name, "provider", lambda row: str(row.id))


async def find_template(
    session: Session, name: str, project: str | None = None
) -> TemplateSummaryOut:
    """A template by name or id; one of a project before those for all, built-in ones last."""
    if (given := as_uuid(name)) is not None:
        return await session.client.templates.get(given)
    of = await project_id(session, project) if project else None
    listed = session.client.templates.list(project_id=of, words=[name])
    found = [row async for row in every(listed) if row.name == name]
    own = [row for row in found if row.source is TemplateSource.OWN] or found
    nearest = [row for row in own if row.project_id is not None] or own
    return _only(nearest, name, "template", lambda row: str(row.id))


def find_key(provider: ProviderOut, name: str | None) -> CredentialOut:
    """A key of a provider by name, end or id; the only one where none is named."""
    given = as_uuid(name) if name else None
    found = [
        row
        for row in provider.credentials
        if name is None or row.id == given or name in (row.name, row.last_four, row.fingerprint)
    ]
    return _only(found, name or "that", "key", lambda row: f"{row.name} ({row.id})")


async def find_token(session: Session, name: str) -> TokenOut:
    """A token in force by its prefix, name or id."""
    given = as_uuid(name)
    found = [
        row
        async for row in every(session.client.tokens.list())
        if row.id == given
        or (row.revoked_at is None and (name == row.name or name.startswith(row.prefix)))
    ]
    return _only(found, name, "token", lambda row: f"{row.prefix}... ({row.id})")


async def find_execution(session: Session, name: str, project: str | None = None) -> ExecutionOut:
    """An attempt by its id, or the latest one of a task."""
    given = as_uuid(name)
    if given is not None:
        try:
            return await session.client.executions.get(given)
        except NotFound:
            # It may be a task's id; if it is neither, the task's error says so.
            await session.client.tasks.get(given)
    of_task = given or await task_id(session, name, project)
    found = await session.client.executions.list(task_id=of_task).page(limit=1)
    if not found.items:
        raise NameUnknown(f"No attempt at {name} has begun yet; `agentvine task show {name}`.")
    return found.items[0]


async def find_modification(
    session: Session, name: str, project: str | None = None
) -> ModificationOut:
    """A change by its id, or the latest one of a task."""
    given = as_uuid(name)
    if given is not None:
        try:
            return await session.client.modifications.get(given)
        except NotFound:
            await session.client.tasks.get(given)
    of_task = given or await task_id(session, name, project)
    found = await session.client.modifications.list(task_id=of_task).page(limit=1)
    if not found.items:
        raise NameUnknown(f"{name} has no change to decide about.")
    return found.items[0]


async def task_names(session: Session, wanted: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    """The references of some tasks, for tables that would show ids."""
    missing = set(wanted)
    names: dict[uuid.UUID, str] = {}
    if not missing:
        return names
    async for task in every(session.client.tasks.list()):
        if task.id in missing:
            names[task.id] = task.ref
            missing.discard(task.id)
        if not missing:
            break
    return names


def as_uuid(text: str) -> uuid.UUID | None:
    """The id in a text, if it is one."""
    try:
        return uuid.UUID(text) if len(text) >= 32 else None
    except ValueError:
        return None


def absolute_path(text: str) -> str | None:
    """The absolute path of something that is there, or None for names and URLs."""
    path = Path(text).expanduser()
    return str(path.resolve()) if path.exists() else None


def _only(found: Sequence[M], name: str, kind: str, tell: Callable[[M], str]) -> M:
    if not found:
        raise NameUnknown(
            f"No {kind} is called {name!r}; `agentvine {_GROUP[kind]} list` shows all."
        )
    if len(found) > 1:
        several = "; ".join(tell(row) for row in found[:5])
        raise NameAmbiguous(f"{name!r} may be {several}. Use the id, or say which --project.")
    return found[0]


_GROUP = {
    "team run": "team",
    "agent": "agent",
    "budget": "budget",
    "provider": "provider",
    "key": "provider",
    "task": "task",
    "plan": "plan",
    "project": "project",
    "repository": "repo",
    "worker": "worker",
    "user": "user",
    "token": "token",
    "template": "template",
}
