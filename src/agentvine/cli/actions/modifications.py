"""What ``agentvine modification``, ``approve`` and ``reject`` do."""

import click

from agentvine.cli import resolve
from agentvine.cli.actions.conflicts import conflict_line
from agentvine.cli.formats import failed_cases, fmt_diff_stat, fmt_tests
from agentvine.cli.lazy import load
from agentvine.cli.output import Column
from agentvine.cli.session import Session
from agentvine.protocol.enums import ModificationStage, ModificationStatus
from agentvine.protocol.modifications import ModificationDetailOut, ModificationOut


async def list_modifications(
    session: Session,
    *,
    task: str | None,
    status: ModificationStatus | None,
    project: str | None,
    limit: int | None,
) -> None:
    """Changes."""
    of_task = await resolve.task_id(session, task, project) if task else None
    rows = await resolve.collect(
        session.client.modifications.list(task_id=of_task, status=[status] if status else ()), limit
    )
    columns = [
        Column[ModificationOut]("id", lambda row: row.id),
        Column[ModificationOut]("status", lambda row: row.status.value),
        Column[ModificationOut]("change", lambda row: fmt_diff_stat(row.diff_stat)),
        Column[ModificationOut]("tests", lambda row: _WORDS[row.tests_passed]),
        Column[ModificationOut]("into", lambda row: row.target_branch),
        Column[ModificationOut]("made", lambda row: row.requested_at),
        Column[ModificationOut]("for", lambda row: row.request),
    ]
    session.out.table(rows, columns, nothing="There are no changes.")


async def show(session: Session, *, name: str, project: str | None) -> None:
    """One change with its evidence."""
    row = await _detail(session, name, project)
    session.out.record(
        row,
        [
            ("change", row.id),
            ("for", row.request),
            ("task", row.task_id),
            ("status", f"{row.status.value}{_more(row)}"),
            ("there is", _what_there_is(row)),
            ("change is", fmt_diff_stat(row.diff_stat)),
            ("files", "\n".join(row.affected_files)),
            ("not seen yet", row.impact_analysis.get("unseen")),
            ("breaks", "\n".join(row.impact_analysis.get("breaks_public_names") or [])),
            ("used by", "\n".join(row.impact_analysis.get("used_by") or [])),
            ("tests", fmt_tests(row.test_results)),
            ("failed", "\n".join(failed_cases(row.test_results))),
            ("conflicts", "\n".join(_foreseen(row))),
            ("branch", row.branch_name),
            ("into", row.target_branch),
            ("merged as", row.merge_commit),
            ("reverted as", row.revert_commit),
            ("rescue ref", row.rescue_ref),
            ("reason", row.decision_reason),
            ("made", row.requested_at),
            ("applied", row.applied_at),
        ],
    )


def _foreseen(row: ModificationDetailOut) -> list[str]:
    ref = next(
        (
            side.task_ref
            for conflict in row.conflicts
            for side in (conflict.change, conflict.other)
            if side is not None and side.modification_id == row.id
        ),
        "",
    )
    return [conflict_line(conflict, ref) for conflict in row.conflicts]


async def diff(session: Session, *, name: str, project: str | None) -> None:
    """A change as a diff."""
    row = await _detail(session, name, project)
    text = row.diff or ""
    if session.out.as_json:
        session.out.data({"id": row.id, "diff": text})
    elif session.out.is_terminal:
        load("agentvine.cli.terminal:print_diff")(text)
    else:
        click.echo(text, nl=not text.endswith("\n"))


async def approve(
    session: Session, *, name: str, no_apply: bool, reason: str, project: str | None
) -> None:
    """Say yes."""
    found = await resolve.find_modification(session, name, project)
    row = await session.client.modifications.approve(found.id, reason=reason, apply=not no_apply)
    session.out.done(await _begun(session, row) or _outcome(row), row)


async def reject(session: Session, *, name: str, reason: str, project: str | None) -> None:
    """Say no."""
    found = await resolve.find_modification(session, name, project)
    row = await session.client.modifications.reject(found.id, reason=reason)
    kept = f"; its commits stay on {row.rescue_ref}" if row.rescue_ref else ""
    session.out.done(f"rejected{kept}", row)


async def apply(session: Session, *, name: str, project: str | None) -> None:
    """Merge what is approved."""
    found = await resolve.find_modification(session, name, project)
    row = await session.client.modifications.apply(found.id)
    session.out.done(_outcome(row), row)


async def revert(session: Session, *, name: str, reason: str, project: str | None) -> None:
    """Take it out again."""
    found = await resolve.find_modification(session, name, project)
    row = await session.client.modifications.revert(found.id, reason=reason)
    session.out.done(f"reverted on {row.target_branch} by {row.revert_commit}", row)


async def _detail(session: Session, name: str, project: str | None) -> ModificationDetailOut:
    found = await resolve.find_modification(session, name, project)
    return await session.client.modifications.get(found.id)


async def _begun(session: Session, row: ModificationOut) -> str | None:
    """How the task stands that a request has become."""
    if row.stage is not ModificationStage.WORK or row.task_id is None:
        return None
    task = await session.client.tasks.get(row.task_id)
    why = f": {task.status_reason}" if task.status_reason else ""
    return f"{row.status.value}; {task.ref} is {task.status.value}{why}"


def _what_there_is(row: ModificationOut) -> str | None:
    """Of a request that has brought no change yet."""
    match row.stage, row.status:
        case ModificationStage.REQUEST, _:
            return "a request; see `agentvine modification impact`"
        case ModificationStage.WORK, ModificationStatus.APPROVED:
            return "a task at work, and no change yet"
        case ModificationStage.WORK, ModificationStatus.FAILED:
            return "a task without a change; `agentvine task retry` goes on with it"
        case _:
            return None


def _outcome(row: ModificationOut) -> str:
    if row.status is ModificationStatus.APPLIED:
        return f"applied: {row.target_branch} is now at {row.merge_commit}"
    why = f": {row.failure_message}" if row.failure_message else ""
    return f"{row.status.value}{why}"


def _more(row: ModificationOut) -> str:
    if row.reverted_at is not None:
        return ", reverted since"
    return f": {row.failure_message}" if row.failure_message else ""


_WORDS = {True: "passed", False: "failed", None: "none"}
