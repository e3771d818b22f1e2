"""What the ``agentvine db`` commands do; each returns the exit code."""

import asyncio
import json
import sys
from collections.abc import Coroutine
from dataclasses import asdict
from typing import Any, TypeVar

import click

from agentvine.config.settings import DatabaseSettings, load_settings
from agentvine.db.engine import describe
from agentvine.db.errors import DatabaseUnreachable
from agentvine.db.migrations.results import MigrationReport, Revision
from agentvine.db.migrations.runner import MigrationRunner
from agentvine.kit.errors import AppError
from agentvine.server.migrations import migration_runner
from agentvine.server.speech import is_json_wanted

T = TypeVar("T")
_DONE = 0
_NOT_WELL = 1
_UNREACHABLE = 7


def init() -> int:
    """Make the database and its schema, where there is none."""
    settings, runner = _open()
    report = _wait(runner.init())
    if is_json_wanted() or report.steps:
        return _tell(settings, report)
    click.echo(
        f"{describe(settings)} is at {report.after} already; `agentvine db upgrade` moves it."
    )
    return _DONE


def setup() -> int:
    """Make the database where there is none, and bring it to the newest schema."""
    settings, runner = _open()
    return _tell(settings, _wait(runner.setup()))


def upgrade(revision: str) -> int:
    """Bring the schema forward."""
    settings, runner = _open()
    return _tell(settings, _wait(runner.upgrade(revision)))


def downgrade(revision: str, *, yes: bool) -> int:
    """Take the schema back; a person at a terminal is asked first."""
    settings, runner = _open()
    if not yes and sys.stdin.isatty() and not is_json_wanted():
        question = f"Take {describe(settings)} back to {revision}, with loss of data?"
        click.confirm(question, abort=True)
    return _tell(settings, _wait(runner.downgrade(revision)))


def stamp(revision: str) -> int:
    """Write a revision down."""
    settings, runner = _open()
    return _tell(settings, _wait(runner.stamp(revision)))


def current() -> int:
    """Show where the database stands."""
    settings, runner = _open()
    found = _wait(runner.current())
    if is_json_wanted():
        fact = {**asdict(found), "is_at_head": found.is_at_head, "database": describe(settings)}
        click.echo(json.dumps(fact))
    elif found.is_at_head:
        click.echo(f"{found.revision} (newest)")
    else:
        click.echo(f"{found.revision or 'no revision'}; the newest is {found.head}")
    return _DONE


def history() -> int:
    """List all revisions."""
    _, runner = _open()
    try:
        revision = _wait(runner.current()).revision
    except AppError:
        revision = None  # the list can be told without a database
    revisions = runner.history(revision)
    if is_json_wanted():
        click.echo(json.dumps([asdict(item) for item in revisions]))
        return _DONE
    for item in revisions:
        click.echo(f"{item.after or 'base'} -> {item.revision}{_marks(item)}: {item.message}")
    return _DONE


def check() -> int:
    """Tell what is wrong with the database."""
    settings, runner = _open()
    problems = _wait(runner.check())
    if is_json_wanted():
        found = {"ok": not problems, "problems": [asdict(problem) for problem in problems]}
        click.echo(json.dumps({**found, "database": describe(settings)}))
    elif not problems:
        click.echo(f"{describe(settings)} is at the newest revision, and whole.")
    else:
        for problem in problems:
            click.echo(f"{problem.detail} {problem.fix}".strip(), err=True)
    if any(problem.code == DatabaseUnreachable.code for problem in problems):
        return _UNREACHABLE
    return _NOT_WELL if problems else _DONE


def _open() -> tuple[DatabaseSettings, MigrationRunner]:
    settings = load_settings().database
    return settings, migration_runner(settings)


def _wait(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def _marks(item: Revision) -> str:
    marks = [*(["newest"] if item.is_head else []), *(["current"] if item.is_current else [])]
    return f" ({', '.join(marks)})" if marks else ""


def _tell(settings: DatabaseSettings, report: MigrationReport) -> int:
    if is_json_wanted():
        fact = {**asdict(report), "database": describe(settings)}
        click.echo(json.dumps(fact, default=str))
        return _DONE
    if report.created:
        click.echo(f"Made {describe(settings)}.")
    for step in report.steps:
        click.echo(f"Done: {step}.")
    for difference in report.repaired:
        click.echo(f"Repaired: {difference}.")
    if report.safety_copy is not None:
        click.echo(f"A copy from before is at {report.safety_copy}.")
    unchanged = "" if report.steps or report.repaired else ", and nothing had to be done"
    click.echo(f"{describe(settings)} is at {report.after or 'no revision'}{unchanged}.")
    return _DONE
