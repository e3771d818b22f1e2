"""``agentvine execution`` and ``agentvine logs``."""

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import limit_option, project_option

_ACTIONS = "agentvine.cli.actions.executions"


@click.group()
def execution() -> None:
    """Attempts at tasks. A task's name means its latest attempt."""


@execution.command("list")
@click.option("--task", metavar="TASK", help="Only those at one task.")
@project_option
@limit_option
@runs(f"{_ACTIONS}:list_executions")
def list_executions() -> None:
    """List attempts, newest first."""


@execution.command()
@click.argument("name", metavar="EXECUTION|TASK")
@project_option
@runs(f"{_ACTIONS}:show")
def show() -> None:
    """Show an attempt."""


_context_option = click.option(
    "--context", "-C", type=click.IntRange(0, 20), default=0, help="Lines to show around each."
)


@execution.command()
@click.argument("text")
@click.option("--task", metavar="TASK", help="Only attempts at one task.")
@project_option
@click.option("--stream", metavar="NAME", help="Only stdout, stderr, test, system, events or raw.")
@_context_option
@limit_option
@runs(f"{_ACTIONS}:search")
def search() -> None:
    """Find lines in the logs of many attempts, the newest attempt first."""


@click.command()
@click.argument("name", metavar="TASK")
@project_option
@runs(f"{_ACTIONS}:attempts")
def attempts() -> None:
    """Compare the attempts at a task: how each ended, and what it took."""


@click.command()
@click.argument("name", metavar="EXECUTION|TASK")
@click.option("--all", "is_all", is_flag=True, help="Of all of the task's attempts, in order.")
@project_option
@runs(f"{_ACTIONS}:timeline")
def timeline() -> None:
    """Show what happened to an attempt, step by step."""


@click.command()
@click.argument("name", metavar="EXECUTION|TASK")
@click.option("--follow", "-f", is_flag=True, help="Go on as it prints, until it ends.")
@click.option("--after", type=click.IntRange(0), default=0, help="Only lines after this id.")
@click.option("--tail", type=click.IntRange(1), help="Only this many lines from the end.")
@click.option("--stream", metavar="NAME", help="Only stdout, stderr, test, system, events or raw.")
@click.option("--search", metavar="TEXT", help="Only lines that hold this, in any case.")
@_context_option
@project_option
@runs(f"{_ACTIONS}:logs")
def logs() -> None:
    """Show what an attempt printed, or follow it with -f."""
