"""``agentvine runtime``."""

import click

from agentvine.cli.lazy import runs

_ACTIONS = "agentvine.cli.actions.runtimes"


@click.group()
def runtime() -> None:
    """What drives agents, and what it needs."""


@runtime.command("list")
@click.option("--here", is_flag=True, help="Look on this machine, without asking a server.")
@runs(f"{_ACTIONS}:list_runtimes")
def list_runtimes() -> None:
    """List runtimes: what is found, the version that we have tried, the login, what is missing.

    Asks each worker of the server what it found when it started; without a server, or with --here,
    looks on this machine.
    """


@runtime.command()
@click.argument("name", metavar="RUNTIME")
@click.option("--here", is_flag=True, help="Look on this machine, without asking a server.")
@runs(f"{_ACTIONS}:show_runtime")
def show() -> None:
    """Show what a runtime needs, and who has it."""
