"""``agentvine context``."""

from pathlib import Path

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import Words, limit_option, project_option, yes_option
from agentvine.protocol.enums import ContextStatus

_ACTIONS = "agentvine.cli.actions.contexts"
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)

_context = click.argument("context", metavar="CONTEXT")
_name = click.argument("name", metavar="NAME")


@click.group()
def context() -> None:
    """Snapshots of repositories. CONTEXT is one's id, or a repository: its newest one."""


@context.command("list")
@click.option("--repo", metavar="REPO", help="Of this repository.")
@project_option
@click.option(
    "--status",
    type=Words(ContextStatus, besides=[ContextStatus.DELETED]),
    help="Those that are so; deleted ones are never shown.",
)
@click.option("--variable", metavar="NAME", help="Those with an environment variable of this name.")
@click.option("--path", metavar="PATH", help="Those that have this file.")
@limit_option
@runs(f"{_ACTIONS}:list_contexts")
def list_contexts() -> None:
    """List snapshots, newest first."""


@context.command()
@click.argument("repo", metavar="REPO")
@project_option
@click.option("--name", metavar="NAME", help="What to call it, if not as the repository.")
@click.option("--branch", metavar="BRANCH", help="Of which branch, if not the default one.")
@click.option("--coverage", type=_FILE, metavar="FILE", help="Cobertura XML or coverage.py JSON.")
@click.option("--bandit", type=_FILE, metavar="FILE", help="bandit's JSON.")
@click.option("--pip-audit", type=_FILE, metavar="FILE", help="pip-audit's JSON.")
@click.option("--benchmark", type=_FILE, metavar="FILE", help="A benchmark's JSON.")
@runs(f"{_ACTIONS}:create")
def create() -> None:
    """Take a snapshot of a repository's tracked files, and of what reports say about them."""


@context.command()
@_context
@project_option
@runs(f"{_ACTIONS}:show")
def show() -> None:
    """Show a snapshot: dependencies, variables, deployment, metrics."""


@context.command()
@_context
@click.argument("path", metavar="[PATH]", required=False)
@project_option
@limit_option
@runs(f"{_ACTIONS}:files")
def files() -> None:
    """List a snapshot's files below a path that ends in /, or print one file as it was."""


@context.command()
@click.argument("before", metavar="BEFORE")
@click.argument("after", metavar="[AFTER]", required=False)
@project_option
@runs(f"{_ACTIONS}:compare")
def compare() -> None:
    """Show what differs between two snapshots, or an old one and the newest.

    With a repository as BEFORE and no AFTER, its two newest are compared.
    """


@context.command()
@_context
@project_option
@runs(f"{_ACTIONS}:archive")
def archive() -> None:
    """Put a snapshot aside; it stays readable."""


@context.command()
@_context
@project_option
@runs(f"{_ACTIONS}:activate")
def activate() -> None:
    """Take an archived snapshot out again."""


@context.command()
@_context
@project_option
@yes_option
@runs(f"{_ACTIONS}:delete")
def delete() -> None:
    """Delete a snapshot with its variables."""


@context.group()
def env() -> None:
    """Environment variables: names are shown, values never."""


@env.command("set")
@_context
@_name
@project_option
@click.option(
    "--value-file",
    type=click.File("r"),
    metavar="FILE",
    help="A file that holds the value, - for standard input; else it is asked for.",
)
@runs(f"{_ACTIONS}:set_variable")
def set_variable() -> None:
    """Set a variable; the repository's next snapshots have it, too."""


@env.command("unset")
@_context
@_name
@project_option
@runs(f"{_ACTIONS}:unset_variable")
def unset_variable() -> None:
    """Remove a variable."""
