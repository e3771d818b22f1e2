"""``agentvine doctor``."""

import click

from agentvine.cli.lazy import runs


@click.command()
@click.option("--fix", is_flag=True, help="Remove what is safe to remove; work is kept first.")
@runs("agentvine.cli.actions.doctor:doctor")
def doctor() -> None:
    """Look for what is wrong here, and what was left behind.

    Exits with 1 when something needs to be done. With --fix, orphaned programs are ended and
    abandoned work trees removed, after everything in them was put under a rescue ref.
    """
