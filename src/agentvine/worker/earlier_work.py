"""Going on with a session where its files are: what the attempt before had left is taken up."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from agentvine.git.errors import GitError
from agentvine.runtimes.base import RunContext
from agentvine.worker.workspace import Workspace


async def with_earlier_work(
    context: RunContext, workspace: Workspace | None, say: Callable[[str, str], Awaitable[None]]
) -> RunContext:
    """The context of a run that goes on with a session, with what became of that one's files.

    Args:
        context: The run's, with its brief.
        workspace: Where it works, just made.
        say: Takes a sentence, and the step of the timeline that it belongs to.
    """
    session = context.brief.session if context.brief is not None else None
    if workspace is None or session is None:
        return context
    try:
        told = await workspace.take_up(str(session.execution_id))
    except GitError as error:
        told = f"What the earlier attempt did could not be taken up: {error.detail}"
    if told is None:
        return context
    await say(told, "taken_up")
    return replace(context, earlier_work=told)
