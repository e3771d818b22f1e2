"""``agentvine team``."""

from pathlib import Path

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import Dollars, Words, limit_option, project_option, reason_option
from agentvine.protocol.enums import PermissionLevel
from agentvine.protocol.team import MAX_ROUNDS, TeamRunStatus

_ACTIONS = "agentvine.cli.actions.team"

_run = click.argument("run_id", metavar="RUN")


@click.group()
def team() -> None:
    """Team runs: agents that plan, build, test and review until a goal is reached.

    RUN is a team run's id, or the end of it.
    """


@team.command("run")
@click.argument("goal")
@click.option("--repo", metavar="REPO", required=True, help="Path, URL, name or id.")
@project_option
@click.option("--target", metavar="BRANCH", help="Where it is merged in the end.")
@click.option("--permission", type=Words(PermissionLevel), help="How much happens without you.")
@click.option(
    "--rounds", type=click.IntRange(0, MAX_ROUNDS), help="Of rework, before you are asked."
)
@click.option("--budget", type=Dollars(), metavar="USD", help="What its models may cost in all.")
@click.option("--test", metavar="CMD", help="What tests each change.")
@click.option("--architect", metavar="AGENT", help="Who plans; otherwise the project's own.")
@click.option("--coder", metavar="AGENT", help="Who builds.")
@click.option("--tester", metavar="AGENT", help="Who tests.")
@click.option("--reviewer", metavar="AGENT", help="Who reviews.")
@click.option(
    "--file",
    "-f",
    "file",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="YAML: by role, the agent and how its tasks are run.",
)
@click.option("--wait", is_flag=True, help="Until it is over, or needs you.")
@runs(f"{_ACTIONS}:begin_run")
def begin() -> None:
    """Give a team a goal; - reads it."""


@team.command("list")
@project_option
@click.option("--status", type=Words(TeamRunStatus), help="Only those that stand there.")
@limit_option
@runs(f"{_ACTIONS}:list_runs")
def list_runs() -> None:
    """List team runs, newest first."""


@team.command()
@_run
@click.option("--talk", is_flag=True, help="With all that was said.")
@runs(f"{_ACTIONS}:show_run")
def show() -> None:
    """Show a team run: its steps, its verdicts, and what it came to."""


@team.command()
@_run
@click.option("--rounds", type=click.IntRange(1, MAX_ROUNDS), default=1, help="So many more.")
@click.option("--as-it-is", is_flag=True, help="Deliver it, whatever the last verdict says.")
@click.option("--budget", type=Dollars(), metavar="USD", help="What it may cost in all now.")
@runs(f"{_ACTIONS}:approve_run")
def approve() -> None:
    """Say yes to what a team run waits for: its plan, more rounds, more money."""


@team.command()
@_run
@reason_option
@runs(f"{_ACTIONS}:cancel_run")
def cancel() -> None:
    """End a team run, with its tasks that are not over."""
