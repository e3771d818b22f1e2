"""What ``agentvine doctor`` does."""

import platform
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, cast

import click

from agentvine import __version__
from agentvine.cli.connection import NoServer, find_connection
from agentvine.cli.formats import fmt_age, fmt_bytes, fmt_count
from agentvine.cli.lazy import load
from agentvine.cli.session import Session
from agentvine.config.settings import environment_for_child
from agentvine.git.names import rescue_ref
from agentvine.git.runner import Git
from agentvine.git.salvage import salvage
from agentvine.git.worktrees import Worktree, list_worktrees, remove_worktree
from agentvine.kit.clock import SystemClock
from agentvine.kit.errors import AppError
from agentvine.kit.orphans import OrphanJournal
from agentvine.kit.process import ProgramNotFound, capture

_OLDEST_GIT = (2, 38)
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    is_good: bool
    detail: str


class Stored(Protocol):
    """Something that takes room on the disk."""

    kind: str
    name: str
    size_bytes: int
    used_at: float


class Leftovers(Protocol):
    """What the worker's side says about a data directory."""

    live_workers: list[str]
    worktrees: list[Path]
    processes: list[str]
    interrupted: list[str]
    undelivered: list[str]
    refused: list[Path]
    stored: Sequence[Stored]
    rescued: dict[str, str]


async def doctor(session: Session, *, fix: bool) -> int:
    """Look at everything, and clear up when asked to."""
    findings = [
        Finding("agentvine", is_good=True, detail=f"{__version__}, Python {_python()}"),
        Finding("data", is_good=True, detail=str(session.settings.data_dir)),
        await _git(),
        *await _isolation(session),
        await _server(session),
    ]
    if _holds_the_database(session):
        findings.append(await _database(session))
    left = await find_leftovers(session)
    fixed: list[str] = []
    if fix:
        fixed = [done async for done in _fix(session.settings.data_dir, left)]
        left = await find_leftovers(session)
    findings += [*_about(left), *_room(left.stored)]
    _tell(session, findings, fixed)
    return 0 if all(finding.is_good for finding in findings) else 1


def _tell(session: Session, findings: Sequence[Finding], fixed: Sequence[str]) -> None:
    if session.out.as_json:
        session.out.data({"findings": [asdict(each) for each in findings], "fixed": list(fixed)})
        return
    for done in fixed:
        session.out.line(f"{'fixed':<14}{done}")
    for each in findings:
        mark = click.style("ok ", fg="green") if each.is_good else click.style("!! ", fg="red")
        session.out.line(f"{mark} {each.name:<14}{each.detail}")


def _python() -> str:
    return f"{platform.python_version()} on {platform.system()}"


async def _git() -> Finding:
    try:
        said = await capture(
            ["git", "--version"], cwd=Path("/"), environment=environment_for_child()
        )
    except ProgramNotFound as error:
        return Finding("git", is_good=False, detail=error.detail)
    text = said.stdout.decode(errors="replace").strip()
    found = re.search(r"(\d+)\.(\d+)", text)
    is_new = found is not None and (int(found[1]), int(found[2])) >= _OLDEST_GIT
    wanted = "" if is_new else f"; install {'.'.join(map(str, _OLDEST_GIT))} or later"
    return Finding("git", is_good=is_new, detail=f"{text}{wanted}")


async def _isolation(session: Session) -> list[Finding]:
    """Without a sandbox a worker still works: it only refuses tasks that ask for one."""
    if not session.parts.describe_isolation:
        return []
    containment, sandbox = await load(session.parts.describe_isolation)()
    return [
        Finding("containment", is_good=True, detail=containment),
        Finding("sandbox", is_good=True, detail=sandbox),
    ]


async def _server(session: Session) -> Finding:
    try:
        connection = find_connection(session.settings, session.options)
    except NoServer:
        detail = "none runs here, and no other is named; `agentvine up` starts one"
        return Finding("server", is_good=True, detail=detail)
    try:
        await session.client.ready()
        me = await session.client.auth.whoami()
    except AppError as error:
        detail = f"{connection.url}: {error.title}: {error.detail}"
        return Finding("server", is_good=False, detail=detail)
    return Finding("server", is_good=True, detail=f"{connection.url}, as {me.label}")


def _holds_the_database(session: Session) -> bool:
    """Whether this machine serves; one that only asks a server elsewhere has no database."""
    if session.settings.is_database_named:
        return True
    try:
        return find_connection(session.settings, session.options).origin == "local"
    except NoServer:
        return True


