"""``agentvine blame``."""

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import project_option


@click.command()
@click.argument("place", metavar="FILE:LINE")
@click.option(
    "--repo", metavar="PATH|NAME", help="The repository; the one around FILE when left out."
)
@click.option("--branch", metavar="BRANCH", help="Which branch's FILE; else the default branch's.")
@project_option
@runs("agentvine.cli.actions.blame:blame")
def blame() -> None:
    """Tell who wrote a line and why: change, run, task, plan, agent, prompt, cost.

    With --repo, FILE may be named from the repository's top.
    """
