"""``agentvine modification``, and the two decisions that have a short form."""

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import Words, limit_option, project_option, reason_option
from agentvine.protocol.enums import ModificationStatus

_ACTIONS = "agentvine.cli.actions.modifications"
_NAME = "MODIFICATION|TASK"


@click.group()
def modification() -> None:
    """Changes on their way to the target branch. A task's name means its latest change."""


@modification.command("list")
@click.option("--task", metavar="TASK", help="Only those of one task.")
@click.option("--status", type=Words(ModificationStatus), help="Only those that stand there.")
@project_option
@limit_option
@runs(f"{_ACTIONS}:list_modifications")
def list_modifications() -> None:
    """List changes, newest first."""


@modification.command()
@click.argument("name", metavar=_NAME)
@project_option
@runs(f"{_ACTIONS}:show")
def show() -> None:
    """Show a change with its evidence: files, impact, tests."""


@modification.command()
@click.argument("name", metavar=_NAME)
@project_option
@runs(f"{_ACTIONS}:diff")
def diff() -> None:
    """Print a change as a diff."""


@click.command()
@click.argument("name", metavar=_NAME)
@click.option("--no-apply", is_flag=True, help="Only approve; see `modification apply`.")
@reason_option
@project_option
@runs(f"{_ACTIONS}:approve")
def approve() -> None:
    """Approve a change, and merge it into its target branch."""


@click.command()
@click.argument("name", metavar=_NAME)
@reason_option
@project_option
@runs(f"{_ACTIONS}:reject")
def reject() -> None:
    """Refuse a change; its commits stay on their rescue ref."""


@modification.command()
@click.argument("name", metavar=_NAME)
@project_option
@runs(f"{_ACTIONS}:apply")
def apply() -> None:
    """Merge an approved change into its target branch."""


@modification.command()
@click.argument("name", metavar=_NAME)
@reason_option
@project_option
@runs(f"{_ACTIONS}:revert")
def revert() -> None:
    """Take an applied change out again, by a commit on the target branch."""


for _short in (approve, reject):
    # A command of its own: each copy gets the global options where it stands.
    modification.add_command(
        click.Command(
            _short.name, callback=_short.callback, params=[*_short.params], help=_short.help
        )
    )
