"""A repository's own commands around a run: set-up before it, clean-up after it.

Both run as the run itself does: in its work tree, in its containment, sandbox and limits. Their
output goes to streams of their own, ``setup`` and ``cleanup``.
"""

import asyncio
from pathlib import Path

import structlog

from agentvine.git.changes import list_untracked
from agentvine.kit.errors import AppError
from agentvine.kit.process import PauseSwitch
from agentvine.protocol.enums import LogLevel
from agentvine.protocol.runs import tightest
from agentvine.runtimes.base import OutputSink, RunContext, RunOutcome
from agentvine.runtimes.shell import ShellRun, run_shell
from agentvine.worker.folders import RunFolder
from agentvine.worker.isolation import SandboxPlaces
from agentvine.worker.leases import safety_margin
from agentvine.worker.setup_cache import SetupCache, setup_key
from agentvine.worker.tools import WorkerTools
from agentvine.worker.workspace import Workspace

log = structlog.get_logger(__name__)


def run_context(
    tools: WorkerTools, folder: RunFolder, worktree: Path, output: OutputSink, seconds: float
) -> RunContext:
    """How the programs of a run are held; nobody stops them, but for their time limit.

    Raises:
        SandboxUnavailable: The order asks for one that cannot be made here.
    """
    order = folder.order
    repository = order.payload.repository
    places = SandboxPlaces(
        worktree,
        readable=(folder.inbox, *([tools.places.data.mirror(repository.id)] if repository else [])),
        writable=(folder.shared,),
    )
    return RunContext(
        run_id=str(order.execution_id),
        execution_id=str(order.execution_id),
        worktree=worktree,
        payload=order.payload,
        output=output,
        stop=asyncio.Event(),
        timeout_seconds=seconds,
        # The program must be gone before the server may hand the order on.
        grace_seconds=min(tools.config.grace_seconds, safety_margin(order.lease_seconds) / 2),
        journal=tools.journal,
        containment=tools.isolation.containment,
        limits=tightest(tools.config.limits, order.payload.limits),
        pause=PauseSwitch(),
        sandbox=tools.isolation.sandbox_for(order.payload, places),
    )


async def set_up(
    tools: WorkerTools, context: RunContext, workspace: Workspace
) -> RunOutcome | None:
    """Make a work tree ready, from what an earlier set-up has made or by the command.

    Returns:
        How the command ended; None when it was not run.
    """
    policy, repository = context.payload.workspace, context.payload.repository
    assert policy.setup_command is not None
    assert repository is not None
    key = ""
    cache = SetupCache(tools.places.data.cache, max_bytes=tools.config.max_cache_bytes)
    if policy.cached_paths and tools.config.max_cache_bytes:
        target = workspace.target_branch
        key = await asyncio.to_thread(setup_key, context.payload, workspace.path, target)
        name = str(repository.id)
        if await asyncio.to_thread(cache.restore, name, key, workspace.path):
            said = "Set up with what an earlier set-up has made."
            await _step(context.output, "set_up", said, is_cached=True)
            return None
    await _step(context.output, "setting_up", f"Setting up: {policy.setup_command}")
    script = ShellRun(
        command=policy.setup_command, timeout_seconds=context.timeout_seconds, stream="setup"
    )
    outcome = await run_shell(context, script)
    if outcome.is_success:
        await _step(context.output, "set_up", "Set up.", seconds=_seconds(outcome))
    if outcome.is_success and key:
        paths = policy.cached_paths
        kept = await asyncio.to_thread(cache.store, str(repository.id), key, workspace.path, paths)
        said = "What it made is kept for later runs." if kept else "Nothing of it could be kept."
        await context.output.write("system", said)
    return outcome


async def left_by_set_up(workspace: Workspace) -> tuple[str, ...]:
    """What set-up has put beside the repository's files, as patterns: it is no part of a change."""
    return tuple(await list_untracked(workspace.git, workspace.worktree))


async def clean_up_after(
    tools: WorkerTools, folder: RunFolder, output: OutputSink, *, most_seconds: float | None = None
) -> None:
    """Run the repository's clean-up command, if it has one and there is a work tree.

    Whatever has become of the run: cancelled, failed, or cut off with its worker. How it ends is
    logged and changes nothing.
    """
    order = folder.order
    policy = order.payload.workspace
    worktree = tools.places.data.worktree(order.execution_id)
    if not policy.cleanup_command or not await asyncio.to_thread(worktree.is_dir):
        return
    limit = float(policy.cleanup_timeout_seconds)
    seconds = limit if most_seconds is None else min(limit, most_seconds)
    await _step(output, "cleaning_up", f"Cleaning up: {policy.cleanup_command}")
    try:
        context = run_context(tools, folder, worktree, output, seconds)
        script = ShellRun(command=policy.cleanup_command, timeout_seconds=seconds, stream="cleanup")
        outcome = await run_shell(context, script)
    except (AppError, OSError) as error:
        problem = str(error)
    else:
        if outcome.is_success:
            await _step(output, "cleaned_up", "Cleaned up.", seconds=_seconds(outcome))
            return
        problem = outcome.message
    log.warning("run.not_cleaned_up", problem=problem)
    said = f"The clean-up failed: {problem}"
    await _step(output, "not_cleaned_up", said, level=LogLevel.WARNING)


async def _step(
    output: OutputSink,
    step: str,
    said: str,
    *,
    level: LogLevel = LogLevel.INFO,
    **facts: object,
) -> None:
    await output.write("system", said, level=level, metadata={"step": step, **facts})


def _seconds(outcome: RunOutcome) -> float:
    return round(outcome.duration_seconds, 3)
