"""``agentvine order``."""

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import Words, attach_option, limit_option, project_option
from agentvine.protocol.enums import FailureClass, OrderStatus

_ACTIONS = "agentvine.cli.actions.orders"
_CONTROLS = "agentvine.cli.actions.controls"

wait_option = click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait until the worker has done it.",
)


@click.group()
def order() -> None:
    """The queue and its work orders."""


@order.command("list")
@click.option("--status", type=Words(OrderStatus), help="Only those that stand there.")
@click.option("--queue", metavar="NAME", help="Only those of one queue.")
@click.option("--task", metavar="TASK", help="Only those of one task.")
@project_option
@limit_option
@runs(f"{_ACTIONS}:list_orders")
def list_orders() -> None:
    """List work orders, newest first."""


@order.command()
@click.argument("name", metavar="TASK|ORDER")
@project_option
@wait_option
@runs(f"{_CONTROLS}:pause")
def pause() -> None:
    """Let a run stand still, with all its processes, until `resume`."""


@order.command()
@click.argument("name", metavar="TASK|ORDER")
@project_option
@wait_option
@runs(f"{_CONTROLS}:resume")
def resume() -> None:
    """Let a run that stands still go on."""


@order.command()
@click.argument("name", metavar="TASK|ORDER")
@click.argument("text", metavar="TEXT")
@attach_option
@project_option
@wait_option
@runs(f"{_CONTROLS}:steer")
def steer() -> None:
    """Say something to a run while it runs; `-` reads it from standard input."""


@order.command()
@click.argument("name", metavar="TASK|ORDER")
@project_option
@runs(f"{_CONTROLS}:messages")
def messages() -> None:
    """List what was said to the runs of an order, and whether they have it."""


@order.command()
@click.argument("name", metavar="ORDER", type=click.UUID)
@runs(f"{_ACTIONS}:show")
def show() -> None:
    """Show a work order."""


@order.command()
@runs(f"{_ACTIONS}:status")
def status() -> None:
    """Show how much waits in each queue, and for how long."""


@order.command()
@click.argument("name", metavar="TASK|ORDER")
@project_option
@runs(f"{_ACTIONS}:why")
def why() -> None:
    """Say why a task does not run: T-12, or an order's id."""


@order.command()
@project_option
@click.option("--queue", metavar="NAME", help="Only those of one queue.")
@click.option("--failure", type=Words(FailureClass), help="Only those that failed so.")
@limit_option
@runs(f"{_ACTIONS}:dead")
def dead() -> None:
    """List dead orders: those of tasks that have failed for good."""


@order.command()
@click.argument("names", metavar="ORDER...", nargs=-1, type=click.UUID)
@project_option
@click.option("--queue", metavar="NAME", help="Those of one queue.")
@click.option("--failure", type=Words(FailureClass), help="Those that failed so.")
@click.option("--all", "is_all", is_flag=True, help="All dead orders.")
@limit_option
@runs(f"{_ACTIONS}:retry")
def retry() -> None:
    """Try dead orders again, by their ids or by what they have in common."""
