"""Going on where an earlier attempt has ended: what it had left is taken up.

It is in this worker's mirror where the attempt ran here, and with the server wherever it ran.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from agentvine.client import Client
from agentvine.kit.errors import AppError
from agentvine.protocol.briefs import BriefIn, RunBriefOut
from agentvine.runtimes.base import RunContext
from agentvine.worker.folders import RunFolder
from agentvine.worker.workspace import Workspace


async def with_earlier_work(
    context: RunContext,
    client: Client,
    folder: RunFolder,
    workspace: Workspace | None,
    say: Callable[[str, str], Awaitable[None]],
) -> RunContext:
    """The context of a run that goes on with earlier work, with what became of its files.

    Args:
        context: The run's, with its brief.
        client: Of the server that may have the work.
        folder: The claim's; what the server gives is put there for the moment.
        workspace: Where it works, just made.
        say: Takes a sentence, and the step of the timeline that it belongs to.
    """
    if workspace is None or workspace.mirror is None or context.brief is None:
        return context
    try:
        attempt = await _find(context.brief, workspace, client, folder)
        told = None if attempt is None else await workspace.take_up(str(attempt))
    except (AppError, OSError) as error:
        problem = error.detail if isinstance(error, AppError) else str(error)
        told = f"What the earlier attempt did could not be taken up: {problem}"
    if told is None:
        return context
    await say(told, "taken_up")
    return replace(context, earlier_work=told)


async def _find(
    brief: RunBriefOut, workspace: Workspace, client: Client, folder: RunFolder
) -> uuid.UUID | None:
    """The attempt whose work is in the mirror; it is brought there from the server if need be.

    Raises:
        AppError: The server does not give it, or git does not take it.
    """
    if brief.session is not None and await workspace.has_work_of(brief.session.execution_id):
        return brief.session.execution_id
    attempt = brief.earlier_work
    if attempt is None or await workspace.has_work_of(attempt):
        return attempt
    order = folder.order
    claim = BriefIn(order_id=order.order_id, fence=order.fence)
    path: Path = folder.path / "earlier.bundle"
    content = await client.executions.earlier_work(order.execution_id, claim)
    try:
        await asyncio.to_thread(path.write_bytes, content)
        await workspace.bring_work_of(attempt, path)
    finally:
        await asyncio.to_thread(path.unlink, missing_ok=True)
    return attempt
