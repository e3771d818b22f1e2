"""What ``agentvine run`` does."""

import asyncio
import contextlib
import os
from typing import Any

from agentvine.cli import resolve
from agentvine.cli.actions.projects import register_repository
from agentvine.cli.actions.tasks import agent_id, new_task, read_text
from agentvine.cli.hosting import Hosting, plan_for, require_server
from agentvine.cli.lazy import load
from agentvine.cli.progress import PlainProgress, SilentProgress
from agentvine.cli.session import Session
from agentvine.cli.summary import report
from agentvine.cli.watching import Watcher
from agentvine.kit.errors import AppError, Conflict, Invalid
from agentvine.protocol.projects import RepositoryOut
from agentvine.protocol.tasks import TaskOut

_CANCEL_SECONDS = 30.0
_LOOK_SECONDS = 0.2
_OWN_HINT_SECONDS = 30.0


class NoSuchPlace(Invalid):
    """There is no repository at this place."""

    code = "no_such_place"


class CommandMissing(Invalid):
    """A task for the command runtime needs a command."""

    code = "command_missing"


async def run(
    session: Session,
    *,
    title: str,
    repo: str,
    project: str | None,
    description: str | None,
    wait: bool,
    **values: Any,
) -> int:
    """Create a task and watch it to its end, with a server of its own where there is none."""
    # What can be told without a server is told before one is started.
    _check_command(values)
    _check_place(repo)
    text = read_text(description)
    if not wait:
        require_server(session)
    async with Hosting(session, plan_for(session, values)) as hosting:
        repository = await place_of(session, repo, project)
        given = {
            "title": title,
            "description": text,
            "repository_id": repository.id,
            "agent_id": await agent_id(session, values, project),
        }
        body = new_task(given, values, start=True)
        task = await session.client.tasks.create(body)
        if not wait:
            session.out.done(_tell_how_to_follow(task), task)
            return 0
        return await _watch(session, hosting, task)


async def _watch(session: Session, hosting: Hosting, task: TaskOut) -> int:
    try:
        with progress(session) as display:
            display.note(f"{task.ref} {task.title} ({task.id})")
            watcher = Watcher(session, display, hosting.reconnect)
            if hosting.is_own:
                # Its worker is on its way here.
                watcher.hint_seconds = _OWN_HINT_SECONDS
            verdict = await watcher.watch(task.id)
    except asyncio.CancelledError:
        if hosting.is_own:
            # Its worker goes with this command; a task left behind would wait for nobody.
            await _cancel(session, task)
        else:
            session.out.note(f"\n{_tell_how_to_follow(task)}")
        raise
    await report(session, verdict, is_temporary=hosting.is_own)
    return verdict.outcome.exit_code


def progress(session: Session) -> PlainProgress:
    """The display that fits where standard output goes."""
    if session.out.is_terminal:
        return load("agentvine.cli.live:LiveProgress")()
    return SilentProgress() if session.out.as_json else PlainProgress()


def _check_command(values: dict[str, Any]) -> None:
    if values.get("agent") and values.get("runtime") is None:
        return
    if values.get("runtime") in (None, "command") and not (values.get("command") or "").strip():
        raise CommandMissing("Say what is to be done in the repository: --command 'isort .'")


def _check_place(repo: str) -> None:
    is_path = repo.startswith((".", "~", "/")) or (os.sep in repo and not _is_url(repo))
    if is_path and resolve.absolute_path(repo) is None:
        raise NoSuchPlace(f"{repo!r} is not there; name a folder with a git repository.")


def _is_url(repo: str) -> bool:
    return "://" in repo or ("@" in repo and ":" in repo)


async def place_of(session: Session, repo: str, project: str | None) -> RepositoryOut:
    """The repository at a path or URL, registered now when it is new; or the one of a name."""
    path = resolve.absolute_path(repo)
    if path is None and not _is_url(repo):
        try:
            return await resolve.find_repository(session, repo, project)
        except resolve.NameUnknown:
            raise NoSuchPlace(
                f"{repo!r} is neither a folder here, nor a URL, nor the name of a registered "
                "repository."
            ) from None
    with contextlib.suppress(resolve.NameUnknown):
        return await resolve.find_repository(session, path or repo, project)
    within = await resolve.project_id(session, project) if project else None
    try:
        made = await register_repository(session, repo, project_id=within)
    except Conflict as error:
        # A folder inside a repository that is registered: git knows where that one begins.
        if (known := resolve.as_uuid(str(error.extra.get("repository_id", "")))) is None:
            raise
        return await session.client.repositories.get(known)
    session.out.note(f"registered {made.name}: {made.path} (branch {made.default_branch})")
    return made


def _tell_how_to_follow(task: TaskOut) -> str:
    return (
        f"{task.ref} goes on without this command. Follow it with `agentvine logs -f {task.id}`, "
        f"stop it with `agentvine task cancel {task.id}`."
    )


async def _cancel(session: Session, task: TaskOut) -> None:
    """Cancel a task and wait until its worker has let go of it."""
    session.out.note("\ncancelling ...")
    with contextlib.suppress(AppError, TimeoutError):
        async with asyncio.timeout(_CANCEL_SECONDS):
            current = await session.client.tasks.cancel(task.id, reason="interrupted")
            while current.completed_at is None:
                await asyncio.sleep(_LOOK_SECONDS)
                current = await session.client.tasks.get(task.id)
