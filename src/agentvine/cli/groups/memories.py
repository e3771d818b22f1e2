"""``agentvine memory``."""

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import limit_option, project_option

_ACTIONS = "agentvine.cli.actions.memories"

_agent = click.argument("agent", metavar="AGENT")
_category = click.option("--category", metavar="NAME", help="Of this category only.")


@click.group()
def memory() -> None:
    """What agents remember, by category and key; each run is told what is of use to it."""


@memory.command("list")
@_agent
@project_option
@_category
@limit_option
@runs(f"{_ACTIONS}:list_memories")
def list_memories() -> None:
    """List what an agent remembers; with a project, of it and in general."""


@memory.command()
@_agent
@click.argument("category", metavar="CATEGORY")
@click.argument("key", metavar="KEY")
@click.argument("value", metavar="VALUE")
@project_option
@click.option(
    "--importance",
    type=click.IntRange(1, 10),
    default=5,
    metavar="N",
    help="1 to 10; from 9 on every run is told it. Usually 5.",
)
@click.option(
    "--days", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Forget it then."
)
@click.option("--json-value", is_flag=True, help="The value is JSON, not a text.")
@runs(f"{_ACTIONS}:remember")
def remember() -> None:
    """Tell an agent something; a VALUE of - is read from standard input."""


@memory.command()
@_agent
@click.argument("words", metavar="[WORDS]...", nargs=-1)
@project_option
@_category
@click.option(
    "--max-tokens", type=click.IntRange(1), metavar="N", help="How much, about; usually 2000."
)
@limit_option
@runs(f"{_ACTIONS}:recall")
def recall() -> None:
    """Show what an agent remembers of something, the most useful first."""


@memory.command()
@_agent
@click.argument("category", metavar="CATEGORY")
@click.argument("key", metavar="[KEY]", required=False)
@project_option
@runs(f"{_ACTIONS}:forget")
def forget() -> None:
    """Forget one thing or a whole category: in general, or with --project of it."""
