"""What a worker does first: clear up after a process of the same name that died.

Its programs are ended, unfinished work is kept under a rescue ref, work trees are removed, and
every claim without a report gets one. Nothing here needs the server; the reports it writes are
delivered like all others, and the server takes them only while their fence still holds.
"""

import asyncio

import structlog

from agentvine.git.changes import exclude_pattern
from agentvine.git.errors import WorktreeNotFound
from agentvine.git.worktrees import set_aside
from agentvine.kit.errors import AppError
from agentvine.protocol.enums import FailureClass, LogLevel
from agentvine.protocol.queue import ChangeReport, ExecutionReport, FailIn, ReleaseIn
from agentvine.worker.agents import forget_old_homes
from agentvine.worker.change import describe_change
from agentvine.worker.folders import PendingReport, RunFolder, Stage, read_folders
from agentvine.worker.runs import open_spool
from agentvine.worker.scripts import clean_up_after
from agentvine.worker.tools import WorkerTools
from agentvine.worker.workspace import Workspace, empty_out

_MESSAGE = "The worker's process ended in the middle of the run; it was started anew."

log = structlog.get_logger(__name__)


async def recover(tools: WorkerTools) -> list[RunFolder]:
    """Clear up; the claims that are left each have a report to be delivered."""
    for orphan in await tools.journal.end_orphans(grace_seconds=tools.config.grace_seconds):
        log.warning(
            "orphan.ended",
            run=orphan.run_id,
            processes=orphan.ended_count,
            survivors=list(orphan.survivor_pids),
        )
    folders = list(read_folders(tools.places.runs))
    for folder in folders:
        await _recover_run(tools, folder)
    await forget_old_homes(tools.places.data.homes, now=tools.clock.now())
    removed = tools.places.data.removed
    await empty_out(*(removed.iterdir() if removed.is_dir() else ()))
    return folders


async def _recover_run(tools: WorkerTools, folder: RunFolder) -> None:
    order = folder.order
    path = tools.places.data.worktree(order.execution_id)
    repository = order.payload.repository
    mirror = tools.places.data.mirror(repository.id) if repository else None
    if folder.get_report() is None:
        folder.put_report(await _report_of(tools, folder))
        log.warning("run.interrupted", execution=str(order.execution_id))
    else:
        await _end_log(tools, folder)
    try:
        set_aside(mirror, path, tools.places.data.removed)
    except OSError as error:
        log.warning("worktree.not_removed", path=str(path), problem=str(error))


async def _report_of(tools: WorkerTools, folder: RunFolder) -> PendingReport:
    order = folder.order
    if folder.record.stage is Stage.CLAIMED:
        return PendingReport(
            release=ReleaseIn(
                order_id=order.order_id, fence=order.fence, reason="It was never begun."
            )
        )
    change: ChangeReport | None = None
    try:
        change = await _rescue(tools, folder)
    except (AppError, OSError) as error:
        log.warning("run.work_not_kept", problem=str(error))
    high_water = await _end_log(tools, folder, _MESSAGE)
    return PendingReport(
        fail=FailIn(
            order_id=order.order_id,
            fence=order.fence,
            failure_class=FailureClass.WORKER_STOPPED,
            message=_MESSAGE,
            report=ExecutionReport(
                metrics={"changed": change is not None, "interrupted": True},
                change=change,
                log_high_water=high_water,
            ),
        )
    )


async def _rescue(tools: WorkerTools, folder: RunFolder) -> ChangeReport | None:
    record, payload = folder.record, folder.order.payload
    if payload.repository is None or not record.base_commit:
        return None
    workspace = Workspace(
        git=tools.git,
        path=tools.places.data.worktree(folder.order.execution_id),
        execution_id=str(folder.order.execution_id),
        mirror=tools.places.data.mirror(payload.repository.id),
        base_commit=record.base_commit,
        branch=record.branch,
        left_by_set_up=_no_part_of_the_change(folder),
        target_branch=record.target_branch,
    )
    try:
        head = await workspace.rescue(f"{payload.title} (interrupted)\n\nTask: {payload.task_ref}")
    except WorktreeNotFound:
        # Work trees are removed only when the report is on disk: a person has removed this one.
        return None
    if head is None:
        return None
    return await describe_change(workspace, head, folder.bundle, is_partial=True)


def _no_part_of_the_change(folder: RunFolder) -> tuple[str, ...]:
    # Set-up itself may have been broken off: what it makes is known all the same.
    cached = folder.order.payload.workspace.cached_paths
    return (*folder.record.left_by_set_up, *(exclude_pattern(path) for path in cached))


async def _end_log(
    tools: WorkerTools, folder: RunFolder, message: str | None = None
) -> dict[str, int]:
    """Run the clean-up command where there is still a work tree, and see to the rest of the log."""
    spool = open_spool(tools, folder)
    writing = asyncio.create_task(spool.run())
    if message is not None:
        await spool.write("system", message, level=LogLevel.ERROR)
    await clean_up_after(tools, folder, spool)
    spool.close()
    await writing
    return spool.high_water
