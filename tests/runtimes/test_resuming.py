"""What an agent is told at first, whether it begins or goes on."""

from collections.abc import Callable

from agentvine.runtimes.base import RunContext
from agentvine.runtimes.resuming import prompt_of


def test_an_agent_that_goes_on_is_told_where_it_works_now(
    make_context: Callable[..., RunContext],
):
    context = make_context(None)
    moved = f"Your working directory is now {context.worktree}:"

    assert moved in prompt_of(context, is_resumed=True)
    assert moved not in prompt_of(context, is_resumed=False)
