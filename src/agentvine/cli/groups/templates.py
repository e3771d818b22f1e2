"""``agentvine template``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import Pair, Words, limit_option, project_option, yes_option
from agentvine.protocol.template_enums import TemplateCategory, TemplateComplexity

F = TypeVar("F", bound=Callable[..., Any])

_ACTIONS = "agentvine.cli.actions.templates"

_template = click.argument("name", metavar="TEMPLATE")
_stack = click.option("--stack", metavar="NAME", multiple=True, help="Like fastapi; repeatable.")
_tags = click.option("--tag", "tags", metavar="TAG", multiple=True, help="Can be repeated.")
_category = click.option("--category", type=Words(TemplateCategory), help="What it makes.")
_complexity = click.option(
    "--complexity", type=Words(TemplateComplexity), help="How much it sets up."
)
_path = click.Path(path_type=Path)


def _filter(function: F) -> F:
    for option in (limit_option, _complexity, _category, _tags, _stack, project_option):
        function = option(function)
    return function


@click.group()
def template() -> None:
    """Templates that new repositories are made of. One is called by its name or id."""


@template.command("list")
@_filter
@runs(f"{_ACTIONS}:list_templates")
def list_templates() -> None:
    """List the templates you may see, built-in ones first."""


@template.command()
@click.argument("words", metavar="[WORDS]...", nargs=-1)
@_filter
@runs(f"{_ACTIONS}:list_templates")
def search() -> None:
    """Find templates whose name, stack or tags have all WORDS."""


@template.command()
@_template
@project_option
@runs(f"{_ACTIONS}:show")
def show() -> None:
    """Show a template: what one fills in, and which files it makes."""


@template.command()
@_template
@click.argument("target", metavar="FOLDER", type=_path)
@click.option(
    "--var", "values", metavar="NAME=VALUE", type=Pair(), multiple=True, help="Can be repeated."
)
@project_option
@click.option("--register", is_flag=True, help="Also register it, for tasks and plans.")
@click.option("--plan", metavar="PLAN", help="Also register it, and begin a plan of this name.")
@runs(f"{_ACTIONS}:render")
def render() -> None:
    """Make a new git repository in FOLDER, which must be empty or not there."""


@template.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--from", "repo", metavar="REPO", type=_path, required=True, help="A repository here."
)
@click.option(
    "--replace",
    "replacements",
    metavar="TEXT=VARIABLE",
    type=Pair(),
    multiple=True,
    help="What becomes a variable; repeatable.",
)
@click.option("--description", "-d", default="", metavar="TEXT", help="What it makes.")
@click.option("--test", metavar="CMD", help="What tests what was made.")
@project_option
@_stack
@_tags
@_category
@_complexity
@runs(f"{_ACTIONS}:create")
def create() -> None:
    """Make a template of the files that are committed in a repository."""


@template.command("export")
@_template
@click.argument("file", metavar="FILE", type=_path)
@project_option
@runs(f"{_ACTIONS}:export")
def export_template() -> None:
    """Write a template into FILE, as YAML; - prints it."""


@template.command("import")
@click.argument("file", metavar="FILE", type=_path)
@project_option
@click.option("--replace", is_flag=True, help="Change the one of this name, if there is one.")
@runs(f"{_ACTIONS}:import_template")
def import_template() -> None:
    """Take in a template from FILE; - reads standard input."""


@template.command()
@_template
@project_option
@yes_option
@runs(f"{_ACTIONS}:delete")
def delete() -> None:
    """Remove a template of your own; what was made from it stays."""
