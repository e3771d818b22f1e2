"""What ``agentvine demo`` does, from an empty folder to the summary."""

import asyncio
import shlex
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from agentvine.cli.demo.stage import (
    PACKAGE,
    Stage,
    history,
    run_tests,
    set_stage,
    total_change,
)
from agentvine.cli.formats import fmt_count, fmt_diff_stat, fmt_duration, fmt_tests, fmt_took
from agentvine.cli.options import GlobalOptions
from agentvine.cli.progress import PlainProgress, SilentProgress
from agentvine.cli.session import Session
from agentvine.cli.temporary import TemporaryPlan, TemporaryServer
from agentvine.cli.verdict import Outcome, Verdict
from agentvine.cli.watching import Watcher
from agentvine.kit.clock import SystemClock
from agentvine.kit.errors import Unavailable
from agentvine.protocol.enums import PermissionLevel, TaskType
from agentvine.protocol.executions import ExecutionOut
from agentvine.protocol.modifications import ModificationDetailOut
from agentvine.protocol.projects import RepositoryCreateIn, RepositoryOut
from agentvine.protocol.tasks import TaskCreateIn, TaskOut, TaskRun

_WORKERS = 2
_SLOWEST_SECONDS = 300.0
"""It takes some fifteen; a machine may be busy, but what takes so long hangs."""


class DemoStuck(Unavailable):
    """The demonstration does not get on."""

    code = "demo_stuck"


@dataclass(frozen=True, slots=True)
class Act:
    """One task and what became of it."""

    verdict: Verdict
    change: ModificationDetailOut | None
    execution: ExecutionOut | None


async def play(session: Session, *, keep: bool) -> int:
    """Make everything, do everything, tell about it, and take it all away again."""
    folder = Path(tempfile.mkdtemp(prefix="agentvine-demo-"))
    try:
        return await _play(session, folder, keep=keep)
    finally:
        if keep:
            _tell_where(session, folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)


async def _play(session: Session, folder: Path, *, keep: bool) -> int:
    clock = SystemClock()
    began = clock.monotonic()
    display = SilentProgress() if session.out.as_json else PlainProgress(clock=clock)
    stage = await set_stage(folder)
    display.note(
        f"a real repository: the source of {stage.package} {stage.version}, "
        f"{stage.file_count} modules, {stage.line_count} lines, with tests"
    )
    plan = TemporaryPlan(data_dir=folder / "data", worker_count=_WORKERS, is_isolated=True)
    async with TemporaryServer(plan) as server:
        assert server.connection is not None
        display.note(f"a server at {server.connection.url}, with {_WORKERS} workers")
        settings = session.settings.model_copy(update={"data_dir": plan.data_dir})
        inside = Session(settings, GlobalOptions(), session.parts, session.out)
        await inside.use(server.connection)
        try:
            async with asyncio.timeout(_SLOWEST_SECONDS):
                acts = await _act(inside, stage, display)
        except TimeoutError:
            raise DemoStuck(
                f"It was not done after {_SLOWEST_SECONDS:g} s, and was stopped. Is the machine "
                "very busy? Try again, or look at what `agentvine demo --keep` leaves."
            ) from None
        finally:
            await inside.close()
    tests = await run_tests(stage)
    is_good = tests.exit_code == 0 and all(act.verdict.outcome is Outcome.APPLIED for act in acts)
    took = clock.monotonic() - began
    if session.out.as_json:
        _report_json(session, folder if keep else None, acts, took=took, is_good=is_good)
        return 0 if is_good else 1
    await _report(session, stage, acts, is_green=tests.exit_code == 0)
    session.out.line(f"Everything in {fmt_duration(took)}; nothing is left running.")
    return 0 if is_good else 1


async def _act(session: Session, stage: Stage, display: PlainProgress) -> list[Act]:
    repository = await session.client.repositories.create(
        RepositoryCreateIn(location=str(stage.path), test_command=stage.test_command)
    )
    tasks = await _queue(session, stage, repository)
    for task in tasks:
        how = "supervised" if task.permission is PermissionLevel.SUPERVISED else "autonomous"
        after = f", after {tasks[0].ref}" if task is tasks[1] else ""
        display.note(f"{task.ref} {task.title} ({how}{after})")
    return list(await asyncio.gather(*(_follow(session, task, display) for task in tasks)))


