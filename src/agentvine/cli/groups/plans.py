"""``agentvine plan``."""

from pathlib import Path

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import Words, limit_option, project_option, yes_option
from agentvine.protocol.enums import ArtifactType, PlanStatus

_ACTIONS = "agentvine.cli.actions.plans"

_plan = click.argument("name", metavar="PLAN")
_repo = click.option("--repo", metavar="REPO", help="The plan's repository: path, name or id.")
_file = click.option(
    "--file",
    "-f",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="YAML, or Markdown as `plan show` prints it.",
)


@click.group()
def plan() -> None:
    """Plans: what shall be built, in versions.

    PLAN is a plan's name for its newest version, NAME@2 for the second, or a version's id.
    """


@plan.command("list")
@click.option("--repo", metavar="REPO", help="Only this repository's.")
@project_option
@click.option("--name", metavar="NAME", help="Only the versions of this plan.")
@click.option("--status", type=Words(PlanStatus), help="Only those that stand there.")
@limit_option
@runs(f"{_ACTIONS}:list_plans")
def list_plans() -> None:
    """List versions of plans, newest first."""


@plan.command()
@_plan
@_repo
@runs(f"{_ACTIONS}:show_plan")
def show() -> None:
    """Show a version as Markdown, with what it changes in files."""


@plan.command()
@click.argument("name", metavar="NAME", required=False)
@click.option("--repo", metavar="REPO", required=True, help="Path, name or id.")
@_file
@click.option("--description", "-d", metavar="TEXT", help="What it is about; - reads it.")
@click.option("--target", metavar="BRANCH", help="Where its changes are to go.")
@runs(f"{_ACTIONS}:create_plan")
def create() -> None:
    """Make the first version of a plan, a draft; NAME may stand in the file."""


@plan.command()
@_plan
@_repo
@_file
@click.option("--description", "-d", metavar="TEXT", help="What it is about; - reads it.")
@click.option("--target", metavar="BRANCH", help="Where its changes are to go.")
@runs(f"{_ACTIONS}:edit_plan")
def edit() -> None:
    """Change a draft; of the parts that the file has, what they were stays readable."""


@plan.command()
@_plan
@_repo
@runs(f"{_ACTIONS}:list_versions")
def versions() -> None:
    """List all versions of a plan, oldest first."""


@plan.command()
@_plan
@_repo
@click.option("--type", "type_", type=Words(ArtifactType), help="Only parts of this type.")
@limit_option
@runs(f"{_ACTIONS}:list_history")
def history() -> None:
    """List what was written into a version, newest first."""


@plan.command()
@_plan
@click.argument("other", metavar="[OTHER]", required=False)
@_repo
@runs(f"{_ACTIONS}:diff_plans")
def diff() -> None:
    """Show what differs from PLAN to OTHER; alone, from the version before."""


@plan.command()
@_plan
@_repo
@_file
@runs(f"{_ACTIONS}:revise_plan")
def revise() -> None:
    """Copy a version to a new draft, and write the file's parts into it."""


@plan.command()
@_plan
@_repo
@runs(f"{_ACTIONS}:activate_plan")
def activate() -> None:
    """Let a version count, without making its tasks; it is fixed from then on."""


@plan.command()
@_plan
@_repo
@runs(f"{_ACTIONS}:complete_plan")
def complete() -> None:
    """Say that what an active version wants is there."""


@plan.command()
@_plan
@_repo
@runs(f"{_ACTIONS}:archive_plan")
def archive() -> None:
    """Put a version away; its tasks go on."""


@plan.command()
@_plan
@_repo
@yes_option
@runs(f"{_ACTIONS}:delete_plan")
def delete() -> None:
    """Forget a draft."""


@plan.command()
@click.argument("contains", metavar="JSON")
@click.option("--repo", metavar="REPO", help="Only this repository's.")
@click.option("--type", "type_", type=Words(ArtifactType), help="Only parts of this type.")
@click.option("--status", type=Words(PlanStatus), help="Only of versions that stand there.")
@limit_option
@runs(f"{_ACTIONS}:search_plans")
def search() -> None:
    """Find parts of plans whose content holds JSON, like '{"steps": [{"files": ["a.py"]}]}'."""
