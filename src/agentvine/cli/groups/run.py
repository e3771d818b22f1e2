"""``agentvine run``."""

import click

from agentvine.cli.groups.tasks import run_options
from agentvine.cli.lazy import runs
from agentvine.cli.options import Words, project_option
from agentvine.protocol.enums import PermissionLevel, TaskPriority, TaskType


@click.command()
@click.argument("title")
@click.option(
    "--repo",
    metavar="PATH|URL|NAME",
    default=".",
    show_default=True,
    help="The repository to work in; registered when it is new.",
)
@project_option
@click.option("--runtime", metavar="NAME", help="What carries it out.  [default: command]")
@click.option("--model", metavar="NAME", help="The model an agent uses.")
@run_options
@click.option("--description", "-d", metavar="TEXT", help="More about it; - reads it from stdin.")
@click.option("--type", type=Words(TaskType), help="The kind of work.")
@click.option(
    "--permission",
    type=Words(PermissionLevel),
    help="autonomous merges by itself when the tests pass.  [default: supervised]",
)
@click.option("--priority", type=Words(TaskPriority), help="How soon.")
@click.option("--target", metavar="BRANCH", help="The branch the change goes to.")
@click.option("--wait/--no-wait", default=True, help="Watch it to its end.  [default: wait]")
@runs("agentvine.cli.actions.run:run")
def run() -> None:
    """Have a job done on a repository, and watch it.

    Without a server this starts one with a worker for as long as the job takes.

    \b
    agentvine run "Sort the imports" --repo . --command "isort ." --test "pytest -q"
    agentvine run "Add a test for the empty list" --runtime claude-code --test "pytest -q"
    """  # noqa: D301 - click keeps the lines after a real backspace, not after its two letters
