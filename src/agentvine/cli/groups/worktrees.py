"""``agentvine worktree`` and ``agentvine worker cache``: what workers keep on this machine."""

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import Span, dry_run_option

_ACTIONS = "agentvine.cli.actions.worktrees"

_older_than = click.option(
    "--older-than",
    type=Span(),
    default="14d",
    show_default=True,
    metavar="TIME",
    help="Unused for.",
)


@click.group()
def worktree() -> None:
    """Work trees on this machine: whose they are, and what they take."""


@worktree.command("list")
@runs(f"{_ACTIONS}:list_trees")
def list_trees() -> None:
    """List the work trees below the data directory, the oldest first."""


@worktree.command("prune")
@_older_than
@click.option("--awaited", is_flag=True, help="Also those whose worker would report them.")
@dry_run_option
@runs(f"{_ACTIONS}:prune_trees")
def prune_trees() -> None:
    """Remove what no worker uses any more; what is in it is kept first.

    Changed, staged and untracked files, commits on any branch or on none, and small files that
    .gitignore names go under a rescue ref of the repository's mirror. What cannot be kept stays.
    Workers do the same by themselves after 14 days (AGENTVINE_WORKER__LEFTOVER_DAYS).
    """


@click.group(invoke_without_command=True)
@click.pass_context
def cache(ctx: click.Context) -> None:
    """Mirrors and set-ups that workers keep on this machine; lists them without a command."""
    if ctx.invoked_subcommand is None:
        _list_cache()


@runs(f"{_ACTIONS}:list_cache")
def _list_cache() -> None:
    """List what is kept."""


@cache.command("list")
@runs(f"{_ACTIONS}:list_cache")
def list_cache() -> None:
    """List mirrors and set-ups, with their sizes."""


@cache.command("prune")
@_older_than
@click.option("--repository", metavar="ID", type=click.UUID, help="Only what belongs to it.")
@dry_run_option
@runs(f"{_ACTIONS}:prune_cache")
def prune_cache() -> None:
    """Remove what set-up commands have made, and mirrors; the next task makes them again.

    A mirror stays that holds anything its repository does not have: rescued work above all.
    Rescue refs go whose commits the repository has by now. Workers do the same with mirrors and
    refs by themselves after 14 days (AGENTVINE_WORKER__LEFTOVER_DAYS).
    """
