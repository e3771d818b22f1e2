"""``agentvine document``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import Words, limit_option, project_option, yes_option
from agentvine.protocol.enums import DocumentType, TaskType

F = TypeVar("F", bound=Callable[..., Any])

_ACTIONS = "agentvine.cli.actions.documents"

_document = click.argument("document", metavar="DOCUMENT")
_type = click.option("--type", "type_", type=Words(DocumentType), help="What kind it is.")
_tags = click.option("--tag", "tags", metavar="TAG", multiple=True, help="Can be repeated.")
_repo = click.option("--repo", metavar="REPO", help="The repository that it is about.")
_file = click.option(
    "--file", type=click.Path(path_type=Path), metavar="FILE", help="The text; - reads it."
)


def _filter(function: F) -> F:
    for option in (_tags, _type, _repo, project_option):
        function = option(function)
    return function


@click.group()
def document() -> None:
    """Documents for people and agents. One is called by its title or id."""


@document.command("list")
@_filter
@limit_option
@runs(f"{_ACTIONS}:list_documents")
def list_documents() -> None:
    """List the documents you may see."""


@document.command()
@click.argument("words", metavar="WORDS...", nargs=-1, required=True)
@_filter
@limit_option
@runs(f"{_ACTIONS}:search")
def search() -> None:
    """Find documents in which all words occur; "a phrase" in quotes, after -- also -without."""


@document.command()
@_document
@project_option
@click.option("--version", type=click.IntRange(1), metavar="N", help="As it was then.")
@runs(f"{_ACTIONS}:show")
def show() -> None:
    """Show a document, or an earlier version of it."""


@document.command()
@click.argument("title", metavar="TITLE")
@_filter
@_file
@runs(f"{_ACTIONS}:add")
def add() -> None:
    """Write a document, in Markdown, for a project, or (an admin) for all."""


@document.command()
@_document
@project_option
@click.option("--title", metavar="TITLE", help="Another title.")
@_type
@_tags
@_file
@runs(f"{_ACTIONS}:edit")
def edit() -> None:
    """Write a new version; what is not named stays, and what was can be restored."""


@document.command("import")
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")
@_filter
@runs(f"{_ACTIONS}:import_folder")
def import_folder() -> None:
    """Take in the Markdown files of a folder; those that came before become new versions."""


@document.command()
@_document
@project_option
@limit_option
@runs(f"{_ACTIONS}:history")
def history() -> None:
    """List a document's versions, newest first."""


@document.command()
@_document
@click.argument("old", type=click.IntRange(1), metavar="OLD")
@click.argument("new", type=click.IntRange(1), metavar="[NEW]", required=False)
@project_option
@runs(f"{_ACTIONS}:diff")
def diff() -> None:
    """Show what differs between two versions, or an old one and what is now."""


@document.command()
@_document
@click.argument("version", type=click.IntRange(1), metavar="VERSION")
@project_option
@runs(f"{_ACTIONS}:restore")
def restore() -> None:
    """Make an earlier version the newest again."""


@document.command()
@_document
@project_option
@yes_option
@runs(f"{_ACTIONS}:remove")
def remove() -> None:
    """Remove a document with all its versions."""


@document.group()
def rule() -> None:
    """Which documents are given to the runs of which tasks."""


@rule.command("list")
@click.argument("project", metavar="PROJECT")
@runs(f"{_ACTIONS}:list_rules")
def list_rules() -> None:
    """List a project's rules, in the order in which they are gone through."""


@rule.command("add")
@click.argument("project", metavar="PROJECT")
@click.option("--document", metavar="DOCUMENT", help="This document.")
@click.option("--tag", metavar="TAG", help="Documents with this tag.")
@click.option("--type", "type_", type=Words(DocumentType), help="Documents of this kind.")
@click.option("--repo", metavar="REPO", help="For tasks of this repository.")
@click.option("--task-type", type=Words(TaskType), help="For tasks of this type.")
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    default=4000,
    metavar="N",
    help="How much room they may take, about; usually 4000.",
)
@click.option(
    "--position", type=click.IntRange(0), default=100, metavar="N", help="Small ones come first."
)
@runs(f"{_ACTIONS}:add_rule")
def add_rule() -> None:
    """Give documents to the runs of a project's tasks."""


@rule.command("remove")
@click.argument("rule", metavar="RULE")
@runs(f"{_ACTIONS}:remove_rule")
def remove_rule() -> None:
    """Take a rule back, by its id."""
