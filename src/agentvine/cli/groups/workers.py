"""``agentvine worker``."""

import click

from agentvine.cli.groups.worktrees import cache
from agentvine.cli.lazy import runs
from agentvine.cli.options import Assignments, Span, Words, limit_option, yes_option
from agentvine.protocol.enums import CapabilityLevel, TaskType

_ACTIONS = "agentvine.cli.actions.workers"


@click.group(invoke_without_command=True)
@click.option("--name", metavar="NAME", help="Unique on the server; the machine's when left out.")
@click.option("--type", "types", type=Words(TaskType), multiple=True, help="Take only such tasks.")
@click.option("--runtime", "runtimes", metavar="NAME", multiple=True, help="Offer only these.")
@click.option(
    "--capability",
    "capabilities",
    type=Assignments(CapabilityLevel),
    multiple=True,
    help="What it knows, like python:expert; may be repeated.",
)
@click.option("--queue", "queues", metavar="NAME", multiple=True, help="Take from these queues.")
@click.option(
    "--concurrency", type=click.IntRange(1), default=1, show_default=True, help="Tasks at a time."
)
@click.option(
    "--drain-timeout",
    type=click.FloatRange(0),
    metavar="S",
    help="When told to stop, end running work after so long; otherwise it is finished.",
)
@click.option(
    "--enrol",
    "enrolment",
    metavar="INVITATION",
    envvar="AGENTVINE_ENROLMENT",
    help="Come by invitation, and keep a key of its own.",
)
@click.option("--parent", type=int, hidden=True)
@click.pass_context
def worker(ctx: click.Context, **values: object) -> None:
    """Be a worker: take tasks from the server, do them here, report.

    With a command, see to the workers instead.
    """
    if ctx.invoked_subcommand is None:
        ctx.exit(_work(**values))


@runs(f"{_ACTIONS}:work")
def _work() -> None:
    """Work until told to stop."""


@worker.command("list")
@limit_option
@runs(f"{_ACTIONS}:list_workers")
def list_workers() -> None:
    """List the workers."""


@worker.command()
@click.argument("name", metavar="WORKER")
@runs(f"{_ACTIONS}:show")
def show() -> None:
    """Show a worker."""


@worker.command()
@click.argument("name", metavar="[NAME]", default="worker")
@click.option("--type", "types", type=Words(TaskType), multiple=True, help="For such tasks only.")
@click.option("--queue", "queues", metavar="NAME", multiple=True, help="For these queues only.")
@click.option("--project", "projects", metavar="PROJECT", multiple=True, help="For these only.")
@click.option(
    "--expires-in", type=Span(), default="1h", show_default=True, metavar="TIME", help="Good until."
)
@runs(f"{_ACTIONS}:invite")
def invite() -> None:
    """Invite one worker, for `agentvine worker --enrol`; shown this once."""


@worker.command()
@limit_option
@runs(f"{_ACTIONS}:invitations")
def invitations() -> None:
    """List invitations, and who came by them."""


@worker.command()
@click.argument("invitation", metavar="INVITATION", type=click.UUID)
@runs(f"{_ACTIONS}:withdraw")
def withdraw() -> None:
    """Withdraw an invitation; who came by it stays."""


@worker.command()
@click.argument("name", metavar="WORKER")
@yes_option
@runs(f"{_ACTIONS}:revoke")
def revoke() -> None:
    """End a worker's key: what it runs is given to others at once."""


@worker.command()
@click.argument("name", metavar="WORKER")
@runs(f"{_ACTIONS}:drain")
def drain() -> None:
    """Let a worker finish what it runs and take no more."""


@worker.command()
@click.argument("name", metavar="WORKER")
@yes_option
@runs(f"{_ACTIONS}:delete")
def delete() -> None:
    """Forget a worker that does not come back."""


worker.add_command(cache)
