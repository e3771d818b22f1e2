"""``agentvine price``."""

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import Moment, Rate, limit_option

_ACTIONS = "agentvine.cli.actions.prices"


@click.group()
def price() -> None:
    """Prices of models that hold before those of the price table; in dollars a million tokens."""


@price.command("list")
@limit_option
@runs(f"{_ACTIONS}:list_prices")
def list_prices() -> None:
    """List the prices that were set, past and coming ones too."""


@price.command("set")
@click.argument("model", metavar="MODEL")
@click.option("--provider", metavar="NAME", help="Only at this provider.")
@click.option("--input", "input_usd", type=Rate(), required=True, help="What goes in.")
@click.option("--output", "output_usd", type=Rate(), required=True, help="What comes out.")
@click.option("--cache-read", type=Rate(), help="Read from a cache.  [default: as input]")
@click.option("--cache-write", type=Rate(), help="Written into one.  [default: as input]")
@click.option("--reasoning", type=Rate(), help="What is thought.  [default: as output]")
@click.option("--from", "begins", type=Moment(), help="From when on.  [default: now]")
@runs(f"{_ACTIONS}:set_price")
def set_price() -> None:
    """Let a model cost so much from now on; what was counted stays as it was."""


@price.command()
@click.argument("price_id", type=click.UUID, metavar="ID")
@runs(f"{_ACTIONS}:remove_price")
def remove() -> None:
    """Let the price before it hold again, or the table's."""
