"""``agentvine plan``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import Words, limit_option, project_option, yes_option
from agentvine.protocol.enums import ArtifactType, PlanStatus, TaskPriority

F = TypeVar("F", bound=Callable[..., Any])

_ACTIONS = "agentvine.cli.actions.plans"
_CHAT = "agentvine.cli.actions.plan_chat"
_PLANNING = "agentvine.cli.actions.planning"

_plan = click.argument("name", metavar="PLAN")
_repo = click.option("--repo", metavar="REPO", help="The plan's repository: path, name or id.")
_file = click.option(
    "--file",
    "-f",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="YAML, or Markdown as `plan show` prints it.",
)


def _tasks(function: F) -> F:
    """How the tasks of a plan are carried out: for ``accept`` and ``reconcile``."""
    for option in reversed(
        [
            click.option("--runtime", metavar="NAME", help="What does the tasks."),
            click.option("--command", metavar="CMD", help="What the command runtime runs."),
            click.option("--test", metavar="CMD", help="What tests the result."),
            click.option("--agent", metavar="AGENT", help="Whose work they are."),
            click.option("--model", metavar="MODEL", help="Which model an agent is to use."),
            click.option("--priority", type=Words(TaskPriority), help="How soon."),
            click.option(
                "--start/--no-start", default=True, help="Whether they begin by themselves."
            ),
        ]
    ):
        function = option(function)
    return function


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
@runs(f"{_PLANNING}:preview_plan")
def preview() -> None:
    """Show which tasks a version makes, what waits for what, and which files overlap."""


@plan.command()
@_plan
@_repo
@_tasks
@click.option(
    "--reconcile", is_flag=True, help="Also when tasks of an earlier version are cancelled for it."
)
@runs(f"{_PLANNING}:accept_plan")
def accept() -> None:
    """Let a version count, and make its steps tasks: once, however often it is accepted."""


@plan.command()
@_plan
@_repo
@runs(f"{_PLANNING}:show_drift")
def drift() -> None:
    """Show what a version would cancel, keep and add of the tasks that are there."""


@plan.command()
@_plan
@_repo
@_tasks
@yes_option
@runs(f"{_PLANNING}:reconcile_plan")
def reconcile() -> None:
    """Cancel, keep and add tasks as the active version wants them."""


@plan.command("apply")
@_plan
@_repo
@click.option("--branch", metavar="BRANCH", help="The new branch; otherwise named by the plan.")
@runs(f"{_PLANNING}:apply_changes")
def apply_changes() -> None:
    """Make an active version's code changes one commit, on a new branch."""


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


@plan.command()
@_plan
@click.argument("text", required=False)
@_repo
@click.option("--model", metavar="MODEL", help="Which model to ask; the last one otherwise.")
@click.option(
    "--read", "files", metavar="PATH", multiple=True, help="A file of the repository it reads."
)
@click.option(
    "--document",
    "documents",
    metavar="DOCUMENT",
    multiple=True,
    help="A document it reads: title or id.",
)
@click.option(
    "--tag", "tags", metavar="TAG", multiple=True, help="Documents it reads: those with this tag."
)
@click.option("--accept", is_flag=True, help="Save what it proposed last in the draft.")
@click.option("--again", is_flag=True, help="Ask once more what was interrupted or failed.")
@click.option("--new", is_flag=True, help="Begin another chat.")
@click.option("--end", is_flag=True, help="Complete the chat; it stays readable.")
@runs(f"{_CHAT}:chat")
def chat() -> None:
    """Talk with a model about a plan: TEXT, or lines of standard input."""
