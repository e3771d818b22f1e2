"""What ``agentvine runtime`` does."""

from collections.abc import Sequence

from pydantic import BaseModel

from agentvine.cli import resolve
from agentvine.cli.connection import NoServer, find_connection
from agentvine.cli.lazy import load
from agentvine.cli.output import Column
from agentvine.cli.session import Session
from agentvine.kit.errors import NotFound
from agentvine.protocol.enums import WorkerStatus
from agentvine.protocol.workers import RuntimeReport

_FIND = "agentvine.runtimes.reports:find_runtimes"
_HERE = "here"
_ALL = 500


class RuntimeNotKnown(NotFound):
    """No runtime of this name is known."""

    code = "runtime_not_known"


class Found(BaseModel):
    """A runtime on one worker, or on this machine."""

    runtime: str
    worker: str
    is_available: bool
    version: str | None
    pinned_version: str | None
    login: str
    missing: str | None
    """What is to be done before it can work; None when nothing is."""
    install: str | None


async def list_runtimes(session: Session, *, here: bool) -> None:
    """All runtimes, by name, on each worker or here."""
    columns = [
        Column[Found]("runtime", lambda row: row.runtime),
        Column[Found]("on", lambda row: row.worker),
        Column[Found]("usable", lambda row: row.is_available),
        Column[Found]("version", lambda row: row.version),
        Column[Found]("tried", lambda row: row.pinned_version),
        Column[Found]("login", lambda row: row.login.replace("_", " ")),
        Column[Found]("missing", lambda row: row.missing),
    ]
    nothing = "No worker has told; start `agentvine worker`, or look here with --here."
    session.out.table(await _find(session, here=here), columns, nothing=nothing)


async def show_runtime(session: Session, *, name: str, here: bool) -> None:
    """One runtime, on each worker or here."""
    rows = [row for row in await _find(session, here=here) if row.runtime == name]
    if not rows:
        raise RuntimeNotKnown(f"Nobody knows {name!r}; see `agentvine runtime list --here`.")
    if session.out.as_json:
        session.out.data(rows)
        return
    for row in rows:
        fields = (
            ("runtime", row.runtime),
            ("on", row.worker),
            ("usable", row.is_available),
            ("version", row.version),
            ("tried", row.pinned_version),
            ("login", row.login.replace("_", " ")),
            ("install", row.install),
            ("missing", row.missing),
        )
        session.out.record(row, fields)


async def _find(session: Session, *, here: bool) -> Sequence[Found]:
    if not here:
        try:
            find_connection(session.settings, session.options)
        except NoServer:
            session.out.note("no server is known: looking on this machine")
            here = True
    if here:
        reports: list[RuntimeReport] = await load(_FIND)()
        return [_found(report, _HERE) for report in reports]
    workers = await resolve.collect(session.client.workers.list(), _ALL)
    rows = [
        _found(report, worker.name)
        for worker in workers
        if worker.status is not WorkerStatus.OFFLINE
        for report in worker.runtime_reports
    ]
    return sorted(rows, key=lambda row: (row.runtime, row.worker))


def _found(report: RuntimeReport, where: str) -> Found:
    lacks_login = report.login == "missing"
    missing = [report.problem, report.login_help if lacks_login else None]
    return Found(
        runtime=report.name,
        worker=where,
        is_available=report.is_available,
        version=report.version,
        pinned_version=report.pinned_version,
        login=report.login,
        missing=". ".join(filter(None, missing)) or None,
        install=report.install,
    )
