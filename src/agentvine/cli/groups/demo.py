"""``agentvine demo``."""

import click

from agentvine.cli.lazy import runs


@click.command()
@click.option("--keep", is_flag=True, help="Keep all of it, and say how to open it.")
@runs("agentvine.cli.demo.play:play")
def demo() -> None:
    """See the whole job done on a real repository, in under a minute.

    A copy of a real package becomes a git repository. Three tasks rewrite its code, with two
    workers; its own tests run after each; two changes are merged by themselves, one is looked at
    and approved. Needs no account, no key and no network, and leaves nothing running.
    """
