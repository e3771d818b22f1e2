"""``agentvine modification``, and the two decisions that have a short form."""

import click

from agentvine.cli.groups.tasks import run_options
from agentvine.cli.lazy import runs
from agentvine.cli.options import Words, limit_option, project_option, reason_option
from agentvine.protocol.enums import (
    ModificationStatus,
    PermissionLevel,
    TaskPriority,
    TaskType,
)

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
@click.argument("words", metavar="WORDS")
@click.option(
    "--repo",
    metavar="REPO",
    default=".",
    show_default=True,
    help="The repository that it is about: name, path or id.",
)
@project_option
@click.option("--title", metavar="TEXT", help="The task's title.  [default: the first line]")
@click.option("--type", type=Words(TaskType), help="The kind of work.")
@click.option(
    "--permission", type=Words(PermissionLevel), help="What may happen without a person, then."
)
@click.option("--priority", type=Words(TaskPriority), help="How soon.")
@click.option("--target", metavar="BRANCH", help="The branch the change goes to.")
@click.option("--done", metavar="TEXT", help="How one sees that it is done.")
@click.option("--runtime", metavar="NAME", help="What carries it out.")
@click.option("--model", metavar="NAME", help="The model an agent uses.")
@run_options
@click.option("--key", metavar="KEY", help="Asking again with this key makes no second request.")
@runs("agentvine.cli.actions.impact:request")
def request() -> None:
    """Ask for a change in words, and see what it will probably touch.

    Nothing runs before somebody approves it; then it becomes a task.
    """


@modification.command()
@click.argument("name", metavar=_NAME)
@project_option
@runs("agentvine.cli.actions.impact:impact")
def impact() -> None:
    """Show what was foreseen of a change, what it came to, and how they differ."""


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
