"""``agentvine queue``."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import Words, reason_option, yes_option
from agentvine.protocol.enums import TaskType

F = TypeVar("F", bound=Callable[..., Any])

_ACTIONS = "agentvine.cli.actions.queue"


def target_options(function: F) -> F:
    """What a limit or a pause is about: at most one of these."""
    for option in reversed(
        [
            click.option("--queue", metavar="NAME", help="The orders of one queue."),
            click.option("--type", "kind", type=Words(TaskType), help="One kind of work."),
            click.option("--project", metavar="PROJECT", help="The work of one project."),
            click.option("--repo", metavar="REPO", help="The work on one repository."),
            click.option("--agent", metavar="ID", type=click.UUID, help="The work of one agent."),
        ]
    ):
        function = option(function)
    return function


@click.group()
def queue() -> None:
    """The queue as a whole: what waits, what is limited, what is paused."""


@queue.command()
@runs(f"{_ACTIONS}:status")
def status() -> None:
    """Show how much waits and runs, and what is limited or paused by whom."""


@queue.command()
@target_options
@reason_option
@runs(f"{_ACTIONS}:pause")
def pause() -> None:
    """Let nothing of a kind begin, or nothing at all; what runs goes on."""


@queue.command()
@target_options
@reason_option
@runs(f"{_ACTIONS}:resume")
def resume() -> None:
    """Let what was paused begin again; without an option, the whole fleet."""


@queue.command()
@reason_option
@yes_option
@runs(f"{_ACTIONS}:stop")
def stop() -> None:
    """Emergency stop: nothing begins, and what runs stops at once.

    The orders wait again, and begin anew after `agentvine queue resume`.
    """


@queue.command()
@click.argument("capacity", type=click.IntRange(0), metavar="N", required=False)
@target_options
@click.option("--none", "is_removed", is_flag=True, help="Remove the limit.")
@runs(f"{_ACTIONS}:limit")
def limit() -> None:
    """Let at most N orders of a kind run at a time."""
