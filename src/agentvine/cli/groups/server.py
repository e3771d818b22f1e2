"""``agentvine up``, ``server``, ``gateway`` and ``openapi``: what the server's side does."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from agentvine.cli.lazy import runs_part
from agentvine.cli.options import Assignments, Words
from agentvine.protocol.enums import CapabilityLevel, TaskType

_PORT, _GATEWAY_PORT = 8420, 8421
F = TypeVar("F", bound=Callable[..., Any])


def _place_options(port: int) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        host = click.option(
            "--host", default="127.0.0.1", show_default=True, help="Where to listen."
        )
        where = click.option("--port", default=port, show_default=True, help="0 takes a free one.")
        # Who started us; when that process is gone, we go too.
        parent = click.option("--parent", type=int, hidden=True)
        return host(where(parent(function)))

    return decorate


@click.command()
@_place_options(_PORT)
@click.option(
    "--workers", "-w", type=click.IntRange(0, 64), default=2, show_default=True, help="How many."
)
@click.option("--type", "types", type=Words(TaskType), multiple=True, help="Take only such tasks.")
@click.option(
    "--capability",
    "capabilities",
    type=Assignments(CapabilityLevel),
    multiple=True,
    help="What the workers know, like python:expert; may be repeated.",
)
@click.option("--queue", "queues", metavar="NAME", multiple=True, help="Take from these queues.")
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Tasks that one worker does at a time.",
)
@click.option(
    "--drain",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    metavar="S",
    help="When told to stop, let running work go on for so long.",
)
@runs_part("up")
def up() -> None:
    """Start a server with workers, here and now.

    The first start makes the database and an admin, whose password is shown once. Ctrl-C lets
    the workers finish what they run, then stops; a second Ctrl-C does not wait for them.
    """


@click.group(invoke_without_command=True)
@_place_options(_PORT)
@click.option(
    "--migrate/--no-migrate",
    default=True,
    show_default=True,
    help="Whether to bring the database up to date first.",
)
@click.pass_context
def server(ctx: click.Context, **values: Any) -> None:
    """Start a server alone; workers come to it from anywhere.

    Many of them may stand behind a load balancer, on one PostgreSQL. SIGTERM stops it.
    """
    if ctx.invoked_subcommand is None:
        _serve(**values)


@runs_part("serve_alone")
def _serve() -> None:
    """Serve until told to stop."""


@click.command()
@_place_options(_GATEWAY_PORT)
@runs_part("serve_gateway")
def gateway() -> None:
    """Serve runs' calls to language models alone, apart from the servers.

    Takes the database and the secret key of the servers; tell these where it is by
    AGENTVINE_GATEWAY_URL, and runs go there. As many as you like may stand behind a load
    balancer. SIGTERM stops it, once what is under way has ended.
    """


@server.command("reset-password")
@click.argument("username", metavar="USER")
@runs_part("reset_login")
def reset_password() -> None:
    """Give a user a new password, shown once; for who runs the server and lost their own."""


@click.command()
@click.option("--output", "-o", type=click.File("w"), default="-", help="Write to a file.")
@runs_part("print_openapi")
def openapi() -> None:
    """Print the API's description as OpenAPI, without a running server."""