async def _queue(session: Session, stage: Stage, repository: RepositoryOut) -> list[TaskOut]:
    """Three tasks: the second waits for the first, which touches the same lines."""
    merge = await session.client.tasks.create(
        TaskCreateIn(
            title="Merge the imports",
            description="One statement per module, sorted.",
            repository_id=repository.id,
            type=TaskType.REFACTOR,
            permission=PermissionLevel.AUTONOMOUS,
            run=TaskRun(command=stage.tool("merge-imports")),
        )
    )
    declare = await session.client.tasks.create(
        TaskCreateIn(
            title="Declare what each module exports",
            description="An __all__ below the merged imports.",
            repository_id=repository.id,
            type=TaskType.REFACTOR,
            permission=PermissionLevel.AUTONOMOUS,
            depends_on=[merge.id],
            run=TaskRun(command=stage.tool("declare-exports")),
        )
    )
    describe = await session.client.tasks.create(
        TaskCreateIn(
            title="Write the API reference",
            description="A page with all public names.",
            repository_id=repository.id,
            type=TaskType.DOCS,
            permission=PermissionLevel.SUPERVISED,
            run=TaskRun(command=stage.tool("describe-api", "docs/api.md")),
        )
    )
    return [merge, declare, describe]


async def _follow(session: Session, task: TaskOut, display: PlainProgress) -> Act:
    watcher = Watcher(session, display.labelled(task.ref), _stay)
    verdict = await watcher.watch(task.id)
    if verdict.outcome is Outcome.REVIEW and verdict.modification is not None:
        change = await session.client.modifications.get(verdict.modification.id)
        display.note(
            f"{task.ref} we look at it: {fmt_diff_stat(change.diff_stat)}; "
            f"tests {fmt_tests(change.test_results)}; and approve it"
        )
        await session.client.modifications.approve(change.id, reason="looked at in the demo")
        verdict = await watcher.watch(task.id)
    change = (
        await session.client.modifications.get(verdict.modification.id)
        if verdict.modification is not None
        else None
    )
    page = await session.client.executions.list(task_id=task.id).page(limit=1)
    return Act(verdict, change, page.items[0] if page.items else None)


async def _stay() -> bool:
    """The server of the demonstration does not move."""
    return False


async def _report(session: Session, stage: Stage, acts: list[Act], *, is_green: bool) -> None:
    out = session.out
    out.line()
    for act in acts:
        task, change, execution = act.verdict.task, act.change, act.execution
        out.line(f"{task.ref} {task.title}: {act.verdict.outcome.value.replace('_', ' ')}")
        if change is None:
            out.line(f"     {task.status_reason or ''}")
            continue
        took = fmt_took(execution.started_at, execution.completed_at) if execution else "-"
        out.line(f"     change  {fmt_diff_stat(change.diff_stat)}")
        out.line(f"     tests   {fmt_tests(change.test_results)}; the whole attempt took {took}")
        out.line(f"     branch  {change.branch_name}")
        out.line(f"     merged  {(change.merge_commit or '-')[:12]} on {change.target_branch}")
    commits = await history(stage)
    out.line()
    out.line(f"main has {fmt_count(len(commits), 'commit')} now ({await total_change(stage)}):")
    for commit in commits:
        out.line(f"     {commit}")
    out.line(f"Its tests, run once more on main: {'passed' if is_green else 'FAILED'}")


def _report_json(
    session: Session, folder: Path | None, acts: list[Act], *, took: float, is_good: bool
) -> None:
    session.out.data(
        {
            "tasks": [
                {
                    "task": act.verdict.task,
                    "outcome": act.verdict.outcome,
                    "modification": act.change,
                    "execution": act.execution,
                }
                for act in acts
            ],
            "is_good": is_good,
            "seconds": round(took, 1),
            "kept_in": str(folder) if folder else None,
            "open_with": _opening(folder) if folder else None,
        }
    )


def _tell_where(session: Session, folder: Path) -> None:
    session.out.note(
        f"Kept in {folder}. Open it:\n"
        f"     {_opening(folder)}\n"
        f"     git -C {shlex.quote(str(folder / PACKAGE))} log --graph --stat"
    )


def _opening(folder: Path) -> str:
    return f"AGENTVINE_DATA_DIR={shlex.quote(str(folder / 'data'))} agentvine up"