async def _database(session: Session) -> Finding:
    if not session.settings.is_database_named and _is_empty(session.settings.data_dir):
        return Finding("database", is_good=True, detail="none yet; the first start makes it")
    try:
        detail = await load(session.parts.check_database)(session.settings)
    except AppError as error:
        return Finding("database", is_good=False, detail=f"{error.title}: {error.detail}")
    return Finding("database", is_good=True, detail=detail)


async def find_leftovers(session: Session) -> Leftovers:
    """What is there, as the worker's side tells."""
    found = await load(session.parts.find_leftovers)(
        session.settings.data_dir, Git(environment=environment_for_child())
    )
    return cast("Leftovers", found)


def _about(left: Leftovers) -> list[Finding]:
    findings = [
        Finding("workers", is_good=True, detail=", ".join(left.live_workers) or "none runs here"),
        _none_of(left.processes, "programs", "of dead workers still run; --fix ends them"),
        _none_of(
            [path for path in left.worktrees if path.name not in left.interrupted],
            "work trees",
            "belong to nobody; --fix keeps what is in them and removes them",
        ),
        _none_of(
            left.interrupted, "broken off", "runs; they are reported when their worker starts again"
        ),
        _none_of(
            left.undelivered, "outbox", "reports; they are delivered when their worker starts again"
        ),
        _none_of(
            left.refused, "refused", "reports the server would not take; look at them, then delete"
        ),
    ]
    mirrors = sorted(set(left.rescued.values()))
    if left.rescued:
        kept = f"{fmt_count(len(left.rescued), 'run')} kept in {', '.join(mirrors)}"
        findings.append(Finding("rescued work", is_good=True, detail=kept))
    return findings


def _room(stored: Sequence[Stored]) -> list[Finding]:
    """What takes room, each kind with its largest ones."""
    now = SystemClock().now()
    findings: list[Finding] = []
    for kind in dict.fromkeys(each.kind for each in stored):
        some = sorted(
            (each for each in stored if each.kind == kind), key=lambda each: -each.size_bytes
        )
        told = [
            f"{each.name} {fmt_bytes(each.size_bytes)}, "
            f"{fmt_age(datetime.fromtimestamp(each.used_at, UTC), now)}"
            for each in some[:_SHOWN]
        ]
        more = [f"and {len(some) - _SHOWN} more"] if len(some) > _SHOWN else []
        total = fmt_bytes(sum(each.size_bytes for each in some))
        detail = f"{total} in {len(some)}: {'; '.join([*told, *more])}"
        findings.append(Finding(f"disk {kind}", is_good=True, detail=detail))
    return findings


def _none_of(found: Sequence[object], name: str, what: str) -> Finding:
    if not found:
        return Finding(name, is_good=True, detail="none")
    return Finding(name, is_good=False, detail=f"{len(found)} {what}: {', '.join(map(str, found))}")


async def _fix(data_dir: Path, left: Leftovers) -> AsyncIterator[str]:
    """Do what cannot lose anything; what is left for a worker to report is left to it."""
    for folder in sorted((data_dir / "workers").glob("*/processes")):
        if folder.parent.name not in left.live_workers:
            for orphan in await OrphanJournal(folder).end_orphans():
                yield f"ended {fmt_count(orphan.ended_count, 'program')} of {orphan.run_id}"
    git = Git(environment=environment_for_child())
    known = {
        worktree.path: worktree
        for mirror in sorted((data_dir / "mirrors").glob("*.git"))
        for worktree in list_worktrees(mirror)
    }
    for path in left.worktrees:
        if path.name not in left.interrupted:
            yield await _remove(git, path, known.get(path))


def _is_empty(folder: Path) -> bool:
    return not folder.is_dir() or not any(folder.iterdir())


def _remove_empty(path: Path) -> bool:
    try:
        path.rmdir()
    except OSError:
        return False
    return True


async def _remove(git: Git, path: Path, worktree: Worktree | None) -> str:
    if worktree is None:
        if _remove_empty(path):
            return f"removed the empty folder {path}"
        return f"kept {path}: no mirror knows it, so what is in it cannot be saved first"
    ref = rescue_ref(f"{path.name}-left-behind")
    try:
        commit = await salvage(git, worktree, ref, message="Found by agentvine doctor")
        await remove_worktree(worktree.mirror, path)
    except (AppError, OSError) as error:
        return f"kept {path}: {error}"
    kept = f"; what was in it is {commit[:12]}, on {ref} in {worktree.mirror}" if commit else ""
    return f"removed {path}{kept}"
